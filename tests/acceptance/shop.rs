//! The sample shop with a state folder of its own, driven through the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

pub type Fields = Map<String, Value>;

/// The fields that the shipped configuration uses.
const USED: [&str; 5] = ["title", "description", "category", "price", "discount_percentage"];

/// The shipped configuration, but for the state folder, the port and what a test sets.
pub struct Shop {
    folder: TempDir,
    sources: Value,
    settings: Vec<String>,
}

impl Shop {
    /// A shop that reads the sample catalogue and that nothing was done in yet.
    pub fn new() -> Self {
        let mut shop = Self {
            folder: tempfile::tempdir().unwrap(),
            sources: json!({}),
            settings: vec!["server.listen=127.0.0.1:0".to_owned()],
        };
        shop.read("catalogue", &sample("catalogue.jsonl"));
        shop
    }

    /// A shop that has read the sample catalogue.
    pub fn opened() -> Self {
        let shop = Self::new();
        shop.run_until_idle();
        shop
    }

    /// The same shop with a copy of what was in its state folder.
    pub fn of_state(shop: &Self, copy: &Path) -> Self {
        let mut settings = shop.settings.clone();
        settings.push(format!("state.path={}", copy.display()));
        Self { folder: tempfile::tempdir().unwrap(), sources: shop.sources.clone(), settings }
    }

    /// From now on this file is read too.
    pub fn read(&mut self, source: &str, path: &Path) {
        self.sources[source] = json!({ "type": "file", "path": path });
    }

    /// From now on this source is read no more.
    pub fn stop_reading(&mut self, source: &str) {
        self.sources.as_object_mut().unwrap().remove(source);
    }

    /// From now on this key has this value: `key=value`.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// Takes the last setting back.
    pub fn unset(&mut self) {
        self.settings.pop();
    }

