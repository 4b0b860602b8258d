//! Calls to another system, several at once.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// Makes these calls, at most `limit` at once, and answers what they answered, in any order.
///
/// When one fails, no other is begun, and those that were begun are waited for: the server may do one that was dropped all the same, and
/// later than what is sent next.
///
/// # Errors
/// The first one.
pub async fn concurrently<T, E>(
    calls: impl IntoIterator<Item = impl Future<Output = Result<T, E>>>,
    limit: usize,
) -> Result<Vec<T>, E> {
    let mut waiting = calls.into_iter();
    let mut begun: FuturesUnordered<_> = waiting.by_ref().take(limit.max(1)).collect();
    let mut done = Ok(Vec::new());
    while let Some(ended) = begun.next().await {
        match (&mut done, ended) {
            (Ok(answers), Ok(answer)) => {
                answers.push(answer);
                begun.extend(waiting.next());
            }
            (Ok(_), Err(error)) => done = Err(error),
            (Err(_), _) => {}
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn no_more_calls_than_may_be_are_under_way_and_all_are_answered() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let call = |number: usize| {
            let (now, most) = (&now, &most);
            async move {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                tokio::task::yield_now().await;
                now.set(now.get() - 1);
                Ok::<_, ()>(number)
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut answers = runtime.block_on(concurrently((0..10).map(call), 3)).unwrap();
        answers.sort_unstable();
        assert_eq!((answers, most.get()), ((0..10).collect(), 3));
    }

    #[test]
    fn after_a_failure_nothing_is_begun_and_what_was_begun_is_waited_for() {
        let begun = Cell::new(0);
        let (end, held) = oneshot::channel();
        let mut held = Some(held);
        let calls = (0..4).map(|number| {
            let held = if number == 1 { held.take() } else { None };
            let begun = &begun;
            async move {
                begun.set(begun.get() + 1);
                match held {
                    Some(held) => held.await.unwrap(),
                    None => Err(number),
                }
            }
        });
        let mut all = Box::pin(concurrently(calls, 2));
        assert_eq!(all.as_mut().now_or_never(), None, "the second one has not ended");
        end.send(Err(1)).unwrap();
        let failed: Result<Vec<()>, _> = all.now_or_never().unwrap();
        assert_eq!((failed, begun.get()), (Err(0), 2));
    }

    #[test]
    fn without_calls_there_is_nothing_to_wait_for() {
        let none = std::iter::empty::<std::future::Ready<Result<(), ()>>>();
        assert_eq!(concurrently(none, 2).now_or_never(), Some(Ok(Vec::new())));
    }
}
