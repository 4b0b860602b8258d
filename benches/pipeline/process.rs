//! Processes of this same program, and what the system tells about this one.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::measure::{Case, Measured};

/// The first argument of a process that is a provider.
pub const PROVIDER: &str = "--provider";
/// The first argument of a process that measures one case.
pub const CASE: &str = "--case";

/// Ticks of processor time in a second, as Linux tells them to every program.
const TICKS: f64 = 100.0;

/// A provider on this machine, gone when this is dropped.
pub struct Provider {
    child: Child,
    /// Its `embedding.base_url`.
    pub url: String,
}

impl Provider {
    /// One that takes this long for every call.
    pub fn start(delay_ms: u64) -> Self {
        let mut child =
            again(&[PROVIDER, &delay_ms.to_string()]).stdout(Stdio::piped()).spawn().expect("a provider starts");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut url).expect("it tells its address");
        Self { child, url: url.trim().to_owned() }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures a case in a process of its own. State that it leaves lies in `folder`.
pub fn measure(case: &Case, folder: &Path) -> Measured {
    let json = serde_json::to_string(case).expect("a case always serialises");
    let child = again(&[CASE, &json]).arg(folder).stdout(Stdio::piped()).spawn().expect("a measurement starts");
    let output = child.wait_with_output().expect("a measurement ends");
    assert!(output.status.success(), "measuring {json} failed");
    serde_json::from_slice(&output.stdout).expect("a measurement tells its numbers")
}

fn again(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program knows where it is"));
    command.args(arguments);
    command
}

/// Seconds of processor time that this process took so far, in user code and in the kernel.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells of its processes");
    let numbers = stat.rsplit(')').next().expect("the name of the program stands in parentheses");
    let ticks = |field: usize| numbers.split_whitespace().nth(field).and_then(|ticks| ticks.parse::<f64>().ok());
    (ticks(11).expect("user time") + ticks(12).expect("system time")) / TICKS
}

/// The living threads whose name begins so.
pub fn threads(name: &str) -> Vec<PathBuf> {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux tells of threads").flatten();
    let named =
        |thread: &PathBuf| std::fs::read_to_string(thread.join("comm")).is_ok_and(|found| found.starts_with(name));
    threads.map(|thread| thread.path()).filter(named).collect()
}

/// Seconds of processor time of these threads; one that is gone counts for nothing.
pub fn thread_seconds(threads: &[PathBuf]) -> f64 {
    let seconds = threads.iter().filter_map(|thread| {
        let told = std::fs::read_to_string(thread.join("schedstat")).ok()?;
        let nanoseconds: f64 = told.split(' ').next()?.parse().ok()?;
        Some(nanoseconds / 1e9)
    });
    seconds.sum()
}

/// The most memory that this process had so far, in MB.
pub fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of its processes");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak is told");
    let kibibytes: f64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes * 1024.0 / 1e6
}

/// The load of the machine in the last minute.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}
