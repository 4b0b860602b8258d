//! What a newcomer's first commands do.

use crate::shop::{Shop, assert_same, catalogue, different_texts, truth_of_catalogue};

#[test]
fn the_first_run_indexes_every_product() {
    assert_same(&Shop::opened().documents(), &truth_of_catalogue());
}

#[test]
fn products_with_one_text_share_one_embedding() {
    let shop = Shop::opened();
    let stats = shop.stats();
    assert_eq!(stats["documents"], 2000);
    assert_eq!(stats["points"], 2000);
    assert_eq!(shop.texts_sent(), different_texts(&truth_of_catalogue()));
}

#[test]
fn the_same_run_again_sends_no_text_and_changes_nothing() {
    let shop = Shop::opened();
    let (exported, sent) = (shop.exported(), shop.texts_sent());
    shop.run_until_idle();
    assert_eq!(shop.texts_sent(), sent);
    assert!(shop.exported() == exported, "an export after the second run differs from one before it");
}

#[test]
fn a_search_finds_boots_with_no_word_of_theirs() {
    let hits = Shop::opened().hits("search", "something dry for my feet in the rain", "3");
    let categories: Vec<_> = hits.iter().map(|hit| hit["metadata"]["category"].as_str().unwrap()).collect();
    assert_eq!(categories, ["Outdoor footwear"; 3]);
    let scores: Vec<_> = hits.iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
}

#[test]
fn the_product_most_like_one_that_is_listed_twice_is_its_twin() {
    let products = catalogue();
    let same = |a: usize, b: usize| ["title", "description"].iter().all(|name| products[a][name] == products[b][name]);
    let pairs = (0..products.len()).flat_map(|a| (a + 1..products.len()).map(move |b| (a, b)));
    let (one, twin) = pairs.into_iter().find(|&(a, b)| same(a, b)).expect("the sample lists products twice");

    let hits = Shop::opened().hits("similar", products[one]["product_id"].as_str().unwrap(), "1");
    assert_eq!(hits[0]["id"], products[twin]["product_id"]);
    assert!(hits[0]["score"].as_f64().unwrap() > 0.999, "{hits:?}");
}

#[test]
fn a_document_can_be_looked_at() {
    let product = &catalogue()[0];
    let shown = Shop::opened().vectide(&["get", product["product_id"].as_str().unwrap()]);
    assert!(shown.contains(product["title"].as_str().unwrap()), "{shown}");
}

#[test]
fn an_export_with_vectors_has_one_of_128_numbers_for_each_chunk() {
    let lines = Shop::opened().vectide(&["export", "--vectors"]);
    for line in lines.lines() {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        for chunk in document["chunks"].as_array().unwrap() {
            assert_eq!(chunk["vector"].as_array().map(Vec::len), Some(128), "{}", document["id"]);
        }
    }
}