    /// A file of these lines in the shop's own folder.
    pub fn file(&self, name: &str, lines: &[Value]) -> PathBuf {
        let path = self.folder.path().join(name);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn state_folder(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// What stands before every command.
    fn options(&self) -> Vec<String> {
        let given =
            ["state.path=".to_owned() + &self.state_folder().to_string_lossy(), format!("sources={}", self.sources)];
        let settings = given.iter().chain(&self.settings).flat_map(|setting| ["--set", setting]);
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config.yaml");
        ["--config", file].into_iter().chain(settings).map(str::to_owned).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vectide"));
        at_home(&mut command).args(self.options()).args(arguments);
        command
    }

    /// Does what a page says in this folder, and gives its output. `vectide` is this shop's there.
    pub fn follow_page(&self, script: &str, folder: &Path) -> Output {
        follow_page(script, folder, &self.options())
    }

    /// Does a command and gives its output, whatever its exit code.
    pub fn attempt(&self, arguments: &[&str]) -> Output {
        // Files, because a pipe that nobody empties would stop the process when it is full.
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut command = self.command(arguments);
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let mut running = Running { child: command.spawn().unwrap() };
        let status = in_time(&format!("the end of vectide {arguments:?}"), || running.child.try_wait().unwrap());
        Output { status, stdout: written(stdout), stderr: written(stderr) }
    }

    /// Does a command that must succeed and gives its standard output.
    pub fn vectide(&self, arguments: &[&str]) -> String {
        let output = self.attempt(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "vectide {arguments:?}: {}\n{out}\n{err}", output.status);
        out
    }

    /// Brings the index in step with the sources.
    pub fn run_until_idle(&self) {
        self.vectide(&["run", "--until-idle"]);
    }

    /// Starts a run that goes on; it is killed when the test ends.
    pub fn start(&self) -> Running {
        let child = self.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Running { child }
    }

    /// What `export` prints of every document in the index, by id.
    pub fn exported(&self) -> BTreeMap<String, Value> {
        let lines = self.vectide(&["export"]);
        let documents = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let indexed =
            documents.filter(|document| document["chunks"].as_array().is_some_and(|chunks| !chunks.is_empty()));
        indexed.map(|document| (document["id"].as_str().unwrap().to_owned(), document)).collect()
    }

    /// The fields in use of every document in the index.
    pub fn documents(&self) -> BTreeMap<String, Fields> {
        self.exported().into_iter().map(|(id, document)| (id, used(&document["fields"]))).collect()
    }

    pub fn stats(&self) -> Value {
        serde_json::from_str(&self.vectide(&["stats", "--json"])).unwrap()
    }

    /// Documents in the index of a run that may not have come up yet.
    pub fn indexed_so_far(&self) -> u64 {
        let output = self.attempt(&["stats", "--json"]);
        let stats: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        stats.and_then(|stats| stats["documents"].as_u64()).unwrap_or(0)
    }

    /// Texts sent to the embedder since the shop was new.
    pub fn texts_sent(&self) -> u64 {
        self.stats()["total"]["texts_sent"].as_u64().unwrap()
    }

    /// The hits of a search or of `similar`, best first.
    pub fn hits(&self, command: &str, what: &str, k: &str) -> Vec<Value> {
        let answer: Value = serde_json::from_str(&self.vectide(&[command, what, "-k", k, "--json"])).unwrap();
        answer["hits"].as_array().unwrap().clone()
    }

    pub fn dead_letters(&self) -> Vec<Value> {
        let lines = self.vectide(&["dead-letters", "list", "--json"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Does what a page says in this folder, and gives its output. These options stand behind every `vectide` there.
pub fn follow_page(script: &str, folder: &Path, options: &[String]) -> Output {
    let quoted = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
    let words: Vec<String> = options.iter().map(quoted).collect();
    let programs = tempfile::tempdir().unwrap();
    let program = programs.path().join("vectide");
    let called = format!("#!/bin/sh\nexec '{}' {} \"$@\"\n", env!("CARGO_BIN_EXE_vectide"), words.join(" "));
    fs::write(&program, called).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    at_home(shell.args(["-euc", script]).env("PATH", path)).current_dir(folder).output().unwrap()
}

/// Where the paths of the shipped configuration start, and nothing that is set outside.
fn at_home(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VECTIDE_") {
            command.env_remove(name);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"))
}

/// A run that goes on until it is told to stop.
pub struct Running {
    child: Child,
}

impl Running {
    /// Waits until something holds that the run brings about.
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        in_time(what, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the run ended ({status}) before this held: {what}");
            }
            holds().then_some(())
        });
    }

    /// `kill -9`: the process has no chance to say or save anything.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the run to stop and gives its exit code.
    #[cfg(unix)]
    pub fn terminate(mut self) -> Option<i32> {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `look` finds, looking again and again. What takes three minutes here will not happen.
pub fn in_time<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(180);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited three minutes in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn written(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

/// The events of the sample catalogue.
pub fn catalogue() -> Vec<Value> {
    let lines = fs::read_to_string(sample("catalogue.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the index must hold after the sample catalogue: its products as they stand.
pub fn truth_of_catalogue() -> BTreeMap<String, Fields> {
    catalogue().iter().map(|event| (event["product_id"].as_str().unwrap().to_owned(), used(event))).collect()
}

/// What the index must hold after the sample catalogue and the sample events, by `assets/generate.py --truth`.
pub fn truth_of_events() -> BTreeMap<String, Fields> {
    let documents =
        include_str!("../data/truth.jsonl").lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    documents.map(|d| (d["id"].as_str().unwrap().to_owned(), used(&d["fields"]))).collect()
}

/// How many different texts the shipped template makes of these documents.
pub fn different_texts(documents: &BTreeMap<String, Fields>) -> u64 {
    let texts: BTreeSet<_> = documents.values().map(|f| (f["title"].as_str(), f["description"].as_str())).collect();
    texts.len() as u64
}

/// Fails with the first document that differs, not with two thousand.
pub fn assert_same(held: &BTreeMap<String, Fields>, truth: &BTreeMap<String, Fields>) {
    let ids: BTreeSet<&String> = held.keys().chain(truth.keys()).collect();
    let different = ids.into_iter().find(|id| held.get(*id) != truth.get(*id));
    if let Some(id) = different {
        panic!("{id}: held {:?}, and the truth is {:?}", held.get(id), truth.get(id));
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn used(fields: &Value) -> Fields {
    let told = |name: &&str| Some(((*name).to_owned(), fields.get(name)?.clone()));
    USED.iter().filter_map(told).filter(|(_, value)| !value.is_null()).collect()
}
