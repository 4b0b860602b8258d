//! The provider `openai` with a server that others wrote: llama.cpp's. Where it is not installed these tests say so and pass.

use serde_json::{Value, json};

use crate::llama_cpp::{KEY, LlamaCpp};
use crate::shop::{Shop, catalogue, text};

/// A shop of the first products of the sample whose texts are embedded by the server.
fn shop(server: &LlamaCpp, products: usize) -> Shop {
    let mut shop = Shop::new();
    shop.read("catalogue", &shop.file("catalogue.jsonl", &catalogue()[..products]));
    shop.set(&server.setting());
    shop
}

fn product(id: &str, title: &str, description: &str) -> Value {
    json!({
        "type": "product_create", "product_id": id, "title": title, "description": description, "timestamp": 1_780_000_000_000_i64,
    })
}

#[test]
fn products_are_sent_once_and_found_by_meaning() {
    let Some(server) = LlamaCpp::start() else { return };
    let shop = shop(&server, 200);
    shop.run_until_idle();
    assert_eq!(shop.stats()["points"], 200);
    let sent = shop.texts_sent();
    shop.run_until_idle();
    assert_eq!(shop.texts_sent(), sent);
    let hits = shop.hits("search", "something dry for my feet in the rain", "3");
    let categories: Vec<_> = hits.iter().map(|hit| hit["metadata"]["category"].as_str().unwrap()).collect();
    assert_eq!(categories, ["Outdoor footwear"; 3]);
}

#[test]
fn vectors_and_tokens_are_those_that_the_server_gives_when_asked_directly() {
    let Some(server) = LlamaCpp::start() else { return };
    let products = catalogue();
    let texts = products[..40]
        .iter()
        .map(|p| format!("{} {}", p["title"].as_str().unwrap(), p["description"].as_str().unwrap()));
    let texts: Vec<String> = texts.collect();
    let answer = server.embeddings(&texts);
    for form in ["base64", "float"] {
        let mut shop = shop(&server, 40);
        shop.set(&format!("embedding.encoding_format={form}"));
        shop.run_until_idle();
        assert_eq!(shop.texts_sent(), 40, "no text of these is there twice");
        assert_eq!(shop.stats()["total"]["tokens_sent"], answer["usage"]["total_tokens"]);

        let lines = shop.vectide(&["export", "--vectors"]);
        let exported = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let exported: Vec<Value> = exported.collect();
        assert_eq!(exported.len(), 40);
        for document in exported {
            let place = products.iter().position(|product| product["product_id"] == document["id"]).unwrap();
            let cosine = cosine(&document["chunks"][0]["vector"], &answer["data"][place]["embedding"]);
            assert!(cosine > 0.999, "{form}, {}: {cosine}", document["id"]);
        }
    }
}

#[test]
fn a_wrong_key_is_found_before_the_first_run_and_no_key_is_shown() {
    let Some(server) = LlamaCpp::start() else { return };
    let mut shop = shop(&server, 10);
    let mut told = String::new();
    let mut attempt = |shop: &Shop, arguments: &[&str]| {
        let output = shop.attempt(arguments);
        let said = text(&output.stdout) + &text(&output.stderr);
        told += &said;
        (output.status.success(), said)
    };
    shop.set("embedding.api_key=sk-of-another");
    let (well, said) = attempt(&shop, &["check", "--connect"]);
    assert!(!well && said.contains("401") && said.contains("embedding.api_key"), "{said}");
    shop.unset();
    for arguments in [&["check", "--connect"][..], &["check", "--print"], &["--log", "trace", "run", "--until-idle"]] {
        let (well, said) = attempt(&shop, arguments);
        assert!(well, "vectide {arguments:?}: {said}");
    }
    assert_eq!(shop.stats()["points"], 10);
    let unpriced = "its price is not known: set `embedding.price_per_million_tokens`";
    for is_known in [false, true] {
        let (well, said) = attempt(&shop, &["check", "--connect"]);
        assert!(well && said.contains(unpriced) != is_known, "{said}");
        shop.set("embedding.price_per_million_tokens=0");
    }
    assert!(!told.contains("sk-of-another") && !told.contains(KEY), "{told}");
}

#[test]
fn a_text_that_is_too_long_for_the_model_is_set_aside_alone_until_it_may_be_cut() {
    let Some(server) = LlamaCpp::start() else { return };
    let mut shop = shop(&server, 20);
    let long = "A thread with a colour of its own. ".repeat(100);
    shop.read("long", &shop.file("long.jsonl", &[product("LONG", "Yarn", &long)]));
    shop.run_until_idle();
    let letters = shop.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0]["reason"].as_str().unwrap().contains("too large to process"), "{letters:?}");
    assert_eq!(shop.exported().len(), 20);

    shop.set("embedding.max_text_tokens=256");
    shop.vectide(&["dead-letters", "replay", &letters[0]["id"].to_string()]);
    shop.run_until_idle();
    let chunks = shop.exported()["LONG"]["chunks"].as_array().unwrap().len();
    assert!(chunks > 1, "{chunks} chunks");
    assert_eq!(shop.dead_letters().len(), 0);
}

#[test]
fn a_text_without_a_word_of_the_model_is_embedded_and_one_without_a_character_is_set_aside() {
    let Some(server) = LlamaCpp::start() else { return };
    let mut shop = shop(&server, 0);
    // The model drops what is not visible, so that it is given an empty text.
    let products = [product("INVISIBLE", "\u{200b}", ""), product("EMPTY", "", "")];
    shop.read("bare", &shop.file("bare.jsonl", &products));
    shop.run_until_idle();
    assert_eq!(shop.exported().into_keys().collect::<Vec<_>>(), ["INVISIBLE"]);
    assert_eq!((shop.texts_sent(), shop.dead_letters().len()), (1, 1));
}

#[test]
fn a_server_that_is_killed_and_comes_back_costs_time_and_no_product() {
    let Some(mut server) = LlamaCpp::start() else { return };
    const PRODUCTS: u64 = 400;
    let mut shop = shop(&server, PRODUCTS as usize);
    // However fast it is, there is much left to do when the first are there.
    shop.set("batching.max_items=5");
    shop.set("embedding.concurrency=1");
    let mut run = shop.start();
    run.wait_until("some products are indexed", || shop.indexed_so_far() > 0);
    server.kill();
    let indexed = shop.indexed_so_far();
    assert!(indexed < PRODUCTS, "the server was killed too late");
    server.restart();
    run.wait_until("all products are indexed", || shop.indexed_so_far() == PRODUCTS);
    #[cfg(unix)]
    assert_eq!(run.terminate(), Some(0));
    assert_eq!(shop.dead_letters().len(), 0);
}

fn cosine(a: &Value, b: &Value) -> f64 {
    let numbers = |vector: &Value| vector.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect::<Vec<_>>();
    let (a, b) = (numbers(a), numbers(b));
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}
