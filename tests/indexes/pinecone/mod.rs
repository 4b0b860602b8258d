//! Pinecone. Nobody but its makers can run it: what it does is played by a stub of our own, and what may be asked of it is checked with its
//! published contract by somebody else's validator.

pub mod stub;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use uuid::Uuid;
use vectide::index::external::collection::{Collection, CollectionError, Established, Nearest, Point};
use vectide::index::external::inspect::Inspect;
use vectide::index::pinecone::PineconeIndex;
use vectide::index::{Filter, IndexError};
use vectide::settings::index::Metric;
use vectide::testkit::index_contract::points::{DIMENSIONS, point, vector};
use vectide::testkit::index_contract::relay::with_port;
use vectide::testkit::index_contract::shop::{Place, Shop, write};
use vectide::testkit::index_contract::{Backend, Subject, WRONG_KEY, WrongKey, assert_same};

use crate::contracts::{Contract, Contracts};
use crate::http::{Reply, Request, reply};
use crate::points::{assert_filtered, fetched, products};

use stub::{KEY, Stub};

const FIELDS: &str = "{ category: text, brand: text, price: number, stock: number, sale: boolean, tags: 'text[]' }";

fn index(stub: &Stub, more: &str) -> PineconeIndex {
    index_of(stub, more, DIMENSIONS)
}

fn index_of(stub: &Stub, more: &str, dimensions: usize) -> PineconeIndex {
    let settings = format!("{{ url: '{}', api_key: {KEY}, metadata: {FIELDS}, timeout: 5s, {more} }}", stub.url());
    PineconeIndex::new(&serde_yaml::from_str(&settings).unwrap(), "products", dimensions).unwrap()
}

/// Pinecone says so of a namespace that was written to a moment ago.
#[tokio::test]
async fn a_count_of_nothing_may_still_grow() {
    let stub = Stub::start();
    let own = index(&stub, "");
    assert_eq!(own.establish().await, Ok(Established::Created));
    assert_eq!(own.establish().await, Ok(Established::Delayed { points: 0 }));
    own.upsert(&[point("a", 0, &json!({}), 1)]).await.unwrap();
    assert_eq!(own.look().await, Ok(Some(Established::Delayed { points: 1 })));
    assert_eq!(index(&stub, "namespace: other").look().await, Ok(Some(Established::Delayed { points: 0 })));
}

#[tokio::test]
async fn a_refused_point_is_named_and_its_mates_go_in() {
    let stub = Stub::start();
    let index = index(&stub, "");
    index.establish().await.unwrap();
    let large = json!({"text": "x".repeat(50_000)});
    let points = [
        point("a", 0, &json!({"price": 1}), 1),
        point("b", 0, &json!({"price": "cheap"}), 2),
        point("c", 0, &large, 3),
        point("d", 0, &json!({"stock": 9_007_199_254_740_993_u64}), 4),
        point("e", 0, &json!({}), 5),
    ];
    let Err(CollectionError::Refused(refused)) = index.upsert(&points).await else { panic!() };
    assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(refused[0].reason.contains("`price` is \"cheap\"") && refused[1].reason.contains("40960"), "{refused:?}");
    assert_same(fetched(&index, &points).await, &[&points[0], &points[4]]);
    // What only Pinecone itself knows.
    let zero = Point { vector: vec![0.0; DIMENSIONS].into(), ..points[0].clone() };
    let error = index.upsert(&[zero]).await.unwrap_err();
    assert!(matches!(&error, CollectionError::OneRefused(text) if text.contains("non-zero")), "{error:?}");
}

