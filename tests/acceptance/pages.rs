//! What the pages tell a user to do, done as they say.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::shop::{Shop, assert_same, catalogue, different_texts, follow_page, text, truth_of_catalogue};

const README: &str = include_str!("../../README.md");
const OPERATING: &str = include_str!("../../docs/operating.md");

/// The code blocks between two headings.
fn blocks<'a>(page: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let (_, chapter) = page.split_once(from).unwrap();
    let (chapter, _) = chapter.split_once(to).unwrap();
    chapter.split("\n```\n").skip(1).step_by(2).collect()
}

/// The same without what differs from run to run: times, rates and sizes, and which of equal texts was first.
fn masked(output: &str) -> Vec<String> {
    let units = ["ms", "s", "min", "B", "kB", "MB", "GB"];
    let masked = |line: &str| {
        let line = line.split_inclusive("needed no call:").next().unwrap_or_default();
        let mut words: Vec<&str> = line.split_whitespace().collect();
        for at in 0..words.len() {
            let is_unit = |word: &str| units.contains(&word.trim_end_matches([':', ',']));
            let is_measured = words.get(at + 1).is_some_and(|next| is_unit(next)) || words[at].ends_with("/s");
            let is_time = words[at].contains('T') && words[at].ends_with('Z');
            if is_measured || is_time {
                words[at] = "#";
            } else if at > 0 && words[at - 1] == "#" && is_unit(words[at]) {
                words[at] = "unit";
            }
        }
        words.join(" ")
    };
    output.lines().map(masked).collect()
}

#[test]
fn the_first_commands_of_the_readme_end_as_it_says() {
    let shop = Shop::new();
    let (mut first, mut next) = (None, None);
    let mut compared = 0;
    for block in blocks(README, "## Try it\n", "\n## Your own CSV") {
        let command = block.replace("cargo run --release --", "vectide");
        if command.starts_with("vectide ") {
            first.get_or_insert(command.clone());
            next = Some(command);
        } else if !command.starts_with("cargo ") {
            // What stands behind no command is what the first one says the second time.
            let command = next.take().or(first.clone()).unwrap();
            let output = shop.follow_page(&command, Path::new(env!("CARGO_MANIFEST_DIR")));
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(output.status.success(), "{command}: {said}");
            let (said, expected) = (masked(&said), masked(block));
            let end = &said[said.len().saturating_sub(expected.len())..];
            assert_eq!(end, expected, "{command}");
            compared += 1;
        }
    }
    assert_eq!(compared, 5);
}

#[test]
fn what_a_first_run_would_cost_is_told_without_a_call() {
    let mut shop = Shop::new();
    shop.set("embedding={provider: hashed, dimensions: 16}");
    shop.set("index={type: discard}");
    shop.run_until_idle();
    let total = &shop.stats()["total"];
    let products = truth_of_catalogue();
    assert_eq!(total["texts_sent"], different_texts(&products));
    let texts: BTreeSet<String> = products.values().map(|p| format!("{} {}", p["title"], p["description"])).collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    // English has about a token for every four bytes.
    let tokens = total["tokens_sent"].as_u64().unwrap() as usize;
    assert!((bytes / 5..bytes / 3).contains(&tokens), "{tokens} tokens in {bytes} bytes");
}

