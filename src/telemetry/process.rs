//! The start, the memory, the CPU time and the open files of this process, as Linux tells them. Other systems export none of it.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily};
use prometheus::{Counter, Gauge};

use crate::open_files;

/// Clock ticks per second in `/proc/self/stat`. The kernel shows every program the same 100, whatever it uses inside.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the process uses now.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Usage {
    /// Memory in RAM, bytes.
    resident_bytes: f64,
    /// CPU time of all threads since the start, seconds.
    cpu_seconds: f64,
    /// Open files, sockets among them.
    open_files: f64,
    /// The most it may have open; infinite where there is no limit.
    most_files: f64,
}

/// Reads the usage; `None` where the system does not tell.
fn usage() -> Option<Usage> {
    let told = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
    Some(Usage {
        resident_bytes: resident_bytes(&told("status")?)?,
        cpu_seconds: cpu_seconds(&told("stat")?)?,
        open_files: fs::read_dir("/proc/self/fd").ok()?.count() as f64,
        most_files: open_files::most().map_or(f64::INFINITY, |most| most as f64),
    })
}

fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the program's name in parentheses and may hold anything, so counting starts behind the last one.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// Reads the usage whenever metrics are gathered.
pub struct ProcessCollector {
    memory: Gauge,
    cpu: Counter,
    open_files: Gauge,
    most_files: Gauge,
    start: Gauge,
}

impl ProcessCollector {
    /// Under the names that Prometheus clients of every language use.
    pub fn new() -> prometheus::Result<Self> {
        let start = Gauge::new("process_start_time_seconds", "When this process started, Unix seconds.")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Metrics are made among the first things of a process.
        start.set(now.as_secs_f64());
        Ok(Self {
            start,
            memory: Gauge::new("process_resident_memory_bytes", "Memory of this process in RAM.")?,
            cpu: Counter::new("process_cpu_seconds_total", "CPU time that this process used, user and system.")?,
            open_files: Gauge::new("process_open_fds", "Files and sockets that this process has open.")?,
            most_files: Gauge::new("process_max_fds", "The most files and sockets that it may have open.")?,
        })
    }

    fn gauges(&self) -> [&Gauge; 4] {
        [&self.memory, &self.open_files, &self.most_files, &self.start]
    }

    /// The counter itself counts nothing: of two that add to it at the same time, each would add what the other did.
    fn families(&self, usage: Usage) -> Vec<MetricFamily> {
        self.memory.set(usage.resident_bytes);
        self.open_files.set(usage.open_files);
        self.most_files.set(usage.most_files);
        let mut seconds = proto::Counter::default();
        seconds.set_value(usage.cpu_seconds);
        let mut cpu = self.cpu.collect();
        for metric in cpu.iter_mut().flat_map(MetricFamily::mut_metric) {
            metric.set_counter(seconds.clone());
        }
        cpu.extend(self.gauges().into_iter().flat_map(Collector::collect));
        cpu
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges().into_iter().flat_map(Collector::desc).chain(self.cpu.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        usage().map(|usage| self.families(usage)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152.0));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn cpu_time_is_user_and_system_even_when_the_name_looks_like_fields() {
        let stat = "7 (a) 1 (b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 9 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nothing"), None);
    }

    #[test]
    fn each_page_tells_the_cpu_time_that_was_read_for_it() {
        let collector = ProcessCollector::new().unwrap();
        let told = |cpu_seconds| {
            let usage = Usage { resident_bytes: 1.0, cpu_seconds, open_files: 3.0, most_files: 1024.0 };
            let families = collector.families(usage);
            let cpu = families.into_iter().find(|family| family.name() == "process_cpu_seconds_total").unwrap();
            cpu.get_metric()[0].get_counter().get_value()
        };
        // The second was read before the first, and its page made later.
        assert_eq!([told(2.0), told(1.5), told(2.5)], [2.0, 1.5, 2.5]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory_and_files() {
        let usage = usage().expect("Linux tells");
        assert!(usage.resident_bytes > 0.0 && usage.open_files > 0.0 && usage.most_files >= usage.open_files);
    }
}