#[tokio::test]
async fn every_documented_error_has_its_meaning() {
    let stub = Stub::start();
    let index = index(&stub, "");
    let points = [point("a", 0, &json!({}), 1)];
    assert!(matches!(index.upsert(&points).await, Err(CollectionError::Missing(_))), "before it is made");
    index.establish().await.unwrap();
    let limited = || Reply {
        headers: vec![("retry-after", "7".into())],
        ..reply(429, json!({ "message": "Too many requests" }))
    };
    stub.script([limited(), reply(503, Value::Null), reply(500, json!({ "message": "internal" }))]);
    let error = index.upsert(&points).await.unwrap_err();
    assert!(
        matches!(error, CollectionError::Unavailable { after: Some(after), .. } if after == Duration::from_secs(7))
    );
    for _ in 0..2 {
        assert!(matches!(index.upsert(&points).await, Err(CollectionError::Unavailable { after: None, .. })));
    }
    stub.script([reply(400, json!({ "code": 3, "message": "Metadata size is 41000 bytes, which exceeds the limit" }))]);
    assert!(matches!(index.upsert(&points).await, Err(CollectionError::OneRefused(text)) if text.contains("41000")));
    stub.script([reply(200, json!({ "upsertedCount": 0 }))]);
    let error = index.upsert(&points).await.unwrap_err();
    assert!(
        matches!(&error, CollectionError::Unavailable { reason, .. } if reason.contains("0 of 1 records")),
        "{error:?}"
    );
    stub.script([reply(403, json!({ "message": "forbidden" }))]);
    assert!(matches!(index.upsert(&points).await, Err(CollectionError::Fatal(text)) if text.contains("forbidden")));
    index.upsert(&points).await.unwrap();
    stub.drop_index("products");
    assert!(matches!(index.upsert(&points).await, Err(CollectionError::Missing(_))));
    assert!(matches!(index.delete(&[points[0].id]).await, Err(CollectionError::Missing(_))));
    assert!(matches!(index.fetch(&[points[0].id]).await, Err(CollectionError::Missing(_))));
    assert_eq!(index.establish().await, Ok(Established::Created));
    assert_same(fetched(&index, &points).await, &[]);
}

/// Both are found through the same API: a key is of one project.
#[tokio::test]
async fn an_index_of_another_project_is_not_taken_for_ours() {
    let (ours, theirs) = (Stub::start(), Stub::start());
    let of = |stub: &Stub| Place::Collection(Arc::new(index(stub, "")));
    let shop = Shop::new(of(&ours)).await;
    shop.write(vec![write("a", &json!({}), &[1])]).await.unwrap();
    let shop = shop.crash(of(&ours)).await;
    shop.index.prepare().await.unwrap();
    let other = index(&theirs, "");
    other.establish().await.unwrap();
    other.upsert(&[point("theirs", 0, &json!({}), 2)]).await.unwrap();
    let shop = shop.crash(of(&theirs)).await;
    let told = shop.index.prepare().await;
    assert!(matches!(&told, Err(IndexError::Unfit(text)) if text.contains("index.adopt")), "{told:?}");
}

#[tokio::test]
async fn filters_find_what_they_match() {
    let stub = Stub::start();
    let index = index(&stub, "");
    index.establish().await.unwrap();
    let products = products(120);
    index.upsert(&products).await.unwrap();
    let vector = vector(4711, DIMENSIONS);
    for json in [
        json!({}),
        json!({"category": "shoes"}),
        json!({"category": 5}),
        json!({"category": "shoes", "sale": true}),
        json!({"sale": {"in": [true, false]}}),
        json!({"stock": 3.0}),
        json!({"price": {"gte": 20, "lt": 50.5}}),
        json!({"price": {"gt": 99}}),
        json!({"category": {"in": ["hats", "socks", "x"]}}),
        json!({"stock": {"in": [0, 4]}}),
        json!({"category": {"in": []}}),
        json!({"tags": {"in": ["wool", "rain"]}}),
        json!({"tags": {"exists": true}}),
        json!({"tags": {"exists": false}}),
        json!({"brand": {"exists": false}}),
        json!({"brand": "Fjäll \"x\""}),
        json!({"not": {"category": "shoes"}}),
        json!({"not": {"brand": "Fjäll \"x\""}}),
        json!({"not": {"sale": true}}),
        json!({"not": {"tags": "wool"}}),
        json!({"not": {"price": {"lt": 50}}}),
        json!({"not": {"price": {"gte": 20, "lte": 50}}}),
        json!({"or": [{"stock": 0}, {"price": {"lt": 10}}]}),
        json!({"not": {"or": [{"category": "hats"}, {"and": [{"category": "socks"}, {"tags": "rain"}]}]}}),
    ] {
        assert_filtered(&index, &products, &vector, &json).await;
    }
}

