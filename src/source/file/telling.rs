//! What is said of files that cannot be read. There may be as many of them as there are files, so only the first are named.

use std::fmt::Display;

use tracing::warn;

/// So many are named.
const NAMED: usize = 10;

/// Logs that a file cannot be read. So many others are known not to be.
pub(super) fn warn_of(reason: &str, others: usize) {
    match others {
        ..NAMED => warn!(reason, "a file cannot be read; going on with the others"),
        NAMED => warn!("more files cannot be read; they are counted and not named any more"),
        _ => {}
    }
}

/// These reasons in one text, if there are any.
pub(super) fn several<T: Display>(reasons: impl IntoIterator<Item = T>) -> Option<String> {
    let mut reasons = reasons.into_iter();
    let named: Vec<String> = reasons.by_ref().take(NAMED).map(|reason| reason.to_string()).collect();
    if named.is_empty() {
        return None;
    }
    let named = named.join("; ");
    Some(match reasons.count() {
        0 => named,
        more => format!("{named}; and {more} more"),
    })
}
