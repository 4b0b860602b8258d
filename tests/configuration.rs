//! What people write into `config.yaml`, the environment and `--set`, and what they are told.

use std::path::Path;

use vectide::settings::expand::Environment;
use vectide::settings::{Problems, Secret, Settings, load, load_text, print};
use vectide::settings::{embedding::EmbeddingSettings, source::SourceSettings};

const MINIMAL: &str = r#"
pipeline: products
document: { id: product_id, text: "{{ title }}" }
sources: { catalogue: { type: file, path: products.jsonl } }
embedding: { provider: builtin }
"#;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| (name.to_string(), Some(value.to_string()))).collect()
}

fn read(yaml: &str, variables: &[(&str, &str)], overrides: &[&str]) -> Result<Settings, Problems> {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    load_text(Path::new("config.yaml"), yaml, &environment(variables), &overrides)
}

fn problems(yaml: &str) -> Vec<String> {
    problems_with(yaml, &[], &[])
}

fn problems_with(yaml: &str, variables: &[(&str, &str)], overrides: &[&str]) -> Vec<String> {
    match read(yaml, variables, overrides) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.list.iter().map(|problem| problem.to_string()).collect(),
    }
}

/// Whether it says that this build lacks what the configuration asks for.
fn is_left_out(problem: impl AsRef<str>) -> bool {
    problem.as_ref().contains("build it with `--features ")
}

/// The minimal configuration with some of its sections replaced or added.
fn with(sections: &str) -> String {
    let mut whole: serde_yaml::Mapping = serde_yaml::from_str(MINIMAL).unwrap();
    whole.extend(serde_yaml::from_str::<serde_yaml::Mapping>(sections).unwrap());
    serde_yaml::to_string(&whole).unwrap()
}

/// The minimal configuration with these metadata, which Pinecone is to filter by.
fn pinecone(listed: &str, declared: &str) -> String {
    with(&format!(
        "{{ document: {{ id: i, text: '{{{{ t }}}}', metadata: {listed} }}, index: {{ type: pinecone, api_key: k, metadata: {declared} }} }}"
    ))
}

#[test]
fn the_minimal_configuration_is_enough() {
    let settings = read(MINIMAL, &[], &[]).unwrap();
    assert_eq!(settings.batching.max_items, 100);
    assert!(settings.server.is_none());
}

#[test]
fn all_problems_are_told_at_once_each_with_its_place() {
    let yaml = r#"
pipeline: my products
batchin: { max_items: 5 }
document:
  id: product_id
  text: "{{ title "
  metadata: [price, 7, price, [x]]
  events:
    field: type
    price_change: { operaton: patch, priority: 12 }
    product_update: { operation: pach, immediate: soon }
sources:
  catalogue: { type: file, pth: products.jsonl }
  api: { type: http }
  old: { type: fil, path: x }
  none:
chunking: { max_tokens: 100, overlap: 100 }
embedding: { provider: openai, concurrency: 0, base_url: "ftp://x", api_key: k, api_key_file: f }
state: here
server: { listen: "localhost" }
"#;
    let told = problems(yaml);
    let expected = [
        "pipeline: must be one or more letters, digits, `-` or `_`",
        "document.events.price_change.operaton: unknown key `operaton`; did you mean `operation`?",
        "document.events.price_change.priority: must be at most 9, not 12",
        "document.events.product_update.immediate: needs `true` or `false`, not the text `soon`",
        "document.events.product_update.operation: unknown value `pach`; did you mean `patch`? (one of `upsert`, `patch`, `delete`, `ignore`)",
        "document.metadata[1]: needs text, not the number 7; put it in quotes",
        "document.metadata[3]: needs text, not a list",
        "document.text: is not a valid minijinja template: unexpected end of input, expected end of variable block",
        "sources.catalogue.pth: unknown key `pth`; did you mean `path`?",
        "sources.none: needs keys below it, first of all `type`: one of `file`, `stdin`, `http`, `kafka`",
        "sources.old.type: unknown type `fil`; did you mean `file`? (one of `file`, `stdin`, `http`, `kafka`)",
        "chunking.overlap: is 100; at most half of the 100 tokens of a chunk may be shared",
        "embedding.api_key_file: is set as well as `api_key`; keep one of the two",
        "embedding.base_url: must start with `http://` or `https://`",
        "embedding.concurrency: must be from 1 to 10000",
        "embedding.model: is missing: name the model, like `text-embedding-3-small`, or set `preset` to one of `openai-small`, `openai-large`, `holysheep-small`, `holysheep-large`",
        "state: needs a group of keys, not the text `here`",
        "server.listen: needs an IP address and port like `127.0.0.1:9090`, not the text `localhost`",
        "batchin: unknown key `batchin`; did you mean `batching`?",
    ];
    assert_eq!(told, expected, "{told:#?}");
}

