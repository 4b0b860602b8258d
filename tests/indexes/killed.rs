//! Vectide as a process of its own that is killed again and again while it fills a real system, which goes down itself once.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use uuid::Uuid;
use vectide::document::DocumentId;
use vectide::index::external::PointIds;
use vectide::index::external::collection::{CollectionError, Established};
use vectide::settings::index::Metric;
use vectide::testkit::index_contract::points::{DIMENSIONS, point};
use vectide::testkit::index_contract::{Backend, assert_same as assert_same_points, block_on, fresh};

use crate::server::Server;
use crate::shop::{Shop, assert_same, sample, truth_of_events};

/// Numbers in a vector of the built-in model.
const BUILTIN: usize = 128;
const KILLS: u64 = 5;
/// How many texts may be on their way for each call of the built-in model, of which each core makes one at a time: those of the call, and
/// of others that are not written yet.
const ON_THE_WAY: u64 = 100;

/// The sample shop with a quarter of its events twice and all of them in any order. `section` is the `index` section that names a
/// collection, in one line. The backend's server is stopped and started once.
pub fn it_ends_in_step_and_pays_again_only_for_what_was_on_its_way(
    backend: &dyn Backend,
    section: impl Fn(&str) -> String,
    server: &mut Server,
    seed: u64,
) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut lines: Vec<Value> = ["catalogue.jsonl", "events.jsonl"]
        .iter()
        .flat_map(|file| fs::read_to_string(sample(file)).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| serde_json::from_str(&line).ok())
        .collect();
    for _ in 0..lines.len() / 4 {
        lines.push(random.choice(&lines).unwrap().clone());
    }
    random.shuffle(&mut lines);
    let name = fresh("killed");
    let mut shop = Shop::new();
    shop.read("catalogue", &shop.file("shuffled.jsonl", &lines));
    shop.set(&format!("index={}", section(&name)));
    // So that killing and starting again does not end what a run has hardly begun.
    shop.set("batching.max_items=20");
    let mut seen = 0;
    for kill in 0..KILLS {
        let mut run = shop.start();
        let more = seen + random.u64(1..350);
        run.wait_until("more documents are in the index", || shop.indexed_so_far() >= more.min(1_990));
        if kill == 2 {
            server.stop();
            server.restart();
        }
        run.kill();
        seen = shop.indexed_so_far();
    }
    shop.run_until_idle();
    assert_same(&shop.documents(), &truth_of_events());
    let sent = shop.texts_sent();
    shop.run_until_idle();
    assert_eq!(shop.texts_sent(), sent, "a run without news costs nothing");

    let exported = shop.exported();
    let chunks = exported.values().flat_map(|document| document["chunks"].as_array().unwrap());
    let held: BTreeSet<&str> = chunks.map(|chunk| chunk["fingerprint"].as_str().unwrap()).collect();
    // Texts that were replaced later were embedded too, once each.
    let replaced = lines.iter().filter(|line| line["type"] == "product_update").count() as u64;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let most = held.len() as u64 + replaced + KILLS * cores * ON_THE_WAY;
    assert!(sent <= most, "{sent} texts were sent, at most {most} expected");

    block_on(async {
        let (collection, ids) = (backend.collection(&name, BUILTIN, Metric::Cosine), PointIds::new("products"));
        let points: u64 = exported.values().map(|document| document["chunks"].as_array().unwrap().len() as u64).sum();
        assert_eq!(collection.look().await, Ok(Some(Established::Existing { points })), "and none that nobody knows");
        for documents in exported.values().collect::<Vec<_>>().chunks(100) {
            let id = |document: &&Value| ids.of(&DocumentId::new(document["id"].as_str().unwrap()).unwrap(), 0);
            let asked: Vec<Uuid> = documents.iter().map(id).collect();
            let found = collection.fetch(&asked).await.unwrap();
            assert_eq!(found.len(), documents.len());
            for point in found {
                let metadata: Value = serde_json::from_str(&point.metadata).unwrap();
                assert_eq!(metadata, exported[point.document.as_str()]["metadata"], "{}", point.document);
            }
        }
    });
}

/// While it is down it is told to be, and when it is back nothing that it answered is missing.
pub fn a_server_that_was_killed_has_all_that_it_answered(backend: &dyn Backend, server: &mut Server) {
    block_on(async {
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
        assert_same_points(collection.fetch(&ids).await.unwrap(), &points.iter().collect::<Vec<_>>());
    });
}
