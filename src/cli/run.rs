//! `vectide run`: brings the index in step with the sources, and keeps it there.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::timeout;

use super::exit;
use super::stop::Stop;
use crate::actor::offload::on_blocking_thread;
use crate::actor::pulse;
use crate::pipeline::totals::TotalsKeeper;
use crate::pipeline::{Ending, Resources, RunOptions, news, supervise};
use crate::report::Report;
use crate::report::progress::Progress;
use crate::report::summary::{Holdings, summary};
use crate::server::{RunningServer, ServerContext};
use crate::settings::Settings;
use crate::source::http::Intake;
use crate::telemetry::figures::bytes;

/// How long the last calls to the ledger may take, if `shutdown.grace` is not longer. Then it hangs.
const LAST_CALLS: Duration = Duration::from_secs(5);
/// How long the end waits for the clients of sources to say goodbye to their servers.
const GOODBYE: Duration = Duration::from_secs(5);

/// After so long it is told what the end waits for.
const SILENCE: Duration = Duration::from_secs(1);

/// The options of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End once every source has nothing left to read and everything read is settled.
    #[arg(long)]
    pub until_idle: bool,
}

/// Runs the pipeline until it is told to stop, or is idle. Exit code 3 when work was left.
pub fn run(args: Args, settings: Settings, stop: Stop) -> anyhow::Result<ExitCode> {
    actix::System::new().block_on(drive(args, settings, stop))
}

async fn drive(args: Args, settings: Settings, mut stop: Stop) -> anyhow::Result<ExitCode> {
    let options = RunOptions {
        until_idle: args.until_idle,
        grace: settings.shutdown.grace.as_duration(),
        look_every: look_every(),
    };
    outlive_file_limit().context("handling the signal for files that are too large")?;
    let resources = Arc::new(tokio::select! {
        opened = Resources::open(settings) => opened?,
        () = stop.told() => return Ok(ExitCode::from(exit::WORK_LEFT)),
    });
    let opened = resources.clone();
    let news = on_blocking_thread(move || news::of(&opened.settings, &opened.ledger)).await;
    news.context("reading what the ledger was made with")?.iter().for_each(|news| tracing::warn!("{news}"));
    let server = serve(&resources)?;
    let stop = async {
        stop.told().await;
        if let Some(server) = &server {
            server.leave();
        }
    };
    let mut totals = TotalsKeeper::new(resources.ledger.clone(), resources.metrics.clone());
    let progress = Progress::of(&resources);
    let ending = tokio::select! {
        ending = supervise(&resources, options, stop) => ending,
        never = async { tokio::join!(totals.run(), progress.run()) } => match never.0 {},
    };
    if let Ending::Hangs(_) = &ending {
        at_once(&ending);
    }
    let ending = wind_up(ending, &resources, server, totals, options.grace).await;
    exit::said(&summary(&ending, &progress.snapshot(), &Holdings::of(&resources).await));
    tell_failure(&ending);
    Ok(ExitCode::from(code(&ending)))
}

/// Ends what runs beside the actors: from here on nothing comes in, and what was done is written down.
async fn wind_up(
    ending: Ending,
    resources: &Resources,
    server: Option<RunningServer>,
    mut totals: TotalsKeeper,
    grace: Duration,
) -> Ending {
    if let Some(intake) = &resources.intake {
        intake.close();
    }
    if let Some(server) = server {
        server.stop().await;
    }
    let ending = and_accepted(ending, resources);
    // Also those of a thread that hangs.
    resources.clients.dismiss();
    if !resources.clients.ended(GOODBYE).await {
        tracing::warn!("the client of a source does not end; its servers will notice after a while");
    }
    let last_calls = async {
        totals.flush().await;
        resources.ledger.underway().ended(|_| true).await;
    };
    if timeout(grace.max(LAST_CALLS), last_calls).await.is_err() {
        let calls = resources.ledger.underway().calls();
        exit::said(&format!("the ledger hangs ({calls:?}); ending without it; nothing that was settled is lost\n"));
        at_once(&ending);
    }
    let mut closing = resources.index.close();
    let closed = match timeout(SILENCE, &mut closing).await {
        Ok(closed) => closed,
        Err(_) => {
            match resources.index.unsaved_bytes() {
                0 => tracing::info!("everything is settled; finishing the index"),
                size => tracing::info!(
                    "everything is settled; saving the search graph, {}. A kill now loses no data, but after the next start searches \
                     are slow until the graph has caught up",
                    bytes(size)
                ),
            }
            closing.await
        }
    };
    if let Err(error) = closed {
        tracing::warn!(%error, "the next start takes longer");
    }
    ending
}

/// Ends the process while a thread of it hangs: any other end would wait for that.
fn at_once(ending: &Ending) -> ! {
    tell_failure(ending);
    std::process::exit(i32::from(code(ending)))
}

fn tell_failure(ending: &Ending) {
    if let Ending::Failed(reason) | Ending::Hangs(reason) = ending {
        exit::failed(code(ending), reason);
    }
}

/// Nobody can hand in events any more: what was accepted and is not settled is work left, whether it was read or not.
fn and_accepted(ending: Ending, resources: &Resources) -> Ending {
    let pending = resources.intake.as_ref().map_or(0, Intake::pending);
    match ending {
        Ending::Done | Ending::Stopped if pending > 0 => {
            tracing::warn!(
                events = pending,
                "accepted over HTTP and not in the index yet; the next `vectide run` reads them"
            );
            Ending::WorkLeft
        }
        ending => ending,
    }
}

fn code(ending: &Ending) -> u8 {
    match ending {
        Ending::Done | Ending::Stopped => exit::DONE,
        Ending::WorkLeft => exit::WORK_LEFT,
        Ending::Failed(_) | Ending::Hangs(_) => exit::INTERNAL,
    }
}

/// Has a write fail that goes beyond the limit on the size of files, as on a full disk. The signal that is sent for it would end the
/// process without a word, and a handler that does nothing is enough: it stays when nobody listens.
#[cfg(target_os = "linux")]
fn outlive_file_limit() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

/// The number of the signal is known for Linux only.
#[cfg(not(target_os = "linux"))]
fn outlive_file_limit() -> std::io::Result<()> {
    Ok(())
}

/// How often to look for what hangs. Built with `testkit`, a variable makes it more often: what hangs is found after a number of
/// looks, and a test of the process cannot wait for minutes.
fn look_every() -> Duration {
    let for_tests = std::env::var("VECTIDE_LOOK_EVERY_MS").ok().filter(|_| cfg!(feature = "testkit"));
    for_tests.and_then(|ms| ms.parse().ok()).map_or(pulse::EVERY, Duration::from_millis)
}

/// Opens the HTTP address, if one is configured.
fn serve(resources: &Arc<Resources>) -> anyhow::Result<Option<RunningServer>> {
    let Some(settings) = &resources.settings.server else { return Ok(None) };
    let context = ServerContext {
        searcher: resources.searcher(),
        report: Arc::new(Report::of(resources)),
        intake: resources.intake.clone(),
        version_field: resources.settings.document.configured_version_unit(),
    };
    Ok(Some(crate::server::start(context, settings).map_err(anyhow::Error::msg)?))
}
