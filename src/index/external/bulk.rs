//! Many points in calls of the right size, and in halves when a call is refused for one of them.

use futures_util::future::BoxFuture;

use super::collection::{Bulk, CollectionError, RefusedPoint};

/// What a point takes beside its vector and its metadata: its id, the document's id, the names of the fields.
const POINT_OVERHEAD: usize = 128;

/// Cuts what is to be sent into calls: each as large as it may be, in order. `size` says of an item how many bytes of metadata it has, and
/// how many numbers of a vector.
pub(super) fn cut<T>(items: Vec<T>, bulk: Bulk, size: impl Fn(&T) -> (usize, usize)) -> Vec<Vec<T>> {
    let mut calls = Vec::new();
    let (mut call, mut bytes) = (Vec::new(), 0);
    for item in items {
        let (metadata, numbers) = size(&item);
        let item_bytes = metadata + numbers * bulk.bytes_per_number + POINT_OVERHEAD;
        if !call.is_empty() && (call.len() >= bulk.points || bytes + item_bytes > bulk.bytes) {
            calls.push(std::mem::take(&mut call));
            bytes = 0;
        }
        bytes += item_bytes;
        call.push(item);
    }
    if !call.is_empty() {
        calls.push(call);
    }
    calls
}

/// What came of a call.
pub(super) struct Outcome<R> {
    /// What was answered, with the place in the call where it begins.
    pub(super) answers: Vec<(usize, R)>,
    /// By their place in the call.
    pub(super) refused: Vec<RefusedPoint>,
}

/// Sends a call. One that is refused for what one of its points is, is sent in halves until that point is alone.
pub(super) async fn send_in_halves<'a, T, R>(
    items: &'a [T],
    send: impl Fn(&'a [T]) -> BoxFuture<'a, Result<R, CollectionError>>,
) -> Result<Outcome<R>, CollectionError> {
    let mut outcome = Outcome { answers: Vec::new(), refused: Vec::new() };
    let mut open = vec![(0, items)];
    while let Some((from, part)) = open.pop() {
        match send(part).await {
            Ok(answer) => outcome.answers.push((from, answer)),
            Err(CollectionError::Refused(points)) => {
                outcome
                    .refused
                    .extend(points.into_iter().map(|point| RefusedPoint { index: from + point.index, ..point }));
            }
            Err(CollectionError::OneRefused(reason)) if part.len() == 1 => {
                outcome.refused.push(RefusedPoint { index: from, reason, by_system: true });
            }
            Err(CollectionError::OneRefused(_)) => {
                let (left, right) = part.split_at(part.len() / 2);
                open.push((from + left.len(), right));
                open.push((from, left));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_call_is_full_at_its_points_or_at_its_bytes_and_a_large_point_goes_alone() {
        let bulk = Bulk { points: 3, bytes: 1000, bytes_per_number: 4, concurrency: 1 };
        let size = |metadata: &usize| (*metadata, 10);
        // Each takes 168 bytes and its metadata.
        assert_eq!(cut(vec![0; 7], bulk, size), [vec![0; 3], vec![0; 3], vec![0]]);
        assert_eq!(cut(vec![200, 200, 300, 5000, 1], bulk, size), [vec![200, 200], vec![300], vec![5000], vec![1]]);
        assert_eq!(cut(Vec::new(), bulk, size), [[0; 0]; 0]);
    }

    #[test]
    fn halving_finds_the_guilty_and_sends_all_others() {
        let items: Vec<u32> = (0..37).collect();
        let calls = Cell::new(0);
        let send = |part: &[u32]| {
            calls.set(calls.get() + 1);
            let guilty = part.iter().any(|item| [0, 17, 18].contains(item));
            let answer = if guilty { Err(CollectionError::OneRefused("odd".into())) } else { Ok(part.to_vec()) };
            async move { answer }.boxed()
        };
        let outcome = send_in_halves(&items, send).now_or_never().unwrap().unwrap();
        let mut refused: Vec<usize> = outcome.refused.iter().map(|point| point.index).collect();
        refused.sort_unstable();
        assert_eq!(refused, [0, 17, 18]);
        assert!(outcome.answers.iter().all(|(from, part)| *part == items[*from..*from + part.len()]));
        assert_eq!(outcome.answers.iter().map(|(_, part)| part.len()).sum::<usize>(), 34);
        assert!(calls.get() < 40, "{} calls", calls.get());
    }

    #[test]
    fn those_that_are_named_are_refused_and_an_outage_ends_it() {
        let named = |_: &[u32]| {
            let refused = vec![RefusedPoint { index: 1, reason: "no".into(), by_system: false }];
            async { Err::<(), _>(CollectionError::Refused(refused)) }.boxed()
        };
        let outcome = send_in_halves(&[1, 2, 3], named).now_or_never().unwrap().unwrap();
        assert_eq!(outcome.refused, [RefusedPoint { index: 1, reason: "no".into(), by_system: false }]);
        let down = || CollectionError::Unavailable { reason: "down".into(), after: None };
        let outage = send_in_halves(&[1, 2], |_: &[u32]| async move { Err::<(), _>(down()) }.boxed()).now_or_never();
        assert_eq!(outage.unwrap().err(), Some(down()));
    }
}
