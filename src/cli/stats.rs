//! `vectide stats`: shows what was done and what it cost.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::opened::{self, block_on};
use super::table::Table;
use super::{exit, print_json};
use crate::http_client;
use crate::ledger::Ledger;
use crate::report::Stats;
use crate::settings::Settings;
use crate::telemetry::figures::{bytes, count, counted, money, span};
use crate::telemetry::health::ComponentHealth;
use crate::telemetry::terminal;

/// How long a process that runs here may take to answer. It answers from memory and a few rows.
const PATIENCE: Duration = Duration::from_secs(2);

/// The options of `stats`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Answer as JSON: the body of `/v1/stats`.
    #[arg(long)]
    pub json: bool,
}

/// Shows texts, tokens, cache hits, money, documents, points and dead letters: from the process that runs, which knows its run too, or else
/// from the ledger.
pub fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let stats = match block_on(async { Ok(of_running_process(&settings).await) })? {
        Some(stats) => stats,
        None => Stats::of_ledger(&settings.pipeline, &opened::ledger(&settings)?)?,
    };
    let mut out = io::stdout().lock();
    if args.json {
        print_json(&mut out, &stats)?;
    } else {
        write(&mut out, &stats)?;
    }
    out.flush()?;
    Ok(ExitCode::from(exit::DONE))
}

/// Asks the process that runs this pipeline. `None`: none does, or it has no HTTP address that is known.
pub(super) async fn of_running_process(settings: &Settings) -> Option<Stats> {
    let address = reachable(settings.server.as_ref()?.listen)?;
    // A proxy of the environment is no way to this machine.
    let client = http_client::builder().no_proxy().timeout(PATIENCE).build().ok()?;
    let answer = client.get(format!("http://{address}/v1/stats")).send().await.ok()?;
    let stats: Stats = serde_json::from_slice(&answer.error_for_status().ok()?.bytes().await.ok()?).ok()?;
    // Another pipeline may have this address now, or the same one over another folder.
    let is_ours = |stats: &Stats| stats.pipeline == settings.pipeline && runs_on(&settings.state.path, stats);
    Some(stats).filter(is_ours)
}

/// Whether the process that told this is the one that holds the folder.
fn runs_on(folder: &Path, stats: &Stats) -> bool {
    let holder = Ledger::holder(folder);
    holder.is_some() && holder == stats.run.as_ref().map(|run| run.process)
}

/// Where a process that listens there is reached from this machine; `None` when it chose its port itself.
fn reachable(listen: SocketAddr) -> Option<SocketAddr> {
    let here: IpAddr = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (listen.port() != 0).then_some(SocketAddr::new(here, listen.port()))
}

fn write(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    let Stats { pipeline, documents, points, dead_letters, total, run, sources, provider, index, .. } = stats;
    writeln!(out, "pipeline      {pipeline}")?;
    writeln!(out, "index         {} in {}", counted(*documents, "document"), counted(*points, "chunk"))?;
    writeln!(out, "dead letters  {}", count(*dead_letters))?;
    let provider = provider.as_ref().map(|provider| ("provider", &provider.model, &provider.health));
    let index = index.as_ref().map(|index| ("index", &index.kind, &index.health));
    for (component, name, ComponentHealth { state, reason, since }) in provider.into_iter().chain(index) {
        if let Some(reason) = reason {
            let since = since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
            writeln!(
                out,
                "problem       {component} {name} {}{since}: {}",
                state.as_str(),
                terminal::printable(reason)
            )?;
        }
    }
    writeln!(out)?;
    let run = run.as_ref();
    let mut table = Table::new(["", if run.is_some() { "THIS RUN" } else { "" }, "IN ALL"]);
    for (name, of_run, in_all) in [
        ("events settled", run.map(|run| count(run.events)), count(total.events)),
        ("texts sent", run.map(|run| count(run.texts_sent)), count(total.texts_sent)),
        ("tokens sent", run.map(|run| count(run.tokens_sent)), count(total.tokens_sent)),
        ("texts from cache", run.map(|run| count(run.cache_hits)), count(total.cache_hits)),
        ("money", run.map(|run| money(run.money)), money(total.money)),
    ] {
        table.row([name.to_owned(), of_run.unwrap_or_default(), in_all]);
    }
    if let Some(run) = run {
        table.row(["events per second".to_owned(), count(run.events_per_second.round() as u64), String::new()]);
        table.row(["running for".to_owned(), span(Duration::from_secs_f64(run.uptime_seconds)), String::new()]);
    }
    table.write(out, terminal::width())?;
    if sources.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new(["SOURCE~", "STATE", "IN FLIGHT", "LEFT TO READ", "PROBLEM~"]);
    for (name, source) in sources {
        let left = source.remaining_bytes.map(bytes).unwrap_or_default();
        let problem = source.problem().unwrap_or_default().to_owned();
        table.row([name.clone(), source.state.as_str().to_owned(), count(source.window_documents), left, problem]);
    }
    table.write(out, terminal::width())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Totals;
    use crate::report::stats::IndexStats;
    use crate::telemetry::health::HealthState;

    #[test]
    fn an_index_that_fails_is_named_with_what_it_said_and_since_when() {
        let health = ComponentHealth {
            state: HealthState::Degraded,
            reason: Some("Qdrant at http://h:6334: no answer".into()),
            since: Some("2026-01-02T03:04:05Z".into()),
        };
        let stats = Stats {
            pipeline: "shop".into(),
            documents: 0,
            points: 0,
            dead_letters: 0,
            total: Totals::default(),
            run: None,
            sources: Default::default(),
            actors: Default::default(),
            provider: None,
            index: Some(IndexStats { kind: "qdrant".into(), graph_lag_points: 0, health }),
        };
        let mut written = Vec::new();
        write(&mut written, &stats).unwrap();
        let written = String::from_utf8(written).unwrap();
        let told =
            "problem       index qdrant degraded since 2026-01-02T03:04:05Z: Qdrant at http://h:6334: no answer\n";
        assert!(written.contains(told), "{written}");
    }

    #[test]
    fn an_address_for_all_is_reached_here_and_a_free_port_is_not() {
        for (listen, reached) in [
            ("127.0.0.1:9090", Some("127.0.0.1:9090")),
            ("0.0.0.0:9090", Some("127.0.0.1:9090")),
            ("[::]:9090", Some("[::1]:9090")),
            ("192.0.2.7:80", Some("192.0.2.7:80")),
            ("127.0.0.1:0", None),
        ] {
            let reached = reached.map(|address| address.parse().unwrap());
            assert_eq!(reachable(listen.parse().unwrap()), reached, "{listen}");
        }
    }
}
