//! Filters: a line of filter, a line of metadata.

use serde_json::{Value, json};
use vectide::index::Filter;
use vectide::testkit::hostile::attack;

#[test]
fn a_filter_is_told_wrong_or_keeps_the_rules_of_logic_on_any_metadata() {
    let some = [json!({}), json!(7), json!({"a": 1, "price": [49.5, "x"], "maker": {"a/b": 1}}), json!([null])];
    attack("filter", |input| {
        let mut lines = input.splitn(2, |byte| *byte == b'\n');
        let Ok(filter) = serde_json::from_slice::<Value>(lines.next().unwrap_or_default()) else { return };
        let sent = lines.next().and_then(|line| serde_json::from_slice::<Value>(line).ok());
        let read = match Filter::from_json(&filter) {
            Ok(read) => read,
            Err(reason) => return assert!(reason.starts_with("filter"), "{reason}"),
        };
        for metadata in some.iter().chain(&sent) {
            let matches = read.matches(metadata);
            let holds = |json: Value| Filter::from_json(&json).map(|filter| filter.matches(metadata));
            // One level more, or twice the conditions, may be one too many.
            for (json, expected) in [
                (json!({"not": filter}), !matches),
                (json!({"and": [filter, {}]}), matches),
                (json!({"or": [filter, {"not": {}}]}), matches),
                (json!({"or": [filter, {"not": filter}]}), true),
                (json!({"and": [filter, {"not": filter}]}), false),
            ] {
                match holds(json) {
                    Ok(found) => assert_eq!(found, expected),
                    Err(why) => assert!(
                        ["nested deeper than", "more than", "at most"].iter().any(|too| why.contains(too)),
                        "{why}"
                    ),
                }
            }
        }
    });
}
