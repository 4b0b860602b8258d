//! Weaviate 1.38, the real server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::StatusCode;
use serde_json::{Value, json};
use vectide::index::Filter;
use vectide::index::external::collection::{Collection, CollectionError, Established, Nearest, Point, PointMetadata};
use vectide::index::external::inspect::Inspect;
use vectide::index::weaviate::WeaviateClass;
use vectide::settings::index::Metric;
use vectide::testkit::index_contract::points::{DIMENSIONS, metadata_of, point, vector};
use vectide::testkit::index_contract::relay::with_port;
use vectide::testkit::index_contract::shop::Place;
use vectide::testkit::index_contract::{Backend, Subject, WRONG_KEY, WrongKey, assert_same};

use crate::contracts::{Contract, Contracts};
use crate::http::{Request, reply, serve};
use crate::killed;
use crate::points::{assert_filtered, fetched, near, products};
use crate::server::{Server, Shared};

const FIELDS: &str = "{ category: text, brand: text, price: number, stock: number, sale: boolean, tags: 'text[]', sizes: 'number[]', added: text }";

/// Of REST and of gRPC.
type Addresses = (String, String);

/// One server for all tests; it ends with the process.
fn server() -> Option<&'static Real> {
    static SHARED: Shared<Real> = Shared::new("weaviate.sh", Real::at);
    SHARED.get()
}

fn addresses() -> Option<&'static Addresses> {
    server().map(|real| &real.0)
}

fn class_of((rest, grpc): &Addresses, more: &str, dimensions: usize) -> WeaviateClass {
    let key = if more.contains("api_key") { "" } else { "api_key: secret, " };
    let metadata = if more.contains("metadata") { String::new() } else { format!("metadata: {FIELDS}, ") };
    let settings = format!("{{ url: '{rest}', grpc_url: '{grpc}', {key}{metadata}{more} }}");
    WeaviateClass::new(&serde_yaml::from_str(&settings).unwrap(), "products", dimensions).unwrap()
}

/// A name that no other test uses.
fn fresh() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("Test{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn established(addresses: &Addresses, more: &str) -> WeaviateClass {
    let class = class_of(addresses, &format!("collection: {}, {more}", fresh()), DIMENSIONS);
    assert_eq!(class.establish().await, Ok(Established::Created));
    class
}

