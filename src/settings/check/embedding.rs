//! What is wrong with the `embedding` section.

use crate::embed::openai::presets;
use crate::settings::embedding::{EmbeddingSettings, HASHED_DIMENSIONS, OpenaiSettings};
use crate::settings::nearest::{list, suggestion};
use crate::settings::problem::Place;

use super::Checker;

/// The most numbers that a vector may have.
const MAX_DIMENSIONS: usize = 65_536;

/// More calls at once than any provider serves, and fewer than a semaphore holds.
const MAX_CONCURRENCY: usize = 10_000;

impl Checker {
    pub(super) fn embedding(&mut self, embedding: &EmbeddingSettings) {
        match embedding {
            EmbeddingSettings::Builtin(_) => {}
            EmbeddingSettings::Hashed(hashed) => {
                self.within("embedding.dimensions", hashed.dimensions, HASHED_DIMENSIONS);
            }
            EmbeddingSettings::Openai(openai) => self.openai(openai),
        }
    }

    fn openai(&mut self, openai: &OpenaiSettings) {
        let place = Place::from("embedding");
        match &openai.preset {
            Some(preset) if presets::names().all(|name| name != preset) => {
                let text = format!("is not a known preset{}", suggestion(preset, presets::names()));
                self.note(place.key("preset"), text);
            }
            None if openai.model.is_none() => {
                let text = format!(
                    "is missing: name the model, like `text-embedding-3-small`, or set `preset` to one of {}",
                    list(presets::names())
                );
                self.note(place.key("model"), text);
            }
            _ => {}
        }
        if openai.model.as_ref().is_some_and(String::is_empty) {
            self.note(place.key("model"), "is empty; name the model, like `text-embedding-3-small`");
        }
        if let Some(address) = &openai.base_url {
            self.address(place.key("base_url"), address);
        }
        if let Some(dimensions) = openai.dimensions {
            self.within(place.key("dimensions"), dimensions, 1..=MAX_DIMENSIONS);
        }
        match (&openai.api_key, &openai.api_key_file) {
            (Some(_), Some(_)) => {
                self.note(place.key("api_key_file"), "is set as well as `api_key`; keep one of the two");
            }
            // An own server may need no key; the public ones do.
            (None, None) if openai.base_url.is_none() => {
                let text = "is missing: this provider needs a key; for example `api_key: ${OPENAI_API_KEY}`";
                self.note(place.key("api_key"), text);
            }
            _ => {}
        }
        if openai.api_key.as_ref().is_some_and(|key| key.reveal().trim().is_empty()) {
            self.note(place.key("api_key"), "is empty; remove it if no key is needed");
        }
        self.within("embedding.concurrency", openai.concurrency, 1..=MAX_CONCURRENCY);
        self.some_time("embedding.connect_timeout", openai.connect_timeout);
        self.some_time("embedding.timeout", openai.timeout);
        let limits = [
            ("embedding.rate_limit.requests_per_minute", openai.rate_limit.requests_per_minute),
            ("embedding.rate_limit.tokens_per_minute", openai.rate_limit.tokens_per_minute),
            ("embedding.max_text_tokens", openai.max_text_tokens.map(|count| count as u64)),
        ];
        for (place, limit) in limits {
            if let Some(limit) = limit {
                self.at_least_one(place, limit);
            }
        }
        if openai.price_per_million_tokens.is_some_and(|price| !price.is_finite() || price < 0.0) {
            self.note(place.key("price_per_million_tokens"), "must be an amount of US dollars, 0 or more");
        }
    }

    /// The address is not shown: it may hold a password.
    fn address(&mut self, place: Place, address: &str) {
        let Some(rest) = ["http://", "https://"].iter().find_map(|scheme| address.strip_prefix(scheme)) else {
            self.note(place, "must start with `http://` or `https://`");
            return;
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.is_empty() || address.contains(char::is_whitespace) {
            self.note(place, "is not a valid address; write it like `https://api.openai.com/v1`");
        } else if host.contains('@') {
            self.note(place, "contains a user and a password; put the key into `api_key` instead");
        } else if rest.contains('#') {
            self.note(place, "must end before `/embeddings`, without `#`");
        }
    }
}