#[test]
fn a_backup_that_was_made_beside_a_run_that_writes_is_restored_without_an_embedding() {
    let mut shop = Shop::opened();
    let (sent, id) = (shop.texts_sent(), catalogue()[0]["product_id"].clone());
    let prices = shop.file("prices.jsonl", &[]);
    shop.set(&format!("sources.prices={{type: file, follow: true, path: {}}}", prices.display()));
    let price = |minute: i64| json!({ "type": "price_change", "product_id": id, "new_price": minute, "timestamp": 1_790_000_000_000 + minute * 60_000 });
    let (shop, copy) = (&shop, tempfile::tempdir().unwrap());
    let enough = AtomicBool::new(false);
    let last = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = OpenOptions::new().append(true).open(&prices).unwrap();
            let mut minute = 0;
            // A test that fails ends too: it waits for this thread first.
            while !enough.load(Ordering::Relaxed) && minute < 150_000 {
                minute += 1;
                writeln!(file, "{}", price(minute)).unwrap();
                // No faster than is needed: all of it is read again.
                thread::sleep(Duration::from_millis(1));
            }
            minute
        });
        let mut run = shop.start();
        let events = || shop.stats()["total"]["events"].as_u64().unwrap();
        run.wait_until("prices are written", || events() > 2_000);
        let ledger = Connection::open(shop.state_folder().join("ledger.sqlite")).unwrap();
        ledger.execute("VACUUM INTO ?1", [copy.path().join("ledger.sqlite").to_str()]).unwrap();
        fs::copy(shop.state_folder().join("vectors.bin"), copy.path().join("vectors.bin")).unwrap();
        let copied = events();
        run.wait_until("and more of them after the copy", || events() > copied);
        enough.store(true, Ordering::Relaxed);
        run.kill();
        writer.join().unwrap()
    });
    let restored = Shop::of_state(shop, copy.path());
    restored.run_until_idle();
    assert_eq!(restored.texts_sent(), sent, "no text was sent again");
    let mut truth = truth_of_catalogue();
    truth.get_mut(id.as_str().unwrap()).unwrap().insert("price".into(), last.into());
    assert_same(&restored.documents(), &truth);
    assert_eq!(restored.hits("search", "something dry for my feet in the rain", "3").len(), 3);
}

/// Whether the recipes for full exports can be followed here.
#[expect(clippy::explicit_write, reason = "a passing test swallows `eprintln!`")]
fn has(tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    if let Some(missing) = missing {
        writeln!(io::stderr(), "SKIPPED: without {missing} the recipe for full exports is not followed").unwrap();
    }
    missing.is_none()
}

#[test]
fn the_recipe_for_full_exports_deletes_what_an_export_lacks() {
    if !has(&["jq"]) {
        return;
    }
    let shop = Shop::opened();
    let mut products = catalogue();
    let gone: Vec<Value> = products.drain(100..103).collect();
    let export = shop.file("export.jsonl", &products);
    let recipe = blocks(OPERATING, "### Full exports\n", "\n### ")[0];
    // The sample may be younger than this machine's clock.
    let output = shop.follow_page(&recipe.replace("(now |", "(1790000000 |"), export.parent().unwrap());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut truth = truth_of_catalogue();
    for product in gone {
        truth.remove(product["product_id"].as_str().unwrap()).unwrap();
    }
    assert_same(&shop.documents(), &truth);
}

#[test]
fn the_csv_shop_of_the_readme_works_and_so_does_its_recipe_for_full_exports() {
    if !has(&["jq", "python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let export =
        |rows: &str| fs::write(folder.path().join("products.csv"), format!("sku,name,price,category\n{rows}")).unwrap();
    let (_, chapter) = README.split_once("## Your own CSV\n").unwrap();
    let (configuration, rest) = chapter.split_once("```yaml\n").unwrap().1.split_once("```\n").unwrap();
    let configuration = configuration.replace("server: {}", "server: { listen: \"127.0.0.1:0\" }");
    fs::write(folder.path().join("shop.yaml"), configuration).unwrap();
    let follow = |script: &str| {
        let output = follow_page(script, folder.path(), &[]);
        assert!(output.status.success(), "{script}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let ids = || follow("vectide --config shop.yaml export | jq -r .id | tr '\\n' ' '");

    export("a,Waterproof boots,52.50,shoes\n\"b,\"\"1\"\"\",\"Hat\nof wool\",9,\n\"c,ü\",Umbrella,12,rain\n");
    let said = follow(rest.split_once("```\n").unwrap().1.split_once("\n```").unwrap().0);
    for shown in [
        "products.csv:2",
        "document `a`",
        "text: Waterproof boots",
        "metadata: category: shoes, price: 52.5",
        "Waterproof boots  category: shoes, price: 52.5",
    ] {
        assert!(said.contains(shown), "{shown}: {said}");
    }
    assert_eq!(ids(), "a b,\"1\" c,ü ");
    export("\"b,\"\"1\"\"\",Hat,9,\n");
    let recipe = blocks(OPERATING, "### Full exports\n", "\n### ")[1];
    follow(recipe);
    assert_eq!(ids(), "b,\"1\" ");
    follow("vectide --config shop.yaml run --until-idle");
    assert_eq!(ids(), "b,\"1\" ");
    export("");
    assert!(!follow_page(recipe, folder.path(), &[]).status.success());
    assert_eq!(ids(), "b,\"1\" ", "an empty export deletes nothing");
}
