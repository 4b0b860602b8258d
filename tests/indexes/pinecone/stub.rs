//! A stand-in for Pinecone, written from its documentation: it keeps records and their limits. What it
//! refuses, it refuses in Pinecone's words and form.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use vectide::index::external::collection::Point;

use crate::http::{Reply, Request, reply, serve};

pub const KEY: &str = "pc-right";

#[derive(Default)]
struct Index {
    dimension: usize,
    metric: String,
    /// By namespace and id.
    records: BTreeMap<(String, String), Value>,
}

#[derive(Default)]
struct World {
    address: String,
    indexes: HashMap<String, Index>,
    scripted: VecDeque<Reply>,
    requests: Vec<Request>,
}

#[derive(Clone)]
pub struct Stub(Arc<Mutex<World>>);

impl Stub {
    pub fn start() -> Self {
        let stub = Self(Arc::default());
        let serving = stub.clone();
        let address = serve(move |request| serving.0.lock().unwrap().answer(request));
        stub.0.lock().unwrap().address = address;
        stub
    }

    /// Where its indexes are found from now on: at this host and port, by which it is reached too.
    pub fn is_reached_at(&self, address: &str) {
        self.0.lock().unwrap().address = address.to_owned();
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.lock().unwrap().address)
    }

    /// The next calls to an index are answered so.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.0.lock().unwrap().scripted.extend(replies);
    }

    pub fn drop_index(&self, name: &str) {
        self.0.lock().unwrap().indexes.remove(name).unwrap();
    }

    /// Has a record that Vectide did not write.
    pub fn hold(&self, index: &str, point: &Point) {
        let metadata: Value = serde_json::from_str(&point.metadata).unwrap();
        let record = json!({ "id": point.id.to_string(), "values": *point.vector, "metadata": metadata });
        let mut world = self.0.lock().unwrap();
        let records = &mut world.indexes.get_mut(index).unwrap().records;
        records.insert(("__default__".to_owned(), point.id.to_string()), record);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.0.lock().unwrap().requests.clone()
    }
}

fn refused(message: impl Into<String>) -> Reply {
    reply(400, json!({ "code": 3, "message": message.into(), "details": [] }))
}

impl World {
    fn answer(&mut self, request: Request) -> Reply {
        self.requests.push(request.clone());
        if request.headers.get("api-key").is_none_or(|key| key != KEY) {
            let key = request.headers.get("api-key").cloned().unwrap_or_default();
            return reply(
                401,
                json!({ "error": { "code": "UNAUTHENTICATED", "message": format!("Invalid API Key {key}") }, "status": 401 }),
            );
        }
        assert_eq!(request.headers["x-pinecone-api-version"], "2025-10");
        let body: Value =
            if request.body.is_empty() { Value::Null } else { serde_json::from_slice(&request.body).unwrap() };
        match (request.method.as_str(), request.target.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", ["", "indexes", name]) => self.describe(name),
            ("POST", ["", "indexes"]) => self.create(&body),
            (_, ["", "host", name, rest @ ..]) => {
                if let Some(reply) = self.scripted.pop_front() {
                    return reply;
                }
                if !self.indexes.contains_key(*name) {
                    return reply(404, json!({ "code": 5, "message": "Index not found", "details": [] }));
                }
                match rest {
                    ["describe_index_stats"] => self.stats(name),
                    ["vectors", "upsert"] => self.upsert(name, &request.body, &body),
                    ["vectors", "delete"] => self.delete(name, &body),
                    ["query"] => self.query(name, &body),
                    ["vectors", fetch] if fetch.starts_with("fetch?") => self.fetch(name, fetch),
                    _ => panic!("{} {}", request.method, request.target),
                }
            }
            _ => panic!("{} {}", request.method, request.target),
        }
    }

