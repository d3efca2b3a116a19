//! How rows become pages, the same in every backend.

use crate::model::query::{DEFAULT_LIMIT, MAX_LIMIT, Page};

/// How many rows a page may hold when `asked` for so many.
pub(super) fn page_limit(asked: usize) -> usize {
    if asked == 0 { DEFAULT_LIMIT } else { asked.min(MAX_LIMIT) }
}

/// Makes a page of at most `limit` from rows of which one more was asked for.
pub(super) fn page<T>(mut rows: Vec<(i64, T)>, limit: usize) -> Page<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(number, _)| number.to_string());
    Page { items: rows.into_iter().map(|(_, item)| item).collect(), next }
}
