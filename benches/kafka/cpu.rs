//! Processor time, as Linux tells it.

use std::collections::BTreeMap;
use std::fs;

/// Seconds of each thread of this process that lives now, added up by name.
pub fn by_thread() -> BTreeMap<String, f64> {
    let mut seconds = BTreeMap::new();
    for thread in fs::read_dir("/proc/self/task").expect("Linux tells of threads").flatten() {
        let read = |file| fs::read_to_string(thread.path().join(file)).ok();
        // One that ended meanwhile has nothing to tell.
        let Some((stat, name)) = read("schedstat").zip(read("comm")) else { continue };
        let nanoseconds = stat.split(' ').next().and_then(|number| number.parse::<f64>().ok());
        // `rdk:broker1` and the like are one kind.
        let name = name.trim().split([':', '|']).next().unwrap_or_default();
        *seconds.entry(name.to_owned()).or_default() += nanoseconds.unwrap_or_default() / 1e9;
    }
    seconds
}

/// Seconds of another process.
pub fn of_process(id: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let ticks = |field: usize| stat.rsplit(')').next()?.split_whitespace().nth(field)?.parse::<f64>().ok();
    (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()) / 100.0
}
