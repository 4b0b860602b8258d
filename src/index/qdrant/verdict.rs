//! What Qdrant's answers mean.

use tonic::{Code, Status};

use crate::index::external::collection::CollectionError;
use crate::index::external::grpc;

use super::messages::{COMPLETED, Update};

/// What a status means.
pub fn judge(status: &Status) -> CollectionError {
    match status.code() {
        // Of the points whose metadata was to be replaced, one was deleted after it had been seen.
        Code::NotFound if status.message().contains("No point with id") => {
            CollectionError::Unavailable { reason: grpc::told(status), after: None }
        }
        _ => grpc::judge(status, "Qdrant"),
    }
}

/// A write that was waited for is done only when it says so: it may also have stopped waiting, or kept to a newer clock.
pub fn check_applied(updates: impl IntoIterator<Item = Option<Update>>) -> Result<(), CollectionError> {
    let open = updates.into_iter().map(|update| update.unwrap_or_default().status).find(|status| *status != COMPLETED);
    open.map_or(Ok(()), |status| {
        let reason = format!("it took a write and has not done it (status {status})");
        Err(CollectionError::Unavailable { reason, after: None })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_done_when_every_part_of_it_is_completed() {
        let update = |status| Some(Update { status });
        assert_eq!(check_applied([update(COMPLETED), update(COMPLETED)]), Ok(()));
        for open in [update(1), update(3), None] {
            let told = check_applied([update(COMPLETED), open]);
            assert!(matches!(told, Err(CollectionError::Unavailable { .. })), "{told:?}");
        }
    }
}
