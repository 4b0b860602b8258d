//! What the process takes at one moment, and the verdict on all of it.

use std::fmt;
use std::time::Duration;

use crate::load::Load;
use crate::process::{Vectide, settled};
use crate::provider::Provider;

/// See the module.
pub struct Figures {
    after: Duration,
    memory: f64,
    files: f64,
    threads: f64,
    /// Events that were sent and not yet settled.
    lag: f64,
    /// Documents in the windows of both sources.
    window: f64,
    sent: u64,
    refused: u64,
    /// Calls to the provider, and those that it did not answer well.
    calls: (u64, u64),
    restarts: u64,
}

impl Figures {
    pub const HEAD: &'static str =
        "       s  memory MB  files  threads    lag  window     sent  refused    calls  failed calls  restarts";

    pub fn of(vectide: &Vectide, load: &Load, provider: &Provider, after: Duration) -> Self {
        // What was sent is read first, so that no event counts as settled before it was sent.
        let sent = load.sent();
        let stats = vectide.stats();
        let (memory, threads) = vectide.memory_and_threads();
        let of_all = |part: &str, key: &str| -> u64 {
            stats[part].as_object().into_iter().flatten().filter_map(|(_, one)| one[key].as_u64()).sum()
        };
        Self {
            after,
            memory,
            files: vectide.open_files(),
            threads,
            lag: sent.saturating_sub(settled(&stats)) as f64,
            window: of_all("sources", "window_documents") as f64,
            sent,
            refused: load.refused(),
            calls: provider.calls(),
            restarts: of_all("actors", "restarts"),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, files, threads, lag, window, sent, refused, calls: (calls, failed), restarts, .. } = self;
        let after = self.after.as_secs();
        write!(
            f,
            "{after:>8}  {memory:>9.1}  {files:>5}  {threads:>7}  {lag:>5}  {window:>6}  {sent:>7}  {refused:>7}  {calls:>7}  \
             {failed:>12}  {restarts:>8}"
        )
    }
}

/// One column: its name, its figure, and what it may gain beyond a tenth.
type Column = (&'static str, fn(&Figures) -> f64, f64);

/// Says of each column whether it is flat: the median of the last quarter is at most a tenth, and a little, above that of the first.
/// The little is what a few connections and the noise of an allocator take. Answers whether all are.
pub fn judge(figures: &[Figures]) -> bool {
    let columns: [Column; 5] = [
        ("memory MB", |figures| figures.memory, 4.0),
        ("files", |figures| figures.files, 4.0),
        ("threads", |figures| figures.threads, 4.0),
        ("lag", |figures| figures.lag, 200.0),
        ("window", |figures| figures.window, 200.0),
    ];
    let quarter = figures.len() / 4;
    let mut all = quarter > 0;
    for (name, figure, little) in columns {
        let median = |of: &[Figures]| {
            let mut sorted: Vec<f64> = of.iter().map(figure).collect();
            sorted.sort_by(f64::total_cmp);
            sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
        };
        let (first, last) = (median(&figures[..quarter]), median(&figures[figures.len() - quarter..]));
        let flat = last <= first * 1.1 + little;
        all &= flat;
        let verdict = if flat { "flat" } else { "NOT flat" };
        println!("{name:<10} median of the first quarter {first:.1}, of the last {last:.1}: {verdict}");
    }
    all
}
