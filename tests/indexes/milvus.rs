//! Milvus, as milvus-lite: its own gRPC interface in one process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use serde_json::Value;
use vectide::index::collection::Collection;
use vectide::index::grpc::Client;
use vectide::index::milvus::Milvus;
use vectide::settings::Secret;
use vectide::settings::Span;
use vectide::settings::index::Metric;
use vectide::settings::milvus::MilvusSettings;

use crate::contract::shop::Place;
use crate::contract::{Backend, Subject, WRONG_KEY, WrongKey, contract, fresh};
use crate::killed;
use crate::points::DIMENSIONS;
use crate::relay::with_port;
use crate::server::{Server, Shared};

struct Lite {
    url: String,
}

impl Lite {
    fn at(url: &str) -> Self {
        Self { url: url.to_owned() }
    }
}

/// One for all tests, each of which has a collection of its own; it ends with the process.
fn server() -> Option<&'static Lite> {
    static SHARED: Shared<Lite> = Shared::new("milvus.sh", Lite::at);
    SHARED.get()
}

fn settings(url: &str, name: &str) -> MilvusSettings {
    MilvusSettings {
        url: url.to_owned(),
        collection: Some(name.to_owned()),
        timeout: Span::new(Duration::from_secs(60)),
        ..MilvusSettings::default()
    }
}

#[derive(Clone, PartialEq, Message)]
struct DropCollection {
    #[prost(string, tag = "3")]
    collection: String,
}

impl Subject for Lite {
    fn place(&self, name: &str, metric: Metric) -> Place {
        Place::Collection(self.collection(name, DIMENSIONS, metric))
    }

    fn refused_filters(&self) -> Vec<(Value, &'static str)> {
        // What its language cannot say is decided on what comes back; that ends where too few of too many match, which is tested below.
        Vec::new()
    }

    fn poison(&self) -> Option<(Value, &'static str)> {
        // A full Milvus takes 64 KiB of metadata. milvus-lite has no limit, and no type that JSON does not have.
        None
    }
}

impl Backend for Lite {
    fn collection(&self, name: &str, dimensions: usize, metric: Metric) -> Arc<dyn Collection> {
        let settings = MilvusSettings { metric, ..settings(&self.url, name) };
        Arc::new(Milvus::new(&settings, "contract", dimensions).unwrap())
    }

    fn through(&self, name: &str, port: &dyn Fn(u16) -> u16, timeout: Duration) -> Arc<dyn Collection> {
        let settings = MilvusSettings { timeout: Span::new(timeout), ..settings(&with_port(&self.url, port), name) };
        Arc::new(Milvus::new(&settings, "contract", DIMENSIONS).unwrap())
    }

    fn with_wrong_key(&self) -> WrongKey {
        // milvus-lite has no users, and reads no key.
        let key = Some(Secret::new(WRONG_KEY));
        let settings = MilvusSettings { api_key: key, ..settings(&self.url, &fresh("keyed")) };
        WrongKey::NotAsked(Arc::new(Milvus::new(&settings, "contract", DIMENSIONS).unwrap()))
    }

    fn changes_metadata_alone(&self) -> bool {
        false
    }

    fn yaml(&self, name: &str) -> String {
        format!("{{ type: milvus, url: '{}', collection: {name} }}", self.url)
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let client = Client::new(&self.url, None, None, Duration::from_secs(60)).unwrap();
            let question = DropCollection { collection: name.to_owned() };
            client.unary::<_, ()>("/milvus.proto.milvus.MilvusService/DropCollection", question).await.unwrap();
        }
        .boxed()
    }
}

contract!(server);

#[test]
fn killed_again_and_again_it_ends_in_step_and_pays_again_only_for_what_was_on_its_way() {
    let Some(mut server) = Server::start("milvus.sh") else { return };
    let backend = Lite::at(&server.address);
    killed::it_ends_in_step_and_pays_again_only_for_what_was_on_its_way(&backend, &mut server, 5);
}

#[test]
fn a_server_that_was_killed_has_all_that_it_answered() {
    let Some(mut server) = Server::start("milvus.sh") else { return };
    let backend = Lite::at(&server.address);
    killed::a_server_that_was_killed_has_all_that_it_answered(&backend, &mut server);
}
