//! Qdrant, as the stand-in of `tests/servers/qdrant.py`: its own messages, conversions and in-process engine, without its server.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use serde_json::{Value, json};
use vectide::index::collection::{Collection, CollectionError};
use vectide::index::grpc::Client;
use vectide::index::qdrant::Qdrant;
use vectide::settings::Secret;
use vectide::settings::Span;
use vectide::settings::index::Metric;
use vectide::settings::qdrant::QdrantSettings;

use crate::contract::shop::{Place, Shop};
use crate::contract::{Backend, Subject, WRONG_KEY, WrongKey, block_on, contract};
use crate::killed;
use crate::points::{DIMENSIONS, point};
use crate::relay::with_port;
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

    fn refuses_metadata(&self, metadata: &Value) -> Option<&'static str> {
        let refused = [
            ("n", "which is above 9223372036854775807"),
            ("vectide_chunk", "Vectide's own"),
            ("deep", "nested deeper"),
        ];
        refused.into_iter().find(|(field, _)| metadata.get(field).is_some()).map(|(_, said)| said)
    }
}

impl Backend for StandIn {
    fn collection(&self, name: &str, dimensions: usize, metric: Metric) -> Arc<dyn Collection> {
        let settings = QdrantSettings { metric, ..settings(&self.url, name) };
        Arc::new(Qdrant::new(&settings, "contract", dimensions).unwrap())
    }

    fn through(&self, name: &str, port: &dyn Fn(u16) -> u16, timeout: Duration) -> Arc<dyn Collection> {
        let settings = QdrantSettings { timeout: Span::new(timeout), ..settings(&with_port(&self.url, port), name) };
        Arc::new(Qdrant::new(&settings, "contract", DIMENSIONS).unwrap())
    }

    fn with_wrong_key(&self) -> (Arc<dyn Collection>, WrongKey) {
        static KEYED: OnceLock<Option<Server>> = OnceLock::new();
        let server = KEYED.get_or_init(|| Server::start_with("qdrant.sh", &[("API_KEY", "right")])).as_ref();
        let server = server.expect("one more of it can be had");
        let settings = QdrantSettings { api_key: Some(Secret::new(WRONG_KEY)), ..settings(&server.address, "keyed") };
        (Arc::new(Qdrant::new(&settings, "contract", DIMENSIONS).unwrap()), WrongKey::Refused("index.api_key"))
    }

    fn changes_metadata_alone(&self) -> bool {
        true
    }

    fn unanswered(&self, call: &str) -> &'static str {
        match call {
            "upsert" => "no answer to Upsert",
            "delete" => "no answer to Delete",
            "nearest" => "no answer to Query",
            _ => "no answer to Get",
        }
    }

    fn yaml(&self, name: &str) -> String {
        format!("{{ type: qdrant, url: '{}', collection: {name} }}", self.url)
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

contract!(server);

#[test]
fn a_search_that_could_be_answered_wrongly_is_refused() {
    let Some(backend) = server() else { return };
    sifted::a_search_that_could_be_answered_wrongly_is_refused(backend);
}

#[test]
fn an_error_says_once_where_it_is() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let settings = QdrantSettings {
        timeout: Span::new(Duration::from_millis(100)),
        ..settings(&format!("http://{address}"), "products")
    };
    let place = Place::Collection(Arc::new(Qdrant::new(&settings, "contract", DIMENSIONS).unwrap()));
    block_on(async {
        let told =
            Shop::open(tempfile::tempdir().unwrap(), place, false).index.prepare().await.unwrap_err().to_string();
        let expected =
            format!("Qdrant at {address}, collection `products`: no answer to Get in 100ms (`index.timeout`)");
        assert_eq!(told, expected);
    });
}

#[test]
fn killed_again_and_again_it_ends_in_step_and_pays_again_only_for_what_was_on_its_way() {
    let Some(mut server) = Server::start("qdrant.sh") else { return };
    let backend = StandIn::at(&server.address);
    killed::it_ends_in_step_and_pays_again_only_for_what_was_on_its_way(&backend, &mut server, 5);
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
