//! Work on blocking threads that survives a caller who stops waiting.

use std::panic::resume_unwind;

use tokio::task::{JoinHandle, spawn_blocking};

use crate::source::SourceError;

/// A state whose work blocks. It moves to a blocking thread and back for each piece of work.
///
/// When the caller drops the future of [`Blocking::run`], the work goes on, and the next call gives its answer: what was
/// read is not lost.
pub(super) struct Blocking<S, T> {
    state: State<S, T>,
}

enum State<S, T> {
    Here(Box<S>),
    Away(JoinHandle<(Box<S>, T)>),
    Lost,
}

impl<S: Send + 'static, T: Send + 'static> Blocking<S, T> {
    pub fn new(state: S) -> Self {
        Self { state: State::Here(Box::new(state)) }
    }

    /// Whether the state is gone: see [`Blocking::run`].
    pub fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// Does the work, or waits for the answer of work begun before.
    ///
    /// # Errors
    /// The state is gone: the work panicked before, or the runtime is shutting down.
    ///
    /// # Panics
    /// When the work panics.
    pub async fn run(&mut self, work: impl FnOnce(&mut S) -> T + Send + 'static) -> Result<T, SourceError> {
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Here(mut state) => State::Away(spawn_blocking(move || {
                let answer = work(&mut state);
                (state, answer)
            })),
            other => other,
        };
        let State::Away(task) = &mut self.state else {
            return Err(SourceError(
                "reading broke off by a fault in an earlier read; the source must be opened again".into(),
            ));
        };
        match task.await {
            Ok((state, answer)) => {
                self.state = State::Here(state);
                Ok(answer)
            }
            Err(failure) => {
                self.state = State::Lost;
                match failure.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_) => Err(SourceError("reading broke off because Vectide is shutting down".into())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_nobody_waited_for_is_given_by_the_next_call() {
        let (go, told) = mpsc::channel();
        let mut blocking = Blocking::new(0);
        let abandoned = blocking.run(move |state| {
            told.recv().unwrap();
            *state += 1;
            *state
        });
        assert!(abandoned.now_or_never().is_none(), "the work waits");
        go.send(()).unwrap();
        assert_eq!(blocking.run(|state| *state + 100).await.unwrap(), 1);
        assert_eq!(blocking.run(|state| *state + 100).await.unwrap(), 101);
    }

    #[tokio::test]
    async fn after_a_panic_it_is_an_error_and_no_second_panic() {
        let mut blocking = Blocking::<(), ()>::new(());
        let panicked = std::panic::AssertUnwindSafe(blocking.run(|()| panic!("broken"))).catch_unwind().await;
        assert!(panicked.is_err());
        let error = blocking.run(|()| ()).await.unwrap_err().to_string();
        assert!(error.contains("must be opened again"), "{error}");
    }
}
