//! Dashboards as files: what every one has, and the queries in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr, LabelModifier};
use serde_json::Value;

use crate::programs::{PROMTOOL, program};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana")
}

/// All of them, by file name.
pub(crate) fn all() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(folder()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let read = |path: PathBuf| {
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name").to_owned();
        let text = std::fs::read_to_string(&path).expect("readable");
        (name, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    };
    files.filter(|path| path.extension().is_some_and(|e| e == "json")).map(read).collect()
}

fn list<'a>(of: &'a Value, pointer: &str) -> &'a [Value] {
    of.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// With values for Grafana's variables.
fn filled(promql: &str) -> String {
    let mut text = promql.replace("$__rate_interval", "5m").replace("$__range", "1h");
    for variable in ["tenant", "plane", "queue", "connection", "http_route"] {
        text = text.replace(&format!("${variable}"), ".*");
    }
    assert!(!text.contains('$'), "a variable that is not known: {promql}");
    text
}

/// Where a query stands, and the query with its variables filled in.
pub(crate) fn queries() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (file, board) in all() {
        for panel in list(&board, "/panels") {
            let title = panel["title"].as_str().unwrap_or_default();
            for target in list(panel, "/targets") {
                let promql = target["expr"].as_str().expect("a query");
                found.push((format!("{file}: {title}"), filled(promql)));
            }
        }
        for note in list(&board, "/annotations/list") {
            found.push((format!("{file}: annotation"), filled(note["expr"].as_str().expect("a query"))));
        }
    }
    found
}

/// Names of metrics, each with the labels that are asked of it, with their value where it must be just that.
#[derive(Debug, Default)]
pub(crate) struct Asked(pub(crate) Vec<(String, BTreeMap<String, Option<String>>)>);

impl Asked {
    pub(crate) fn of(promql: &str) -> Self {
        let mut asked = Self::default();
        let expr = parser::parse(promql).unwrap_or_else(|e| panic!("{promql}: {e}"));
        asked.walk(&expr, &BTreeSet::new());
        asked
    }

    /// `by`: labels that aggregations around it keep.
    fn walk(&mut self, expr: &Expr, by: &BTreeSet<String>) {
        match expr {
            Expr::Aggregate(e) => {
                let mut inner = by.clone();
                if let Some(LabelModifier::Include(labels)) = &e.modifier {
                    inner = labels.labels.iter().cloned().collect();
                }
                self.walk(&e.expr, &inner);
            }
            Expr::Unary(e) => self.walk(&e.expr, by),
            Expr::Paren(e) => self.walk(&e.expr, by),
            Expr::Subquery(e) => self.walk(&e.expr, by),
            Expr::Binary(e) => [&e.lhs, &e.rhs].into_iter().for_each(|side| self.walk(side, by)),
            Expr::Call(e) => e.args.args.iter().for_each(|arg| self.walk(arg, by)),
            Expr::MatrixSelector(e) => self.selector(&e.vs, by),
            Expr::VectorSelector(e) => self.selector(e, by),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    fn selector(&mut self, selector: &parser::VectorSelector, by: &BTreeSet<String>) {
        let name = selector.name.clone().expect("a selector names its metric");
        let mut labels: BTreeMap<String, Option<String>> = by.iter().map(|l| (l.clone(), None)).collect();
        for matcher in &selector.matchers.matchers {
            let exact = matches!(matcher.op, MatchOp::Equal).then(|| matcher.value.clone());
            labels.insert(matcher.name.clone(), exact);
        }
        self.0.push((name, labels));
    }

    /// Metrics and labels of the lists that variables are chosen from.
    pub(crate) fn of_variables() -> Vec<(String, String)> {
        let mut found = Vec::new();
        for board in all().values() {
            for variable in list(board, "/templating/list").iter().filter(|v| v["type"] == "query") {
                let query = variable.pointer("/query/query").and_then(Value::as_str).expect("a query");
                let inside = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')'));
                let (metric, label) =
                    inside.and_then(|i| i.split_once(", ")).expect("label_values(metric, label)");
                assert_eq!(variable["name"], label, "a variable is called as its label");
                found.push((metric.to_owned(), label.to_owned()));
            }
        }
        found
    }
}

