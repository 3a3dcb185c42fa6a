//! Intents, tenant by tenant, for callers who do not see all of them.
//!
//! # Guarantees
//! A cursor names an intent; here it never names one of a tenant that the caller did not ask for or may not see. Nothing else
//! is read than what is of their tenants, however many others there are. One that is no cursor of a list of intents is refused with
//! 400, whoever sends it.

use std::collections::BTreeSet;

use trueup_engine::store::{Page, Store};
use trueup_model::{IntentKey, IntentRecord};

use crate::Problem;
use crate::identity::Access;
use crate::params::NO_CURSOR;
use crate::problem::Flaw;

/// The tenants to be listed; all of them if it is `None`.
pub(super) type Scope = Option<BTreeSet<String>>;

/// What a list is about: the tenant that was asked for, else those that the caller's grants name.
pub(super) fn scope(access: &Access, asked_for: Option<&str>) -> Scope {
    let mine = access.tenants();
    match (asked_for, mine) {
        (Some(one), Some(mine)) => Some(mine.into_iter().filter(|t| t == one).collect()),
        (Some(one), None) => Some(BTreeSet::from([one.to_owned()])),
        (None, mine) => mine,
    }
}

/// Where the intents of a tenant begin in a partition: no id is below.
fn beginning(p: u16, tenant: &str) -> String {
    format!("{p}:{tenant}/-")
}

/// The partition and the name in a cursor; the name is empty where a partition begins.
fn read(cursor: &str) -> Result<(u16, &str), Problem> {
    let parts = cursor.split_once(':').and_then(|(p, name)| Some((p.parse().ok()?, name)));
    parts
        .filter(|(_, name)| name.is_empty() || name.contains('/'))
        .ok_or_else(|| Problem::parameters(vec![Flaw::new("?cursor", NO_CURSOR)]))
}

/// One page, as [`Store::list_intents`] gives it.
pub(super) async fn list_intents(
    store: &dyn Store,
    scope: &Scope,
    cursor: Option<String>,
    limit: usize,
) -> Result<Page<IntentRecord>, Problem> {
    let given = cursor.as_deref().map(read).transpose()?;
    let Some(tenants) = scope else { return Ok(store.list_intents(cursor.as_deref(), limit).await?) };
    let (p, tenant, from) = match given {
        None => {
            let Some(first) = tenants.first() else { return Ok(none()) };
            (0, first.as_str(), beginning(0, first))
        }
        Some((p, name)) => {
            // Only our own cursors lead on.
            let named = name.split_once('/').and_then(|(named, _)| tenants.get(named));
            let Some(tenant) = named else { return Ok(none()) };
            (p, tenant.as_str(), format!("{p}:{name}"))
        }
    };
    let partitions = store.partitions();
    let page = store.list_intents(Some(&from), limit).await?;
    let here = |key: &IntentKey| key.tenant == tenant && key.partition(partitions).0 == p;
    let all = page.items.len();
    let items: Vec<IntentRecord> = page.items.into_iter().take_while(|r| here(&r.intent.key)).collect();
    let goes_on = page.next.filter(|c| items.len() == all && c.starts_with(&format!("{p}:{tenant}/")));
    let next = goes_on.or_else(|| {
        if p.saturating_add(1) < partitions {
            return Some(beginning(p + 1, tenant));
        }
        tenants.iter().find(|t| t.as_str() > tenant).map(|t| beginning(0, t))
    });
    Ok(Page { items, next, missing: page.missing })
}

fn none() -> Page<IntentRecord> {
    Page { items: Vec::new(), next: None, missing: Vec::new() }
}
