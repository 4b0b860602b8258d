//! What the records of one partition have in common, and the versions that their order gives them.

use std::sync::Arc;

use super::lines::Cut;
use super::{Partition, Position, Record};
use crate::document::Version;

/// More records than may be on their way, and less than a millisecond as a version.
const ON_THE_WAY: i64 = 500_000;

/// The version of this record of a partition whose first one comes after `base`.
pub(super) fn version(base: i64, ordinal: u64) -> i64 {
    base.saturating_add(i64::try_from(ordinal).unwrap_or(i64::MAX))
}

/// A version behind all of a partition that was ever read, of which some may have been on its way and written when the process was killed.
/// `ordinal`: of the last record of it that was committed.
pub(super) fn behind(base: i64, ordinal: u64) -> i64 {
    version(base, ordinal).saturating_add(ON_THE_WAY)
}

/// What the records of one partition have in common.
pub(super) struct Place {
    /// The partition.
    pub partition: Arc<Partition>,
    /// The version before the first record, in nanoseconds.
    pub base: i64,
}

impl Place {
    /// What was cut out, as a record, with the place in the source's own order that its line gives it.
    pub fn record(&self, cut: Cut) -> Record {
        let position = Position { partition: Arc::clone(&self.partition), offset: cut.end, ordinal: cut.line };
        let version = Version::from_nanos(version(self.base, cut.line).into());
        match cut.broken {
            None => Record::new(cut.bytes, position, version),
            Some(reason) => Record::broken(cut.bytes, position, version, reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn no_record_has_a_version_that_is_not_behind_when_its_partition_is() {
        for base in [0, i64::MAX - 1] {
            let partition = Arc::new(Partition { name: "a".to_owned(), detail: String::new() });
            let cut = Cut { bytes: Bytes::new(), end: 9, ending: 0, line: 7, broken: None };
            let record = Place { partition, base }.record(cut);
            assert!(record.version.as_nanos() <= i128::from(behind(base, 7)), "{base}");
        }
    }
}
