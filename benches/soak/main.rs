//! Whether a process that runs for long stays as it is: a steady load of creates, price changes, updates, deletes, repeats and late
//! events over HTTP and from a followed file, against a provider that storms, fails, lags and talks nonsense, and an index that cannot be
//! written to for some seconds of every minute. In the first half of the time it is killed five times and started again.
//!
//! `cargo bench --bench soak`, with `-- --minutes 60` for longer than 20 minutes, or `-- --seconds 180` for a look. It prints what the
//! process takes over time, then what it took in each of its lives, whether each of that is flat in the last of them, and whether the
//! index came to the truth. It ends with code 1 when anything is not so, and leaves no process behind, however it ends.

mod faults;
mod figures;
mod load;
mod process;
mod provider;
mod shop;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use faults::Faults;
use figures::Figures;
use load::Load;
use process::Vectide;

/// The lines that are printed.
const LINES: u32 = 40;
/// What is looked at so often makes the verdict.
const EVERY: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let runs_for = duration();
    let folder = tempfile::tempdir().expect("a folder for the soak");
    let provider = provider::start();
    let mut vectide = Vectide::start(folder.path(), &provider.url);
    let load = Load::start(folder.path(), vectide.address);
    let mut faults = Faults::new(runs_for, folder.path());
    let (began, mut figures, mut printed) = (Instant::now(), Vec::new(), 0);
    println!("{}", Figures::HEAD);
    while began.elapsed() < runs_for {
        std::thread::sleep(EVERY);
        faults.strike(began.elapsed(), &mut vectide);
        let now = Figures::of(&vectide, &load, &provider, began.elapsed());
        let line = (LINES as f64 * began.elapsed().as_secs_f64() / runs_for.as_secs_f64()) as u32;
        if line > printed {
            printed = line;
            println!("{now}");
        }
        figures.push(now);
    }
    drop(faults);
    let truth = load.stop();
    vectide.finish();
    println!();
    let flat = figures::judge(&figures);
    let (left, differs) = (vectide.left(), truth.differs_from(&vectide.export()));
    let (points, dead_letters) = (&left["points"], &left["dead_letters"]);
    let in_step = differs.is_empty() && *points == truth.in_index() && *dead_letters == 0;
    println!("{points} points, {dead_letters} dead letters, {} products in the index by the truth", truth.in_index());
    differs.iter().take(10).for_each(|difference| println!("  {difference}"));
    println!("the index {} the truth", if in_step { "equals" } else { "does NOT equal" });
    if flat && in_step { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn duration() -> Duration {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Duration::from_secs(20 * 60),
        ["--minutes", minutes] => Duration::from_secs(60 * minutes.parse::<u64>().expect("a number of minutes")),
        ["--seconds", seconds] => Duration::from_secs(seconds.parse().expect("a number of seconds")),
        _ => panic!("`--minutes N` or `--seconds N`, and not {arguments:?}"),
    }
}