    fn described(&self, name: &str) -> Value {
        let Index { dimension, metric, .. } = &self.indexes[name];
        json!({
            "name": name, "dimension": dimension, "metric": metric, "vector_type": "dense", "host": format!("{}/host/{name}/", self.address),
            "status": { "ready": true, "state": "Ready" }, "spec": { "serverless": { "cloud": "aws", "region": "us-east-1" } },
        })
    }

    fn describe(&self, name: &str) -> Reply {
        if self.indexes.contains_key(name) {
            return reply(200, self.described(name));
        }
        let message = format!("Resource {name} not found");
        reply(404, json!({ "error": { "code": "NOT_FOUND", "message": message }, "status": 404 }))
    }

    fn create(&mut self, body: &Value) -> Reply {
        let name = body["name"].as_str().unwrap().to_owned();
        let (dimension, metric) =
            (body["dimension"].as_u64().unwrap() as usize, body["metric"].as_str().unwrap().to_owned());
        self.indexes.insert(name.clone(), Index { dimension, metric, records: BTreeMap::new() });
        reply(201, self.described(&name))
    }

    fn stats(&self, name: &str) -> Reply {
        let mut namespaces: BTreeMap<&str, u64> = BTreeMap::new();
        self.indexes[name].records.keys().for_each(|(namespace, _)| *namespaces.entry(namespace).or_default() += 1);
        let namespaces: Map<_, _> =
            namespaces.iter().map(|(name, count)| ((*name).to_owned(), json!({ "vectorCount": count }))).collect();
        reply(200, json!({ "namespaces": namespaces, "dimension": self.indexes[name].dimension }))
    }

    fn upsert(&mut self, name: &str, bytes: &[u8], body: &Value) -> Reply {
        let vectors = body["vectors"].as_array().unwrap();
        if bytes.len() > 2 << 20 || vectors.len() > 1000 {
            return refused("Request size exceeds the maximum supported size of 2097152 bytes");
        }
        for vector in vectors {
            if vector["values"].as_array().unwrap().len() != self.indexes[name].dimension {
                return refused("Vector dimension does not match the dimension of the index");
            }
            if vector["values"].as_array().unwrap().iter().all(|number| number.as_f64() == Some(0.0)) {
                return refused("Dense vectors must contain at least one non-zero value.");
            }
            let metadata = vector["metadata"].as_object().unwrap();
            if vector["metadata"].to_string().len() > 40 << 10 {
                return refused("Metadata size exceeds the limit of 40960 bytes per vector");
            }
            for (key, value) in metadata {
                let fits = match value {
                    Value::String(_) | Value::Bool(_) | Value::Number(_) => true,
                    Value::Array(list) => !list.is_empty() && list.iter().all(Value::is_string),
                    Value::Null | Value::Object(_) => false,
                };
                if !fits {
                    return refused(format!(
                        "Metadata value must be a string, number, boolean or list of strings, got '{value}' for field '{key}'"
                    ));
                }
            }
        }
        let namespace = body["namespace"].as_str().unwrap();
        for vector in vectors {
            let id = vector["id"].as_str().unwrap().to_owned();
            let mut record = vector.clone();
            // Every number comes back as a float.
            for value in record["metadata"].as_object_mut().unwrap().values_mut() {
                if let Some(number) = value.as_f64() {
                    *value = json!(number);
                }
            }
            self.indexes.get_mut(name).unwrap().records.insert((namespace.to_owned(), id), record);
        }
        reply(200, json!({ "upsertedCount": vectors.len() }))
    }

    fn delete(&mut self, name: &str, body: &Value) -> Reply {
        let namespace = body["namespace"].as_str().unwrap();
        let ids = body["ids"].as_array().unwrap();
        assert!(ids.len() <= 1000);
        let index = self.indexes.get_mut(name).unwrap();
        if !index.records.keys().any(|(own, _)| own == namespace) {
            return reply(404, json!({ "code": 5, "message": "Namespace not found", "details": [] }));
        }
        ids.iter().for_each(|id| drop(index.records.remove(&(namespace.to_owned(), id.as_str().unwrap().to_owned()))));
        reply(200, json!({}))
    }

