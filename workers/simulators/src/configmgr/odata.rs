//! Query options and pages of the AdminService.

use serde_json::{Map, Value, json};

use super::filter::{Filter, compare};
use super::rows::whole;
use super::schema::Class;
use crate::graph::odata::decode;

/// What is asked of a list.
#[derive(Debug, Default)]
pub(crate) struct Query {
    filter: Option<Filter>,
    select: Option<Vec<String>>,
    /// Property, and whether from the greatest down.
    order: Option<(String, bool)>,
    top: Option<usize>,
    skip: usize,
    /// Where the server's own page begins.
    pub(crate) token: usize,
}

pub(crate) type Row = Map<String, Value>;

impl Query {
    pub(crate) fn parse(name: &str, class: &Class, query: &str) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (option, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |t: &str| decode(&t.replace('+', " ")).ok_or("The query is not UTF-8.");
            let (option, value) = (plain(option)?, plain(value)?);
            if seen.contains(&option) {
                return Err(format!("Query option '{option}' was specified more than once."));
            }
            let known = |field: &str| class.property(name, field).map(|_| field.to_owned());
            let number = || value.parse::<usize>().map_err(|_| format!("Invalid value for '{option}'."));
            match option.as_str() {
                "$filter" => parsed.filter = Some(Filter::parse(name, class, &value)?),
                "$select" => {
                    let fields: Result<_, _> = value.split(',').map(|f| known(f.trim())).collect();
                    parsed.select = Some(fields?);
                }
                "$orderby" => {
                    let (field, down) = match value.split_once(' ') {
                        None => (value.as_str(), false),
                        Some((field, "asc")) => (field, false),
                        Some((field, "desc")) => (field, true),
                        Some(_) => return Err("Syntax error in $orderby.".into()),
                    };
                    parsed.order = Some((known(field)?, down));
                }
                "$top" => parsed.top = Some(number()?),
                "$skip" => parsed.skip = number()?,
                "$skiptoken" => parsed.token = number()?,
                _ => {
                    let option: String = option.chars().take(40).collect();
                    return Err(format!("The query parameter '{option}' is not supported."));
                }
            }
            seen.push(option);
        }
        Ok(parsed)
    }

    /// The rows of this page with only what was selected, and where the server's next page begins, if there is one.
    pub(crate) fn run(&self, class: &Class, rows: Vec<Row>, page: usize) -> (Vec<Row>, Option<usize>) {
        let mut rows: Vec<Row> =
            rows.into_iter().filter(|row| self.filter.as_ref().is_none_or(|f| f.fits(row))).collect();
        if let Some((field, down)) = &self.order {
            let of = |row: &Row| row.get(field).cloned().unwrap_or_default();
            rows.sort_by(|a, b| {
                let order = compare(&of(a), &of(b)).unwrap_or(std::cmp::Ordering::Equal);
                if *down { order.reverse() } else { order }
            });
        }
        let wanted: Vec<Row> =
            rows.into_iter().skip(self.skip).take(self.top.unwrap_or(usize::MAX)).collect();
        let next = (wanted.len() > self.token.saturating_add(page)).then_some(self.token + page);
        let rows = wanted.into_iter().skip(self.token).take(page);
        (rows.map(|row| self.project(class, row)).collect(), next)
    }

    fn project(&self, class: &Class, mut row: Row) -> Row {
        match &self.select {
            None => whole(class, row),
            Some(fields) => fields.iter().map(|f| (f.clone(), row.remove(f).unwrap_or_default())).collect(),
        }
    }
}

/// `{@odata.context, value:[…]}`, with `@odata.nextLink` if there is more.
pub(crate) fn page(origin: &str, class: &str, rows: Vec<Row>, next: Option<String>) -> Value {
    let mut body = json!({
        "@odata.context": format!("{origin}/AdminService/wmi/$metadata#{class}"),
        "value": rows,
    });
    if let Some(next) = next {
        body["@odata.nextLink"] = next.into();
    }
    body
}
