//! Milvus, as milvus-lite: its own gRPC interface in one process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use serde_json::{Value, json};
use vectide::index::external::collection::{CollectionError, Established, Nearest, Point};
use vectide::index::external::grpc::Client;
use vectide::index::external::inspect::Inspect;
use vectide::index::milvus::Milvus;
use vectide::index::milvus::messages::{
    CollectionSchema, Column, CreateCollection, DataType, FieldData, FieldSchema, Floats, Jsons, KeyValue, Longs,
    Named, Scalar, Scalars, Strings, Upsert, Vectors,
};
use vectide::settings::Secret;
use vectide::settings::Span;
use vectide::settings::index::Metric;
use vectide::settings::milvus::MilvusSettings;
use vectide::testkit::index_contract::points::{DIMENSIONS, point};
use vectide::testkit::index_contract::relay::with_port;
use vectide::testkit::index_contract::shop::{Place, Shop, write};
use vectide::testkit::index_contract::{Backend, Subject, WRONG_KEY, WrongKey, block_on, fresh};

use crate::killed;
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

fn named(collection: &str) -> Named {
    Named { collection: collection.to_owned(), ..Named::default() }
}

impl Lite {
    async fn ask(&self, method: &'static str, question: impl Message + 'static) {
        let client = Client::new(&self.url, None, None, Duration::from_secs(60)).unwrap();
        client.unary::<_, ()>(method, question).await.unwrap();
    }

    /// Makes a collection as Vectide does, but for documents whose ids have at most so many letters.
    async fn make_with_ids_of(&self, name: &str, letters: usize) {
        let field = |name: &str, data_type: DataType, param: Option<(&str, usize)>| FieldSchema {
            name: name.to_owned(),
            is_primary_key: name == "id",
            data_type: data_type.into(),
            type_params: param.map(|(key, value)| KeyValue::new(key, value)).into_iter().collect(),
            auto_id: false,
        };
        let fields = vec![
            field("id", DataType::VarChar, Some(("max_length", 36))),
            field("vector", DataType::FloatVector, Some(("dim", DIMENSIONS))),
            field("document", DataType::VarChar, Some(("max_length", letters))),
            field("chunk", DataType::Int64, None),
            field("metadata", DataType::Json, None),
        ];
        let schema = CollectionSchema { name: name.to_owned(), fields }.encode_to_vec();
        let question = CreateCollection { collection: name.to_owned(), schema, ..CreateCollection::default() };
        self.ask("/milvus.proto.milvus.MilvusService/CreateCollection", question).await;
    }
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
    fn collection(&self, name: &str, dimensions: usize, metric: Metric) -> Arc<dyn Inspect> {
        let settings = MilvusSettings { metric, ..settings(&self.url, name) };
        Arc::new(Milvus::new(&settings, "contract", dimensions).unwrap())
    }

    fn through(&self, name: &str, port: &dyn Fn(u16) -> u16, timeout: Duration) -> Arc<dyn Inspect> {
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

    fn write_foreign<'a>(&'a self, name: &'a str, points: &'a [Point]) -> BoxFuture<'a, ()> {
        let column = |name: &str, data_type: DataType, column| FieldData {
            data_type: data_type.into(),
            name: name.to_owned(),
            column: Some(column),
        };
        let scalars = |data| Column::Scalars(Scalars { data: Some(data) });
        let texts =
            |text: fn(&Point) -> String| scalars(Scalar::Strings(Strings { data: points.iter().map(text).collect() }));
        let chunks = Longs { data: vec![-1; points.len()] };
        let metadata = Jsons { data: points.iter().map(|point| point.metadata.as_bytes().to_vec()).collect() };
        let numbers = points.iter().flat_map(|point| point.vector.to_vec()).collect();
        let vectors = Vectors { dimensions: DIMENSIONS as i64, floats: Some(Floats { data: numbers }) };
        let columns = vec![
            column("id", DataType::VarChar, texts(|point| point.id.to_string())),
            column("vector", DataType::FloatVector, Column::Vectors(vectors)),
            column("document", DataType::VarChar, texts(|_| String::new())),
            column("chunk", DataType::Int64, scalars(Scalar::Longs(chunks))),
            column("metadata", DataType::Json, scalars(Scalar::Jsons(metadata))),
        ];
        let rows = points.len() as u32;
        let question = Upsert { collection: name.to_owned(), columns, rows, ..Upsert::default() };
        self.ask("/milvus.proto.milvus.MilvusService/Upsert", question).boxed()
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        async move {
            self.ask("/milvus.proto.milvus.MilvusService/DropCollection", named(name)).await;
        }
        .boxed()
    }
}