/// All that the connector sends is allowed by the contract, and what the contract forbids is found.
#[tokio::test]
async fn every_request_is_one_of_the_published_contract() {
    let Some(contracts) = Contracts::get() else { return };
    let stub = Stub::start();
    let index = index(&stub, "namespace: 'a b&c'");
    index.establish().await.unwrap();
    let products = products(5);
    index.upsert(&products).await.unwrap();
    index.look().await.unwrap();
    for filter in
        [json!({}), json!({"not": {"or": [{"category": "hats"}, {"price": {"gte": 1}}, {"tags": {"exists": true}}]}})]
    {
        let filter = Filter::from_json(&filter).unwrap();
        index.nearest(Nearest { vector: &products[0].vector, filter: Some(&filter), limit: 3 }).await.unwrap();
    }
    let ids: Vec<Uuid> = products.iter().map(|point| point.id).collect();
    index.fetch(&ids).await.unwrap();
    index.delete(&ids).await.unwrap();
    let requests = stub.requests();
    assert!(requests.len() >= 8, "{}", requests.len());
    let violations = |request: &Request| match request.target.strip_prefix("/host/products") {
        Some(target) => contracts.violations(Contract::PineconeIndex, target, request),
        None => contracts.violations(Contract::PineconeApi, &request.target, request),
    };
    for request in &requests {
        assert_eq!(violations(request), None, "{} {}", request.method, request.target);
    }
    let upsert = requests.iter().find(|request| request.target.ends_with("/vectors/upsert")).unwrap();
    let wrong = Request { body: br#"{"vectors": [{"values": "none"}]}"#.to_vec(), ..upsert.clone() };
    assert!(violations(&wrong).is_some(), "the contract is asked at all");
}

/// The contract of all indexes.
struct Played(Stub);

fn played() -> Option<&'static Played> {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    Some(PLAYED.get_or_init(|| Played(Stub::start())))
}

/// Its indexes have no `_` in their names.
fn index_name(name: &str) -> String {
    name.replace('_', "-")
}

impl Subject for Played {
    fn place(&self, name: &str, metric: Metric) -> Place {
        Place::Collection(self.collection(name, DIMENSIONS, metric))
    }

    fn any_metadata(&self) -> bool {
        false
    }

    fn refused_filters(&self) -> Vec<(Value, &'static str)> {
        // A field that is not declared cannot be asked for, and there is no range of texts.
        vec![
            (json!({"nowhere": {"exists": false}}), "`nowhere`"),
            (json!({"added": {"gte": "2026-03-01", "lt": "2026-07-01"}}), "`added`"),
            (json!({"category": {"gt": "hats"}}), "numbers only"),
            (json!({"tags": {"gte": "n", "lt": "s"}}), "numbers only"),
        ]
    }

    fn poison(&self) -> Option<(Value, &'static str)> {
        Some((json!({"price": "cheap"}), "cheap"))
    }
}

impl Backend for Played {
    fn collection(&self, name: &str, dimensions: usize, metric: Metric) -> Arc<dyn Inspect> {
        let metric = serde_json::to_value(metric).unwrap();
        let more = format!("collection: {}, metric: {}", index_name(name), metric.as_str().unwrap());
        Arc::new(index_of(&self.0, &more, dimensions))
    }

    fn through(&self, name: &str, port: &dyn Fn(u16) -> u16, timeout: Duration) -> Arc<dyn Inspect> {
        // One of its own: it says where its indexes are reached, which is by these ports too.
        let stub = Stub::start();
        let url = with_port(&stub.url(), port);
        stub.is_reached_at(url.strip_prefix("http://").unwrap());
        let (name, timeout) = (index_name(name), timeout.as_millis());
        let settings = format!("{{ url: '{url}', api_key: {KEY}, collection: {name}, timeout: {timeout}ms }}");
        Arc::new(PineconeIndex::new(&serde_yaml::from_str(&settings).unwrap(), "contract", DIMENSIONS).unwrap())
    }

    fn with_wrong_key(&self) -> WrongKey {
        let settings = format!("{{ url: '{}', api_key: {WRONG_KEY} }}", self.0.url());
        let index = PineconeIndex::new(&serde_yaml::from_str(&settings).unwrap(), "contract", DIMENSIONS).unwrap();
        WrongKey::Refused(Arc::new(index), "index.api_key")
    }

    fn changes_metadata_alone(&self) -> bool {
        false
    }

    fn write_foreign<'a>(&'a self, name: &'a str, points: &'a [Point]) -> BoxFuture<'a, ()> {
        async move { points.iter().for_each(|point| self.0.hold(&index_name(name), point)) }.boxed()
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        async move { self.0.drop_index(&index_name(name)) }.boxed()
    }
}

vectide::collection_contract!(played);
