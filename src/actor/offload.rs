//! Work that must not run on an arbiter: blocking I/O, and CPU work of more than a millisecond.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::cores::Cores;
use super::panic::Panic;

thread_local! {
    /// An arbiter has its own: whoever waits for a core waits for work of its own runtime.
    static CORES: Arc<Cores> = Arc::new(Cores::new(std::thread::available_parallelism().map_or(1, usize::from)));
}

/// Runs blocking work, such as I/O, on a thread of its own. A panic in it goes on in the caller.
pub async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    try_on_blocking_thread(work).await.unwrap_or_else(|panic| resume_unwind(panic))
}

/// As [`on_blocking_thread`], for a caller that can live with a panic in it.
pub async fn try_on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panic> {
    match spawn_blocking(work).await {
        Ok(value) => Ok(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => Err(panic),
            Err(_) => shutting_down().await,
        },
    }
}

/// Runs CPU work off the arbiter, for one arbiter never more at once than there are cores: more would only take turns, all of their
/// buffers in memory. A panic in it goes on in the caller.
pub async fn on_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    try_on_core(work).await.unwrap_or_else(|panic| resume_unwind(panic))
}

/// As [`on_core`], for a caller that can live with a panic in it.
pub async fn try_on_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panic> {
    let (told, tells) = oneshot::channel();
    CORES.with(|cores| {
        cores.run(Box::new(move || {
            // Nobody waits for it any more.
            if !told.is_closed() {
                let _ = told.send(catch_unwind(AssertUnwindSafe(work)));
            }
        }));
    });
    match tells.await {
        Ok(ended) => ended,
        Err(_) => shutting_down().await,
    }
}

/// The runtime is shutting down and will not poll this task again.
async fn shutting_down<T>() -> T {
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;
    use crate::actor::panic::message;

    #[tokio::test]
    async fn no_more_runs_at_once_than_there_are_cores_and_a_panic_gives_its_core_back() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let works = (0..8 * cores).map(|number| {
            let (running, most) = (running.clone(), most.clone());
            try_on_core(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                assert!(number % 3 > 0, "every third one panics");
            })
        });
        let ended = join_all(works).await;
        assert_eq!(ended.iter().filter(|ended| ended.is_err()).count(), (8 * cores).div_ceil(3));
        assert!((1..=cores).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(on_core(|| 7).await, 7);
    }

    #[tokio::test]
    async fn a_panic_on_a_blocking_thread_is_told_to_who_can_live_with_it() {
        let panic = try_on_blocking_thread(|| panic!("told to")).await.map(|()| "no panic").unwrap_err();
        assert_eq!(message(&*panic), "told to");
        assert_eq!(try_on_blocking_thread(|| 7).await.ok(), Some(7));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_done() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (begin, began) = std::sync::mpsc::channel::<()>();
        let began = Arc::new(parking_lot::Mutex::new(began));
        let busy: Vec<_> = (0..cores)
            .map(|_| {
                let began = began.clone();
                tokio::spawn(on_core(move || began.lock().recv()))
            })
            .collect();
        tokio::task::yield_now().await;
        let done = Arc::new(AtomicUsize::new(0));
        let count = |done: &Arc<AtomicUsize>| {
            let done = done.clone();
            on_core(move || done.fetch_add(1, Ordering::SeqCst))
        };
        assert!(count(&done).now_or_never().is_none(), "it waits for a core, and is given up");
        drop(begin);
        count(&done).await;
        join_all(busy).await;
        assert_eq!(done.load(Ordering::SeqCst), 1, "of the other one alone");
    }
}