vectide::collection_contract!(server);

#[test]
fn a_filter_that_matches_too_few_of_too_many_is_refused_and_not_answered_wrongly() {
    let Some(lite) = server() else { return };
    sifted::a_filter_that_matches_too_few_of_too_many_is_refused_and_not_answered_wrongly(lite);
}

/// `vectide check --connect` looks, and changes nothing.
#[test]
fn whoever_looks_at_a_released_collection_does_not_load_it() {
    let Some(lite) = server() else { return };
    block_on(async {
        let name = fresh("released");
        let collection = lite.collection(&name, DIMENSIONS, Metric::Cosine);
        collection.establish().await.unwrap();
        let points = [point("a", 0, &json!({}), 1), point("b", 0, &json!({}), 2)];
        collection.upsert(&points).await.unwrap();
        assert_eq!(collection.look().await, Ok(Some(Established::Existing { points: 2 })));
        lite.ask("/milvus.proto.milvus.MilvusService/ReleaseCollection", named(&name)).await;
        // Unlike a full Milvus, it counts what is not loaded.
        assert_eq!(collection.look().await, Ok(Some(Established::Existing { points: 2 })));
        let search = || collection.nearest(Nearest { vector: &points[0].vector, filter: None, limit: 1 });
        let told = search().await;
        assert!(
            matches!(&told, Err(CollectionError::Unavailable { reason, .. }) if reason.contains("released")),
            "{told:?}"
        );
        assert_eq!(collection.establish().await, Ok(Established::Existing { points: 2 }));
        assert_eq!(search().await.unwrap().len(), 1);
    });
}

/// Vectide makes the collection so that every id has room.
#[test]
fn an_id_that_a_collection_of_others_has_no_room_for_is_refused_and_its_mates_go_in() {
    let Some(lite) = server() else { return };
    block_on(async {
        let name = fresh("narrow");
        lite.make_with_ids_of(&name, 8).await;
        let shop = Shop::new(lite.place(&name, Metric::Cosine)).await;
        let (fine, long) = (json!({"price": 1}), "p".repeat(9));
        let mut writes: Vec<_> = (0..10).map(|seed| write(&format!("p{seed}"), &fine, &[seed])).collect();
        writes.insert(4, write(&long, &fine, &[100, 101]));
        let refused = shop.write(writes).await.unwrap();
        assert_eq!(refused.iter().map(|refused| refused.write).collect::<Vec<_>>(), [4]);
        assert!(refused[0].reason.contains("'document' value length 9 exceeds max_length=8"), "{refused:?}");
        let names: Vec<String> = (0..10).map(|seed| format!("p{seed}")).collect();
        let mut expected: BTreeMap<_, _> =
            names.iter().zip(0..).map(|(name, seed)| (name.as_str(), (fine.clone(), vec![seed]))).collect();
        expected.insert(&long, (fine.clone(), vec![]));
        shop.assert_holds(&expected).await;
    });
}

#[test]
fn killed_again_and_again_it_ends_in_step_and_pays_again_only_for_what_was_on_its_way() {
    let Some(mut server) = Server::start("milvus.sh") else { return };
    let backend = Lite::at(&server.address);
    // Threads of milvus-lite write its log without a lock: of calls beside each other a crash may lose what was answered.
    let section =
        |name: &str| format!("{{ type: milvus, url: '{}', collection: {name}, concurrency: 1 }}", backend.url);
    killed::it_ends_in_step_and_pays_again_only_for_what_was_on_its_way(&backend, section, &mut server, 5);
}

#[test]
fn a_server_that_was_killed_has_all_that_it_answered() {
    let Some(mut server) = Server::start("milvus.sh") else { return };
    let backend = Lite::at(&server.address);
    killed::a_server_that_was_killed_has_all_that_it_answered(&backend, &mut server);
}
