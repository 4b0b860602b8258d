//! What becomes of records that cannot be used.

use crate::shop::{Shop, assert_same, sample, truth_of_events};

#[test]
fn two_broken_lines_go_to_the_dead_letters_and_stop_nothing() {
    let mut shop = Shop::opened();
    shop.read("events", &sample("events.jsonl"));
    shop.run_until_idle();
    let letters = shop.dead_letters();
    assert_eq!(letters.len(), 2, "{letters:?}");
    for letter in &letters {
        assert_eq!(letter["source"], "events");
        for name in ["id", "position", "reason", "attempts", "at"] {
            assert!(!letter[name].is_null(), "{name} is missing: {letter}");
        }
    }
    let reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("product_id")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("JSON")), "{reasons:?}");
    assert_same(&shop.documents(), &truth_of_events());
}

#[test]
fn dead_letters_are_not_counted_again_when_the_run_is_repeated() {
    let mut shop = Shop::new();
    shop.read("events", &sample("events.jsonl"));
    shop.run_until_idle();
    let letters = shop.dead_letters();
    shop.run_until_idle();
    assert_eq!(shop.dead_letters(), letters);
    assert_eq!(shop.stats()["dead_letters"], 2);
}
