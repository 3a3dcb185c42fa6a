//! Intents, tenant by tenant, for callers who do not see all of them.
//!
//! # Guarantees
//! A cursor names an intent; here it never names one of a tenant that the caller did not ask for or may not see. Nothing else
//! is read than what is of their tenants, however many others there are.

use std::collections::BTreeSet;

use trueup_engine::EngineError;
use trueup_engine::store::{Page, Store};
use trueup_model::{IntentKey, IntentRecord};

use crate::identity::Access;

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

/// One page, as [`Store::list_intents`] gives it.
pub(super) async fn list_intents(
    store: &dyn Store,
    scope: &Scope,
    cursor: Option<String>,
    limit: usize,
) -> Result<Page<IntentRecord>, EngineError> {
    let Some(tenants) = scope else { return store.list_intents(cursor.as_deref(), limit).await };
    let wrong = |c: &str| EngineError::Refused(format!("'{c}' is not a cursor from a page of intents"));
    let (p, tenant, from) = match cursor {
        None => {
            let Some(first) = tenants.first() else { return Ok(none()) };
            (0, first.as_str(), beginning(0, first))
        }
        Some(cursor) => {
            let (p, name) = cursor.split_once(':').ok_or_else(|| wrong(&cursor))?;
            let p: u16 = p.parse().map_err(|_| wrong(&cursor))?;
            let (named, _) = name.split_once('/').ok_or_else(|| wrong(&cursor))?;
            // Only our own cursors lead on.
            let Some(tenant) = tenants.get(named) else { return Ok(none()) };
            (p, tenant.as_str(), cursor)
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
