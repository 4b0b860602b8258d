//! Some rows at a time, bounded in bytes as well as in number.

use super::error::Trouble;

/// A limit for SQL; `-1` would mean none, so the largest stands for that.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The first of these: as many as have no more than `max_bytes` together, and one in any case.
pub(super) fn within<T>(
    max_bytes: usize,
    rows: impl Iterator<Item = Result<T, Trouble>>,
    bytes: impl Fn(&T) -> usize,
) -> Result<Vec<T>, Trouble> {
    let mut page = Vec::new();
    let mut room = max_bytes;
    for next in rows {
        let next = next?;
        match room.checked_sub(bytes(&next)) {
            Some(left) => room = left,
            None if page.is_empty() => room = 0,
            None => break,
        }
        page.push(next);
    }
    Ok(page)
}
