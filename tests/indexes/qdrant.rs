//! Qdrant, as the stand-in of `tests/servers/qdrant.py`: its own messages, conversions and in-process engine, without its server.

use std::sync::OnceLock;
use std::time::Duration;

use prost::Message;
use serde_json::json;
use vectide::index::collection::{Collection, CollectionError, Established};
use vectide::index::grpc::Client;
use vectide::index::qdrant::Qdrant;
use vectide::settings::index::Metric;
use vectide::settings::qdrant::QdrantSettings;
use vectide::settings::{Secret, Span};

use crate::promises::{self, DIMENSIONS, assert_same, point};
use crate::server::Server;

const SCRIPT: &str = "qdrant.sh";

/// One for all tests, each of which has a collection of its own.
fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(SCRIPT, &[])).as_ref().map(|server| server.url.as_str())
}

fn collection(url: &str, name: &str, metric: Metric, dimensions: usize) -> Box<dyn Collection> {
    let settings = QdrantSettings {
        url: url.into(),
        collection: Some(name.into()),
        metric,
        timeout: Span::new(Duration::from_secs(60)),
        ..QdrantSettings::default()
    };
    Box::new(Qdrant::new(&settings, "tests", dimensions).unwrap())
}

fn by_cosine(url: &str, name: &str) -> Box<dyn Collection> {
    collection(url, name, Metric::Cosine, DIMENSIONS)
}

#[tokio::test]
async fn it_is_made_once_and_checked_ever_after() {
    let Some(url) = server() else { return };
    let make = |metric, dimensions| collection(url, "made", metric, dimensions);
    promises::it_is_made_once_and_checked_ever_after(make, ["Cosine", "Euclid"]).await;
}

#[tokio::test]
async fn points_are_written_replaced_and_deleted() {
    let Some(url) = server() else { return };
    promises::points_are_written_replaced_and_deleted(by_cosine(url, "written")).await;
}

#[tokio::test]
async fn metadata_is_replaced_and_vectors_stay() {
    let Some(url) = server() else { return };
    promises::metadata_is_replaced_and_vectors_stay(by_cosine(url, "metadata")).await;
}

#[tokio::test]
async fn awkward_ids_and_metadata_come_back_as_they_went() {
    let Some(url) = server() else { return };
    // It has no whole numbers above those of 64 bits with a sign.
    promises::awkward_ids_and_metadata_come_back_as_they_went(by_cosine(url, "awkward"), &["unsigned"]).await;
}

#[tokio::test]
async fn filters_mean_what_they_say() {
    let Some(url) = server() else { return };
    promises::filters_mean_what_they_say(by_cosine(url, "filtered")).await;
}

#[tokio::test]
async fn the_nearest_are_those_of_an_exact_search() {
    let Some(url) = server() else { return };
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let collection = collection(url, &format!("nearest_{metric:?}"), metric, DIMENSIONS);
        promises::the_nearest_are_those_of_an_exact_search(collection, metric).await;
    }
}

#[tokio::test]
async fn many_points_go_in() {
    let Some(url) = server() else { return };
    promises::many_points_go_in(by_cosine(url, "many")).await;
}

#[tokio::test]
async fn a_refused_point_is_told() {
    let Some(url) = server() else { return };
    promises::a_refused_point_is_told(by_cosine(url, "refused"), point(9, &json!({ "n": u64::MAX }))).await;
}

#[derive(Clone, PartialEq, Message)]
struct DropCollection {
    #[prost(string, tag = "1")]
    collection: String,
}

#[tokio::test]
async fn a_dropped_collection_is_missed() {
    let Some(url) = server() else { return };
    let drop_it = async || {
        let client = Client::new(url, None, Duration::from_secs(60)).unwrap();
        let question = DropCollection { collection: "dropped".into() };
        client.unary::<_, ()>("/qdrant.Collections/Delete", question).await.unwrap();
    };
    promises::a_dropped_collection_is_missed(by_cosine(url, "dropped"), drop_it).await;
}

#[tokio::test]
async fn a_server_that_was_killed_has_all_that_it_answered() {
    let Some(mut server) = Server::start(SCRIPT, &[]) else { return };
    let collection = by_cosine(&server.url, "survivors");
    collection.establish().await.unwrap();
    let points: Vec<_> = (0..50).map(|number| point(number, &json!({ "n": number }))).collect();
    collection.upsert(&points).await.unwrap();
    server.kill();
    let down = collection.upsert(&points).await;
    assert!(matches!(down, Err(CollectionError::Unavailable { .. })), "{down:?}");
    server.restart();
    let ids: Vec<_> = points.iter().map(|point| point.id).collect();
    collection.establish().await.unwrap();
    assert_same(&promises::fetched(&*collection, &ids).await, &points);
}

#[tokio::test]
async fn a_wrong_key_is_for_a_person_to_mend() {
    let Some(server) = Server::start(SCRIPT, &[("API_KEY", "hunter2")]) else { return };
    let with = |key: &str| {
        let api_key = Some(Secret::new(key));
        let settings = QdrantSettings { url: server.url.clone(), api_key, ..QdrantSettings::default() };
        Qdrant::new(&settings, "keyed", DIMENSIONS).unwrap()
    };
    assert_eq!(with("hunter2").establish().await, Ok(Established::Created));
    let wrong = with("hunter3");
    for result in [wrong.establish().await.map(drop), wrong.upsert(&[point(1, &json!({}))]).await] {
        let Err(CollectionError::Fatal(told)) = result else { panic!("{result:?}") };
        assert!(told.contains("index.api_key") && !told.contains("hunter"), "{told}");
    }
}
