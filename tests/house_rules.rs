//! Rules that the compiler does not know. Each names what is forbidden, why, and what to do instead.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// What no line of product code may hold.
struct Rule {
    /// Any of these, as they stand.
    holds: &'static [&'static str],
    why: &'static str,
    /// Where it is right all the same.
    except: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        holds: &[".do_send("],
        why: "it ignores the mailbox's bound: send data through an Outlet; for control messages whose number is bounded, say so in a \
              comment within the four lines before it, and list the file here",
        except: &["src/source/actor/mod.rs", "src/index/actor.rs", "src/pipeline/build.rs"],
    },
    Rule {
        holds: &["ctx.notify(", "ctx.notify_later(", ".notify_later("],
        why: "it passes the mailbox's bound and order: call the method, or use ctx.run_later",
        except: &[],
    },
    Rule {
        holds: &[".try_send(Parcel"],
        why: "only an Outlet sends parcels: nobody else knows that there is room",
        except: &["src/actor/outlet.rs"],
    },
    Rule {
        holds: &["actix::Supervisor", "Supervisor::start"],
        why: "it restarts on stop() only and a panic ends the actor with its mailbox: use actor::guard::spawn",
        except: &[],
    },
    Rule {
        holds: &["SyncArbiter", "SyncContext"],
        why: "its mailbox is unbounded: use actor::offload from a task that holds a credit",
        except: &[],
    },
    Rule {
        holds: &["set_mailbox_capacity"],
        why: "it takes effect late, and 0 means unbounded: actor::guard::spawn makes the mailbox",
        except: &[],
    },
    Rule { holds: &["unsafe "], why: "the crate forbids it", except: &[] },
    Rule {
        holds: &[".unwrap()"],
        why: "an error without words: return it, or use expect with the invariant as its text",
        except: &[],
    },
    Rule {
        holds: &["std::thread::sleep", "thread::sleep("],
        why: "it stops the thread that others run on: use tokio::time::sleep; or, on a blocking thread that may outlive its runtime, list \
              the file here",
        except: &["src/index/embedded/grow.rs"],
    },
    Rule {
        holds: &["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("],
        why: "finish it, or open an issue",
        except: &[],
    },
    Rule {
        holds: &["PoisonError", "std::sync::Mutex", "std::sync::RwLock"],
        why: "use parking_lot: a panic while a lock is held must not fail whoever comes next",
        except: &[],
    },
    Rule { holds: &["dbg!("], why: "use tracing", except: &[] },
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "types", "misc"];

/// Files that run actors, beside those in a stage's folder `actor`: in these an awaited `send` is an Outlet's, or it is forbidden.
const ACTORS: &[&str] = &["actor.rs", "build.rs", "generation.rs", "supervisor.rs"];

/// No line is wider, unless a text in it is.
const WIDTH: usize = 140;

/// Senders in actors that are an Outlet or a slot of one.
const OUTLETS: &[&str] = &["deduplicator", "batcher", "embedder", "writer", "slot", "self.batcher", "self.writer"];

struct Line<'a> {
    number: usize,
    text: &'a str,
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every file in these folders with its path from the root.
fn files(folders: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    folders.iter().for_each(|folder| sources(&root.join(folder), &mut found));
    let name = |path: &PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Every product file: no tests, no test kit.
fn product() -> Vec<(String, String)> {
    let test = |name: &str| {
        ["/tests", "/testing", "/testkit/"].iter().any(|part| name.contains(part)) || name.ends_with("/hostile.rs")
    };
    files(&["src"]).into_iter().filter(|(name, _)| !test(name)).collect()
}

/// The lines of code before the tests of a file, without comments.
fn code(text: &str) -> impl Iterator<Item = Line<'_>> {
    let lines = text.lines().enumerate().take_while(|(_, line)| *line != "#[cfg(test)]" || !starts_tests(text, line));
    let lines = lines.map(|(index, text)| Line { number: index + 1, text });
    lines.filter(|line| !line.text.trim_start().starts_with("//"))
}

/// A `#[cfg(test)]` at the margin begins the tests, unless it stands before the declaration of a module in another file.
fn starts_tests(text: &str, line: &str) -> bool {
    let offset = line.as_ptr() as usize - text.as_ptr() as usize;
    let next = text[offset..].lines().find(|line| !line.starts_with("#[")).unwrap_or_default();
    !next.ends_with(';')
}

fn report(broken: &str) {
    assert!(broken.is_empty(), "house rules are broken:\n{broken}");
}

