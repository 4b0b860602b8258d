//! The sample under `assets/` is what its README says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Map, Value};
use vectide::document::mapping::{Mapped, Mapper};
use vectide::document::template::Template;
use vectide::document::{Document, Vector, Version};
use vectide::embed::builtin::Builtin;
use vectide::embed::provider::{InputType, Provider};
use vectide::settings::{self, DocumentSettings};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CATALOGUE: &str = include_str!("../assets/catalogue.jsonl");
const EVENTS: &str = include_str!("../assets/events.jsonl");
const README: &str = include_str!("../assets/README.md");
const TRUTH: &str = include_str!("data/truth.jsonl");

/// The fields that the truth tells: those that the shipped configuration uses.
const USED: [&str; 5] = ["title", "description", "category", "price", "discount_percentage"];

fn shipped() -> DocumentSettings {
    settings::load(&Path::new(ROOT).join("config.yaml"), &[]).unwrap().document
}

/// What the lines come to by the shipped configuration, and why some of them were refused.
fn merged<'a>(lines: impl Iterator<Item = &'a str>) -> (BTreeMap<String, Document>, Vec<String>) {
    let mapper = Mapper::new(&shipped()).unwrap();
    let mut documents: BTreeMap<String, Document> = BTreeMap::new();
    let mut refused = Vec::new();
    for line in lines {
        match mapper.map(line.as_bytes(), Version::default()) {
            Ok(Mapped::Change(change)) => {
                documents.entry(change.id.to_string()).or_default().join(change.into());
            }
            Ok(Mapped::Ignored) => panic!("the shipped configuration ignores no event: {line}"),
            Err(refusal) => refused.push(refusal.reason),
        }
    }
    (documents, refused)
}

/// The fields in use of every document that has a text.
fn indexed(documents: &BTreeMap<String, Document>) -> BTreeMap<&str, Map<String, Value>> {
    let template = Template::new(&shipped()).unwrap();
    let with_text = documents.iter().filter(|(_, document)| template.render(document).unwrap().is_some());
    let used = |document: &Document| {
        USED.iter().filter_map(|name| Some(((*name).to_owned(), document.field(name)?.clone()))).collect()
    };
    with_text.map(|(id, document)| (id.as_str(), used(document))).collect()
}

/// The lines of the truth by document.
fn truth() -> BTreeMap<String, Map<String, Value>> {
    let read = |line| {
        let document: Value = serde_json::from_str(line).unwrap();
        (document["id"].as_str().unwrap().to_owned(), document["fields"].as_object().unwrap().clone())
    };
    TRUTH.lines().map(read).collect()
}

fn assert_is_truth(documents: &BTreeMap<String, Document>) {
    let (held, truth) = (indexed(documents), truth());
    assert_eq!(held.len(), truth.len());
    for (id, fields) in &held {
        assert_eq!(Some(fields), truth.get(*id), "{id}");
    }
}

#[test]
fn the_events_come_to_the_truth_in_their_order_and_backwards() {
    let lines = || CATALOGUE.lines().chain(EVENTS.lines());
    assert_is_truth(&merged(lines()).0);
    let backwards: Vec<&str> = lines().collect();
    assert_is_truth(&merged(backwards.into_iter().rev()).0);
}

#[test]
fn two_lines_are_refused_one_without_id_and_one_that_is_no_json() {
    let (_, refused) = merged(EVENTS.lines());
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains("product_id"), "{refused:?}");
    assert!(refused[1].contains("JSON"), "{refused:?}");
}

#[test]
fn ten_products_are_listed_twice_and_all_others_have_a_text_of_their_own() {
    let products: Vec<Value> = CATALOGUE.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: BTreeSet<String> = products.iter().map(|p| format!("{} {}", p["title"], p["description"])).collect();
    assert_eq!((products.len(), texts.len()), (2000, 1990));
}

#[tokio::test]
async fn the_searches_of_the_readme_find_what_it_says() {
    let products: Vec<Value> = CATALOGUE.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<String> = products
        .iter()
        .map(|p| format!("{} {}", p["title"].as_str().unwrap(), p["description"].as_str().unwrap()))
        .collect();
    let vectors = embed(&texts, InputType::Document).await;
    let mut searches = 0;
    for row in README.lines().filter_map(search) {
        let query = &embed(&[row.query.to_owned()], InputType::Query).await[0];
        let mut hits: Vec<(f32, usize)> = vectors.iter().map(|v| cosine(v, query)).zip(0..).collect();
        hits.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (score, first) = hits[0];
        assert_eq!(products[first]["title"], row.title, "{}", row.query);
        assert!((score - row.cosine).abs() < 0.01, "{}: {score}", row.query);
        for &(_, hit) in &hits[..3] {
            assert_eq!(products[hit]["category"], row.category, "{}: {}", row.query, texts[hit]);
            // The first search is the one that is said to share no word at all.
            let small: &[&str] = if searches == 0 { &[] } else { SMALL_WORDS };
            let shared: Vec<_> = words(row.query).intersection(&words(&texts[hit])).cloned().collect();
            assert!(shared.iter().all(|word| small.contains(&word.as_str())), "{}: {shared:?}", row.query);
        }
        searches += 1;
    }
    assert!(searches >= 15, "only {searches} searches were read from the README");
}

const SMALL_WORDS: &[&str] = &["a", "an", "at", "for", "is", "of", "off", "on", "that", "the", "to", "who"];

/// A row of the README's table of searches.
struct Search<'a> {
    query: &'a str,
    title: &'a str,
    category: &'a str,
    cosine: f32,
}

fn search(line: &str) -> Option<Search<'_>> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, query, title, category, cosine, _] = cells[..] else { return None };
    Some(Search { query, title, category, cosine: cosine.parse().ok()? })
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

async fn embed(texts: &[String], input: InputType) -> Vec<Vector> {
    let provider = Builtin::new();
    let mut vectors = Vec::new();
    for batch in texts.chunks(provider.max_items()) {
        let batch = batch.iter().map(|text| text.as_str().into()).collect();
        let embeddings = provider.embed(batch, input).await.expect("the built-in model always answers");
        vectors.extend(embeddings.vectors.into_iter().map(|vector| vector.unwrap()));
    }
    vectors
}

/// Of vectors of length 1, as the built-in model gives them.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[test]
fn the_generator_writes_what_is_here() {
    let python = |arguments: &[&str]| -> Option<Output> {
        Command::new("python3").args(arguments).current_dir(ROOT).output().ok()
    };
    if !python(&["-c", "import tomllib"]).is_some_and(|output| output.status.success()) {
        // Not through `eprintln!`, which a passing test swallows.
        writeln!(std::io::stderr(), "SKIPPED: without Python 3.11 the sample is not compared with what generates it")
            .unwrap();
        return;
    }
    let checked = python(&["assets/generate.py", "--check"]).unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let told = python(&["assets/generate.py", "--truth", "assets/catalogue.jsonl", "assets/events.jsonl"]).unwrap();
    assert!(told.stdout == TRUTH.as_bytes(), "tests/data/truth.jsonl is not what assets/generate.py --truth prints");
}
