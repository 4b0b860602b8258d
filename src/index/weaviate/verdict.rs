//! What Weaviate's answers mean, of GraphQL and of gRPC, which has few codes and many words.

use serde_json::Value;
use tonic::Status;

use crate::http_client::shown;
use crate::index::external::collection::CollectionError;
use crate::index::external::grpc;

use super::messages::{BatchDeleteReply, BatchError, BatchObjectsReply};

/// How many objects of the class were counted by GraphQL; `None` where it is switched off, which is told with 422, or kept from us, by a
/// proxy, say. Nothing but the count needs it, and a wrong key was told by the calls before.
pub fn counted(answer: Result<Value, CollectionError>, class: &str) -> Result<Option<u64>, CollectionError> {
    let answer = match answer {
        Err(CollectionError::OneRefused(_) | CollectionError::Missing(_) | CollectionError::Fatal(_)) => {
            return Ok(None);
        }
        answer => answer?,
    };
    match answer.pointer(&format!("/data/Aggregate/{class}/0/meta/count")).and_then(Value::as_u64) {
        Some(count) => Ok(Some(count)),
        // What fails in it is answered with success too.
        None => {
            let why = answer.pointer("/errors/0/message").and_then(Value::as_str).unwrap_or("it did not say why");
            let reason = format!("it did not count its objects: {}", shown(why, None));
            Err(CollectionError::Unavailable { reason, after: None })
        }
    }
}

/// What a status of gRPC means. Nearly all of them have the code UNKNOWN, and only their words tell.
pub fn judge_grpc(status: &Status) -> CollectionError {
    let says = |words: &str| status.message().contains(words);
    if says("could not find class") {
        return CollectionError::Missing(grpc::told(status));
    }
    if says("unauthorized") || says("forbidden") {
        return CollectionError::Fatal(format!(
            "Weaviate does not accept the key, or the key may not do this; check `index.api_key`: {}",
            grpc::told(status)
        ));
    }
    if says("unknown filter operator") {
        return CollectionError::OneRefused(format!("the filter needs Weaviate 1.33 or later: {}", grpc::told(status)));
    }
    grpc::judge(status, "Weaviate")
}

/// The points whose objects failed, by their `places` in the call, with the reasons.
pub fn failures(reply: BatchObjectsReply, places: &[usize]) -> Result<Vec<(usize, String)>, CollectionError> {
    let failed = reply.errors.into_iter().map(|BatchError { index, error }| {
        match usize::try_from(index).ok().and_then(|index| places.get(index)) {
            Some(place) => Ok((*place, error)),
            // Passed over, a point that is not there would be taken for written.
            None => Err(CollectionError::Unavailable {
                reason: format!("of {} objects it says that number {index} failed: {error}", places.len()),
                after: None,
            }),
        }
    });
    failed.collect()
}

/// Whether all objects that were to go and were there are gone. The server deletes no more at once than it was told to, and reports those
/// beyond as matches that neither failed nor succeeded.
pub fn check_deleted(reply: &BatchDeleteReply) -> Result<(), CollectionError> {
    let BatchDeleteReply { failed, matches, successful } = *reply;
    if failed > 0 || successful < matches {
        return Err(CollectionError::Unavailable {
            reason: format!("it deleted {successful} of {matches} objects, and {failed} could not be deleted"),
            after: None,
        });
    }
    Ok(())
}

/// Whether an object failed for what it is, and would again. Everything that is in it was checked before, so this is rare.
pub fn is_of_the_object(error: &str) -> bool {
    const SIGNS: [&str; 5] = ["invalid", "data type", "no such prop", "key too", "exceeds maximum"];
    is_kept(error) || has_one_of(error, &SIGNS)
}

/// Whether the server keeps the object all the same, and searches fail for it.
pub fn is_kept(error: &str) -> bool {
    has_one_of(error, &["vector lengths", "dimension"])
}

