//! Milvus, as milvus-lite: its own gRPC interface in one process.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use serde_json::{Value, json};
use vectide::index::collection::{Collection, CollectionError};
use vectide::index::grpc::Client;
use vectide::index::milvus::Milvus;
use vectide::settings::Span;
use vectide::settings::index::Metric;
use vectide::settings::milvus::MilvusSettings;

use crate::contract::{Backend, DIMENSIONS, assert_same, block_on, contract, point};
use crate::killed::it_ends_in_step_and_pays_again_only_for_what_was_on_its_way;
use crate::server::Server;

struct Lite {
    url: String,
}

/// One for all tests, each of which has a collection of its own; it ends with the process.
fn server() -> Option<&'static Lite> {
    static SERVER: OnceLock<Option<(Mutex<Server>, Lite)>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let server = Server::start("milvus.sh")?;
        let url = server.address.clone();
        Some((Mutex::new(server), Lite { url }))
    });
    server.as_ref().map(|(_, backend)| backend)
}

#[derive(Clone, PartialEq, Message)]
struct DropCollection {
    #[prost(string, tag = "3")]
    collection: String,
}

impl Backend for Lite {
    fn collection(&self, name: &str, dimensions: usize, metric: Metric) -> Arc<dyn Collection> {
        let settings = MilvusSettings {
            url: self.url.clone(),
            collection: Some(name.to_owned()),
            metric,
            timeout: Span::new(Duration::from_secs(60)),
            ..MilvusSettings::default()
        };
        Arc::new(Milvus::new(&settings, "contract", dimensions).unwrap())
    }

    fn yaml(&self, name: &str) -> String {
        format!("{{ type: milvus, url: '{}', collection: {name} }}", self.url)
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let client = Client::new(&self.url, None, Duration::from_secs(60)).unwrap();
            let question = DropCollection { collection: name.to_owned() };
            client.unary::<_, ()>("/milvus.proto.milvus.MilvusService/DropCollection", question).await.unwrap();
        }
        .boxed()
    }

    fn poison(&self) -> Option<(Value, &'static str)> {
        // Its JSON column takes every metadata.
        None
    }
}

contract!(server);

#[test]
fn killed_again_and_again_it_ends_in_step_and_pays_again_only_for_what_was_on_its_way() {
    let Some(mut server) = Server::start("milvus.sh") else { return };
    let backend = Lite { url: server.address.clone() };
    it_ends_in_step_and_pays_again_only_for_what_was_on_its_way(&backend, 5, || {
        server.stop();
        server.restart();
    });
}

#[test]
fn a_server_that_was_killed_has_all_that_it_answered() {
    let Some(mut server) = Server::start("milvus.sh") else { return };
    block_on(async {
        let backend = Lite { url: server.address.clone() };
        let collection = backend.collection("survivors", DIMENSIONS, Metric::Cosine);
        collection.establish().await.unwrap();
        let points: Vec<_> = (0..50).map(|seed| point(&format!("p{seed}"), 0, &json!({ "n": seed }), seed)).collect();
        collection.upsert(&points).await.unwrap();
        server.stop();
        let down = collection.upsert(&points).await;
        assert!(matches!(down, Err(CollectionError::Unavailable { .. })), "{down:?}");
        server.restart();
        let ids: Vec<_> = points.iter().map(|point| point.id).collect();
        collection.establish().await.unwrap();
        assert_same(collection.fetch(&ids).await.unwrap(), &points.iter().collect::<Vec<_>>());
    });
}
