//! The commands as scripts and people call them: the real program, on a small catalogue.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use vectide::settings::expand::Environment;
use vectide::settings::load_text;

const CONFIGURATION: &str = r#"
pipeline: shop
document:
  id: id
  version: { field: v, unit: counter }
  text: "{{ title }}"
  metadata: [category, price]
sources:
  catalogue: { type: file, path: catalogue.jsonl }
embedding: { provider: builtin }
"#;

/// Seventeen products, one that has no title yet, and two lines that are no products.
fn catalogue() -> String {
    let mut lines: Vec<String> = (1..=15)
        .map(|number| {
            let price = f64::from(number) + 0.5;
            json!({"id": format!("p{number:02}"), "v": number, "title": format!("Garden chair, model {number}"),
                "category": "garden", "price": price, "long": "x".repeat(10_000)})
            .to_string()
        })
        .collect();
    lines.push(
        json!({"id": "p16", "v": 16, "title": "Waterproof boots", "category": "shoes", "price": 52.5}).to_string(),
    );
    lines.push(json!({"id": "p17", "v": 17, "title": "Leather sandals", "category": "shoes", "price": 30}).to_string());
    lines.push(json!({"id": "p18", "v": 18, "price": 9}).to_string());
    lines.push("{\"id\": \"p19\", ".to_owned());
    lines.push(json!({"v": 20, "title": "nobody"}).to_string());
    lines.join("\n") + "\n"
}

/// A folder with a configuration and a catalogue.
struct Shop(TempDir);

impl Shop {
    fn new() -> Self {
        let shop = Self::empty();
        fs::write(shop.folder().join("config.yaml"), CONFIGURATION).unwrap();
        fs::write(shop.folder().join("catalogue.jsonl"), catalogue()).unwrap();
        shop
    }

    /// A folder and nothing in it.
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One whose catalogue is indexed.
    fn indexed() -> Self {
        let shop = Self::new();
        shop.done("run --until-idle");
        shop
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vectide"));
        command.args(words.split_whitespace()).current_dir(self.folder()).stdin(Stdio::null());
        for name in ["VECTIDE_CONFIG", "VECTIDE_LOG"] {
            command.env_remove(name);
        }
        // Nobody listens there: a command that asked a proxy for something on this machine would fail.
        command.env("http_proxy", "http://127.0.0.1:1").env("NO_COLOR", "1");
        command
    }

    fn call(&self, words: &str) -> Answer {
        Answer::of(self.command(words).output().unwrap())
    }

