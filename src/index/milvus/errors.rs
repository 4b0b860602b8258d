//! What Milvus' own codes mean.

use crate::index::collection::CollectionError;

use super::messages::Status;

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

/// Whether it says that there is no index yet.
pub fn no_index(status: &Status) -> bool {
    status.code == 700 || (status.code == 0 && status.error_code == 11)
}

#[cfg(test)]
mod tests {
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
}
