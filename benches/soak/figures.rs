//! What the process takes at one moment, and the verdict on all of it.

use std::fmt;
use std::time::Duration;

use crate::load::Load;
use crate::process::Vectide;
use crate::provider::Provider;

/// The share of a life in which the process may still grow: its caches fill.
const WARM_UP: f64 = 0.2;

/// See the module.
pub struct Figures {
    after: Duration,
    /// Which of the process's lives it is.
    life: u32,
    memory: f64,
    files: f64,
    threads: f64,
    /// Bytes of the followed file that were not read yet, in kB.
    unread: f64,
    /// Documents in the windows of both sources.
    window: f64,
    sent: u64,
    /// Requests that were to come later, or found nobody.
    refused: u64,
    /// Calls to the provider, and those that it did not answer well.
    calls: (u64, u64),
    /// How the index is doing, in a word.
    index: String,
    restarts: u64,
}

impl Figures {
    pub const HEAD: &'static str = "       s  life  memory MB  files  threads  unread kB  window     sent  refused    calls  failed calls  \
                                    index     restarts";

    pub fn of(vectide: &Vectide, load: &Load, provider: &Provider, after: Duration) -> Self {
        let stats = vectide.stats();
        let (memory, threads) = vectide.memory_and_threads();
        let of_all = |part: &str, key: &str| -> u64 {
            stats[part].as_object().into_iter().flatten().filter_map(|(_, one)| one[key].as_u64()).sum()
        };
        Self {
            after,
            life: vectide.life(),
            memory,
            files: vectide.open_files(),
            threads,
            unread: of_all("sources", "remaining_bytes") as f64 / 1e3,
            window: of_all("sources", "window_documents") as f64,
            sent: load.sent(),
            refused: load.refused(),
            calls: provider.calls(),
            index: stats["index"]["state"].as_str().expect("the index has a state").to_owned(),
            restarts: of_all("actors", "restarts"),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { life, memory, files, threads, unread, window, sent, refused, index, restarts, .. } = self;
        let (after, (calls, failed)) = (self.after.as_secs(), self.calls);
        write!(
            f,
            "{after:>8}  {life:>4}  {memory:>9.1}  {files:>5}  {threads:>7}  {unread:>9.1}  {window:>6}  {sent:>7}  {refused:>7}  {calls:>7}  \
             {failed:>12}  {index:<8}  {restarts:>8}"
        )
    }
}

/// Tells what each life took, and whether all that the last and longest one took is flat.
pub fn judge(figures: &[Figures]) -> bool {
    let lives: Vec<&[Figures]> = figures.chunk_by(|one, next| one.life == next.life).collect();
    for life in &lives {
        let (number, seconds, first) = (life[0].life, life.len(), life[0].memory);
        let usual = median(life, |figures| figures.memory);
        let most = life.iter().map(|figures| figures.memory).fold(0.0, f64::max);
        println!("life {number}, {seconds:>4} s: {first:.1} MB at first, {usual:.1} as a median, {most:.1} at most");
    }
    let down = figures.iter().filter(|figures| figures.index != "ok").count();
    println!("the index could not be written to at {down} of {} looks", figures.len());
    lives.last().is_some_and(|last| is_flat(&last[(last.len() as f64 * WARM_UP) as usize..]))
}

/// One column: its name, its figure, and what it may gain beyond a tenth.
type Column = (&'static str, fn(&Figures) -> f64, f64);

/// Says of each column whether it is flat: the median of the last quarter is at most a tenth, and a little, above that of the first.
/// The little is what a few connections and the noise of an allocator take. Answers whether all are.
fn is_flat(figures: &[Figures]) -> bool {
    let columns: [Column; 5] = [
        ("memory MB", |figures| figures.memory, 4.0),
        ("files", |figures| figures.files, 4.0),
        ("threads", |figures| figures.threads, 4.0),
        ("unread kB", |figures| figures.unread, 20.0),
        ("window", |figures| figures.window, 200.0),
    ];
    let quarter = figures.len() / 4;
    let mut all = quarter > 0;
    for (name, figure, little) in columns {
        let (first, last) = (median(&figures[..quarter], figure), median(&figures[figures.len() - quarter..], figure));
        let flat = last <= first * 1.1 + little;
        all &= flat;
        let verdict = if flat { "flat" } else { "NOT flat" };
        println!("{name:<10} median of the first quarter {first:.1}, of the last {last:.1}: {verdict}");
    }
    all
}

fn median(of: &[Figures], figure: fn(&Figures) -> f64) -> f64 {
    let mut sorted: Vec<f64> = of.iter().map(figure).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