#[test]
fn selectors_are_found_with_their_labels_and_values() {
    let asked = Asked::of("sum by (x) (rate(a_total{k=\"v\", r=~\"z.*\"}[5m])) / (max(b) > 0) or vector(0)");
    let shown = format!("{:?}", asked.0);
    let expected = r#"[("a_total", {"k": Some("v"), "r": None, "x": None}), ("b", {})]"#;
    assert_eq!(shown, expected);
}

#[test]
fn every_dashboard_can_be_read_and_imported() {
    let all = all();
    assert_eq!(all.len(), 4, "{:?}", all.keys());
    let mut uids = BTreeSet::new();
    for (file, board) in &all {
        let uid = board["uid"].as_str().expect("a uid");
        assert_eq!(format!("{uid}.json"), *file);
        assert!(uids.insert(uid), "{uid} twice");
        for field in ["title", "description"] {
            assert!(board[field].as_str().is_some_and(|t| !t.is_empty()), "{file}: {field}");
        }
        assert!(board.get("id").is_none(), "{file}: an id is one Grafana's own");
        let source = list(board, "/templating/list").iter().find(|v| v["type"] == "datasource");
        assert_eq!(source.expect("a variable for the data source")["name"], "datasource", "{file}");
        let mut ids = BTreeSet::new();
        let panels = list(board, "/panels");
        assert!(panels.len() > 5, "{file}");
        for panel in panels {
            let title = panel["title"].as_str().expect("a title");
            assert!(
                ids.insert(panel["id"].as_u64().expect("an id")),
                "{file}: {title}: its id is another's too"
            );
            let (x, w) = (panel["gridPos"]["x"].as_u64(), panel["gridPos"]["w"].as_u64());
            assert!(x.zip(w).is_some_and(|(x, w)| x + w <= 24), "{file}: {title}: off the grid");
            if panel["type"] == "row" {
                continue;
            }
            let described =
                panel["description"].as_str().is_some_and(|t| t.ends_with(['.', '`']) && t.len() > 5);
            assert!(described, "{file}: {title}: what it shows");
            let unit = panel.pointer("/fieldConfig/defaults/unit").and_then(Value::as_str);
            assert!(unit.is_some_and(|u| !u.is_empty()), "{file}: {title}: its unit");
            let targets = list(panel, "/targets");
            assert!(!targets.is_empty(), "{file}: {title}: nothing is asked");
            for source in targets.iter().chain([panel]).map(|t| &t["datasource"]["uid"]) {
                assert_eq!(source, "${datasource}", "{file}: {title}");
            }
        }
    }
    assert!(queries().len() > 40);
}

#[test]
fn the_data_sources_lead_to_one_another() {
    let text = std::fs::read_to_string(folder().join("provisioning/trueup.yaml")).expect("readable");
    let config: Value = serde_saphyr::from_str(&text).expect("YAML");
    let sources = list(&config, "/datasources");
    let uids: BTreeSet<&str> = sources.iter().filter_map(|s| s["uid"].as_str()).collect();
    assert_eq!(uids.len(), sources.len());
    let mut led = 0;
    for source in sources {
        for pointer in [
            "/jsonData/exemplarTraceIdDestinations/0/datasourceUid",
            "/jsonData/tracesToLogsV2/datasourceUid",
            "/jsonData/derivedFields/0/datasourceUid",
        ] {
            let Some(uid) = source.pointer(pointer) else { continue };
            assert!(uid.as_str().is_some_and(|uid| uids.contains(uid)), "{pointer}: {uid}");
            led += 1;
        }
    }
    assert_eq!(led, 3, "from numbers to traces, from traces to lines, from lines to traces");
}

#[test]
fn promtool_parses_every_query() {
    let Some(promtool) = program(PROMTOOL) else { return };
    let rules: Vec<Value> = queries()
        .iter()
        .enumerate()
        .map(|(n, (_, expr))| serde_json::json!({"record": format!("q{n}"), "expr": expr}))
        .collect();
    let file = serde_json::json!({"groups": [{"name": "dashboards", "rules": rules}]});
    let dir = tempfile::tempdir().expect("a directory");
    // JSON is YAML.
    let path = dir.path().join("rules.yml");
    std::fs::write(&path, file.to_string()).expect("written");
    let out = Command::new(promtool).args(["check", "rules"]).arg(&path).output().expect("promtool runs");
    let said = [out.stdout, out.stderr].map(|t| String::from_utf8_lossy(&t).into_owned()).join("\n");
    assert!(out.status.success() && said.contains("SUCCESS"), "{said}");
}