#[test]
fn a_format_or_separator_may_stand_beside_a_name_that_leaves_it_open() {
    for file in [
        "path: x.jsonl, format: jsonl",
        "path: x.csv/, format: jsonl",
        "path: x, format: csv",
        "path: 'x.json*', format: jsonl",
        "path: 'in/*', separator: ';'",
        r#"path: x.csv.gz, format: csv, separator: "\t""#,
    ] {
        let told = problems(&with(&format!("sources: {{ a: {{ type: file, {file} }} }}")));
        assert!(told.is_empty(), "{file}: {told:?}");
    }
}

#[test]
fn a_declared_field_is_a_listed_one_and_no_part_of_one() {
    for (listed, declared) in [("[a]", "a"), ("[/a/b]", "/a/b")] {
        let told = problems(&pinecone(listed, &format!("{{ {declared}: text }}")));
        assert!(told.is_empty(), "{listed} {declared}: {told:?}");
    }
    for (listed, declared) in [("[a]", "/a/b"), ("[/a/b]", "/a/b/c"), ("[/a/b]", "/a"), ("[a]", "/a")] {
        let told = problems(&pinecone(listed, &format!("{{ {declared}: text }}")));
        assert!(told.len() == 1 && told[0].starts_with("document.metadata: lacks "), "{listed} {declared}: {told:?}");
    }
}