/// A call to the server without Vectide.
async fn direct(addresses: &Addresses, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let request = reqwest::Client::new()
        .request(method.parse().unwrap(), format!("{}/v1/{path}", addresses.0))
        .header("authorization", "Bearer secret")
        .header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await.unwrap();
    (answer.status(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

#[tokio::test]
async fn a_class_whose_properties_are_others_does_not_fit() {
    let Some(addresses) = addresses() else { return };
    let name = fresh();
    let class = |more: &str| class_of(addresses, &format!("collection: {name}, {more}"), DIMENSIONS);
    class("").establish().await.unwrap();
    for (other, named) in [
        (class("metadata: { price: text }"), ["number", "text"]),
        (class("metadata: { colour: text }"), ["`colour`", "index.collection"]),
    ] {
        let error = other.establish().await.unwrap_err();
        let CollectionError::Unfit(text) = &error else { panic!("{error:?}") };
        assert!(named.iter().all(|part| text.contains(part)), "{text}");
        assert_eq!(other.look().await, Err(error));
    }
}

#[tokio::test]
async fn metadata_change_without_the_vector_and_what_is_absent_is_named() {
    let Some(addresses) = addresses() else { return };
    let class = established(addresses, "").await;
    let before = ["a", "b", "c"]
        .map(|id| point(id, 1, &json!({"price": 1, "tags": ["x"], "category": "old", "note": "old"}), 7));
    class.upsert(&before).await.unwrap();
    let after = ["a", "b"].map(|id| point(id, 1, &json!({"price": 2.5, "tags": [], "brand": "new"}), 7));
    let changes =
        [metadata_of(&after[0]), metadata_of(&point("absent", 0, &json!({"price": 9}), 0)), metadata_of(&after[1])];
    assert_eq!(class.set_metadata(&changes).await, Ok(vec![1]));
    let asked = [before.to_vec(), vec![point("absent", 0, &json!({}), 0)]].concat();
    assert_same(fetched(&class, &asked).await, &[&after[0], &after[1], &before[2]]);
    for (json, expected) in [
        (json!({"category": "old"}), vec!["c"]),
        (json!({"brand": "new"}), vec!["a", "b"]),
        (json!({"tags": {"exists": true}}), vec!["a", "b", "c"]),
        (json!({"tags": "x"}), vec!["c"]),
        (json!({"category": {"exists": false}}), vec!["a", "b"]),
        (json!({"price": {"gt": 2}}), vec!["a", "b"]),
    ] {
        let filter = Filter::from_json(&json).unwrap();
        let found = near(&class, Nearest { vector: &before[0].vector, filter: Some(&filter), limit: 9 }).await.unwrap();
        let mut found: Vec<&str> = found.iter().map(|found| found.document.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{json}");
    }
    let wrong = PointMetadata { metadata: "{\"price\":\"cheap\"}".into(), ..changes[2].clone() };
    assert_eq!(
        class.set_metadata(&[changes[0].clone(), wrong]).await,
        Ok(vec![1]),
        "what is refused is left to the upsert"
    );
}

#[tokio::test]
async fn a_refused_point_is_named_and_its_mates_go_in() {
    let Some(addresses) = addresses() else { return };
    let class = established(addresses, "").await;
    let points = [
        point("a", 0, &json!({"price": 1}), 1),
        point("b", 0, &json!({"price": "cheap"}), 2),
        point("c", 0, &json!({"category": " padded"}), 3),
        point("d", 0, &json!({"stock": 9_007_199_254_740_993_u64}), 4),
        point("e", 0, &json!({"category": "x".repeat(100_000)}), 5),
    ];
    let Err(CollectionError::Refused(refused)) = class.upsert(&points).await else { panic!() };
    assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [1, 2, 3], "{refused:?}");
    assert!(
        refused[0].reason.contains("`price` is \"cheap\"") && refused[1].reason.contains("white space"),
        "{refused:?}"
    );
    assert_same(fetched(&class, &points).await, &[&points[0], &points[4]]);
}

/// The server reports such an object as failed, and keeps it: searches would fail from then on.
#[tokio::test]
async fn a_vector_of_another_length_leaves_nothing_behind() {
    let Some(addresses) = addresses() else { return };
    let class = established(addresses, "").await;
    let short = Point { vector: vector(1, 3), ..point("short", 0, &json!({"stock": 1}), 1) };
    let points = [point("a", 0, &json!({"stock": 1}), 1), short, point("b", 0, &json!({"stock": 1}), 2)];
    let Err(CollectionError::Refused(refused)) = class.upsert(&points).await else { panic!() };
    assert!(refused.len() == 1 && refused[0].index == 1, "{refused:?}");
    assert_same(fetched(&class, &points).await, &[&points[0], &points[2]]);
    let filter = Filter::from_json(&json!({"stock": 1})).unwrap();
    let found = class.nearest(Nearest { vector: &points[0].vector, filter: Some(&filter), limit: 9 }).await.unwrap();
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn a_class_that_was_dropped_is_missing_and_is_not_made_by_a_write() {
    let Some(addresses) = addresses() else { return };
    let name = fresh();
    let class = class_of(addresses, &format!("collection: {name}"), DIMENSIONS);
    let points = [point("a", 0, &json!({"price": 1}), 1)];
    for _ in 0..2 {
        let error = class.upsert(&points).await;
        assert!(matches!(error, Err(CollectionError::Missing(_))), "{error:?}");
        assert_eq!(class.look().await, Ok(None));
        let error = class.set_metadata(&[metadata_of(&points[0])]).await;
        assert!(matches!(error, Err(CollectionError::Missing(_))), "{error:?}");
        let error = class.delete(&[points[0].id]).await;
        assert!(matches!(error, Err(CollectionError::Missing(_))), "{error:?}");
        let error = class.fetch(&[points[0].id]).await;
        assert!(matches!(error, Err(CollectionError::Missing(_))), "{error:?}");
        let error = class.nearest(Nearest { vector: &points[0].vector, filter: None, limit: 1 }).await;
        assert!(matches!(error, Err(CollectionError::Missing(_))), "{error:?}");
        assert_eq!(class.look().await, Ok(None));
        assert_eq!(class.establish().await, Ok(Established::Created));
        class.upsert(&points).await.unwrap();
        direct(addresses, "DELETE", &format!("schema/{name}"), Value::Null).await;
    }
}

#[tokio::test]
async fn a_class_that_a_write_of_another_program_made_does_not_fit() {
    let Some(addresses) = addresses() else { return };
    let name = fresh();
    let object = json!({ "class": name, "vector": [1, 2], "properties": { "price": 1, "category": "a b" } });
    let (status, answer) = direct(addresses, "POST", "objects", object).await;
    assert!(status.is_success(), "{answer}");
    let class = class_of(addresses, &format!("collection: {name}"), 2);
    assert!(matches!(class.establish().await, Err(CollectionError::Unfit(_))));
    let error = class.upsert(&[point("a", 0, &json!({}), 1)]).await;
    assert!(matches!(error, Err(CollectionError::Unfit(_))), "{error:?}");
}

#[tokio::test]
async fn filters_find_what_they_match() {
    let Some(addresses) = addresses() else { return };
    let class = established(addresses, "").await;
    let mut products = products(120);
    let mut random = fastrand::Rng::with_seed(5);
    for product in &mut products {
        let mut metadata: Value = serde_json::from_str(&product.metadata).unwrap();
        metadata["added"] = format!("2026-{:02}-01", random.u32(1..13)).into();
        metadata["sizes"] = json!(&[38.0, 39.5, 40.0][..random.usize(..4)]);
        if random.u32(..5) == 0 {
            metadata["category"] = "".into();
        }
        if random.u32(..5) == 0 {
            metadata["tags"] = json!(["", "wool"]);
        }
        product.metadata = metadata.to_string().into();
    }
    class.upsert(&products).await.unwrap();
    let vector = vector(4711, DIMENSIONS);
    let mut some = 0;
    for json in [
        json!({}),
        json!({"category": "shoes"}),
        json!({"category": "Shoes"}),
        json!({"category": "shoes "}),
        json!({"category": ""}),
        json!({"category": {"gte": "", "lt": "m"}}),
        json!({"category": {"gt": ""}}),
        json!({"category": {"lte": ""}}),
        json!({"category": 5}),
        json!({"category": "shoes", "sale": true}),
        json!({"sale": false}),
        json!({"sale": {"in": [true, false]}}),
        json!({"stock": 3.0}),
        json!({"stock": {"in": [0, 4]}}),
        json!({"price": {"gte": 20, "lt": 50.5}}),
        json!({"price": {"gt": 99}}),
        json!({"added": {"gte": "2026-03-01", "lt": "2026-07-01"}}),
        json!({"added": {"gt": "2026-11"}}),
        json!({"category": {"in": ["hats", "socks", "x"]}}),
        json!({"category": {"in": []}}),
        json!({"tags": "wool"}),
        json!({"tags": ""}),
        json!({"tags": {"in": ["wool", "rain"]}}),
        json!({"tags": {"lt": "r"}}),
        json!({"tags": {"exists": true}}),
        json!({"tags": {"exists": false}}),
        json!({"sizes": {"gt": 39}}),
        json!({"sizes": 39.5}),
        json!({"brand": {"exists": false}}),
        json!({"brand": "Fjäll \"x\""}),
        json!({"not": {"category": "shoes"}}),
        json!({"not": {"brand": "Fjäll \"x\""}}),
        json!({"not": {"sale": true}}),
        json!({"not": {"tags": "wool"}}),
        json!({"not": {"price": {"lt": 50}}}),
        json!({"not": {"price": {"gte": 20, "lte": 50}}}),
        json!({"or": [{"stock": 0}, {"price": {"lt": 10}}]}),
        json!({"and": [{"or": [{"stock": 0}, {"stock": 1}]}, {"not": {"sale": true}}]}),
        json!({"not": {"or": [{"category": "hats"}, {"and": [{"category": "socks"}, {"tags": "rain"}]}]}}),
    ] {
        let found = assert_filtered(&class, &products, &vector, &json).await;
        some += usize::from(found > 0 && found < products.len());
    }
    assert!(some > 25, "most filters find some and not all: {some}");
}

/// What goes by REST is allowed by the contract, and what the contract forbids is found.
#[tokio::test]
async fn every_request_is_one_of_the_published_contract() {
    let Some(contracts) = Contracts::get() else { return };
    let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
    let requests = seen.clone();
    let address = serve(move |request| {
        let mut requests = requests.lock().unwrap();
        let made = requests.iter().find(|request| request.method == "POST").map(|request| request.body.clone());
        let answer = match (request.method.as_str(), made) {
            ("GET", None) => reply(404, Value::Null),
            ("GET", Some(class)) => reply(200, serde_json::from_slice(&class).unwrap()),
            ("POST", None) => reply(200, json!({})),
            _ => reply(204, Value::Null),
        };
        requests.push(request);
        answer
    });
    let class = class_of(&(format!("http://{address}"), "http://127.0.0.1:1".to_owned()), "", DIMENSIONS);
    assert_eq!(class.establish().await, Ok(Established::Created));
    let change = metadata_of(&point("a", 0, &json!({"price": 1, "tags": ["x"], "sizes": [], "other": null}), 1));
    assert_eq!(class.set_metadata(&[change]).await, Ok(vec![]));
    let requests = seen.lock().unwrap();
    assert_eq!(
        requests.iter().map(|request| request.method.as_str()).collect::<Vec<_>>(),
        ["GET", "POST", "GET", "PATCH"]
    );
    let violations = |request: &Request| {
        contracts.violations(Contract::Weaviate, request.target.strip_prefix("/v1").unwrap(), request)
    };
    for request in &*requests {
        assert_eq!(violations(request), None, "{} {}", request.method, request.target);
    }
    let wrong = Request { body: br#"{"class": 5}"#.to_vec(), ..requests[1].clone() };
    assert!(violations(&wrong).is_some(), "the contract is asked at all");
}

/// The contract of all indexes.
struct Real(Addresses);

impl Real {
    fn at(addresses: &str) -> Self {
        let (rest, grpc) = addresses.split_once(' ').unwrap();
        Self((rest.to_owned(), grpc.to_owned()))
    }
}

/// A class begins with a capital.
fn class_name(name: &str) -> String {
    format!("C{name}")
}

impl Subject for Real {
    fn place(&self, name: &str, metric: Metric) -> Place {
        Place::Collection(self.collection(name, DIMENSIONS, metric))
    }

    fn any_metadata(&self) -> bool {
        false
    }

    fn refused_filters(&self) -> Vec<(Value, &'static str)> {
        // A field that is not declared cannot be asked for, and a range in a list has one end.
        vec![
            (json!({"nowhere": {"exists": false}}), "`nowhere`"),
            (json!({"tags": {"gte": "n", "lt": "s"}}), "two ends"),
        ]
    }

    fn poison(&self) -> Option<(Value, &'static str)> {
        Some((json!({"price": "cheap"}), "cheap"))
    }
}

impl Backend for Real {
    fn collection(&self, name: &str, dimensions: usize, metric: Metric) -> Arc<dyn Inspect> {
        let metric = serde_json::to_value(metric).unwrap();
        let more = format!("collection: {}, metric: {}", class_name(name), metric.as_str().unwrap());
        Arc::new(class_of(&self.0, &more, dimensions))
    }

    fn through(&self, name: &str, port: &dyn Fn(u16) -> u16, timeout: Duration) -> Arc<dyn Inspect> {
        let addresses = (with_port(&self.0.0, port), with_port(&self.0.1, port));
        let more = format!("collection: {}, timeout: {}ms", class_name(name), timeout.as_millis());
        Arc::new(class_of(&addresses, &more, DIMENSIONS))
    }

    fn with_wrong_key(&self) -> WrongKey {
        let class = class_of(&self.0, &format!("api_key: {WRONG_KEY}"), DIMENSIONS);
        WrongKey::Refused(Arc::new(class), "index.api_key")
    }

    fn changes_metadata_alone(&self) -> bool {
        true
    }

    fn write_foreign<'a>(&'a self, name: &'a str, points: &'a [Point]) -> BoxFuture<'a, ()> {
        async move {
            for Point { id, vector, metadata, .. } in points {
                let properties: Value = serde_json::from_str(metadata).unwrap();
                let object =
                    json!({ "class": class_name(name), "id": id.to_string(), "vector": **vector, "properties": properties });
                let (status, answer) = direct(&self.0, "POST", "objects", object).await;
                assert!(status.is_success(), "{answer}");
            }
        }
        .boxed()
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let (status, answer) =
                direct(&self.0, "DELETE", &format!("schema/{}", class_name(name)), Value::Null).await;
            assert!(status.is_success(), "{answer}");
        }
        .boxed()
    }
}

vectide::collection_contract!(server);

#[tokio::test]
async fn a_class_is_not_counted_where_graphql_is_switched_off() {
    let Some(server) = Server::start_with("weaviate.sh", &[("DISABLE_GRAPHQL", "true")]) else { return };
    let class = established(&Real::at(&server.address).0, "").await;
    assert_eq!(class.look().await, Ok(Some(Established::Existing { points: 0 })));
    class.upsert(&[point("a", 0, &json!({}), 1), point("b", 0, &json!({}), 2)]).await.unwrap();
    assert_eq!(class.look().await, Ok(Some(Established::Uncounted { at_least: 1 })));
}

#[test]
fn a_server_that_was_killed_has_all_that_it_answered() {
    let Some(mut server) = Server::start("weaviate.sh") else { return };
    let backend = Real::at(&server.address);
    killed::a_server_that_was_killed_has_all_that_it_answered(&backend, &mut server);
}
