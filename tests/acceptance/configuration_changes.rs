//! What happens to an index when `config.yaml` is edited.

use std::collections::BTreeSet;

use crate::shop::{Shop, assert_same, catalogue, text, truth_of_catalogue};

#[test]
fn a_new_template_embeds_each_new_text_once_and_the_old_one_is_still_there_to_go_back_to() {
    let mut shop = Shop::opened();
    let before = shop.texts_sent();
    let products = catalogue();
    let titles: BTreeSet<_> = products.iter().map(|product| product["title"].as_str()).collect();

    shop.set("document.text={{ title }}");
    shop.run_until_idle();
    let with_titles = shop.texts_sent();
    assert_eq!(with_titles - before, titles.len() as u64);
    assert_same(&shop.documents(), &truth_of_catalogue());

    shop.unset();
    shop.run_until_idle();
    assert_eq!(shop.texts_sent(), with_titles);
    assert_same(&shop.documents(), &truth_of_catalogue());
}

#[test]
fn a_new_template_pays_for_no_text_that_a_file_to_be_read_replaces() {
    let mut shop = Shop::new();
    let mut products = catalogue();
    shop.read("catalogue", &shop.file("products.jsonl", &products));
    shop.run_until_idle();
    let before = shop.texts_sent();

    // In the opposite order to that in which documents are looked at again.
    products.reverse();
    for (number, product) in products.iter_mut().enumerate() {
        product["description"] = format!("Number {number}, made anew.").into();
        product["timestamp"] = 1_800_000_000_000_i64.into();
    }
    shop.file("products.jsonl", &products);
    shop.set("document.text={{ description }} {{ title }}");
    shop.run_until_idle();
    assert_eq!(shop.texts_sent() - before, products.len() as u64);
    let held = shop.documents();
    assert!(
        products
            .iter()
            .all(|product| held[product["product_id"].as_str().unwrap()]["description"] == product["description"])
    );
}

#[test]
fn another_list_of_metadata_costs_no_embedding() {
    let mut shop = Shop::opened();
    let before = shop.texts_sent();
    shop.set("document.metadata=[title]");
    shop.run_until_idle();
    assert_eq!(shop.texts_sent(), before);
    let product = &catalogue()[0];
    let exported = &shop.exported()[product["product_id"].as_str().unwrap()];
    assert_eq!(exported["metadata"], serde_json::json!({ "title": product["title"] }));
}

#[test]
fn prices_that_are_texts_can_be_compared_as_numbers_and_no_text_is_sent_for_it() {
    let mut shop = Shop::new();
    let mut products = catalogue();
    products.truncate(3);
    for (product, price) in products.iter_mut().zip(["9.50", "120.00", "on request"]) {
        product["price"] = price.into();
    }
    shop.read("catalogue", &shop.file("products.jsonl", &products));
    let under_100 = |shop: &Shop| {
        let answer = shop.vectide(&["search", "anything", "--filter", r#"{"price": {"lt": 100}}"#, "--json"]);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let hits = answer["hits"].as_array().unwrap().iter();
        hits.map(|hit| (hit["id"].clone(), hit["metadata"]["price"].clone())).collect::<Vec<_>>()
    };
    shop.run_until_idle();
    assert_eq!(under_100(&shop), []);

    let before = shop.texts_sent();
    shop.set("document.numbers=[price]");
    shop.run_until_idle();
    assert_eq!(shop.texts_sent(), before);
    assert_eq!(under_100(&shop), [(products[0]["product_id"].clone(), 9.5.into())]);
}

#[test]
fn another_model_is_refused_and_the_index_stays_as_it_was() {
    let mut shop = Shop::opened();
    let before = shop.exported();
    shop.set("embedding={provider: hashed}");
    let output = shop.attempt(&["run", "--until-idle"]);
    let told = text(&output.stderr);
    assert_ne!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("builtin") && told.contains("hashed"), "both models should be named: {told}");

    shop.unset();
    shop.run_until_idle();
    assert!(shop.exported() == before, "the refused run changed the index");
}
