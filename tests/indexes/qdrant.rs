//! Qdrant, as the stand-in of `tests/servers/qdrant.py`: its own messages, conversions and in-process engine, without its server.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use serde_json::{Value, json};
use vectide::index::external::collection::{Collection, CollectionError, Point};
use vectide::index::external::grpc::Client;
use vectide::index::external::inspect::Inspect;
use vectide::index::qdrant::Qdrant;
use vectide::index::qdrant::messages::{self, Dense, Id, Kind, PointId, PointStruct, Upsert, Vector, Vectors};
use vectide::settings::Secret;
use vectide::settings::Span;
use vectide::settings::index::Metric;
use vectide::settings::qdrant::QdrantSettings;
use vectide::testkit::index_contract::points::{DIMENSIONS, point};
use vectide::testkit::index_contract::relay::with_port;
use vectide::testkit::index_contract::shop::Place;
use vectide::testkit::index_contract::{Backend, Subject, WRONG_KEY, WrongKey, block_on};

use crate::killed;
use crate::server::{Server, Shared};
use crate::sifted;

struct StandIn {
    url: String,
}

impl StandIn {
    fn at(url: &str) -> Self {
        Self { url: url.to_owned() }
    }
}

/// One for all tests, each of which has a collection of its own; it ends with the process.
fn server() -> Option<&'static StandIn> {
    static SHARED: Shared<StandIn> = Shared::new("qdrant.sh", StandIn::at);
    SHARED.get()
}

fn settings(url: &str, name: &str) -> QdrantSettings {
    QdrantSettings {
        url: url.to_owned(),
        collection: Some(name.to_owned()),
        timeout: Span::new(Duration::from_secs(60)),
        ..QdrantSettings::default()
    }
}

#[derive(Clone, PartialEq, Message)]
struct DropCollection {
    #[prost(string, tag = "1")]
    collection: String,
}

impl Subject for StandIn {
    fn place(&self, name: &str, metric: Metric) -> Place {
        Place::Collection(self.collection(name, DIMENSIONS, metric))
    }

    fn refused_filters(&self) -> Vec<(Value, &'static str)> {
        // What it cannot be told is decided on what comes back; that ends where too few of too many match, which is tested below.
        Vec::new()
    }

    fn poison(&self) -> Option<(Value, &'static str)> {
        Some((json!({ "n": u64::MAX }), "n"))
    }
}

impl Backend for StandIn {
    fn collection(&self, name: &str, dimensions: usize, metric: Metric) -> Arc<dyn Inspect> {
        let settings = QdrantSettings { metric, ..settings(&self.url, name) };
        Arc::new(Qdrant::new(&settings, "contract", dimensions).unwrap())
    }

    fn through(&self, name: &str, port: &dyn Fn(u16) -> u16, timeout: Duration) -> Arc<dyn Inspect> {
        let settings = QdrantSettings { timeout: Span::new(timeout), ..settings(&with_port(&self.url, port), name) };
        Arc::new(Qdrant::new(&settings, "contract", DIMENSIONS).unwrap())
    }

    fn with_wrong_key(&self) -> WrongKey {
        static KEYED: OnceLock<Option<Server>> = OnceLock::new();
        let server = KEYED.get_or_init(|| Server::start_with("qdrant.sh", &[("API_KEY", "right")])).as_ref();
        let server = server.expect("one was started for the other tests");
        let settings = QdrantSettings { api_key: Some(Secret::new(WRONG_KEY)), ..settings(&server.address, "keyed") };
        WrongKey::Refused(Arc::new(Qdrant::new(&settings, "contract", DIMENSIONS).unwrap()), "index.api_key")
    }

    fn changes_metadata_alone(&self) -> bool {
        true
    }

    fn write_foreign<'a>(&'a self, name: &'a str, points: &'a [Point]) -> BoxFuture<'a, ()> {
        let whole = |number: i64| messages::Value { kind: Some(Kind::Integer(number)) };
        let foreign = |point: &Point| PointStruct {
            id: Some(PointId { id: Some(Id::Uuid(point.id.to_string())) }),
            payload: serde_json::from_str::<BTreeMap<String, i64>>(&point.metadata)
                .unwrap()
                .into_iter()
                .map(|(field, number)| (field, whole(number)))
                .collect(),
            vectors: Some(Vectors { unnamed: Some(Vector { dense: Some(Dense { data: point.vector.to_vec() }) }) }),
        };
        let points = points.iter().map(foreign).collect();
        async move {
            let client = Client::new(&self.url, None, None, Duration::from_secs(60)).unwrap();
            let question = Upsert { collection: name.to_owned(), wait: true, points };
            client.unary::<_, ()>("/qdrant.Points/Upsert", question).await.unwrap();
        }
        .boxed()
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let client = Client::new(&self.url, None, None, Duration::from_secs(60)).unwrap();
            let question = DropCollection { collection: name.to_owned() };
            client.unary::<_, ()>("/qdrant.Collections/Delete", question).await.unwrap();
        }
        .boxed()
    }
}

vectide::collection_contract!(server);

#[test]
fn a_filter_that_matches_too_few_of_too_many_is_refused_and_not_answered_wrongly() {
    let Some(stand_in) = server() else { return };
    sifted::a_filter_that_matches_too_few_of_too_many_is_refused_and_not_answered_wrongly(stand_in);
}

#[test]
fn killed_again_and_again_it_ends_in_step_and_pays_again_only_for_what_was_on_its_way() {
    let Some(mut server) = Server::start("qdrant.sh") else { return };
    let backend = StandIn::at(&server.address);
    let section = |name: &str| format!("{{ type: qdrant, url: '{}', collection: {name} }}", backend.url);
    killed::it_ends_in_step_and_pays_again_only_for_what_was_on_its_way(&backend, section, &mut server, 5);
}

#[test]
fn a_server_that_was_killed_has_all_that_it_answered() {
    let Some(mut server) = Server::start("qdrant.sh") else { return };
    let backend = StandIn::at(&server.address);
    killed::a_server_that_was_killed_has_all_that_it_answered(&backend, &mut server);
}

#[test]
fn a_server_that_limits_rates_says_when_to_come_again() {
    let Some(server) = Server::start_with("qdrant.sh", &[("OVERLOADED", "7")]) else { return };
    let settings = QdrantSettings { url: server.address.clone(), ..QdrantSettings::default() };
    let collection = Qdrant::new(&settings, "limited", DIMENSIONS).unwrap();
    block_on(async {
        collection.establish().await.unwrap();
        let point = point("a", 0, &json!({}), 1);
        for refused in [collection.upsert(std::slice::from_ref(&point)).await, collection.delete(&[point.id]).await] {
            let Err(CollectionError::Unavailable { reason, after }) = refused else { panic!("{refused:?}") };
            assert_eq!(after, Some(Duration::from_secs(7)));
            assert!(reason.contains("Rate limiting exceeded"), "{reason}");
        }
    });
}
