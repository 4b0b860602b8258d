//! What a panic leaves in the log.

use std::env;
use std::process::Command;
use std::thread;

use serde_json::Value;
use vectide::telemetry::logging::{self, LogFormat};

const CHILD: &str = "VECTIDE_TEST_PANICS";

/// In a process of its own: the log is that of the whole process.
#[test]
fn a_panic_is_one_line_of_the_log_with_its_place_whatever_is_filtered() {
    if env::var_os(CHILD).is_some() {
        logging::start(LogFormat::Json, Some("off")).unwrap();
        assert!(logging::unless_it_panics(|| panic!("foreseen")).is_none());
        assert!(thread::spawn(|| panic!("these words")).join().is_err());
        return;
    }
    let test = "a_panic_is_one_line_of_the_log_with_its_place_whatever_is_filtered";
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(CHILD, "1").env_remove("RUST_BACKTRACE");
    let output = child.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let line: Value = serde_json::from_str(&said).expect("one line of JSON");
    assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &"panic: these words".into()));
    assert!(line["place"].as_str().unwrap().starts_with("tests/panics.rs:"), "{line}");
}
