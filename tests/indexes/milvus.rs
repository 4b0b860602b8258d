//! Milvus, as milvus-lite: its own gRPC interface in one process.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use vectide::index::collection::Collection;
use vectide::index::grpc::Client;
use vectide::index::milvus::Milvus;
use vectide::settings::index::Metric;
use vectide::settings::milvus::MilvusSettings;
use vectide::settings::{Secret, Span};

use crate::contract::shop::{Place, Shop};
use crate::contract::{Backend, Subject, WRONG_KEY, WrongKey, block_on, contract, fresh};
use crate::killed;
use crate::points::DIMENSIONS;
use crate::relay::with_port;
use crate::server::{Server, Shared};
use crate::sifted;

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

    fn with_wrong_key(&self) -> (Arc<dyn Collection>, WrongKey) {
        // milvus-lite asks for none.
        let settings = MilvusSettings { api_key: Some(Secret::new(WRONG_KEY)), ..settings(&self.url, &fresh("keyed")) };
        (Arc::new(Milvus::new(&settings, "contract", DIMENSIONS).unwrap()), WrongKey::NotLookedAt)
    }

    fn changes_metadata_alone(&self) -> bool {
        false
    }

    fn unanswered(&self, call: &str) -> &'static str {
        match call {
            "upsert" => "no answer to Upsert",
            "delete" => "no answer to Delete",
            "nearest" => "no answer to Search",
            "fetch" => "no answer to Query",
            _ => "no answer to DescribeCollection",
        }
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
fn a_search_that_could_be_answered_wrongly_is_refused() {
    let Some(backend) = server() else { return };
    sifted::a_search_that_could_be_answered_wrongly_is_refused(backend);
}

#[test]
fn an_error_says_once_where_it_is() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let settings = MilvusSettings {
        timeout: Span::new(Duration::from_millis(100)),
        ..settings(&format!("http://{address}"), "products")
    };
    let place = Place::Collection(Arc::new(Milvus::new(&settings, "contract", DIMENSIONS).unwrap()));
    block_on(async {
        let told =
            Shop::open(tempfile::tempdir().unwrap(), place, false).index.prepare().await.unwrap_err().to_string();
        let expected = format!(
            "Milvus at {address}, collection `products`: no answer to DescribeCollection in 100ms (`index.timeout`)"
        );
        assert_eq!(told, expected);
    });
}

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
