//! What happens to the index when the data changes, and what it costs.

use serde_json::{Value, json};

use crate::shop::{Shop, assert_same, catalogue, sample, text, truth_of_events};

#[test]
fn later_events_bring_the_index_to_the_truth_and_cost_nothing_twice() {
    let mut shop = Shop::opened();
    shop.read("events", &sample("events.jsonl"));
    shop.run_until_idle();
    assert_same(&shop.documents(), &truth_of_events());
    assert_eq!(shop.stats()["documents"], truth_of_events().len());

    let sent = shop.texts_sent();
    shop.run_until_idle();
    assert_eq!(shop.texts_sent(), sent);
    assert_same(&shop.documents(), &truth_of_events());
}

#[test]
fn catalogue_and_events_read_at_the_same_time_come_to_the_same_truth() {
    let mut shop = Shop::new();
    shop.read("events", &sample("events.jsonl"));
    shop.run_until_idle();
    assert_same(&shop.documents(), &truth_of_events());
}

#[test]
fn lists_of_prices_and_of_what_is_gone_need_no_kind_of_event() {
    let mut shop = Shop::new();
    shop.set("document={id: sku, version: updated, text: '{{ title }}', metadata: [price]}");
    let product =
        |sku: &str, price: u32| json!({"sku": sku, "title": format!("Boots {sku}"), "price": price, "updated": 1});
    shop.read("catalogue", &shop.file("products.jsonl", &[product("a", 10), product("b", 20), product("c", 30)]));
    shop.read("prices", &shop.file("prices.jsonl", &[json!({"sku": "a", "price": 9, "updated": 2})]));
    shop.set("sources.prices.operation=patch");
    shop.read("gone", &shop.file("gone.jsonl", &[json!({"sku": "b", "updated": 2})]));
    shop.set("sources.gone.operation=delete");
    shop.run_until_idle();
    let prices = |shop: &Shop| {
        shop.exported()
            .into_iter()
            .map(|(id, document)| (id, document["metadata"]["price"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(prices(&shop), [("a".to_owned(), json!(9)), ("c".to_owned(), json!(30))]);
    let sent = shop.texts_sent();

    shop.file("prices.jsonl", &[json!({"sku": "c", "price": 29, "updated": 3})]);
    shop.run_until_idle();
    assert_eq!(prices(&shop), [("a".to_owned(), json!(9)), ("c".to_owned(), json!(29))]);
    assert_eq!(shop.texts_sent(), sent);

    // A catalogue that lacks the column of a list.
    shop.set("sources.catalogue.operation=patch");
    shop.file(
        "products.jsonl",
        &["a", "c"].map(|sku| json!({"sku": sku, "title": format!("Boots {sku}"), "updated": 4})),
    );
    shop.run_until_idle();
    assert_eq!(prices(&shop), [("a".to_owned(), json!(9)), ("c".to_owned(), json!(29))]);
    assert_eq!(shop.texts_sent(), sent);
}

#[test]
fn events_read_before_the_catalogue_come_to_the_same_truth() {
    let mut shop = Shop::new();
    shop.stop_reading("catalogue");
    shop.read("events", &sample("events.jsonl"));
    shop.run_until_idle();
    shop.read("catalogue", &sample("catalogue.jsonl"));
    shop.run_until_idle();
    assert_same(&shop.documents(), &truth_of_events());
}

#[test]
fn a_price_change_reaches_the_results_without_an_embedding() {
    let mut shop = shop_of(&[boots(1)]);
    let sent = shop.texts_sent();
    follow_up(&mut shop, price(2, 49.5, json!(30)));
    let found = &shop.hits("search", "waterproof boots", "1")[0];
    assert_eq!(found["metadata"], json!({ "category": "Footwear", "price": 49.5, "discount_percentage": 30 }));
    assert_eq!(shop.texts_sent(), sent);
}

#[test]
fn a_discount_that_becomes_null_is_gone() {
    let mut shop = shop_of(&[boots(1), price(2, 49.5, json!(30))]);
    follow_up(&mut shop, price(3, 70.5, Value::Null));
    assert_eq!(shop.exported()["B1"]["metadata"], json!({ "category": "Footwear", "price": 70.5 }));
}

#[test]
fn a_price_waits_for_its_product() {
    let mut shop = shop_of(&[price(2, 49.5, json!(30))]);
    assert_eq!(shop.stats()["documents"], 0);
    follow_up(&mut shop, boots(1));
    assert_eq!(shop.exported()["B1"]["metadata"]["price"], 49.5);
}

#[test]
fn a_deleted_product_is_found_no_more_and_a_late_create_does_not_bring_it_back() {
    let mut shop = shop_of(&[boots(1)]);
    follow_up(&mut shop, json!({ "type": "product_delete", "product_id": "B1", "timestamp": at(5) }));
    assert!(shop.hits("search", "waterproof boots", "1").is_empty());

    shop.read("late", &shop.file("late.jsonl", &[boots(4)]));
    shop.run_until_idle();
    assert!(shop.hits("search", "waterproof boots", "1").is_empty());
}

#[test]
fn a_changed_file_is_read_again_and_only_its_changes_cost() {
    let mut shop = Shop::new();
    let mut products = catalogue();
    shop.read("catalogue", &shop.file("catalogue.jsonl", &products));
    shop.run_until_idle();
    let sent = shop.texts_sent();

    for product in &mut products[100..103] {
        product["description"] = json!(format!("Now in a box. {}", product["description"].as_str().unwrap()));
        product["timestamp"] = json!(product["timestamp"].as_i64().unwrap() + 1);
    }
    shop.file("catalogue.jsonl", &products);
    shop.run_until_idle();
    assert_eq!(shop.texts_sent(), sent + 3);
    let documents = shop.documents();
    for product in &products[99..104] {
        assert_eq!(documents[product["product_id"].as_str().unwrap()]["description"], product["description"]);
    }
}

#[test]
fn products_that_leave_the_index_because_their_titles_were_renamed_are_told_with_one_of_them() {
    let mut shop = Shop::new();
    let mut products = catalogue()[..20].to_vec();
    shop.read("catalogue", &shop.file("catalogue.jsonl", &products));
    shop.run_until_idle();
    assert_eq!(shop.stats()["documents"], 20);

    for product in &mut products {
        let fields = product.as_object_mut().unwrap();
        let title = fields.remove("title").unwrap();
        fields.insert("Title".to_owned(), title);
        fields["timestamp"] = json!(fields["timestamp"].as_i64().unwrap() + 1);
    }
    shop.file("catalogue.jsonl", &products);
    let run = shop.attempt(&["run", "--until-idle"]);
    assert!(run.status.success());
    let (said, log) = (text(&run.stdout), text(&run.stderr));
    let all = said.clone() + &log;
    assert_eq!(all.matches("documents leave the index").count(), 1, "{log}");
    let line = all
        .lines()
        .find(|line| line.starts_with("Left the index for want of a text: 20 documents, first `P0"))
        .expect(&said);
    assert!(line.ends_with("`: its text lacks `title`"), "{line}");
    assert_eq!(shop.stats()["documents"], 0);
    let exported = shop.vectide(&["export"]);
    let document = |line| serde_json::from_str::<Value>(line).unwrap();
    assert_eq!(exported.lines().filter(|line| document(line)["metadata"].is_null()).count(), 20);
}

/// A shop that has read these events and nothing else.
fn shop_of(events: &[Value]) -> Shop {
    let mut shop = Shop::new();
    shop.read("catalogue", &shop.file("first.jsonl", events));
    shop.run_until_idle();
    shop
}

/// One more event, from a source of its own.
fn follow_up(shop: &mut Shop, event: Value) {
    shop.read("follow-up", &shop.file("follow-up.jsonl", &[event]));
    shop.run_until_idle();
}

fn boots(minute: i64) -> Value {
    json!({
        "type": "product_create", "product_id": "B1", "title": "Boots", "description": "Waterproof boots of rubber.",
        "category": "Footwear", "price": 70.5, "timestamp": at(minute),
    })
}

fn price(minute: i64, price: f64, discount: Value) -> Value {
    json!({
        "type": "price_change", "product_id": "B1", "product_name": "Boots", "old_price": 70.5, "new_price": price,
        "discount_percentage": discount, "timestamp": at(minute),
    })
}

/// Unix milliseconds, so many minutes into a day in 2026.
fn at(minute: i64) -> i64 {
    1_780_000_000_000 + minute * 60_000
}