#[test]
fn one_mistake_gives_one_problem() {
    let openai = |keys: &str| with(&format!("embedding: {{ provider: openai, {keys} }}"));
    let document = |keys: &str| with(&format!("document: {{ id: a, text: '{{{{ b }}}}', {keys} }}"));
    let sources = |list: &str| with(&format!("sources: {{ {list} }}"));
    for (yaml, told) in [
        (with("chunking: { max_tokens: 0 }"), "chunking.max_tokens: is 0; at least 8 are needed"),
        (
            document("events: { field: type, sale: { operation: patch, priority: 300 } }"),
            "document.events.sale.priority: must be at most 9, not 300",
        ),
        (
            with("chunking: { max_tokens: -1 }"),
            "chunking.max_tokens: needs a whole number, 0 or more, not the number -1",
        ),
        (
            with("chunking: { max_tokens: 1.5 }"),
            "chunking.max_tokens: needs a whole number, 0 or more, not the number 1.5",
        ),
        (with("chunking: { max_tokens: }"), "chunking.max_tokens: has no value; give it one or remove the key"),
        (
            with("chunking: { format: markdwn }"),
            "chunking.format: unknown value `markdwn`; did you mean `markdown`? (one of `plain`, `markdown`)",
        ),
        (with("dedup: { ttl: 5 }"), "dedup.ttl: needs a time like `50ms`, `30s` or `1h`, not the number 5"),
        (with("batching: [7]"), "batching: needs a group of keys, not a list"),
        (
            with("embedding: { provider: openai, preset: openai-small, api_key: k, rate_limit: [1] }"),
            "embedding.rate_limit: needs a group of keys, not a list",
        ),
        (
            with("server: { listen: 9090 }"),
            "server.listen: needs an IP address and port like `127.0.0.1:9090`, not the number 9090",
        ),
        (
            MINIMAL.replace("builtin", "openai, model: m, api_key: 31415926535897932384626433"),
            "embedding.api_key: the number at line 5 column 51 has more than 64 bits, or is none; if it is text, put it in quotes",
        ),
        (with("dedup: { ttl: 0s }"), "dedup.ttl: must be longer than zero"),
        (with("dedup: { max_memory: lots }"), "dedup.max_memory: needs a size like `256MiB`, not the text `lots`"),
        (with("batching: { max_bytes: [1] }"), "batching.max_bytes: needs a size like `256MiB`, not a list"),
        (with("batching: { max_items: 0 }"), "batching.max_items: must be from 1 to 100000"),
        (
            with("index: { type: embedded, metric: cosin }"),
            "index.metric: unknown value `cosin`; did you mean `cosine`? (one of `cosine`, `dot`, `l2`)",
        ),
        (
            with("index: { metric: dot }"),
            "index.type: is missing: one of `embedded`, `discard`, `pgvector`, `milvus`, `qdrant`, `pinecone`, `weaviate`; without `index` it is `embedded`",
        ),
        (
            with("index: { type: qdrant, url: 'grpc://h:6334' }"),
            "index.url: must start with `http://` or `https://`; write it like `http://127.0.0.1:6334`",
        ),
        (
            with("index: { type: qdrant, url: 'http://u:p4ss@h:1' }"),
            "index.url: it holds a name or a password; put the key into `index.api_key`",
        ),
        (with("index: { type: qdrant, batch: 0 }"), "index.batch: must be from 1 to 10000"),
        (with("index: { type: qdrant, concurrency: 0 }"), "index.concurrency: must be from 1 to 64"),
        (with("index: { type: qdrant, timeout: 0s }"), "index.timeout: must be longer than zero"),
        (
            with("index: { type: qdrant, collection: a/b }"),
            "index.collection: a collection of Qdrant is named by 1 to 255 letters, digits, `-`, `_` and `.`",
        ),
        (
            with("index: { type: qdrant, api_key: ' ' }"),
            "index.api_key: it is empty; is the environment variable set? Leave it out if none is needed",
        ),
        (
            with("index: { type: qdrant, api_key: a, api_key_file: b }"),
            "index.api_key: `api_key_file` is set as well; keep one of the two",
        ),
        (
            with("{ index: { type: qdrant }, document: { id: i, text: '{{ t }}', metadata: [price, vectide_chunk] } }"),
            "document.metadata[1]: is a name that Vectide uses itself in this index; leave it out, or rename the field with `document.events`",
        ),
        (with("index: { type: milvus, batch: 0 }"), "index.batch: must be from 1 to 10000"),
        (
            with("{ index: { type: milvus }, pipeline: my-shop }"),
            "index.collection: a collection of Milvus is named by 1 to 255 letters, digits and `_`, without a digit at its start; set such a name where the pipeline's is none",
        ),
        (with("index: { type: discard, metric: dot }"), "index.metric: unknown key `metric`; nothing can be set here"),
        (
            with("index: { type: pinecone }"),
            "index.api_key: Pinecone answers nobody without a key; set it, best as `${PINECONE_API_KEY}`",
        ),
        (with("index: { type: pinecone, api_key: k, batch: 1001 }"), "index.batch: must be from 1 to 1000"),
        (with("index: { type: pinecone, api_key: k, concurrency: 0 }"), "index.concurrency: must be from 1 to 64"),
        (with("index: { type: pinecone, api_key: k, timeout: 0s }"), "index.timeout: must be longer than zero"),
        (
            with("index: { type: pinecone, api_key: k, metadata: { sizes: 'number[]' } }"),
            "index.metadata.sizes: Pinecone has lists of texts only, not `number[]`",
        ),
        (
            pinecone("[price]", "{ prce: number }"),
            "document.metadata: lacks `prce`, which `index.metadata` declares; did you mean `price`?",
        ),
        (
            pinecone("[]", "{ price: number }"),
            "document.metadata: lacks `price`, which `index.metadata` declares; list it here too, or remove it there",
        ),
        (
            pinecone("[sale]", "{ price: number, sale: boolean, tags: 'text[]' }"),
            "document.metadata: lacks `price`, `tags`, which `index.metadata` declares; list it here too, or remove it there",
        ),
        (
            pinecone("[price, 7]", "{ prce: number }"),
            "document.metadata[1]: needs text, not the number 7; put it in quotes",
        ),
        (with("state: { path: '' }"), "state.path: is empty; name a folder, like `data`"),
        (with("server: { max_body: 0 }"), "server.max_body: must be at least 1"),
        (with("pipeline: 2024"), "pipeline: needs text, not the number 2024; put it in quotes"),
        (with("pipeline: true"), "pipeline: needs text, not `true`; put it in quotes"),
        (MINIMAL.replace("pipeline", "pipelines"), "pipelines: unknown key `pipelines`; did you mean `pipeline`?"),
        (MINIMAL.replace("id:", "ids:"), "document.ids: unknown key `ids`; did you mean `id`?"),
        (
            document("events: { field: type, a: {} }"),
            "document.events.a.operation: is missing: `upsert` (the whole document), `patch` (some fields), `delete`, or `ignore` (settled as filtered); for example `operation: upsert`",
        ),
        (
            sources("a: { typ: file, path: x }"),
            "sources.a.typ: unknown key `typ`; did you mean `type`? (one of `file`, `stdin`, `http`, `kafka`)",
        ),
        (
            sources("a: { type: file }"),
            "sources.a.path: is missing: a file, a folder (every file in it with a known ending) or a glob; for example `path: products.jsonl`",
        ),
        (
            with(
                "{ chunking: { overlap: 300 }, embedding: { provider: openai, model: m, dimensions: 8, api_key: k, base_url: 'http://h/v1', max_text_tokens: 512 } }",
            ),
            "chunking.overlap: is 300; at most half of the 512 tokens of a chunk may be shared",
        ),
        (
            openai("model: m, dimensions: 8, api_key: k, base_url: 'http://h/v1', max_text_tokens: 7"),
            "embedding.max_text_tokens: is 7; at least 8 are needed",
        ),
        (with("documents: {}"), "documents: unknown key `documents`; did you mean `document`?"),
        (
            with("retry: 5"),
            "retry: unknown key `retry`; known here: `pipeline`, `document`, `sources`, `chunking`, `dedup`, `batching`, `embedding`, `index`, `state`, `shutdown`, `server`",
        ),
        (with("embedding: { provider: hashed, dimensions: 8 }"), "embedding.dimensions: must be from 16 to 4096"),
        (
            with("embedding: { provider: open_ai }"),
            "embedding.provider: unknown provider `open_ai`; did you mean `openai`? (one of `builtin`, `hashed`, `openai`)",
        ),
        (with("embedding: { provider: }"), "embedding.provider: is missing: one of `builtin`, `hashed`, `openai`"),
        (
            openai("preset: openai-smal, api_key: k"),
            "embedding.preset: is not a known preset; did you mean `openai-small`?",
        ),
        (
            openai("preset: openai-small"),
            "embedding.api_key: is missing: this provider needs a key; for example `api_key: ${OPENAI_API_KEY}`",
        ),
        (openai("preset: openai-small, api_key: ' '"), "embedding.api_key: is empty; remove it if no key is needed"),
        (openai("model: 5, api_key: k"), "embedding.model: needs text, not the number 5; put it in quotes"),
        (
            openai("model: m, dimensions: 8, base_url: 'http://'"),
            "embedding.base_url: is not a valid address; write it like `https://api.openai.com/v1`",
        ),
        (
            openai("model: m, dimensions: 8, base_url: 'http://u:s3cret@h/v1'"),
            "embedding.base_url: contains a user and a password; put the key into `api_key` instead",
        ),
        (
            openai("model: m, dimensions: 8, base_url: 'http://h/v1#s3cret'"),
            "embedding.base_url: must end before `/embeddings`, without `#`",
        ),
        (openai("model: m, base_url: 'http://h', dimensions: 0"), "embedding.dimensions: must be from 1 to 65536"),
        (
            openai("model: m, dimensions: 8, base_url: 'http://h', timeout: 0s"),
            "embedding.timeout: must be longer than zero",
        ),
        (
            openai("model: m, dimensions: 8, base_url: 'http://h', price_per_million_tokens: -1"),
            "embedding.price_per_million_tokens: must be an amount of US dollars, 0 or more",
        ),
        (
            openai("model: m, dimensions: 8, base_url: 'http://h', rate_limit: { requests_per_minute: 0 }"),
            "embedding.rate_limit.requests_per_minute: must be at least 1",
        ),
        (
            openai("model: m, dimensions: 8, base_url: 'http://h', rate_limit: { request_per_minute: 1 }"),
            "embedding.rate_limit.request_per_minute: unknown key `request_per_minute`; did you mean `requests_per_minute`?",
        ),
        (
            openai("model: m, dimensions: 8, base_url: 'http://h', api_key: 12345"),
            "embedding.api_key: needs text, not a value of another type; put it in quotes",
        ),
        (
            with("document: { id: a, text: same for all }"),
            "document.text: uses no field, so every document would have the same text; write fields as `{{ title }}`",
        ),
        (document("metadata: price"), "document.metadata: needs a list like `[a, b]`, not the text `price`"),
        (
            document("metadata: ['/a~2']"),
            "document.metadata[0]: is not a JSON pointer: write `~0` for `~` and `~1` for `/` inside a key",
        ),
        (
            document("metadata: ['']"),
            "document.metadata[0]: is empty; name a field, like `title`, or a nested one, like `/product/title`",
        ),
        (
            document("metadata: [a, b, a]"),
            "document.metadata[2]: repeats `document.metadata[0]`; remove one of the two",
        ),
        (
            document("metadata: [price], numbers: [price, prise]"),
            "document.numbers[1]: is not in `document.metadata`; did you mean `document.metadata[0]`?",
        ),
        (document("numbers: [stock]"), "document.numbers[0]: is not in `document.metadata`; list it there too"),
        (
            document("version: { fiel: at, field: at }"),
            "document.version.fiel: unknown key `fiel`; did you mean `field`?",
        ),
        (
            document("version: { unit: seconds }"),
            "document.version.field: is missing: the field: a number or an RFC 3339 time; for example `field: timestamp`",
        ),
        (
            document("version: { field: at, unit: second }"),
            "document.version.unit: unknown value `second`; did you mean `seconds`? (one of `auto`, `counter`, `seconds`, `milliseconds`, `microseconds`, `nanoseconds`)",
        ),
        (
            document("version: [at]"),
            "document.version: needs a field's name, or `{ field: timestamp, unit: milliseconds }`, not a list",
        ),
        (
            document("events: { a: { operation: patch } }"),
            "document.events.field: is missing: the field whose value names the kind of event; for example `field: type`",
        ),
        (
            document("events: { field: type }"),
            "document.events: lists no kinds of event, such as `product_update: { operation: patch }`; remove it to treat every record as an upsert",
        ),
        (
            document("events: { field: type, a: { operation: patch, rename: { b: /c } } }"),
            "document.events.a.rename.b: the new name must be a plain field name, not empty and not starting with `/`",
        ),
        (
            document("events: { field: type, a: { operation: patch, rename: { b: '' } } }"),
            "document.events.a.rename.b: the new name must be a plain field name, not empty and not starting with `/`",
        ),
        (
            document("events: { field: type, a: { operation: patch, rename: { b: d, c: d } } }"),
            "document.events.a.rename.c: gets the same new name as `b`; give one of them another",
        ),
        (
            document("events: { field: type, a: patch }"),
            "document.events.a: needs a group of keys, not the text `patch`",
        ),
        (
            with("sources: {}"),
            "sources: lists no sources; add one, like `catalogue: { type: file, path: products.jsonl }`",
        ),
        (with("sources: [a]"), "sources: needs a group of keys, one for each source: `catalogue: { type: file, .. }`"),
        (
            sources("a b: { type: stdin }"),
            "sources.a b: a source's name must be one or more letters, digits, `-` or `_`",
        ),
        (
            sources("dead-letters: { type: stdin }"),
            "sources.dead-letters: `dead-letters` is a name that Vectide uses itself; choose another",
        ),
        (
            sources("replan: { type: stdin }"),
            "sources.replan: `replan` is a name that Vectide uses itself; choose another",
        ),
        (
            sources("a: { type: stdin }, b: { type: stdin }"),
            "sources.b.type: a second source of type `stdin` besides `a`, but there is only one standard input; remove one",
        ),
        (
            sources("a: { type: http }"),
            "server: is missing: source `a` needs an address; for example `server: { listen: \"127.0.0.1:9090\" }`",
        ),
        (
            sources("a: { type: file, path: x }, b: { type: file, path: x }"),
            "sources.b.path: is also the path of `a`, and would be read twice; remove one of the sources",
        ),
        (
            sources("a: { type: file, path: data/x }, b: { type: file, path: ./data//x/ }"),
            "sources.b.path: is also the path of `a`, and would be read twice; remove one of the sources",
        ),
        (
            sources("a: { type: file, path: '' }"),
            "sources.a.path: is empty; name a file, a folder or a glob, like `data/*.jsonl`",
        ),
        #[cfg(feature = "parquet")]
        (
            sources("a: { type: file, path: x.parquet.gz }"),
            "sources.a.path: a Parquet file is compressed inside; decompress it, and drop the `.gz` or `.zst` from its name",
        ),
        #[cfg(feature = "kafka")]
        (
            sources("a: { type: kafka, brokers: [b], topics: [t, u, t], group: g }"),
            "sources.a.topics: names `t` twice; remove one of the two",
        ),
        (
            sources("a: { type: file, path: 'x/***' }"),
            "sources.a.path: is not a valid glob: wildcards are either regular `*` or recursive `**` at character 5",
        ),
        (
            sources("a: { type: file, path: 'x/*.csv.gz', format: jsonl }"),
            "sources.a.format: does not apply, because the ending of `path` says CSV; remove `format`, or give the file another ending",
        ),
        (
            sources("a: { type: file, path: x.jsonl, format: parquet, follow: true }"),
            "sources.a.format: does not apply, because the ending of `path` says JSON lines; remove `format`, or give the file another ending; \
             if it is a folder, write `x.jsonl/`",
        ),
        (
            sources("a: { type: file, path: 'in/*.jsonl', separator: ';' }"),
            "sources.a.separator: does not apply, because JSON lines has no separator; remove it",
        ),
        (
            sources("a: { type: file, path: x.csv, separator: ';;' }"),
            "sources.a.separator: needs one ASCII character like `;`, no quotation mark and no end of a line, or the word `tab`, not the text `;;`",
        ),
        (
            sources("a: { type: file, path: x.jsonl.gz, follow: true }"),
            "sources.a.follow: a compressed file cannot be followed; remove `follow`, or read the plain file",
        ),
        #[cfg(feature = "parquet")]
        (
            sources("a: { type: file, path: x.parquet, follow: true }"),
            "sources.a.follow: a Parquet file does not grow, so it cannot be followed; remove `follow`",
        ),
        #[cfg(not(feature = "parquet"))]
        (
            sources("a: { type: file, path: x.parquet }"),
            "sources.a.path: this build cannot read Parquet; build it with `--features parquet`",
        ),
        #[cfg(feature = "kafka")]
        (
            sources(
                "a: { type: kafka, brokers: [b], topics: [t], group: g, settings: { enable.auto.commit: 'true' } }",
            ),
            "sources.a.settings.enable.auto.commit: cannot be set: an offset that is committed before its records are settled would lose them",
        ),
        #[cfg(not(feature = "kafka"))]
        (
            sources("a: { type: kafka, brokers: [b], topics: [t], group: g }"),
            "sources.a.type: this build cannot read Kafka; build it with `--features kafka`",
        ),
        (
            sources("a: { type: kafka, brokers: [b], topics: [t], group: g, start: tomorrow }"),
            "sources.a.start: needs `earliest`, `latest` or a time like `2026-02-03T04:05:06Z`, not the text `tomorrow`",
        ),
        (sources("a: { type: file, path: x, max_record: 0 }"), "sources.a.max_record: must be at least 1"),
        (
            sources("a: { type: file, path: x, format: json }"),
            "sources.a.format: unknown value `json`; did you mean `jsonl`? (one of `jsonl`, `csv`, `parquet`)",
        ),
    ] {
        let problems = problems(&yaml);
        // Of an index that is left out, not everything is looked at.
        let (left_out, others): (Vec<_>, Vec<_>) = problems.iter().partition(|problem| is_left_out(problem));
        let as_far = !is_left_out(told) && !left_out.is_empty() && others.iter().all(|problem| *problem == told);
        assert!(problems == [told] || as_far, "{problems:#?} instead of {told}: {yaml}");
    }
}

