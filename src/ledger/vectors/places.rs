//! Where the database says that vectors lie.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use crate::document::Fingerprint;

use super::bloom::BloomFilter;
use super::file::recorded;
use super::segment::{self, Segment};
use super::slots::{Place, Slot};
use crate::ledger::error::{LedgerErrorKind, Trouble};

/// How many segments there are.
pub(super) fn segments(connection: &Connection) -> rusqlite::Result<Segment> {
    Ok(recorded(connection)?.map_or(0, |recorded| segment::of(recorded.next) + 1))
}

/// Fills the filter anew.
pub(super) fn fill_filter(connection: &Connection, bloom: &BloomFilter) -> Result<(), Trouble> {
    let end = segments(connection)?;
    let fresh = BloomFilter::default();
    let mut select = connection.prepare("SELECT key FROM vectors")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (segment, prefix) = segment::parts(row.get(0)?);
        if segment >= end {
            // The filter would grow up to it.
            let message = "a vector has the key of a slot that was never used: put the files of the folder back from one copy, or \
                           move the folder away and run again to build the index anew (its texts are embedded again)";
            return Err(Trouble::Known(LedgerErrorKind::Corrupt, message.to_owned()));
        }
        fresh.add(prefix, segment);
    }
    bloom.replace(fresh);
    Ok(())
}

/// A place from two columns, `vectors.id` and `vectors.fingerprint`.
pub(in crate::ledger) fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { slot: row.get::<_, i64>(0)?.cast_unsigned(), text: Fingerprint::from_bytes(row.get(1)?) })
}

/// The slot of a text in one segment, for [`find`].
pub(super) const FIND: &str = "SELECT id FROM vectors WHERE key = ?1 AND fingerprint = ?2";

pub(super) fn find(
    select: &mut CachedStatement<'_>,
    text: &Fingerprint,
    segments: impl IntoIterator<Item = Segment>,
) -> rusqlite::Result<Option<Place>> {
    let prefix = segment::prefix(text);
    let mut found = segments.into_iter().filter_map(|segment| {
        select.query_row(params![segment::key(segment, prefix), text.as_bytes()], slot).optional().transpose()
    });
    Ok(found.next().transpose()?.map(|slot| Place { slot, text: *text }))
}

pub(super) fn slot(row: &Row<'_>) -> rusqlite::Result<Slot> {
    row.get(0).map(i64::cast_unsigned)
}
