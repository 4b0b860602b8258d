//! What goes into the indexes, and what is asked of it.

use serde_json::{Value, json};

use super::points::point;
use crate::index::external::collection::Point;

/// Documents whose ids and metadata are as odd as they get. Those that a backend cannot hold are refused by themselves.
pub fn awkward() -> Vec<Point> {
    let ids = [
        "'; DROP TABLE x; --",
        "a\"b\\c",
        "\u{1F45F} shoe",
        "with space",
        "ü/é?#%",
        "\u{202E}right",
        "-",
        "0:1",
        "..",
        "plain",
    ];
    let long = "l".repeat(400);
    let metadata = [
        json!({}),
        json!({"text": "it's \"quoted\" \\ back\nline\ttab", "empty": "", "emoji": "\u{1F9E6}\u{200D}", "long": "x".repeat(10_000)}),
        json!({"whole": 9_007_199_254_740_993_i64, "negative": -3, "fraction": 0.1, "small": 1e-7, "zero": 0}),
        json!({"yes": true, "no": false, "date": "2026-11-25T10:00:00Z", "digits": "007"}),
        json!({"price": 3, "tags": ["a", "b'c", null, "", "\u{1F45F}"], "brand": null, "category": "", "sale": false}),
        json!({"key with space": 1, "schlüssel": "ß"}),
        json!({"nested": {"deep": [1, {"x": null}]}, "null": null, "mixed": [1, "a", true, null], "sizes": [38, 39.5]}),
        json!({"max": u64::MAX, "min": i64::MIN}),
        json!({"nul": "\u{0}"}),
        json!({"long": "x".repeat(100_000)}),
        json!({"price": -0.0, "stock": 1e-300, "sizes": [1e300, -7]}),
    ];
    let ids = ids.into_iter().chain([long.as_str()]);
    ids.zip(&metadata).zip(1..).map(|((id, metadata), seed)| point(id, 0, metadata, seed)).collect()
}

/// Products as a shop has them, some with fields missing.
pub fn products(count: u64) -> Vec<Point> {
    let mut random = fastrand::Rng::with_seed(11);
    let product = |number: u64| {
        let category = ["shoes", "hats", "socks"][random.usize(..3)];
        let tags = &["new", "wool", "rain"][..random.usize(..4)];
        let (price, added) = (f64::from(random.u32(..200)) / 2.0, format!("2026-{:02}-01", random.u32(1..13)));
        let mut metadata = json!({
            "category": category, "price": price, "stock": random.u32(..5), "sale": random.bool(), "tags": tags, "added": added,
            "brand": "Fjäll \"x\"",
        });
        if random.bool() {
            metadata.as_object_mut().unwrap().remove("brand");
        }
        point(&format!("p{number}"), 0, &metadata, number)
    };
    (0..count).map(product).collect()
}

/// Documents with fields of all kinds, missing ones among them.
pub fn mixed(count: usize) -> Vec<Point> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..count)
        .map(|number| {
            let mut fields = serde_json::Map::new();
            let mut put = |name: &str, value: Value| fields.insert(name.into(), value);
            put("n", json!(number));
            if random.u8(..4) > 0 {
                put("category", json!(random.choice(["shoes", "boots", "Shoes", "it's \"q\" \\ é😀"])));
            }
            match random.u8(..6) {
                0 => put("price", json!(random.i32(-50..50))),
                1 => put("price", json!(f64::from(random.i32(-100..100)) / 4.0)),
                2 => put("price", json!(f64::from(random.i32(-5..5)))),
                3 => put("price", json!(random.choice(["cheap", "12", ""]))),
                4 => put("price", json!([random.i32(0..9), random.i32(20..40), "x"])),
                _ => None,
            };
            if random.bool() {
                put("sale", json!(random.bool()));
            }
            match random.u8(..4) {
                0 => put("tags", json!([])),
                1 => put("tags", json!(["a", "b", random.u8(..5).to_string(), 3, 4.0, true])),
                2 => put("tags", json!("a")),
                _ => None,
            };
            put("added", json!(format!("2026-{:02}-{:02}T10:00:00Z", random.u8(1..13), random.u8(1..29))));
            if random.bool() {
                put("maker", json!({ "country": random.choice(["SE", "DE"]), "a/b": random.u8(..3), "sizes": [38, random.u8(39..42)] }));
            }
            put("big", json!(9_007_199_254_740_990_i64 + random.i64(0..6)));
            put("and", json!(random.u8(..3)));
            point(&format!("p{number}"), 0, &Value::Object(fields), number as u64)
        })
        .collect()
}

