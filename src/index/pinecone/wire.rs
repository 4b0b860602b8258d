//! What goes over the wire, in Pinecone's words. Vectors are written from `f32`: as JSON values they would be twice as long.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Serialize)]
pub struct CreateIndex<'a> {
    pub name: &'a str,
    pub dimension: usize,
    pub metric: &'a str,
    pub spec: Spec<'a>,
}

#[derive(Serialize)]
pub struct Spec<'a> {
    pub serverless: Serverless<'a>,
}

#[derive(Serialize)]
pub struct Serverless<'a> {
    pub cloud: &'a str,
    pub region: &'a str,
}

#[derive(Deserialize)]
pub struct Index {
    pub host: String,
    pub metric: String,
    #[serde(default)]
    pub dimension: Option<usize>,
    pub status: Status,
}

#[derive(Deserialize)]
pub struct Status {
    pub ready: bool,
    #[serde(default)]
    pub state: String,
}

#[derive(Deserialize)]
pub struct Stats {
    #[serde(default)]
    pub namespaces: HashMap<String, NamespaceStats>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceStats {
    #[serde(default)]
    pub vector_count: u64,
}

#[derive(Serialize)]
pub struct Upsert<'a> {
    pub vectors: Vec<Record<'a>>,
    pub namespace: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upserted {
    /// Records; none where nothing is answered.
    #[serde(default)]
    pub upserted_count: Option<usize>,
}

#[derive(Serialize)]
pub struct Record<'a> {
    pub id: String,
    pub values: &'a [f32],
    pub metadata: Map<String, Value>,
}

#[derive(Serialize)]
pub struct Delete<'a> {
    pub ids: Vec<String>,
    pub namespace: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Query<'a> {
    pub vector: &'a [f32],
    pub top_k: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    pub include_metadata: bool,
    pub namespace: &'a str,
}

#[derive(Default, Deserialize)]
pub struct Matches {
    #[serde(default)]
    pub matches: Vec<Match>,
}

#[derive(Deserialize)]
pub struct Match {
    pub id: String,
    #[serde(default)]
    pub score: f32,
    #[serde(default)]
    pub metadata: Map<String, Value>,
}
