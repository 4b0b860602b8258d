//! The metrics page, as Prometheus itself judges it.

use std::io::Write;
use std::process::{Command, Stdio};

use vectide::testkit::metrics;

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    let mut promtool = match Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(promtool) => promtool,
        Err(error) => {
            // Not through `println!`, which a passing test swallows.
            writeln!(std::io::stderr(), "SKIPPED: promtool cannot be run ({error}); Debian has it in `prometheus`")
                .unwrap();
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(metrics::shown().as_bytes()).unwrap();
    let judged = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&judged.stdout), String::from_utf8_lossy(&judged.stderr));
    assert!(judged.status.success() && said.trim().is_empty(), "{said}");
}
