//! A small pipeline with a folder of its own, driven through the command line.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;
use vectide::ledger::{DeadLetter, Ledger};

/// Long enough for any run of these tests on a busy machine: one that takes longer hangs.
const HANGS: Duration = Duration::from_secs(120);

const CONFIGURATION: &str = "
pipeline: test
document: { id: id, version: at, text: '{{ title }}', metadata: [price] }
sources: { input: { type: file, path: input.jsonl } }
embedding: { provider: builtin }
state: { path: data }
";

/// See the module.
pub struct Pipeline {
    folder: TempDir,
    settings: Vec<String>,
    environment: Vec<(String, PathBuf)>,
}

impl Pipeline {
    /// A pipeline that was never run. It reads `input.jsonl`, which is not there yet.
    pub fn new() -> Self {
        let pipeline = Self { folder: tempfile::tempdir().unwrap(), settings: Vec::new(), environment: Vec::new() };
        pipeline.write("config.yaml", CONFIGURATION);
        pipeline
    }

    /// From now on this key has this value: `key=value`.
    pub fn set(&mut self, setting: impl Into<String>) {
        self.settings.push(setting.into());
    }

    /// From now on its processes have this variable.
    pub fn set_variable(&mut self, name: &str, value: impl Into<PathBuf>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn append(&self, name: &str, content: impl AsRef<[u8]>) {
        File::options().append(true).open(self.path(name)).unwrap().write_all(content.as_ref()).unwrap();
    }

    /// The command that runs Vectide with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&binary(), arguments)
    }

    /// The command that runs a program with Vectide's arguments.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("VECTIDE_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.args(arguments);
        command
    }

    /// Starts a command; it is killed when the test ends.
    pub fn spawn(&self, command: Command) -> Running {
        let said = tempfile::NamedTempFile::new().unwrap();
        let out = || Stdio::from(said.reopen().unwrap());
        let mut command = command;
        let child = command.stdout(Stdio::null()).stderr(out()).spawn().unwrap();
        Running { child, said }
    }

    /// Starts a run that goes on.
    pub fn start(&self) -> Running {
        self.spawn(self.command(&["run"]))
    }

    /// Runs until there is nothing left to do.
    pub fn run(&self) -> Ended {
        self.spawn(self.command(&["run", "--until-idle"])).end()
    }

    /// As [`Pipeline::run`], which must succeed.
    pub fn run_well(&self) -> Ended {
        let ended = self.run();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        ended
    }

    /// The ledger that a process left behind, to read; none when there is none. It is a copy: whoever reads a ledger after a crash
    /// tidies it up, and that is for the next process to do.
    pub fn left_behind(&self) -> (TempDir, Option<Ledger>) {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(self.path("data")).into_iter().flatten() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let ledger = Ledger::open_to_read(copy.path()).ok();
        (copy, ledger)
    }

    /// A number in the ledger, as SQL asks for it; none before it is there. For the same reason as above it only ever reads, and where
    /// there is no log, because nobody has the ledger open, without making one: SQLite does that even for a reader.
    pub fn number(&self, sql: &str) -> Option<u64> {
        let is_open = ["wal", "shm"].iter().all(|file| self.path(&format!("data/ledger.sqlite-{file}")).exists());
        let immutable = if is_open { "" } else { "?immutable=1" };
        let uri = format!("file:{}{immutable}", self.path("data/ledger.sqlite").display());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let ledger = Connection::open_with_flags(uri, flags).ok()?;
        ledger.query_row(sql, [], |row| row.get::<_, i64>(0)).ok().map(i64::cast_unsigned)
    }

    /// Title and price of every document in the index, by its id.
    pub fn documents(&self) -> BTreeMap<String, Value> {
        let exported = self.command(&["export"]).output().unwrap();
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        let lines = serde_json::Deserializer::from_slice(&exported.stdout).into_iter::<Value>();
        let indexed = lines.map(Result::unwrap).filter(|document| document["chunks"] != json!([]));
        let documents = indexed.map(|mut document| {
            let fields = document["fields"].as_object_mut().unwrap();
            fields.retain(|name, _| ["title", "price"].contains(&name.as_str()));
            (document["id"].as_str().unwrap().to_owned(), document["fields"].take())
        });
        documents.collect()
    }

    /// The ids of the documents in the index.
    pub fn ids(&self) -> Vec<String> {
        self.documents().into_keys().collect()
    }

    /// How many documents are in the index; 0 before there is one.
    pub fn indexed(&self) -> u64 {
        self.number("SELECT indexed FROM counts").unwrap_or(0)
    }

    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.left_behind().1.map_or_else(Vec::new, |ledger| ledger.dead_letters(0, usize::MAX).unwrap())
    }
}

/// Vectide as it was built with these tests, or the one that `VECTIDE_BINARY` names, such as a release build.
pub fn binary() -> PathBuf {
    match std::env::var_os("VECTIDE_BINARY") {
        Some(binary) => fs::canonicalize(binary).expect("VECTIDE_BINARY names a program"),
        None => PathBuf::from(env!("CARGO_BIN_EXE_vectide")),
    }
}

/// A line that nothing is wrong with.
pub fn sound(id: &str) -> String {
    format!("{}\n", json!({ "id": id, "at": 1_700_000_000, "title": format!("warm socks number {id}"), "price": 5 }))
}

/// A process that runs.
pub struct Running {
    child: Child,
    said: tempfile::NamedTempFile,
}

/// A process that ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard error.
    pub said: String,
}

impl Running {
    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its standard input comes from, when that is a pipe.
    pub fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// What it said on standard error so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.said.path()).unwrap()).into_owned()
    }

    /// Waits until something holds that the process brings about.
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let give_up = Instant::now() + HANGS;
        while !holds() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended ({ended:?}) before {what}: {}", self.said());
            assert!(Instant::now() < give_up, "it hangs before {what}: {}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until it said this.
    pub fn wait_to_hear(&mut self, words: &str) {
        let said = self.said.path().to_owned();
        self.wait_until(words, || String::from_utf8_lossy(&fs::read(&said).unwrap()).contains(words));
    }

    /// Waits until it listens for HTTP, and answers where.
    pub fn wait_for_address(&mut self) -> SocketAddr {
        let said = self.said.path().to_owned();
        let mut address = None;
        self.wait_until("it listens", || {
            let said = fs::read_to_string(&said).unwrap();
            let told = said.split_once("listening for HTTP address=").and_then(|(_, rest)| rest.split_once('\n'));
            address = told.map(|(address, _)| address.parse().unwrap());
            address.is_some()
        });
        address.expect("waited for")
    }

    /// Sends it a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it ends.
    pub fn end(mut self) -> Ended {
        let give_up = Instant::now() + HANGS;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < give_up, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        };
        Ended { code: status.code(), said: self.said() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