#[test]
fn an_empty_file_is_told_every_key_that_must_be_there() {
    for yaml in ["", "# nothing", "---", "{}"] {
        let told = problems(yaml);
        let keys: Vec<&str> = told.iter().map(|told| told.split(':').next().unwrap()).collect();
        assert_eq!(keys, ["pipeline", "document", "sources", "embedding"], "{yaml:?}");
        assert!(told.iter().all(|told| told.contains("for example `")), "{told:#?}");
    }
}

#[test]
fn yaml_that_is_none_is_told_with_its_line() {
    for (yaml, has) in [
        ("pipeline: a\nsources: {", "line 3"),
        ("pipeline: a\n\tdocument: b", "line 2"),
        ("pipeline: a\npipeline: b", "duplicate entry with key \"pipeline\" at line 2"),
        ("pipeline: a\nstate:\n  path: a\n  path: b", "line 3"),
        ("[a, b]", "needs keys at the top level"),
        ("a: *nowhere", "line 1"),
        ("a: 1\n---\nb: 2", "more than one document"),
    ] {
        let told = problems(yaml);
        assert!(told.len() == 1 && told[0].contains(has), "{yaml:?}: {told:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_told_with_what_to_do() {
    let told = load(Path::new("no/such/config.yaml"), &[]).unwrap_err().to_string();
    assert!(told.contains("no/such/config.yaml") && told.contains("vectide init"), "{told}");
}

#[test]
fn merge_keys_and_tags_are_understood_or_refused() {
    let yaml = with("x: 1").replace("x: 1", "batching: { <<: { max_items: 7 }, max_tokens: 9 }");
    assert_eq!(read(&yaml, &[], &[]).unwrap().batching.max_items, 7);
    let yaml = MINIMAL.replace("pipeline: products", "pipeline: !own products");
    assert_eq!(problems(&yaml), ["pipeline: has a YAML tag, which means nothing here; remove it"]);
    let yaml = with("x: 1").replace("x: 1", "dedup: { [a]: 1 }");
    assert_eq!(problems(&yaml), ["dedup: a key is not text; put it in quotes"]);
}

#[test]
fn values_from_the_environment_take_the_type_that_is_asked_for() {
    let yaml = with("embedding: { provider: openai, model: m, dimensions: 8, base_url: 'http://h' }");
    let variables = [
        ("VECTIDE__PIPELINE", "2024"),
        ("VECTIDE__EMBEDDING__API_KEY", "0123"),
        ("VECTIDE__EMBEDDING__CONCURRENCY", "4"),
        ("VECTIDE__EMBEDDING__PRICE_PER_MILLION_TOKENS", "0.5"),
        ("VECTIDE__EMBEDDING__RATE_LIMIT__REQUESTS_PER_MINUTE", "3000"),
        ("VECTIDE__DEDUP__PERSIST", "false"),
        ("VECTIDE__DEDUP__TTL", "5m"),
        ("VECTIDE__BATCHING__MAX_BYTES", "1024"),
        ("VECTIDE__CHUNKING__FORMAT", "markdown"),
        ("VECTIDE__DOCUMENT__METADATA", "[price, category]"),
        ("VECTIDE__SERVER__LISTEN", "127.0.0.1:8080"),
        ("VECTIDE__SOURCES__PIPE", "{ type: stdin, max_record: 1MiB }"),
        ("VECTIDE_CONFIG", "is no key"),
        ("OTHER", "neither"),
    ];
    let settings = read(&yaml, &variables, &[]).unwrap();
    assert_eq!(settings.pipeline, "2024");
    assert!(!settings.dedup.persist);
    assert_eq!(settings.dedup.ttl.to_string(), "5m");
    assert_eq!(settings.batching.max_bytes.as_u64(), 1024);
    assert_eq!(settings.document.metadata, ["price", "category"]);
    assert_eq!(settings.server.unwrap().listen.port(), 8080);
    assert!(matches!(settings.sources["pipe"], SourceSettings::Stdin(_)));
    let EmbeddingSettings::Openai(openai) = settings.embedding else { panic!("the provider is openai") };
    assert_eq!(openai.api_key, Some(Secret::new("0123")), "a key of digits stays a text, with its zero");
    assert_eq!((openai.concurrency, openai.price_per_million_tokens), (4, Some(0.5)));
    assert_eq!(openai.rate_limit.requests_per_minute, Some(3000));
}

#[test]
fn set_goes_before_the_environment_and_that_before_the_file() {
    let yaml = with("batching: { max_items: 1, max_tokens: 1, max_wait: 1s }");
    let variables = [("VECTIDE__BATCHING__MAX_ITEMS", "2"), ("VECTIDE__BATCHING__MAX_TOKENS", "2")];
    let batching = read(&yaml, &variables, &["batching.max_items=3"]).unwrap().batching;
    assert_eq!((batching.max_items, batching.max_tokens, batching.max_wait.to_string()), (3, 2, "1s".to_owned()));
}

#[test]
fn a_problem_from_outside_the_file_says_where_from_and_not_what() {
    let variables = [
        ("VECTIDE__BATCHING__MAX_ITEMS", "s3cret"),
        ("VECTIDE__BATCHIN__MAX_ITEMS", "s3cret"),
        ("VECTIDE__INDEX__METRIC", "s3cret"),
        ("VECTIDE__INDEX__TYPE", "embedded"),
        ("VECTIDE__EMBEDDING__PROVIDER", "s3cret"),
        ("TTL", "s3cret"),
    ];
    let overrides = ["dedup.persist=s3cret", "state.pth=s3cret", "s3cret", "chunking.max_tokens=-5"];
    let told = problems_with(&with("dedup: { ttl: '${TTL}' }"), &variables, &overrides);
    assert_eq!(
        told,
        [
            "`--set` needs `key=value`, like `--set batching.max_items=50`",
            "chunking.max_tokens: needs a whole number, 0 or more (set by `--set chunking.max_tokens`)",
            "dedup.persist: needs `true` or `false` (set by `--set dedup.persist`)",
            "dedup.ttl: needs a time like `50ms`, `30s` or `1h` (set by the environment variable `TTL`)",
            "batching.max_items: needs a whole number, 0 or more (set by the environment variable `VECTIDE__BATCHING__MAX_ITEMS`)",
            "embedding.provider: needs one of `builtin`, `hashed`, `openai` (set by the environment variable `VECTIDE__EMBEDDING__PROVIDER`)",
            "index.metric: needs one of `cosine`, `dot`, `l2` (set by the environment variable `VECTIDE__INDEX__METRIC`)",
            "state.pth: unknown key `pth`; did you mean `path`? (set by `--set state.pth`)",
            "batchin: unknown key `batchin`; did you mean `batching`? (set by the environment variable `VECTIDE__BATCHIN__MAX_ITEMS`)",
        ],
        "{told:#?}"
    );
}

#[test]
fn variables_in_texts_are_replaced() {
    let yaml = r#"
pipeline: ${NAME:-products}
document: { id: product_id, text: "{{ title }} ${SUFFIX} {{ '${TITLE}' }}" }
sources: { catalogue: { type: file, path: "${FOLDER}/a.jsonl" } }
batching: { max_items: "${ITEMS}" }
embedding: { provider: builtin }
state: { path: "$${FOLDER}" }
"#;
    let settings = read(yaml, &[("SUFFIX", "s"), ("FOLDER", "in"), ("ITEMS", "8")], &[]).unwrap();
    assert_eq!(settings.pipeline, "products");
    assert_eq!(settings.document.text, "{{ title }} s {{ '${TITLE}' }}");
    assert_eq!(settings.batching.max_items, 8);
    assert_eq!(settings.state.path, Path::new("${FOLDER}"));
    let told = problems(yaml);
    assert!(told.contains(&"sources.catalogue.path: the environment variable `FOLDER` is not set; set it, or give a default: `${FOLDER:-value}`".to_owned()), "{told:#?}");
    assert_eq!(told.len(), 3, "a variable that is not set is one problem, and nothing follows from it: {told:#?}");
}

#[test]
fn a_value_from_the_environment_is_not_expanded_again() {
    let yaml = with("embedding: { provider: openai, model: m, dimensions: 8, base_url: 'http://h' }");
    let settings = read(&yaml, &[("VECTIDE__EMBEDDING__API_KEY", "a${b")], &[]).unwrap();
    let EmbeddingSettings::Openai(openai) = settings.embedding else { panic!("the provider is openai") };
    assert_eq!(openai.api_key, Some(Secret::new("a${b")));
}

#[test]
fn the_printed_configuration_is_the_same_and_shows_no_secret() {
    let yaml = r#"
pipeline: products
document:
  id: /product/id
  version: { field: at, unit: milliseconds }
  text: "{{ title }} $${x} ${{ price }}"
  metadata: [price]
  events:
    field: type
    product.created: { operation: upsert, rename: { a: b } }
sources:
  catalogue: { type: file, path: "a.log", follow: true, format: csv }
  api: { type: http }
embedding: { provider: openai, model: m, dimensions: 8, base_url: "http://h/v1", api_key: "${KEY}", timeout: 1500ms, rate_limit: { tokens_per_minute: 5 } }
index: { type: embedded, metric: l2 }
server: {}
"#;
    for yaml in [yaml, MINIMAL] {
        let settings = read(yaml, &[("KEY", "s3cret")], &[]).unwrap();
        let printed = print(&settings);
        assert!(!printed.contains("s3cret") && printed.contains("max_items: 100"), "{printed}");
        assert!(!format!("{settings:?}").contains("s3cret"));
        let mut masked = settings;
        if let EmbeddingSettings::Openai(openai) = &mut masked.embedding {
            assert!(printed.contains("***"));
            openai.api_key = Some(Secret::new("***"));
        }
        assert_eq!(read(&printed, &[], &[]).unwrap(), masked, "{printed}");
    }
}

#[test]
fn the_shipped_configuration_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    load(&root.join("config.yaml"), &[]).unwrap();
}

/// Every YAML block that is a whole configuration, in every page for users; and every `index` section, which goes with documents of a shop.
#[test]
fn the_configurations_in_the_documentation_load() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The reader's environment has the keys that the page tells to set.
    let keys = [
        "OPENAI_API_KEY",
        "HOLYSHEEP_API_KEY",
        "KAFKA_PASSWORD",
        "PGPASSWORD",
        "PINECONE_API_KEY",
        "QDRANT_API_KEY",
        "MILVUS_TOKEN",
        "WEAVIATE_API_KEY",
    ];
    let variables = keys.map(|key| (key, "k"));
    const SHOP: &str = "document: { id: i, text: '{{ t }}', metadata: [category, price, sale, tags, sizes] }\n";
    let folders = ["docs", "docs/indexes"].map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
    let docs = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = docs.filter(|page| page.extension().is_some_and(|ending| ending == "md")).collect();
    pages.extend(Some(root.join("README.md")).filter(|page| page.exists()));
    let mut loaded = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next()) {
            let whole = match block.lines().any(|line| line.starts_with("pipeline:")) {
                true => block.to_owned(),
                false if block.starts_with("index:") => with(&format!("{SHOP}{block}")),
                false => continue,
            };
            let problems = problems_with(&whole, &variables, &[]);
            assert!(problems.iter().all(is_left_out), "{}: {problems:#?}\n{block}", page.display());
            loaded += 1;
        }
    }
    assert!(loaded > 10, "docs/configuration.md starts with a whole configuration, and each index has some lines");
    for entry in std::fs::read_dir(root.join("deploy/config")).unwrap() {
        let file = entry.unwrap().path();
        let problems = problems_with(&std::fs::read_to_string(&file).unwrap(), &variables, &[]);
        assert!(problems.iter().all(is_left_out), "{}: {problems:#?}", file.display());
    }
}