    fn fetch(&self, name: &str, target: &str) -> Reply {
        let (_, query) = target.split_once('?').unwrap();
        let mut namespace = "";
        let mut vectors = Map::new();
        for (key, value) in query.split('&').map(|pair| pair.split_once('=').unwrap()) {
            match key {
                "namespace" => namespace = value,
                "ids" => {
                    if let Some(record) = self.indexes[name].records.get(&(namespace.to_owned(), value.to_owned())) {
                        vectors.insert(value.to_owned(), record.clone());
                    }
                }
                _ => panic!("{target}"),
            }
        }
        reply(200, json!({ "vectors": vectors, "namespace": namespace }))
    }

    fn query(&self, name: &str, body: &Value) -> Reply {
        let index = &self.indexes[name];
        let numbers =
            |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as f32).collect::<Vec<_>>();
        let vector = numbers(&body["vector"]);
        let limit = body["topK"].as_u64().unwrap() as usize;
        assert!((1..=10_000).contains(&limit) && vector.len() == index.dimension);
        let of_namespace = index.records.iter().filter(|((namespace, _), _)| *namespace == body["namespace"]);
        let mut matches: Vec<(f32, Value)> = of_namespace
            .filter(|(_, record)| body.get("filter").is_none_or(|filter| holds(filter, record["metadata"].as_object().unwrap())))
            .map(|((_, id), record)| {
                let own = numbers(&record["values"]);
                let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
                let score = match index.metric.as_str() {
                    "cosine" => product(&vector, &own) / (product(&vector, &vector) * product(&own, &own)).sqrt(),
                    "dotproduct" => product(&vector, &own),
                    _ => -vector.iter().zip(&own).map(|(a, b)| (a - b) * (a - b)).sum::<f32>(),
                };
                (score, json!({ "id": id, "score": score.abs().copysign(if index.metric == "euclidean" { 1.0 } else { score }),
                                "metadata": record["metadata"] }))
            })
            .collect();
        matches.sort_by(|a, b| b.0.total_cmp(&a.0));
        let matches: Vec<Value> = matches.into_iter().take(limit).map(|(_, found)| found).collect();
        reply(200, json!({ "matches": matches }))
    }
}

/// As documented. Where it is not said whether a record without the field counts, as for `$nin`, it does not.
fn holds(filter: &Value, metadata: &Map<String, Value>) -> bool {
    filter.as_object().unwrap().iter().all(|(key, condition)| match key.as_str() {
        "$and" => condition.as_array().unwrap().iter().all(|filter| holds(filter, metadata)),
        "$or" => condition.as_array().unwrap().iter().any(|filter| holds(filter, metadata)),
        field => condition.as_object().unwrap().iter().all(|(operator, wanted)| {
            let value = metadata.get(field);
            let elements = match value {
                Some(Value::Array(elements)) => elements.as_slice(),
                Some(value) => std::slice::from_ref(value),
                None => &[],
            };
            let is = |wanted: &Value| {
                elements.iter().any(|own| own == wanted || own.is_number() && own.as_f64() == wanted.as_f64())
            };
            let listed = || wanted.as_array().unwrap().iter().any(is);
            let number = || Some((value?.as_f64()?, wanted.as_f64().expect("ranges are over numbers")));
            match operator.as_str() {
                "$exists" => value.is_some() == wanted.as_bool().unwrap(),
                "$eq" => is(wanted),
                "$in" => listed(),
                "$nin" => value.is_some() && !listed(),
                "$gt" => number().is_some_and(|(own, wanted)| own > wanted),
                "$gte" => number().is_some_and(|(own, wanted)| own >= wanted),
                "$lt" => number().is_some_and(|(own, wanted)| own < wanted),
                "$lte" => number().is_some_and(|(own, wanted)| own <= wanted),
                _ => panic!("{operator}"),
            }
        }),
    })
}