#[test]
fn no_product_code_holds_what_is_forbidden() {
    let mut broken = String::new();
    for (file, text) in product() {
        for rule in RULES.iter().filter(|rule| !rule.except.contains(&file.as_str())) {
            for line in code(&text) {
                if let Some(held) = rule.holds.iter().find(|held| line.text.contains(**held)) {
                    writeln!(broken, "  {file}:{}: `{held}`: {}", line.number, rule.why).unwrap();
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn every_exception_is_needed_and_every_do_send_says_why_it_is_bounded() {
    let mut broken = String::new();
    let files = product();
    for rule in RULES {
        for except in rule.except {
            let held = files.iter().any(|(file, text)| {
                file == except && text.lines().any(|line| rule.holds.iter().any(|held| line.contains(held)))
            });
            if !held {
                writeln!(broken, "  {except} is excepted from {:?} and does not need it", rule.holds).unwrap();
            }
        }
    }
    for (file, text) in &files {
        let lines: Vec<&str> = text.lines().collect();
        for line in code(text).filter(|line| line.text.contains(".do_send(")) {
            let before = &lines[line.number.saturating_sub(5)..line.number - 1];
            if !before.iter().any(|line| line.contains("// ") && line.to_lowercase().contains("bounded")) {
                writeln!(
                    broken,
                    "  {file}:{}: a comment must say what bounds the number of these messages",
                    line.number
                )
                .unwrap();
            }
        }
    }
    report(&broken);
}

#[test]
fn actors_await_no_send_but_that_of_an_outlet() {
    let mut broken = String::new();
    for (file, text) in product() {
        let in_folder = file.contains("/actor/") && !file.starts_with("src/actor/");
        if !in_folder && !ACTORS.iter().any(|name| file.ends_with(&format!("/{name}"))) {
            continue;
        }
        for line in code(&text) {
            let Some((before, after)) = line.text.split_once(".send(") else { continue };
            let sender = before.rsplit([' ', '(', '!']).next().unwrap_or_default();
            if after.contains(".await") && !OUTLETS.contains(&sender) {
                writeln!(
                    broken,
                    "  {file}:{}: `{sender}.send(..).await`: on an address it never waits for room: use an Outlet (and name it in \
                     this test)",
                    line.number
                )
                .unwrap();
            }
        }
    }
    report(&broken);
}

#[test]
fn no_file_or_module_has_a_name_that_says_nothing() {
    let mut broken = String::new();
    for (file, text) in product() {
        let path = file.trim_end_matches(".rs").split('/').find(|part| EMPTY_NAMES.contains(part));
        if let Some(name) = path {
            writeln!(broken, "  {file}: `{name}` says nothing about what is inside").unwrap();
        }
        for line in code(&text) {
            let declared = line.text.trim_start().trim_start_matches("pub ").strip_prefix("mod ");
            let name = declared.map(|rest| rest.trim_end_matches([';', ' ', '{']));
            if let Some(name) = name.filter(|name| EMPTY_NAMES.contains(name)) {
                writeln!(broken, "  {file}:{}: `mod {name}` says nothing about what is inside", line.number).unwrap();
            }
        }
    }
    report(&broken);
}

#[test]
fn no_line_is_too_wide_to_read() {
    let mut broken = String::new();
    for (file, text) in files(&["src", "tests", "benches"]) {
        for (number, line) in (1..).zip(text.lines()) {
            let is_comment = line.trim_start().starts_with("//");
            if line.chars().count() > WIDTH && (is_comment || !line.contains('"')) {
                writeln!(broken, "  {file}:{number}: more than {WIDTH} columns: rustfmt does not wrap this").unwrap();
            }
        }
    }
    report(&broken);
}

/// Compiled by itself, without the test kit that it would call: were there anything left of it, the compiler would miss that.
#[test]
fn a_build_without_the_test_kit_has_no_fault_points() {
    let folder = tempfile::tempdir().unwrap();
    let macros = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fault_point.rs");
    let library = folder.path().join("library.rs");
    let text = format!(
        "#[macro_use]\n#[path = {macros:?}]\nmod fault_point;\npub fn stage() {{ fault_point!(\"planned\"); }}\n"
    );
    fs::write(&library, text).unwrap();
    let compile = |flags: &[&str]| {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut rustc = std::process::Command::new(rustc);
        rustc.args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--out-dir"]).arg(folder.path());
        rustc.args(flags).arg(&library).output().unwrap()
    };
    let without = compile(&[]);
    assert!(without.status.success(), "{}", String::from_utf8_lossy(&without.stderr));
    let with = compile(&["--cfg", "feature=\"testkit\""]);
    assert!(String::from_utf8_lossy(&with.stderr).contains("testkit"), "with it there is something to call");
}

/// The rules would be kept by a search that finds nothing.
#[test]
fn the_search_sees_the_product() {
    let files = product();
    assert!(files.iter().any(|(file, _)| file == "src/actor/outlet.rs"));
    assert!(files.iter().map(|(_, text)| code(text).count()).sum::<usize>() > 5_000);
    assert!(!files.iter().any(|(file, _)| file.starts_with("src/testkit")));
}