    /// What a command that succeeds writes.
    fn done(&self, words: &str) -> String {
        let answer = self.call(words);
        assert_eq!(answer.code, 0, "`{words}`: {answer:?}");
        answer.out
    }

    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.done(words)).unwrap()
    }

    fn lines(&self, words: &str) -> Vec<Value> {
        self.done(words).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[derive(Debug)]
struct Answer {
    code: i32,
    out: String,
    err: String,
}

impl Answer {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ends it"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The keys of an object in their order.
fn keys(json: &Value) -> Vec<&str> {
    json.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn searches_find_by_meaning_and_by_likeness() {
    let shop = Shop::indexed();
    let answer = shop.json("search footwear -k 2 --json");
    let hits = answer["hits"].as_array().unwrap();
    assert_eq!(hits.len(), 2);
    for hit in hits {
        assert_eq!(keys(hit), ["chunk", "id", "metadata", "score"]);
        assert_eq!((&hit["metadata"]["category"], &hit["chunk"]), (&json!("shoes"), &json!(0)));
    }
    assert!(hits[0]["score"].as_f64() >= hits[1]["score"].as_f64());

    let table = shop.done("search footwear -k 1");
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert!(rows[0].starts_with("#  SCORE  ID") && rows[1].starts_with("1  0."), "{table}");
    assert!(rows[1].contains("category: shoes, price: "), "{table}");

    let filtered = shop.call("search footwear --filter {\"price\":{\"lt\":2}} --json --vectors");
    let filtered: Value = serde_json::from_str(&filtered.out).unwrap();
    assert_eq!((&filtered["hits"][0]["id"], filtered["hits"].as_array().unwrap().len()), (&json!("p01"), 1));
    assert_eq!(filtered["hits"][0]["vector"].as_array().unwrap().len(), 128);
    assert_eq!(shop.json("search footwear --filter {\"price\":7000} --json"), json!({"hits": []}));
    assert!(shop.done("search footwear --filter {\"price\":7000}").contains("no document matches the filter"));

    let alike = shop.json("similar p16 -k 1 --json");
    assert_eq!(alike["hits"][0]["id"], "p17");
    for (words, said) in [("similar p99", "there is no document `p99`"), ("similar p18", "is not in the index")] {
        let answer = shop.call(words);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.err.contains(said) && answer.out.is_empty(), "{answer:?}");
    }
}

#[test]
fn a_document_is_shown_as_it_is_held() {
    let shop = Shop::indexed();
    let boots = shop.json("get p16 --json");
    assert_eq!((&boots["version"], &boots["versions"]["title"]), (&json!(16), &json!(16)));
    assert_eq!((&boots["indexed"], &boots["fields"]["title"]), (&json!(true), &json!("Waterproof boots")));
    assert_eq!(boots["metadata"], json!({"category": "shoes", "price": 52.5}));
    assert_eq!(boots["chunks"][0]["fingerprint"].as_str().map(str::len), Some(64));
    assert_eq!(boots.get("deleted"), None);
    let shown = shop.done("get p16");
    assert!(shown.contains("state     in the index") && shown.contains("\"Waterproof boots\""), "{shown}");
    assert!(shop.done("get p18").contains("not in the index: its text lacks `title`"));
    let unknown = shop.call("get nobody --json");
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert_eq!(unknown.err, "vectide: there is no document `nobody`\n");
}

#[test]
fn a_document_that_is_not_in_the_index_is_shown_with_the_cause() {
    let shop = Shop::new();
    let blank = json!({"id": "blank", "v": 1, "title": " ", "price": 9});
    fs::write(shop.folder().join("catalogue.jsonl"), format!("{blank}\n")).unwrap();
    let templates = [
        (
            "{{ title }} {{ description | default('') }}",
            "rejected, see `vectide dead-letters list`; or the configuration ",
        ),
        ("{{ name }} {{ title }}", "its text lacks `name`\n"),
        ("{{ name }} {{ title }} {{ description | default('') }}", "its text lacks some of `description`, `name`\n"),
        ("{{ price.net }}", "its text lacks a value\n"),
        ("{% for word in price %}{{ word }}{% endfor %}", "document.text cannot be rendered: "),
    ];
    for (text, cause) in templates {
        let set = format!("document.text={text}");
        let run = shop.command("run --until-idle --set").arg(&set).output().unwrap();
        assert!(run.status.success(), "{text}: {run:?}");
        let shown = Answer::of(shop.command("get blank --set").arg(&set).output().unwrap());
        assert!(shown.out.contains(&format!("state     not in the index: {cause}")), "{text}: {shown:?}");
    }
}

#[test]
fn statistics_without_a_process_are_those_of_the_ledger() {
    let shop = Shop::indexed();
    let stats = shop.json("stats --json");
    assert_eq!((&stats["pipeline"], &stats["documents"], &stats["points"]), (&json!("shop"), &json!(17), &json!(17)));
    assert_eq!((&stats["dead_letters"], &stats["total"]["texts_sent"]), (&json!(2), &json!(17)));
    assert_eq!((&stats["total"]["events"], stats.get("run")), (&json!(20), None));
    let shown = shop.done("stats");
    assert!(shown.contains("17 documents in 17 chunks") && shown.contains("IN ALL"), "{shown}");
    shop.done("run --until-idle");
    assert_eq!(shop.json("stats --json")["total"], stats["total"], "a second run has nothing to do and spends nothing");
}

#[test]
fn an_export_holds_every_document_with_fields_in_order() {
    let shop = Shop::indexed();
    let lines = shop.lines("export");
    let ids: Vec<String> = lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (1..=18).map(|number| format!("p{number:02}")).collect::<Vec<_>>());
    for line in &lines {
        assert_eq!(keys(line), ["chunks", "fields", "id", "metadata", "version"]);
    }
    assert_eq!((&lines[15]["version"], lines[15]["chunks"][0].get("vector")), (&json!(16), None));
    assert_eq!((&lines[17]["metadata"], &lines[17]["chunks"]), (&Value::Null, &json!([])));
    assert_eq!(lines[17]["fields"], json!({"id": "p18", "v": 18, "price": 9}));

    let first = &shop.lines("export --vectors")[0];
    assert_eq!(first["chunks"][0]["vector"].as_array().map(Vec::len), Some(128));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_format_that_this_build_cannot_write_is_refused() {
    let refused = Shop::new().call("export --format parquet");
    assert!(refused.code == 70 && refused.err.contains("this build cannot write Parquet"), "{refused:?}");
}

#[cfg(feature = "parquet")]
#[test]
fn an_export_may_be_a_parquet_file() {
    let shop = Shop::indexed();
    let exported = shop.command("export --vectors --format parquet").output().unwrap();
    assert!(exported.status.success(), "{exported:?}");
    assert!(exported.stdout.starts_with(b"PAR1") && exported.stdout.ends_with(b"PAR1"));
}

#[test]
fn dead_letters_are_listed_shown_replayed_and_dropped() {
    let shop = Shop::indexed();
    let letters = shop.lines("dead-letters list --json");
    assert_eq!(letters.len(), 2);
    assert_eq!(keys(&letters[0]), ["at", "attempts", "id", "position", "reason", "source"]);
    assert_eq!((&letters[0]["source"], &letters[0]["position"]), (&json!("catalogue"), &json!("catalogue.jsonl:19")));
    assert!(letters[0]["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{letters:?}");
    let id = letters[0]["id"].to_string();
    assert!(shop.done("dead-letters list").contains("2 dead letters"));

    let shown = shop.json(&format!("dead-letters show {id} --json"));
    assert_eq!((&shown["payload"], &shown["payload_lossy"]), (&json!("{\"id\": \"p19\", "), &json!(false)));
    assert!(shop.done(&format!("dead-letters show {id}")).contains("{\"id\": \"p19\", "));

    assert!(shop.done(&format!("dead-letters replay {id}")).contains("the next `vectide run`"));
    assert_eq!(shop.json(&format!("dead-letters show {id} --json"))["replay"], true);
    shop.done("run --until-idle");
    let again = shop.json(&format!("dead-letters show {id} --json"));
    assert_eq!((&again["replay"], &again["attempts"]), (&json!(false), &json!(2)), "it failed again");

    for words in ["dead-letters show 99", "dead-letters drop 99", "dead-letters replay 99"] {
        let answer = shop.call(words);
        assert!(answer.code == 1 && answer.err.contains("there is no dead letter 99"), "{answer:?}");
    }
    assert!(shop.done(&format!("dead-letters drop {id}")).starts_with(&format!("dropped {id}, catalogue: ")));
    assert_eq!(shop.lines("dead-letters list --json").len(), 1);
    assert_eq!(shop.done("dead-letters drop --all"), "dropped 1 dead letter\n");
    assert_eq!(shop.done("dead-letters list --json"), "");
    assert_eq!(shop.done("dead-letters list"), "there are no dead letters\n");
    assert_eq!(shop.done("dead-letters drop --all"), "there are no dead letters\n");
    assert_eq!(Shop::indexed().done("dead-letters drop --all"), "dropped 2 dead letters\n");
}

#[test]
fn check_tries_what_a_run_needs_and_changes_nothing() {
    let shop = Shop::new();
    let fresh = shop.done("check --connect");
    let first = "is about document `p01`\n         text: Garden chair, model 1\n         metadata: category: garden, price: 1.5\nok ";
    for said in ["config.yaml is valid", "data will be created", first, "nothing is indexed yet"] {
        assert!(fresh.contains(said), "{said}: {fresh}");
    }
    assert!(!shop.folder().join("data").exists());
    shop.done("run --until-idle");
    assert!(shop.done("check --connect").contains("17 documents in 17 chunks"));

    let wrong = shop.call("--set sources.catalogue.path=gone.jsonl check --connect");
    assert_eq!(wrong.code, 70);
    assert!(wrong.out.contains("problem  source catalogue: ") && wrong.out.contains("gone.jsonl"), "{wrong:?}");
    let printed = shop.done("check --print --connect");
    let yaml: serde_yaml::Value = serde_yaml::from_str(&printed).unwrap();
    assert_eq!(yaml["pipeline"], "shop");
}

#[test]
fn another_model_is_refused_with_what_to_do() {
    let shop = Shop::indexed();
    for words in ["search footwear", "similar p16", "run --until-idle"] {
        let answer = shop.call(&format!("--set embedding.provider=hashed {words}"));
        assert_eq!(answer.code, 78, "{answer:?}");
        assert!(answer.err.contains("`state.path`") && answer.err.contains("builtin/"), "{answer:?}");
    }
}

#[test]
fn without_a_ledger_commands_say_what_to_do_first() {
    let shop = Shop::new();
    for words in ["search a", "similar a", "get a", "stats", "export", "dead-letters list", "dead-letters drop --all"] {
        let answer = shop.call(words);
        assert_eq!((answer.code, answer.out.as_str()), (70, ""), "{words}: {answer:?}");
        assert!(answer.err.contains("there is no ledger in data yet: run `vectide run` first"), "{words}: {answer:?}");
    }
    assert!(!shop.folder().join("data").exists(), "looking makes nothing");
}

#[test]
fn wrong_usage_and_wrong_configuration_have_codes_of_their_own() {
    let shop = Shop::new();
    for (words, code) in [
        ("serch boots", 64),
        ("search", 64),
        ("search boots -k 0", 64),
        ("--set embedding.provder=builtin check", 78),
        ("check --set embedding.provder=builtin", 78),
        ("--log off check --log off", 64),
        ("--log vectide=loud check", 64),
        ("--set foo check", 64),
        ("init --set pipeline=shop --config new.yaml", 64),
        ("--config nowhere.yaml check", 78),
        ("--help", 0),
        ("--version", 0),
    ] {
        let answer = shop.call(words);
        assert_eq!(answer.code, code, "{words}: {answer:?}");
        assert_eq!(answer.err.is_empty(), code == 0, "{words}: {answer:?}");
    }
}

#[test]
fn all_that_is_wrong_is_told_by_every_command_and_nothing_is_left_behind() {
    let shop = Shop::new();
    let wrong = "batchin: {}\nindex: { type: embedded, metric: cosin }\nchunking: { max_tokns: 10 }\n";
    fs::write(shop.folder().join("config.yaml"), format!("{CONFIGURATION}{wrong}")).unwrap();
    for words in ["run --until-idle", "check", "search boots"] {
        let answer = shop.call(words);
        assert_eq!((answer.code, answer.out.as_str()), (78, ""), "{words}: {answer:?}");
        for said in ["did you mean `batching`?", "index.metric", "chunking.max_tokns"] {
            assert!(answer.err.contains(said), "{words}: {said}: {answer:?}");
        }
    }
    assert!(!shop.folder().join("data").exists(), "a broken configuration left something behind");
}

#[test]
fn a_configuration_is_written_checked_and_shown() {
    let shop = Shop::empty();
    shop.done("init");
    let again = shop.call("init");
    assert!(again.code == 70 && again.err.contains("--force"), "{again:?}");
    shop.done("check");
    let shown = shop.done("--set batching.max_items=7 check --print");
    let settings = load_text(Path::new("shown.yaml"), &shown, &Environment::default(), &[]).unwrap();
    assert_eq!(settings.batching.max_items, 7);

    let preset = "{ provider: openai, preset: openai-small, api_key: s3cret }";
    fs::write(shop.folder().join("preset.yaml"), CONFIGURATION.replace("{ provider: builtin }", preset)).unwrap();
    let shown = shop.done("--config preset.yaml check --print");
    assert!(shown.contains("model: text-embedding-3-small") && !shown.contains("s3cret"), "{shown}");

    let elsewhere = Answer::of(shop.command("check").env("VECTIDE_CONFIG", "other.yaml").output().unwrap());
    assert!(elsewhere.err.contains("other.yaml"), "{elsewhere:?}");
}

#[test]
fn settings_before_and_behind_a_command_add_up() {
    let shop = Shop::new();
    let printed =
        shop.done("--set batching.max_items=7 --set dedup.persist=true check --print --set dedup.persist=false");
    let yaml: serde_yaml::Value = serde_yaml::from_str(&printed).unwrap();
    assert_eq!((&yaml["batching"]["max_items"], &yaml["dedup"]["persist"]), (&7.into(), &false.into()));
}

#[test]
fn a_template_that_no_document_can_fill_is_told_and_going_back_costs_nothing() {
    let shop = Shop::indexed();
    let slip = shop.call("--set document.text={{titel}} run --until-idle");
    let told = |words| slip.err.lines().any(|line| line.contains(words) && line.contains("documents=17"));
    assert!(told("not all documents are in the index that were before"), "{slip:?}");
    assert!(slip.err.contains("stored outside the index") && !slip.err.contains("indexed"), "{slip:?}");
    let back = shop.call("run --until-idle");
    assert!(back.err.contains("Index: 17 documents") && back.err.contains("0 texts sent"), "{back:?}");
}

#[test]
fn a_changed_template_is_not_blamed_for_documents_that_come_and_go() {
    let shop = Shop::indexed();
    let run = |events: &[Value], text: &str| {
        let path = shop.folder().join("catalogue.jsonl");
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        fs::write(&path, fs::read_to_string(&path).unwrap() + &lines).unwrap();
        let kinds = "document.events={ field: kind, gone: { operation: delete }, new: { operation: upsert } }";
        let mut command = shop.command("run --until-idle");
        Answer::of(command.args(["--set", kinds, "--set", &format!("document.text={text}")]).output().unwrap())
    };
    let new = |id| json!({"kind": "new", "id": id, "v": 22, "title": "Rain jacket", "category": "coats"});
    let gone = |id| json!({"kind": "gone", "id": id, "v": 22});
    // Two are shoes and have no size. As many are new.
    let answer = run(&[new("p21"), new("p22")], "{% if category == 'shoes' %}{{ size }}{% endif %}{{ title }}");
    let lost: Vec<&str> = answer.err.lines().filter(|line| line.contains("that were before")).collect();
    assert!(lost.len() == 1 && lost[0].contains("documents=2"), "{answer:?}");
    let answer = run(&[gone("p01"), gone("p02"), gone("p03"), gone("p04")], "{{ title }}, {{ category }}");
    assert!(answer.err.contains("every document was compared"), "{answer:?}");
    assert!(answer.err.contains("Index: 15 documents"), "{answer:?}");
    assert!(!answer.err.contains("that were before"), "{answer:?}");
}

#[test]
fn for_machines_every_line_on_standard_error_is_json() {
    let shop = Shop::new();
    let done = shop.call("--log-format json run --until-idle");
    let failed = shop.call("--log-format json --config nowhere.yaml run");
    for (answer, code, said) in [(done, 0, "Done in"), (failed, 78, "nowhere.yaml")] {
        let lines: Vec<Value> = answer.err.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let last = lines.last().and_then(|line| line["message"].as_str()).unwrap_or_default();
        assert!(answer.code == code && last.contains(said), "{answer:?}");
    }
}

#[test]
fn for_machines_no_filter_leaves_out_how_it_ended() {
    let shop = Shop::new();
    for log in ["off", "vectide::cli=off"] {
        let done = shop.call(&format!("--log-format json --log {log} run --until-idle"));
        let failed = shop.call(&format!("--log-format json --log {log} --config nowhere.yaml run"));
        for (answer, level, code, said) in
            [(done, "INFO", Value::Null, "Done in"), (failed, "ERROR", json!(78), "nowhere.yaml")]
        {
            let line: Value = serde_json::from_str(&answer.err).expect(&answer.err);
            assert_eq!((&line["level"], &line["code"]), (&json!(level), &code), "{answer:?}");
            let message = line["message"].as_str().unwrap();
            assert!(message.contains(said) && line["timestamp"].is_string(), "{answer:?}");
        }
    }
}

#[test]
fn an_output_that_is_full_is_named() {
    let shop = Shop::indexed();
    let parquet = cfg!(feature = "parquet").then_some("export --format parquet");
    for words in ["export", "check --print", "dead-letters list"].into_iter().chain(parquet) {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = shop.command(words).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output();
        let answer = Answer::of(output.unwrap());
        let reason = "vectide: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!((answer.code, answer.err.as_str()), (70, reason), "{words}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let shop = Shop::indexed();
    let mut export = shop.command("export --vectors").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    // Some 180 kB are written, more than any pipe holds: the program is still writing when the reader goes.
    BufReader::with_capacity(16, export.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"id\":\"p01\""), "{first}");
    let answer = Answer::of(export.wait_with_output().unwrap());
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
    let shop = Shop::empty();
    for words in ["completions bash", "--help", "init"] {
        let answer = unheard(shop.command(words));
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{words}");
    }
}

/// The end of a command whose output nobody reads any more.
fn unheard(mut command: Command) -> Answer {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Answer::of(command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap())
}

#[test]
fn what_does_or_judges_something_does_all_of_it_though_its_reader_went_away() {
    let shop = Shop::new();
    // More than are dropped at once.
    fs::write(shop.folder().join("catalogue.jsonl"), "{\"v\": 1}\n".repeat(600)).unwrap();
    shop.done("run --until-idle");
    assert_eq!(unheard(shop.command("dead-letters list --json")).code, 0);
    for (words, left) in [("dead-letters replay --all", 600), ("dead-letters drop --all", 0)] {
        let answer = unheard(shop.command(words));
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{words}");
        assert_eq!(shop.json("stats --json")["dead_letters"], left, "{words}");
    }
    let checked = unheard(shop.command("--set sources.catalogue.path=gone.jsonl check --connect"));
    assert_eq!((checked.code, checked.err.as_str()), (70, ""));
}

#[test]
fn the_folder_of_another_pipeline_is_neither_read_nor_edited() {
    let shop = Shop::indexed();
    for words in
        ["search a", "similar p16", "get p16", "stats", "export", "dead-letters list", "dead-letters drop --all"]
    {
        let answer = shop.call(&format!("--set pipeline=other {words}"));
        assert_eq!((answer.code, answer.out.as_str()), (78, ""), "{words}: {answer:?}");
        assert!(
            answer.err.contains("it belongs to the pipeline `shop`, and this one is `other`"),
            "{words}: {answer:?}"
        );
    }
    assert_eq!(shop.lines("dead-letters list --json").len(), 2);
}

/// A `run` that goes on until it is told to end.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// Where it listens.
    address: String,
}

impl Running {
    fn start(shop: &Shop) -> Self {
        let words = "--set sources.api.type=http --set server.listen=127.0.0.1:0 run";
        let mut child = shop.command(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let from = said.len();
            assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended before it listened: {said}");
            if let Some((_, address)) = said[from..].split_once("listening for HTTP address=") {
                break address.trim().to_owned();
            }
        };
        Self { child, stderr, address }
    }

    /// Asks it to end, and answers its exit code and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let told = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(told.success());
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless the test failed before that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn commands_work_beside_a_running_process_and_a_second_run_does_not() {
    let shop = Shop::indexed();
    let running = Running::start(&shop);
    assert_eq!(shop.json("search footwear -k 1 --json")["hits"].as_array().map(Vec::len), Some(1));
    assert_eq!(shop.json("get p16 --json")["id"], "p16");
    assert_eq!(shop.lines("export").len(), 18);
    let stats = shop.json(&format!("--set server.listen={} stats --json", running.address));
    assert!(stats["run"]["uptime_seconds"].as_f64().is_some(), "{stats}");
    assert!(stats["sources"].get("api").is_some(), "{stats}");
    assert_eq!(stats["total"]["texts_sent"], 17);
    let shown = shop.done(&format!("--set server.listen={} stats", running.address));
    assert!(shown.contains("THIS RUN") && shown.contains("catalogue"), "{shown}");
    let checked = shop.done(&format!("--set server.listen={} check --connect", running.address));
    assert!(checked.contains("this pipeline is running"), "{checked}");
    // Of another folder nobody takes that process for its own, whatever the name of the pipeline.
    shop.done("--set state.path=elsewhere run --until-idle");
    let elsewhere = format!("--set state.path=elsewhere --set server.listen={}", running.address);
    assert_eq!(shop.json(&format!("{elsewhere} stats --json")).get("run"), None);
    let checked = shop.call(&format!("{elsewhere} check --connect"));
    assert!(checked.code == 70 && checked.out.contains("another program listens there"), "{checked:?}");
    assert_eq!(shop.done("dead-letters drop --all"), "dropped 2 dead letters\n");

    let second = shop.call("run --until-idle");
    assert_eq!(second.code, 70, "{second:?}");
    let process = format!("process {} is running on data", running.child.id());
    assert!(second.err.contains(&process), "{second:?}");
    let (code, said) = running.end();
    assert_eq!(code, Some(0), "{said}");
}
