//! What one document costs between its bytes and its text, on a product event of some 400 bytes.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use vectide::document::chunk::{Chunker, Tokenizer};
use vectide::document::fingerprint::Fingerprinter;
use vectide::document::mapping::{Mapped, Mapper};
use vectide::document::template::Template;
use vectide::document::{Change, Document, Version};
use vectide::embed::Provider;
use vectide::embed::builtin::Builtin;
use vectide::settings::chunking::TextFormat;
use vectide::settings::{ChunkingSettings, DocumentSettings};

const SETTINGS: &str = r#"
id: product_id
version: timestamp
text: "{{ title }} {{ description }}"
metadata: [category, price, discount_percentage]
events:
  field: type
  product_create: { operation: upsert, priority: 1 }
  price_change:   { operation: patch, priority: 2, immediate: true, rename: { new_price: price } }
"#;

const CREATED: &str = r#"{"type":"product_create","product_id":"prod-0012345","title":"Trailfinder waterproof hiking boots","description":"Full-grain leather boots with a breathable membrane that keeps feet dry through streams and storms. The lugged sole grips on wet rock, and the padded collar spares the ankles on long descents.","category":"Footwear","price":129.95,"timestamp":1732351234}"#;

const PRICED: &str = r#"{"type":"price_change","product_id":"prod-0012345","product_name":"Trailfinder waterproof hiking boots","old_price":129.95,"new_price":99.95,"discount_percentage":23,"timestamp":1732354834}"#;

fn change(mapper: &Mapper, record: &str) -> Change {
    match mapper.map(record.as_bytes(), Version::default()) {
        Ok(Mapped::Change(change)) => change,
        other => panic!("the record is a change: {other:?}"),
    }
}

fn document(c: &mut Criterion) {
    let settings: DocumentSettings = serde_yaml::from_str(SETTINGS).expect("the settings are valid");
    let mapper = Mapper::new(&settings).expect("the settings are valid");
    let template = Template::new(&settings).expect("the template is valid");
    let delta = Document::from(change(&mapper, CREATED));
    let mut merged = delta.clone();
    merged.join(Document::from(change(&mapper, PRICED)));
    let (held_once, held_twice) = (delta.to_json(), merged.to_json());

    let mut group = c.benchmark_group("document");
    group.bench_function("decode and map", |b| {
        b.iter(|| Document::from(change(&mapper, black_box(CREATED))));
    });
    for (name, held) in [("one event", &held_once), ("two events", &held_twice)] {
        group.bench_function(format!("from_json, {name}"), |b| b.iter(|| Document::from_json(black_box(held))));
        group.bench_function(format!("from_json and unchanged join, {name}"), |b| {
            b.iter_batched(
                || delta.clone(),
                |delta| {
                    let mut document = Document::from_json(black_box(held)).expect("it was written so");
                    assert!(!document.join(delta));
                    document
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.bench_function("to_json", |b| b.iter(|| black_box(&merged).to_json()));
    group.bench_function("render", |b| b.iter(|| template.render(black_box(&merged))));
    group.bench_function("metadata", |b| b.iter(|| template.metadata(black_box(&merged))));
    let text = template.render(&merged).expect("it renders").expect("nothing is missing");
    let fingerprinter = Fingerprinter::new("openai/text-embedding-3-small/1536");
    let tokenizer = Builtin::new().tokenizer().expect("the built-in model has one");
    group.bench_function("word pieces", |b| b.iter(|| tokenizer.count(black_box(&text))));
    group.bench_function("fingerprint", |b| b.iter(|| fingerprinter.of(black_box(&text))));
    group.finish();
}

struct Cl100k;

impl Tokenizer for Cl100k {
    fn count(&self, text: &str) -> usize {
        bpe_openai::cl100k_base().count(text)
    }
}

/// A text of 4 MB, counted by OpenAI's tokenizer.
fn chunks(c: &mut Criterion) {
    let paragraph =
        "Full-grain leather boots keep feet dry. The lugged sole grips on wet rock, even in rain.\n".repeat(5) + "\n";
    let text = paragraph.repeat(4_000_000 / paragraph.len());
    let mut group = c.benchmark_group("chunks of 4 MB");
    group.sample_size(10);
    for (name, max_tokens, format) in [
        ("plain 8192", 8192, TextFormat::Plain),
        ("plain 256", 256, TextFormat::Plain),
        ("markdown 8192", 8192, TextFormat::Markdown),
    ] {
        let settings = ChunkingSettings { max_tokens, overlap: 0, format };
        let chunker = Chunker::new(&settings, Some(Arc::new(Cl100k)), None).expect("the settings are valid");
        group.bench_function(name, |b| b.iter(|| chunker.cut(black_box(&text)).len()));
    }
    group.finish();
}

criterion_group!(benches, document, chunks);
criterion_main!(benches);
