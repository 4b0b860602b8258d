//! What is left when the process ends before its work does, and what can be done while it runs.

use crate::shop::{Shop, assert_same, catalogue, sample, truth_of_events};

#[test]
fn killed_in_the_middle_and_started_again_it_ends_in_the_same_index() {
    let mut shop = Shop::new();
    shop.read("events", &sample("events.jsonl"));
    for kill_at in [1, 500, 1000, 1500] {
        let mut run = shop.start();
        run.wait_until("some documents are indexed", || shop.indexed_so_far() >= kill_at);
        run.kill();
    }
    shop.run_until_idle();
    assert_same(&shop.documents(), &truth_of_events());
    assert_eq!(shop.dead_letters().len(), 2);
}

#[cfg(unix)]
#[test]
fn told_to_stop_with_nothing_left_to_do_it_ends_with_0() {
    let mut shop = Shop::opened();
    let product = serde_json::json!({
        "type": "product_create", "product_id": "N1", "title": "Sign", "description": "A sign that the run is up.",
        "timestamp": 1_780_000_000_000_i64,
    });
    shop.read("sign", &shop.file("sign.jsonl", &[product]));
    let mut run = shop.start();
    run.wait_until("the new product is indexed", || shop.indexed_so_far() == 2001);
    assert_eq!(run.terminate(), Some(0));
    assert_eq!(shop.documents().len(), 2001);
}

#[test]
fn search_and_get_work_while_it_runs() {
    let shop = Shop::new();
    let mut run = shop.start();
    run.wait_until("everything is indexed", || shop.indexed_so_far() == 2000);
    let hits = shop.hits("search", "something dry for my feet in the rain", "1");
    assert_eq!(hits[0]["metadata"]["category"], "Outdoor footwear");
    let product = &catalogue()[0];
    let shown = shop.vectide(&["get", product["product_id"].as_str().unwrap()]);
    assert!(shown.contains(product["title"].as_str().unwrap()), "{shown}");
}
