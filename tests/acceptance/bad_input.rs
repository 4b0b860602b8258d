//! What becomes of records that cannot be used, and of what is around them.

use crate::shop::{Shop, assert_same, sample, text, truth_of_events};

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

#[test]
fn a_file_that_is_not_there_is_told_by_name() {
    let mut shop = Shop::new();
    shop.read("catalogue", &sample("no-such-file.jsonl"));
    let output = shop.attempt(&["run", "--until-idle"]);
    let told = text(&output.stderr);
    assert_ne!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("no-such-file.jsonl"), "{told}");
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let mut shop = Shop::new();
    shop.open_http();
    let mut first = shop.start();
    first.wait_until("everything is indexed", || shop.indexed_so_far() == 2000);

    shop.set("server.listen=127.0.0.1:0");
    let second = shop.attempt(&["run", "--until-idle"]);
    let told = text(&second.stderr);
    assert_ne!(second.status.code(), Some(0), "{told}");
    assert!(told.contains(&shop.state_folder().display().to_string()), "the folder should be named: {told}");
}
