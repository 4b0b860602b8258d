//! The products, the events that change them, and what must be in the index after all of these. Knows nothing of Vectide's own rules for
//! merging: events are made in the order of their versions, and applied here in that order, however late they are sent.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value, json};

const PRODUCTS: u64 = 2_000;
const WORDS: [&str; 16] = [
    "rain", "boot", "wool", "trail", "lamp", "steel", "cotton", "garden", "camera", "winter", "leather", "travel",
    "coffee", "light", "storm", "kitchen",
];

/// See the module.
pub struct Shop {
    random: Rng,
    version: u64,
    products: BTreeMap<String, Map<String, Value>>,
}

impl Shop {
    pub fn new() -> Self {
        Self { random: Rng::with_seed(1), version: 0, products: BTreeMap::new() }
    }

    /// The next event as a line: each product is created first, and then changed for ever.
    pub fn event(&mut self) -> String {
        self.version += 1;
        let fresh = self.version <= PRODUCTS;
        let id = format!("P{:05}", if fresh { self.version } else { self.random.u64(1..=PRODUCTS) });
        let product = self.products.entry(id.clone()).or_default();
        let kind = match self.random.u8(0..20) {
            _ if fresh || product.is_empty() => "create",
            0 => "delete",
            1..4 => "create",
            4..10 => "update",
            _ => "price",
        };
        let mut fields = Map::new();
        if matches!(kind, "create" | "update") {
            let words: Vec<_> = (0..8).map(|_| WORDS[self.random.usize(..WORDS.len())]).collect();
            // Some texts come again, most never.
            let number = if self.random.bool() { self.version } else { self.version % 500 };
            fields.insert("title".into(), format!("{} {number}", words.join(" ")).into());
        }
        if matches!(kind, "create" | "price") {
            fields.insert("price".into(), self.random.u32(1..1000).into());
        }
        match kind {
            "delete" => product.clear(),
            "create" => *product = fields.clone(),
            _ => product.extend(fields.clone()),
        }
        let mut event = json!({ "op": kind, "id": id, "v": self.version });
        event.as_object_mut().expect("it was made as one").extend(fields);
        event.to_string()
    }

    /// How many products are in the index.
    pub fn in_index(&self) -> usize {
        self.products.values().filter(|product| product.contains_key("title")).count()
    }

    /// What is wrong with an export, in words.
    pub fn differs_from(&self, export: &[Value]) -> Vec<String> {
        let mut held: BTreeMap<&str, &Value> =
            export.iter().filter_map(|document| Some((document["id"].as_str()?, document))).collect();
        let mut differs = Vec::new();
        for (id, product) in &self.products {
            let document = held.remove(id.as_str()).unwrap_or(&Value::Null);
            let chunks = document["chunks"].as_array().map_or(0, Vec::len);
            let mut fields = document["fields"].as_object().cloned().unwrap_or_default();
            fields.retain(|name, _| name == "title" || name == "price");
            let price = document["metadata"].get("price");
            let searchable = chunks == 1 && price == product.get("price");
            if fields != *product || (product.contains_key("title") && !searchable) {
                differs.push(format!("{id} should be {product:?} and is {document}"));
            }
        }
        differs.extend(held.into_keys().map(|id| format!("{id} should not be there")));
        differs
    }
}
