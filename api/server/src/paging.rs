//! Filtered pages over lists that the store cannot filter itself.
//!
//! # Guarantees
//! One request reads at most [`MAX_CALLS`] pages of the store. A filter that matches little gives a short, even empty,
//! page with a `next` that goes on from there; nothing is skipped and nothing is shown twice.

use trueup_engine::store::Page;

/// Pages of the store read for one answer.
const MAX_CALLS: usize = 200;

/// Collects up to `limit` items that `keep` lets through. `fetch(cursor, n)` reads one page of the store.
pub(crate) async fn filtered<T, E, F>(
    cursor: Option<String>,
    limit: usize,
    keep: impl Fn(&T) -> bool,
    mut fetch: impl FnMut(Option<String>, usize) -> F,
) -> Result<Page<T>, E>
where
    F: Future<Output = Result<Page<T>, E>>,
{
    let (mut items, mut cursor) = (Vec::new(), cursor);
    let mut missing: Vec<String> = Vec::new();
    for _ in 0..MAX_CALLS {
        // Never more than is still wanted, so that a page of the store is never cut in two.
        let page = fetch(cursor, limit - items.len()).await?;
        items.extend(page.items.into_iter().filter(&keep));
        for what in page.missing {
            if !missing.contains(&what) {
                missing.push(what);
            }
        }
        cursor = page.next;
        if cursor.is_none() || items.len() >= limit {
            break;
        }
    }
    Ok(Page { items, next: cursor, missing })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A store of the numbers below `n`; the cursor is the next number.
    async fn numbers(n: usize, cursor: Option<String>, limit: usize) -> Result<Page<usize>, Infallible> {
        let from: usize = cursor.map_or(0, |c| c.parse().unwrap());
        let to = n.min(from + limit);
        Ok(Page { items: (from..to).collect(), next: (to < n).then(|| to.to_string()), missing: Vec::new() })
    }

    #[tokio::test]
    async fn every_match_is_found_once_whatever_the_limit() {
        for limit in [1, 2, 3, 7, 100] {
            let (mut found, mut cursor, mut answers) = (Vec::new(), None, 0);
            loop {
                let page =
                    filtered(cursor, limit, |i| i % 7 == 3, |c, n| numbers(1_000, c, n)).await.unwrap();
                assert!(page.items.len() <= limit);
                found.extend(page.items);
                cursor = page.next;
                answers += 1;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, (0..1_000).filter(|i| i % 7 == 3).collect::<Vec<_>>(), "limit {limit}");
            assert!(answers < 1_000);
        }
    }

    #[tokio::test]
    async fn a_filter_that_matches_nothing_still_answers() {
        let mut calls = 0;
        let page = filtered(
            None,
            1,
            |_| false,
            |c, n| {
                calls += 1;
                numbers(1_000_000, c, n)
            },
        );
        let page = page.await.unwrap();
        assert!(page.items.is_empty() && page.next.is_some());
        assert_eq!(calls, MAX_CALLS);
    }
}
