//! Some rows at a time, bounded in bytes as well as in number.

use rusqlite::{Row, Rows};

use super::error::Trouble;

/// What `read` makes of these rows: as many as have no more than `max_bytes` together, and the first in any case.
pub(super) fn within<T>(
    max_bytes: usize,
    mut rows: Rows<'_>,
    read: impl Fn(&Row<'_>) -> Result<T, Trouble>,
    bytes: impl Fn(&T) -> usize,
) -> Result<Vec<T>, Trouble> {
    let mut page = Vec::new();
    let mut room = max_bytes;
    while let Some(row) = rows.next()? {
        let next = read(row)?;
        match room.checked_sub(bytes(&next)) {
            Some(left) => room = left,
            None if page.is_empty() => room = 0,
            None => break,
        }
        page.push(next);
    }
    Ok(page)
}