mod any_text {
    use proptest::prelude::*;

    use super::*;

    fn yaml() -> impl Strategy<Value = serde_yaml::Value> {
        use serde_yaml::Value;
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z${}~/: -]{0,12}".prop_map(Value::from),
            prop::sample::select(vec!["file", "openai", "embedded", "patch", "1h", "{{ a }}", "${HOME", "9GiB"])
                .prop_map(Value::from),
        ];
        let keys = prop::sample::select(vec![
            "pipeline",
            "document",
            "id",
            "text",
            "version",
            "field",
            "unit",
            "metadata",
            "events",
            "operation",
            "priority",
            "rename",
            "sources",
            "type",
            "path",
            "format",
            "follow",
            "chunking",
            "max_tokens",
            "overlap",
            "dedup",
            "ttl",
            "batching",
            "max_wait",
            "embedding",
            "provider",
            "api_key",
            "dimensions",
            "rate_limit",
            "index",
            "metric",
            "state",
            "server",
            "listen",
            "other",
            "",
        ]);
        scalar.prop_recursive(5, 60, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((keys.clone(), inner), 0..8).prop_map(|entries| {
                    entries
                        .into_iter()
                        .map(|(key, value)| (Value::from(key), value))
                        .collect::<serde_yaml::Mapping>()
                        .into()
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn is_read_without_a_panic(text in ".{0,200}") {
            let _ = read(&text, &[], &[]);
        }

        #[test]
        fn of_known_keys_either_loads_or_tells_each_problem_once(sections in prop::collection::vec(yaml(), 10)) {
            let names = ["pipeline", "document", "sources", "chunking", "dedup", "batching", "embedding", "index", "state", "server"];
            let whole: serde_yaml::Mapping = names.into_iter().map(Into::into).zip(sections).collect();
            let told = problems(&serde_yaml::to_string(&whole).unwrap());
            let mut once = told.clone();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), told.len(), "{:#?}", told);
        }

        #[test]
        fn set_on_the_command_line_is_read_without_a_panic(key in "[a-z.]{0,30}", value in ".{0,30}") {
            let _ = read(MINIMAL, &[], &[&format!("{key}={value}")]);
        }
    }
}