fn has_one_of(error: &str, signs: &[&str]) -> bool {
    let error = error.to_lowercase();
    signs.iter().any(|sign| error.contains(sign))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;
    use serde_json::json;

    use crate::http_client::Answer;
    use crate::index::external::http;

    use super::*;

    #[test]
    fn a_count_that_is_kept_from_us_stops_nothing() {
        for status in [401, 403, 404, 405, 422, 302] {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: b"no".to_vec(),
            };
            let told = Err(http::judge(&answer, "Weaviate", None, SystemTime::UNIX_EPOCH));
            assert_eq!(counted(told, "C"), Ok(None), "{status}");
        }
    }

    #[test]
    fn a_count_that_failed_is_not_taken_for_a_server_that_cannot_count() {
        let answered = |answer: Value| counted(Ok(answer), "C");
        assert_eq!(answered(json!({"data": {"Aggregate": {"C": [{"meta": {"count": 7}}]}}})), Ok(Some(7)));
        assert_eq!(counted(Err(CollectionError::OneRefused("graphql api is disabled".into())), "C"), Ok(None));
        let down = CollectionError::Unavailable { reason: "down".into(), after: None };
        assert_eq!(counted(Err(down.clone()), "C"), Err(down));
        let failed = json!({"data": {"Aggregate": {"C": null}}, "errors": [{"message": "context deadline exceeded"}]});
        for (answer, said) in [(failed, "context deadline exceeded"), (json!({}), "did not say why")] {
            let told = answered(answer);
            assert!(
                matches!(&told, Err(CollectionError::Unavailable { reason, .. }) if reason.contains(said)),
                "{told:?}"
            );
        }
    }

    #[test]
    fn the_words_of_a_status_tell_what_it_means() {
        let judged = |words: &str| judge_grpc(&Status::unknown(words));
        assert!(matches!(judged("could not find class X in schema"), CollectionError::Missing(_)));
        assert!(matches!(judged("extract auth: unauthorized: invalid api key"), CollectionError::Fatal(_)));
        assert!(matches!(judged("rbac: forbidden"), CollectionError::Fatal(_)));
        assert!(
            matches!(judged("unknown filter operator 15"), CollectionError::OneRefused(text) if text.contains("1.33"))
        );
        assert!(matches!(judged("shard is busy"), CollectionError::Unavailable { .. }));
    }

    #[test]
    fn a_failure_is_of_the_point_that_was_sent_there_and_none_is_passed_over() {
        let reply = |index| BatchObjectsReply { errors: vec![BatchError { index, error: "why".to_owned() }] };
        assert_eq!(failures(reply(1), &[3, 7]), Ok(vec![(7, "why".to_owned())]));
        for index in [2, -1] {
            let told = failures(reply(index), &[3, 7]);
            assert!(
                matches!(&told, Err(CollectionError::Unavailable { reason, .. }) if reason.contains("why")),
                "{told:?}"
            );
        }
    }

    #[test]
    fn only_what_the_server_keeps_of_a_failed_object_is_to_be_deleted() {
        for (error, of_the_object, kept) in [
            ("vector lengths don't match: 16 vs 3", true, true),
            ("new node has a vector with dimension 3", true, true),
            ("invalid text property 'price'", true, false),
            ("shard is read-only", false, false),
            ("context deadline exceeded", false, false),
        ] {
            assert_eq!((is_of_the_object(error), is_kept(error)), (of_the_object, kept), "{error}");
        }
    }

    #[test]
    fn objects_are_deleted_when_as_many_went_as_were_there() {
        let deleted = |failed, matches, successful| check_deleted(&BatchDeleteReply { failed, matches, successful });
        for (matches, successful) in [(0, 0), (3, 3)] {
            assert_eq!(deleted(0, matches, successful), Ok(()));
        }
        for (failed, matches, successful) in [(1, 3, 2), (0, 3, 2), (0, 1, 0), (1, 0, 0)] {
            let told = deleted(failed, matches, successful);
            assert!(
                matches!(&told, Err(CollectionError::Unavailable { reason, .. }) if reason.contains(&format!("{successful} of {matches}"))),
                "{told:?}"
            );
        }
    }
}
