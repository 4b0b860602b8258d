//! What the namespace holds.

use std::collections::HashMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::index::external::collection::reserved::METADATA;
use crate::index::external::collection::{CollectionError, Point};
use crate::index::external::inspect::{Inspect, changed};

use super::PineconeIndex;
use super::record::chunk_of;

#[derive(Default, Deserialize)]
struct Fetched {
    #[serde(default)]
    vectors: HashMap<String, Record>,
}

#[derive(Deserialize)]
struct Record {
    id: String,
    #[serde(default)]
    values: Vec<f32>,
    #[serde(default)]
    metadata: Map<String, Value>,
}

impl PineconeIndex {
    async fn try_fetch(&self, ids: &[Uuid]) -> Result<Vec<Point>, CollectionError> {
        let mut path = format!("vectors/fetch?namespace={}", encoded(&self.settings.namespace));
        ids.iter().for_each(|id| path.push_str(&format!("&ids={id}")));
        let fetched: Option<Fetched> = self.api.ask_namespace(Method::GET, &path, None::<&()>).await?;
        let records = fetched.unwrap_or_default().vectors.into_values();
        records.map(|record| point_of(record).ok_or_else(changed)).collect()
    }
}

impl Inspect for PineconeIndex {
    fn fetch<'a>(&'a self, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<Point>, CollectionError>> {
        self.try_fetch(ids).boxed()
    }
}

/// As a part of a query.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn point_of(record: Record) -> Option<Point> {
    let (document, chunk) = chunk_of(&record.metadata)?;
    let metadata = record.metadata.get(METADATA)?.as_str()?.into();
    Some(Point { id: record.id.parse().ok()?, document, chunk, metadata, vector: record.values.into() })
}
