//! Hears that the process is told to stop.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::exit;
use crate::telemetry::status_line;

/// What comes so soon after the first signal is the same one: `timeout` of coreutils sends its own to the process and to its group.
const SAME: Duration = Duration::from_millis(100);
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Whether the process was told to stop, from when this was made.
#[derive(Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens for SIGTERM and Ctrl-C as long as the process lives, on a thread of its own: whatever the others do, a second signal ends
    /// the process at once. The first is told to whoever asks.
    pub fn listen() -> io::Result<Self> {
        let (tell, stop) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut terminate, mut interrupt) = {
            let _inside = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        let listen = move || {
            runtime.block_on(async {
                any(&mut terminate, &mut interrupt).await;
                // Before what comes of it, unless nobody takes it.
                let _ = say(|| tracing::info!("told to stop")).recv_timeout(SAME);
                tell.send_replace(true);
                tokio::time::sleep(SAME).await;
                while any(&mut terminate, &mut interrupt).now_or_never().is_some() {}
                say(|| tracing::info!("a second signal ends the process at once"));
                any(&mut terminate, &mut interrupt).await;
            });
            let said = say(|| {
                tracing::warn!("stopped at once by a second signal; what was not settled will be delivered again");
                // Nobody else takes the line of the progress away any more.
                status_line::end();
            });
            let _ = said.recv_timeout(LAST_WORDS);
            std::process::exit(i32::from(exit::WORK_LEFT));
        };
        thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
        Ok(Self(stop))
    }

    /// Completes once someone told the process to stop.
    pub async fn told(&mut self) {
        if self.0.wait_for(|told| *told).await.is_err() {
            // The thread that listens ended by a panic: nobody can tell it any more.
            std::future::pending().await
        }
    }
}

/// Says it on a thread of its own, and tells when it is said: a standard error that takes nothing (a terminal that was stopped, a full
/// pipe) must not keep signals from being heard.
fn say(words: impl FnOnce() + Send + 'static) -> mpsc::Receiver<()> {
    let (said, hear) = mpsc::channel();
    // Without a thread nothing is said.
    let _ = thread::Builder::new().spawn(move || {
        words();
        let _ = said.send(());
    });
    hear
}

async fn any(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
