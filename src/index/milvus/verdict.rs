//! What Milvus' own codes mean.

use crate::index::external::collection::CollectionError;

use super::messages::{Rows, Status};
use super::rows::longs;

/// How a call ended that Milvus answered. `None` is success.
pub fn judge(status: &Status) -> Option<CollectionError> {
    let Status { code, error_code, .. } = *status;
    let told_code = if code == 0 { error_code } else { code };
    let told = format!("{} (code {told_code})", status.reason.trim().replace('\n', " "));
    Some(match (code, error_code) {
        (0, 0) => return None,
        // Old servers tell the code that they had before, alone.
        (100, _) | (0, 4) => CollectionError::Missing(told),
        _ if status.retriable => CollectionError::Unavailable { reason: told, after: None },
        // 6 is milvus-lite's.
        (1100..=1199 | 6, _) | (0, 6) => CollectionError::OneRefused(format!("Milvus refused it: {told}")),
        (1400..=1499, _) => CollectionError::Fatal(format!(
            "{told}: check `index.api_key`, and that its user may create, load, read and write the collection"
        )),
        (800..=899, _) => CollectionError::Fatal(format!("{told}: create the database or correct `index.database`")),
        (101 | 103, _) => CollectionError::Unavailable {
            reason: format!("{told}: it is being loaded, or somebody released it; then load it or restart Vectide"),
            after: None,
        },
        // Among them is 65535, whatever has no code of its own: that may be a part of the server that is down, and no document shall leave
        // the index for it.
        _ => CollectionError::Unavailable { reason: told, after: None },
    })
}

/// Whether an upsert that Milvus answered with success wrote all of so many points. A server that does not count them would be asked
/// for ever, without ever saying why.
pub fn check_upserted(upserted: i64, points: usize) -> Result<(), CollectionError> {
    match usize::try_from(upserted) {
        Ok(upserted) if upserted >= points => Ok(()),
        Ok(0) => Err(CollectionError::Fatal(format!(
            "it answers a write of {points} points and counts none of them; Milvus 2.3 or later is needed"
        ))),
        _ => Err(CollectionError::Unavailable {
            reason: format!("it wrote {upserted} of {points} points, and did not say why"),
            after: None,
        }),
    }
}

/// How many rows an answer with success counted. A failed count is told with a code, so a server that says no number cannot count, and
/// asking again helps nobody.
pub fn counted(rows: &Rows) -> Result<u64, CollectionError> {
    match rows.columns.first().and_then(longs) {
        Some([count]) => Ok(u64::try_from(*count).unwrap_or_default()),
        _ => Err(CollectionError::Fatal(
            "it answers a count of its rows with no number; Milvus 2.3 or later is needed: check `index.url`"
                .to_owned(),
        )),
    }
}

/// Whether it says that there is no index yet.
pub fn no_index(status: &Status) -> bool {
    status.code == 700 || (status.code == 0 && status.error_code == 11)
}

/// Whether it says that the collection was released, or is not loaded yet, so that nothing of it can be read.
pub fn not_loaded(status: &Status) -> bool {
    matches!(status.code, 101 | 103)
}

#[cfg(test)]
mod tests {
    use crate::index::milvus::messages::{Column, FieldData, Longs, Scalar, Scalars};

    use super::*;

    fn verdict(code: i32, error_code: i32, retriable: bool) -> Option<CollectionError> {
        judge(&Status { code, error_code, retriable, reason: "because".into() })
    }

    #[test]
    fn codes_of_old_and_new_servers_are_told_apart_by_what_helps() {
        assert_eq!(verdict(0, 0, false), None);
        for (code, old) in [(100, 4), (100, 1), (0, 4)] {
            assert!(matches!(verdict(code, old, false), Some(CollectionError::Missing(_))), "{code} {old}");
        }
        for code in [1100, 1101, 6] {
            assert!(matches!(verdict(code, 1, false), Some(CollectionError::OneRefused(_))), "{code}");
            assert!(matches!(verdict(code, 1, true), Some(CollectionError::Unavailable { .. })), "{code}");
        }
        for code in [1, 2, 8, 9, 12, 101, 103, 4711, 65535] {
            assert!(matches!(verdict(code, 1, false), Some(CollectionError::Unavailable { .. })), "{code}");
        }
        for (code, hint) in [(1400, "index.api_key"), (800, "index.database")] {
            let Some(CollectionError::Fatal(text)) = verdict(code, 1, false) else { panic!("{code}") };
            assert!(text.starts_with("because (code ") && text.contains(hint), "{text}");
        }
    }

    #[test]
    fn a_count_is_one_number_and_a_server_that_says_none_is_told() {
        let answered = |counts: &[i64]| {
            let data = Some(Scalar::Longs(Longs { data: counts.to_vec() }));
            let column = FieldData { column: Some(Column::Scalars(Scalars { data })), ..FieldData::default() };
            counted(&Rows { columns: vec![column], ..Rows::default() })
        };
        assert_eq!([answered(&[0]), answered(&[7])], [Ok(0), Ok(7)]);
        for told in [answered(&[]), answered(&[1, 2]), counted(&Rows::default())] {
            assert!(matches!(&told, Err(CollectionError::Fatal(text)) if text.contains("Milvus 2.3")), "{told:?}");
        }
    }

    #[test]
    fn a_collection_that_is_not_loaded_is_told_from_one_that_cannot_be_asked() {
        let is = |code| not_loaded(&Status { code, error_code: 1, retriable: true, reason: String::new() });
        assert_eq!([101, 103].map(is), [true; 2]);
        assert_eq!([0, 1, 100, 102, 65535].map(is), [false; 5]);
    }

    #[test]
    fn an_upsert_is_done_when_every_point_was_counted_and_a_server_that_counts_none_is_told() {
        for upserted in [3, 4] {
            assert_eq!(check_upserted(upserted, 3), Ok(()));
        }
        for upserted in [2, -1] {
            let told = check_upserted(upserted, 3);
            let words = format!("{upserted} of 3");
            let expected = matches!(&told, Err(CollectionError::Unavailable { reason, .. }) if reason.contains(&words));
            assert!(expected, "{told:?}");
        }
        let told = check_upserted(0, 3);
        assert!(matches!(&told, Err(CollectionError::Fatal(text)) if text.contains("Milvus 2.3")), "{told:?}");
    }
}