/// Metadata that some index can never take.
pub fn metadata_that_some_refuse() -> Vec<Value> {
    vec![
        json!({"price": "cheap"}),
        json!({"n": u64::MAX}),
        json!({"price": 1, "no\\te": "a\u{0}b"}),
        json!({"text": "x".repeat(70_000)}),
    ]
}

/// Filters on [`products`] that some index cannot be told.
pub fn filters_that_some_refuse() -> Vec<Value> {
    vec![
        json!({"nowhere": {"exists": false}}),
        json!({"tags": {"gte": "n", "lt": "s"}}),
        json!({"added": {"gte": "2026-03-01", "lt": "2026-07-01"}}),
        json!({"category": {"gt": "hats"}}),
        json!({"category": 5}),
        json!({"price": {"gte": "1"}}),
    ]
}

/// Filters with every operator, on every kind of value.
pub fn filters_on_anything() -> Vec<Value> {
    vec![
        json!({}),
        json!({"category": "shoes"}),
        json!({"category": "it's \"q\" \\ é😀"}),
        json!({"category": {"in": ["shoes", "boots"]}}),
        json!({"category": {"in": []}}),
        json!({"category": {"gt": "boots"}}),
        json!({"category": {"gte": "Shoes", "lt": "boots"}}),
        json!({"category": {"exists": true}}),
        json!({"category": {"exists": false}}),
        json!({"category": 1}),
        json!({"price": 3}),
        json!({"price": 3.0}),
        json!({"price": 2.25}),
        json!({"price": "12"}),
        json!({"price": ""}),
        json!({"price": {"in": [1, 2.25, "cheap", 25, -3.0]}}),
        json!({"price": {"gte": -2.5, "lt": 20}}),
        json!({"price": {"gt": 3}}),
        json!({"price": {"lte": 3}}),
        json!({"price": {"gt": 8, "lt": 20}}),
        json!({"price": {"gt": 1e300}}),
        json!({"price": {"gte": "1", "lte": "d"}}),
        json!({"sale": true}),
        json!({"sale": false}),
        json!({"sale": {"in": [true, "x"]}}),
        json!({"sale": {"exists": true}}),
        json!({"tags": "a"}),
        json!({"tags": "2"}),
        json!({"tags": 3.0}),
        json!({"tags": 4}),
        json!({"tags": true}),
        json!({"tags": {"exists": true}}),
        json!({"tags": {"gte": "b"}}),
        json!({"added": {"gte": "2026-03", "lt": "2026-07-15"}}),
        json!({"/maker/country": "SE"}),
        json!({"/maker/a~1b": {"gte": 1}}),
        json!({"/maker/sizes": 40}),
        json!({"/maker/sizes/0": 38}),
        json!({"/maker/sizes": {"gt": 40}}),
        json!({"maker": "SE"}),
        json!({"maker": {"exists": true}}),
        json!({"/and": 1}),
        json!({"big": 9_007_199_254_740_993_i64}),
        json!({"big": 9_007_199_254_740_992.0}),
        json!({"big": {"gt": 9_007_199_254_740_993_i64}}),
        json!({"n": {"in": (0..200).collect::<Vec<_>>()}}),
        json!({"missing": 1}),
        json!({"missing": {"exists": false}}),
        json!({"not": {"category": "shoes"}}),
        json!({"not": {"category": {"in": ["shoes", "boots"]}}}),
        json!({"not": {"price": {"gte": 3}}}),
        json!({"not": {"price": 3}}),
        json!({"not": {"missing": 1}}),
        json!({"not": {"tags": {"exists": true}}}),
        json!({"not": {"tags": {"exists": false}}}),
        json!({"not": {"not": {"sale": true}}}),
        json!({"not": {"and": [{"sale": true}, {"category": "shoes"}]}}),
        json!({"not": {"or": [{"sale": true}, {"category": "shoes"}]}}),
        json!({"not": {}}),
        json!({"and": []}),
        json!({"or": []}),
        json!({"and": [{"sale": true}, {"or": [{"category": "boots"}, {"price": {"lt": 0}}]}]}),
        json!({"or": [{"category": {"exists": false}}, {"not": {"sale": true}}, {"tags": "b"}]}),
        json!({"category": "shoes", "sale": true, "price": {"exists": true}}),
    ]
}
