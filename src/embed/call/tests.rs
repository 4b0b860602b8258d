//! One batch and a provider that answers by a script.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use futures_util::future::BoxFuture;
use proptest::prelude::*;

use super::*;
use crate::embed::space::Space;
use crate::settings::embedding::RateLimitSettings;
use crate::telemetry::health::{ComponentHealth, HealthState};

type Answer = Result<Embeddings, ProviderError>;
type Script = dyn Fn(usize, &[Arc<str>]) -> Answer + Send + Sync;

/// What every call takes.
const CALL: Duration = Duration::from_millis(30);

/// Answers as its script says, which sees the number of the call and the texts.
struct Scripted {
    space: Space,
    calls: Mutex<Vec<(Instant, Vec<Arc<str>>)>>,
    embedded: Mutex<BTreeMap<Arc<str>, usize>>,
    answer: Box<Script>,
}

impl Scripted {
    fn new(answer: impl Fn(usize, &[Arc<str>]) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        let space = Space { model: "scripted".into(), revision: String::new(), dimensions: 1 };
        Arc::new(Self { space, calls: Mutex::default(), embedded: Mutex::default(), answer: Box::new(answer) })
    }

    /// Refuses every call with one of these texts in it.
    fn refusing(guilty: &[&str]) -> Arc<Self> {
        let guilty: BTreeSet<String> = guilty.iter().map(|text| text.to_string()).collect();
        Self::new(move |_, texts| {
            if texts.iter().any(|text| guilty.contains(&**text)) {
                return refused("bad text");
            }
            done(texts)
        })
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// What calls to it share.
    fn shared(self: &Arc<Self>) -> Calls {
        Calls {
            provider: self.clone(),
            limiter: Limiter::new(RateLimitSettings::default()),
            estimator: Arc::default(),
            status: Arc::default(),
            underway: Arc::default(),
            may_take: CALL,
        }
    }

    async fn embed_all(self: &Arc<Self>, texts: &[&str]) -> Vec<Result<Vector, String>> {
        embed(&self.shared(), texts).await
    }
}

/// What comes of each text of a batch.
async fn embed(shared: &Calls, texts: &[&str]) -> Vec<Result<Vector, String>> {
    let texts: Vec<Arc<str>> = texts.iter().map(|text| Arc::from(*text)).collect();
    let mut all = vec![None; texts.len()];
    let settled = async |part: Range<usize>, results: Vec<_>| {
        assert_eq!(part.len(), results.len());
        for (result, place) in results.into_iter().zip(&mut all[part]) {
            assert_eq!(place.replace(result), None, "each text is settled once");
        }
    };
    let batch = shared.embed(&texts, &|_| {}, settled);
    tokio::time::timeout(Duration::from_secs(86_400), batch).await.expect("it ends within a day");
    all.into_iter().map(|result| result.expect("every text is settled")).collect()
}

/// A text's vector is its length, so that a vector at the wrong place shows.
fn vector(text: &str) -> Vector {
    Arc::from([text.len() as f32])
}

fn done(texts: &[Arc<str>]) -> Answer {
    Ok(Embeddings { vectors: texts.iter().map(|text| Ok(vector(text))).collect(), tokens: Some(7) })
}

fn retry(pause: bool, after: Option<Duration>) -> Answer {
    Err(ProviderError::Retry { reason: "not now".into(), after, pause })
}

fn is_harmless(texts: &[Arc<str>]) -> bool {
    matches!(texts, [text] if text.starts_with("hello "))
}

fn refused(reason: &str) -> Answer {
    Err(ProviderError::Refused(reason.into()))
}

fn forbidden() -> Answer {
    Err(ProviderError::Forbidden("HTTP 403: forbidden".into()))
}

fn fatal(reason: &str) -> Answer {
    Err(ProviderError::Fatal(reason.into()))
}

impl Provider for Scripted {
    fn space(&self) -> &Space {
        &self.space
    }

    fn embed(&self, texts: Vec<Arc<str>>, _: InputType) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let number = self.calls();
            self.calls.lock().unwrap().push((Instant::now(), texts.clone()));
            tokio::time::sleep(CALL).await;
            let answer = (self.answer)(number, &texts);
            if answer.is_ok() {
                let mut embedded = self.embedded.lock().unwrap();
                texts.into_iter().for_each(|text| *embedded.entry(text).or_default() += 1);
            }
            answer
        })
    }

    fn max_items(&self) -> usize {
        1000
    }
}

#[tokio::test(start_paused = true)]
async fn every_text_gets_its_own_vector_in_one_call() {
    let provider = Scripted::new(|_, texts| done(texts));
    let vectors = provider.embed_all(&["a", "bb", "ccc", "dddd", "eeeee"]).await;
    assert_eq!(vectors, ["a", "bb", "ccc", "dddd", "eeeee"].map(|text| Ok(vector(text))));
    assert_eq!(provider.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_429_holds_everyone_and_ends() {
    let provider = Scripted::new(|number, texts| match number {
        0..8 => retry(true, Some(Duration::from_secs(20))),
        _ => done(texts),
    });
    let shared = provider.shared();
    let began = Instant::now();
    let storm = futures_util::future::join_all((0..8).map(|_| embed(&shared, &["a", "b"])));
    let late = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(shared.status.health().state, HealthState::Degraded);
        embed(&shared, &["late"]).await
    };
    let (batches, late) = tokio::join!(storm, late);
    assert!(batches.iter().flatten().chain(&late).all(Result::is_ok));
    let calls = provider.calls.lock().unwrap();
    assert_eq!(calls.len(), 8 + 9, "no call is wasted while all must wait");
    assert!(calls[8..].iter().all(|(at, _)| *at - began >= Duration::from_secs(20)), "the late one waits too");
    let resumed: BTreeSet<_> = calls[8..].iter().map(|(at, _)| *at).collect();
    assert!(resumed.len() > 4, "they do not come back in one instant");
    assert_eq!(shared.status.health().state, HealthState::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_repeated_alone_for_as_long_as_it_takes() {
    let provider = Scripted::new(|number, texts| match number {
        0..9 => retry(false, None),
        9 => Ok(Embeddings { vectors: Vec::new(), tokens: None }),
        10..40 => retry(false, None),
        _ => done(texts),
    });
    let vectors = provider.embed_all(&["a"]).await;
    assert_eq!(vectors, [Ok(vector("a"))], "an outage rejects nothing, however long");
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_the_first_success_ends_the_waits_of_all() {
    const OUTAGE: Duration = Duration::from_secs(60);
    let began = Instant::now();
    let provider =
        Scripted::new(move |_, texts| if began.elapsed() < OUTAGE { retry(false, None) } else { done(texts) });
    let shared = provider.shared();
    let batches = (0..16).map(|_| embed(&shared, &["a"]));
    assert!(futures_util::future::join_all(batches).await.iter().flatten().all(Result::is_ok));
    let calls = provider.calls.lock().unwrap();
    // Without the harmless texts of those that failed so often that they are in doubt.
    let of_batches = calls.iter().filter(|(_, texts)| texts == &[Arc::from("a")]);
    let last: Vec<_> = of_batches.map(|(at, _)| *at - began).filter(|at| *at >= OUTAGE - CALL).collect();
    assert_eq!(last.len(), 16, "one call a batch");
    // Each of them waited for up to half a minute of its own.
    assert!(last[15] - last[0] <= 3 * CALL, "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_text_that_only_ever_fails_while_others_succeed_is_found_soon() {
    found_soon(|| retry(false, None)).await;
}

#[tokio::test(start_paused = true)]
async fn a_text_that_a_firewall_forbids_is_found_among_those_that_it_lets_through() {
    found_soon(forbidden).await;
}

/// `failure` is what each call with one certain text ends with.
async fn found_soon(failure: impl Fn() -> Answer + Send + Sync + 'static) {
    let provider = Scripted::new(
        move |_, texts| if texts.iter().any(|text| &**text == "poison") { failure() } else { done(texts) },
    );
    let shared = provider.shared();
    let texts: Vec<String> = (0..63).map(|number| format!("text {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).chain(["poison"]).collect();
    let began = Instant::now();
    let others = async {
        loop {
            let since = Instant::now();
            tokio::time::sleep(Duration::from_millis(200)).await;
            embed(&shared, &["another"]).await;
            assert!(since.elapsed() < Duration::from_secs(1), "nobody else waits for it");
        }
    };
    let vectors = tokio::select! {
        vectors = embed(&shared, &texts) => vectors,
        never = others => never,
    };
    assert_eq!(vectors.iter().filter(|vector| vector.is_err()).count(), 1);
    assert_eq!(vectors.last().map(Result::is_err), Some(true));
    // Seven times halved, after three waits of a second each, and five strikes.
    assert!(began.elapsed() < Duration::from_secs(270), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_guilty_text_is_found_when_no_other_is_on_its_way() {
    for failure in [|| retry(false, None), forbidden] {
        let provider = Scripted::new(move |_, texts| match &*texts[0] {
            "poison" => failure(),
            _ => done(texts),
        });
        let shared = provider.shared();
        let began = Instant::now();
        let vectors = embed(&shared, &["poison"]).await;
        let reason = vectors[0].as_ref().unwrap_err();
        assert!(reason.starts_with("the provider fails with this text and with no other: "), "{reason}");
        assert!(began.elapsed() < Duration::from_secs(240), "{:?}", began.elapsed());
        assert_ne!(shared.status.health().state, HealthState::Unhealthy, "and no person is called for it");
    }
}

#[tokio::test(start_paused = true)]
async fn texts_are_in_doubt_at_once_or_soon_and_never_for_what_is_asked_of_all() {
    type Failure = fn() -> Answer;
    let failures: [(Failure, Option<usize>); 4] = [
        (forbidden, Some(1)),
        (|| retry(false, None), Some(3)),
        (|| retry(true, None), None),
        (|| fatal("wrong key"), None),
    ];
    for (failure, expected) in failures {
        let provider = Scripted::new(move |number, texts| if number < 20 { failure() } else { done(texts) });
        assert_eq!(provider.embed_all(&["a"]).await, [Ok(vector("a"))]);
        let calls = provider.calls.lock().unwrap();
        assert_eq!(calls.iter().position(|(_, texts)| is_harmless(texts)), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_remembers_answers_proves_nothing_for_a_provider_that_is_down() {
    let remembered = Mutex::new(BTreeSet::new());
    let provider = Scripted::new(move |number, texts| {
        let mut remembered = remembered.lock().unwrap();
        if (1..40).contains(&number) && !remembered.contains(texts) {
            return retry(false, None);
        }
        remembered.insert(texts.to_vec());
        done(texts)
    });
    provider.embed_all(&["hello"]).await;
    assert_eq!(provider.embed_all(&["a"]).await, [Ok(vector("a"))]);
    let calls = provider.calls.lock().unwrap();
    let harmless: Vec<_> = calls.iter().filter(|(_, texts)| is_harmless(texts)).map(|(_, texts)| texts).collect();
    assert!(harmless.len() > 1, "else this shows nothing");
    assert_eq!(harmless.iter().collect::<BTreeSet<_>>().len(), harmless.len(), "each is another");
}

#[tokio::test(start_paused = true)]
async fn three_minutes_in_which_only_small_calls_pass_cost_no_text() {
    const SHORTAGE: Duration = Duration::from_secs(180);
    let began = Instant::now();
    let provider = Scripted::new(move |_, texts| {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        if bytes > 20 && began.elapsed() < SHORTAGE { retry(false, None) } else { done(texts) }
    });
    let shared = provider.shared();
    let texts: Vec<String> = (0..64).map(|number| format!("a text that is innocent, as are all, {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let batches = (0..8).map(|_| embed(&shared, &texts));
    let vectors = futures_util::future::join_all(batches).await.concat();
    assert_eq!((vectors.len(), vectors.iter().filter(|vector| vector.is_err()).count()), (512, 0));
    assert!(began.elapsed() < 2 * SHORTAGE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_guilty_text_is_found_however_busy_the_provider_is() {
    let random = Mutex::new(fastrand::Rng::with_seed(1));
    let provider = Scripted::new(move |_, texts| match &*texts[0] {
        _ if random.lock().unwrap().u8(0..3) == 0 => retry(true, Some(Duration::from_secs(1))),
        "poison" => retry(false, None),
        _ => done(texts),
    });
    assert!(provider.embed_all(&["poison"]).await[0].is_err());
    assert!(provider.calls() < 100, "{}", provider.calls());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_pause_proves_nothing() {
    let provider = Scripted::new(|number, texts| match number {
        // It is refused, the harmless text passes, all must wait, and then everything is refused for a while.
        0 | 3..9 => refused("budget exceeded"),
        2 => retry(true, None),
        _ => done(texts),
    });
    assert_eq!(provider.embed_all(&["a"]).await, [Ok(vector("a"))]);
}

#[tokio::test(start_paused = true)]
async fn what_is_forbidden_to_all_rejects_nothing_and_costs_no_batch() {
    let provider = Scripted::new(|number, texts| match number {
        0..20 => forbidden(),
        _ => done(texts),
    });
    let shared = provider.shared();
    let watch = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(shared.status.health().state, HealthState::Unhealthy);
    };
    let (vectors, ()) = tokio::join!(embed(&shared, &["a", "bb"]), watch);
    assert_eq!(vectors, [Ok(vector("a")), Ok(vector("bb"))]);
    assert_eq!(shared.status.health().state, HealthState::Ok);
    let calls = provider.calls.lock().unwrap();
    let batches = calls.iter().filter(|(_, texts)| texts.len() == 2).count();
    assert_eq!(batches, 2, "some answer so after they charged: until a harmless text passes, nothing else is sent");
    let slow = |pair: &[(Instant, _)]| pair[1].0 - pair[0].0 >= Duration::from_secs(5);
    assert!(calls[1..20].windows(2).all(slow), "slowly");
}

#[tokio::test(start_paused = true)]
async fn two_servers_that_take_turns_one_of_which_fails_cost_no_text() {
    let failures = [|| retry(false, None), forbidden];
    for (failure, odd) in failures.into_iter().flat_map(|failure| [(failure, 0), (failure, 1)]) {
        let provider = Scripted::new(move |number, texts| if number % 2 == odd { failure() } else { done(texts) });
        for _ in 0..3 {
            assert_eq!(provider.embed_all(&["a", "bb"]).await, [Ok(vector("a")), Ok(vector("bb"))]);
        }
    }
}

/// The account's limit is met all day, and the provider does not say how long to wait.
#[tokio::test(start_paused = true)]
async fn no_batch_is_halved_for_others_that_take_the_minute() {
    let passed = Mutex::new(VecDeque::new());
    let provider = Scripted::new(move |_, texts| {
        let (now, mut passed) = (Instant::now(), passed.lock().unwrap());
        passed.retain(|at| now.duration_since(*at) < Duration::from_secs(60));
        if passed.len() == 5 {
            return retry(true, None);
        }
        passed.push_back(now);
        done(texts)
    });
    let shared = provider.shared();
    let callers = (0..16).map(async |_| {
        for _ in 0..5 {
            embed(&shared, &["a", "bb", "ccc", "dddd"]).await;
        }
    });
    futures_util::future::join_all(callers).await;
    let calls = provider.calls.lock().unwrap();
    assert!(calls.len() > 4 * 80, "else this shows nothing: {}", calls.len());
    assert!(calls.iter().all(|(_, texts)| texts.len() == 4));
}

#[tokio::test(start_paused = true)]
async fn no_batch_is_halved_for_a_storm_that_ends() {
    for answer in [|| retry(true, None), || fatal("the key is wrong")] {
        let began = Instant::now();
        let provider = Scripted::new(
            move |_, texts| {
                if began.elapsed() < Duration::from_secs(600) { answer() } else { done(texts) }
            },
        );
        let shared = provider.shared();
        let batches = (0..8).map(|_| embed(&shared, &["a", "bb", "ccc", "dddd"]));
        futures_util::future::join_all(batches).await;
        let calls = provider.calls.lock().unwrap();
        assert!(calls.iter().all(|(_, texts)| texts.len() == 4));
    }
}

#[tokio::test(start_paused = true)]
async fn no_batch_is_halved_for_one_failure_after_storms_that_all_wait_for() {
    let provider = Scripted::new(|number, texts| match number {
        0..4 => retry(true, None),
        4 => fatal("the key is wrong"),
        5 => retry(false, None),
        _ => done(texts),
    });
    assert_eq!(provider.embed_all(&["a", "bb"]).await, [Ok(vector("a")), Ok(vector("bb"))]);
    assert!(provider.calls.lock().unwrap().iter().all(|(_, texts)| texts.len() == 2));
}

/// As a server that is overloaded for a moment does after an outage.
#[tokio::test(start_paused = true)]
async fn how_often_a_call_failed_holds_no_other_up_when_all_are_asked_to_wait() {
    let provider = Scripted::new(|number, texts| match number {
        0..8 => retry(false, None),
        8 => retry(true, Some(Duration::ZERO)),
        _ => done(texts),
    });
    let shared = provider.shared();
    let late = async {
        while provider.calls() < 9 {
            tokio::time::sleep(CALL).await;
        }
        let began = Instant::now();
        embed(&shared, &["another"]).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    };
    tokio::join!(embed(&shared, &["first"]), late);
}

/// Calls that were turned away count as well, and nothing says how long to wait.
#[tokio::test(start_paused = true)]
async fn a_storm_that_every_call_feeds_ends() {
    let calls = Mutex::new(VecDeque::new());
    let provider = Scripted::new(move |_, texts| {
        let (now, mut calls) = (Instant::now(), calls.lock().unwrap());
        calls.retain(|at| now.duration_since(*at) < Duration::from_secs(60));
        calls.push_back(now);
        if calls.len() > 20 { retry(true, None) } else { done(texts) }
    });
    let shared = provider.shared();
    let embedded = RefCell::new(0);
    let callers = (0..16).map(async |_| {
        loop {
            embed(&shared, &["a"]).await;
            *embedded.borrow_mut() += 1;
        }
    });
    let callers = futures_util::future::join_all(callers);
    tokio::time::timeout(Duration::from_secs(3600), callers).await.map(drop).expect_err("they go on");
    let embedded = embedded.into_inner();
    assert!(embedded > 250, "{embedded}");
}

#[tokio::test(start_paused = true)]
async fn a_long_pause_that_is_asked_for_shows_until_it_is_over() {
    let provider = Scripted::new(|number, texts| match number {
        0 => retry(true, Some(Duration::from_secs(45))),
        _ => done(texts),
    });
    let shared = provider.shared();
    let shown = async {
        tokio::time::sleep(CALL * 2).await;
        shared.status.health()
    };
    let (_, ComponentHealth { state, reason, .. }) = tokio::join!(embed(&shared, &["a"]), shown);
    assert_eq!((state, reason.as_deref()), (HealthState::Degraded, Some("not now; it asks for a pause of 45 s")));
    assert_eq!(shared.status.health().state, HealthState::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_long_pause_shows_although_calls_that_were_under_way_succeed() {
    let provider = Scripted::new(|number, texts| match number {
        0 => retry(true, Some(Duration::from_secs(300))),
        _ => done(texts),
    });
    let shared = provider.shared();
    let under_way = async {
        tokio::time::sleep(CALL / 2).await;
        embed(&shared, &["b"]).await;
        shared.status.health().state
    };
    let (_, state) = tokio::join!(embed(&shared, &["a"]), under_way);
    assert_eq!((state, shared.status.health().state), (HealthState::Degraded, HealthState::Ok));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_number_of_vectors_is_never_taken() {
    let provider = Scripted::new(|number, texts| match number {
        0 => done(&texts[1..]),
        1 => done(&[texts, texts].concat()),
        _ => done(texts),
    });
    assert_eq!(provider.embed_all(&["a", "bb"]).await, [Ok(vector("a")), Ok(vector("bb"))]);
    assert_eq!(provider.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_vector_that_no_index_can_reckon_with_is_never_taken() {
    for number in [0.0, 1e-20, 1e20, f32::NAN, f32::INFINITY] {
        let provider = Scripted::new(move |call, texts| match call {
            0 => Ok(Embeddings { vectors: vec![Ok(Arc::from([number]))], tokens: None }),
            _ => done(texts),
        });
        assert_eq!(provider.embed_all(&["a"]).await, [Ok(vector("a"))], "{number}");
        assert_eq!(provider.calls(), 2, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_call_brings_is_settled_before_the_next_is_made() {
    let provider = Scripted::refusing(&["poison"]);
    let texts: [Arc<str>; 4] = ["a".into(), "bb".into(), "poison".into(), "dddd".into()];
    let mut settled = Vec::new();
    let note = async |part: Range<usize>, results: Vec<_>| settled.push((provider.calls(), part, results));
    let shared = provider.shared();
    shared.embed(&texts, &|_| {}, note).await;
    let first = vec![Ok(vector("a")), Ok(vector("bb"))];
    // The poison is tried with its half, alone, and after the harmless text.
    let rest = [(6, 2..3, vec![Err("bad text".into())]), (7, 3..4, vec![Ok(vector("dddd"))])];
    assert_eq!(settled, [&[(2, 0..2, first)], &rest[..]].concat());
}

#[tokio::test(start_paused = true)]
async fn batch_mates_do_not_wait_until_a_suspect_is_found_guilty() {
    mates_go_first(None).await;
}

#[tokio::test(start_paused = true)]
async fn nor_for_the_wait_that_was_asked_for_with_the_suspect() {
    mates_go_first(Some(Duration::from_secs(30))).await;
}

/// `after`: what the provider asks to wait where it fails.
async fn mates_go_first(after: Option<Duration>) {
    let guilty = ["poison", "bane"];
    let provider = Scripted::new(move |_, texts| {
        if texts.iter().any(|text| guilty.contains(&&**text)) { retry(false, after) } else { done(texts) }
    });
    let texts: [Arc<str>; 6] = ["poison".into(), "bb".into(), "bane".into(), "dddd".into(), "e".into(), "f".into()];
    let shared = provider.shared();
    let (began, mut settled) = (Instant::now(), Vec::new());
    let note = async |part: Range<usize>, results: Vec<Result<_, _>>| {
        settled.push((part, results.iter().all(Result::is_ok), began.elapsed()));
    };
    shared.embed(&texts, &|_| {}, note).await;
    let (innocent, rejected) = settled.split_at(settled.len() - 2);
    // Five calls in a row have one of the two in them; each is in doubt after three failures, and one wait for each.
    let soon = Duration::from_secs(60) + 5 * 3 * after.unwrap_or_default();
    assert!(innocent.iter().all(|(_, ok, at)| *ok && *at < soon), "{settled:?}");
    assert_eq!(
        rejected.iter().map(|(part, ok, _)| (part.clone(), *ok)).collect::<Vec<_>>(),
        [(0..1, false), (2..3, false)]
    );
    let calls = provider.calls.lock().unwrap();
    for text in guilty {
        let alone = calls.iter().filter(|(_, texts)| matches!(&texts[..], [lone] if &**lone == text));
        let alone: Vec<Instant> = alone.map(|(at, _)| *at).collect();
        assert!(alone.windows(2).all(|pair| pair[1] - pair[0] >= after.unwrap_or_default()), "{text}: {alone:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_whose_vector_can_never_be_used_costs_its_batch_mates_nothing() {
    let provider = Scripted::new(|_, texts| {
        let vectors = texts.iter().map(|text| match &**text {
            "poison" => Err(NoVector::ThisTime("it is all zeros".into())),
            text => Ok(vector(text)),
        });
        Ok(Embeddings { vectors: vectors.collect(), tokens: None })
    });
    let texts: Vec<String> = (0..100).map(|number| format!("text {number}")).collect();
    let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    texts[41..43].fill("poison");
    let vectors = provider.embed_all(&texts).await;
    let embedded = provider.embedded.lock().unwrap();
    for (text, vector) in texts.iter().zip(vectors) {
        if *text == "poison" {
            assert!(vector.unwrap_err().contains("it is all zeros"));
        } else {
            assert_eq!((vector, embedded[*text]), (Ok(self::vector(text)), 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn halving_rejects_the_guilty_alone() {
    let texts: Vec<String> = (0..100).map(|n| format!("text {n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let guilty = [texts[0], texts[41], texts[42], texts[99]];
    let provider = Scripted::refusing(&guilty);
    let vectors = provider.embed_all(&texts).await;
    for (text, result) in texts.iter().zip(&vectors) {
        if guilty.contains(text) {
            assert_eq!(result, &Err("bad text".into()))
        } else {
            assert_eq!(result, &Ok(vector(text)))
        }
    }
    // Each halving, and then the harmless text and the guilty one once more.
    assert!(provider.calls() <= 1 + 4 * 2 * 7 + 4 * 2, "{} calls for four guilty texts", provider.calls());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_everything_is_a_wrong_setting_and_rejects_nothing() {
    let provider = Scripted::new(|number, texts| match number {
        0..30 => refused("unknown argument `dimensions`"),
        _ => done(texts),
    });
    let shared = provider.shared();
    let watch = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let ComponentHealth { state: HealthState::Unhealthy, reason: Some(reason), .. } = shared.status.health() else {
            panic!("{:?}", shared.status.health())
        };
        assert!(reason.contains("unknown argument") && reason.contains("embedding.dimensions"), "{reason}");
    };
    let (vectors, ()) = tokio::join!(embed(&shared, &["a", "bb"]), watch);
    assert_eq!(vectors, [Ok(vector("a")), Ok(vector("bb"))]);
    assert_eq!(shared.status.health().state, HealthState::Ok);
}

#[tokio::test(start_paused = true)]
async fn what_succeeded_before_an_outage_does_not_prove_a_refusal_after_it() {
    let provider = Scripted::new(|number, texts| match number {
        // Both are refused, `a` succeeds alone, then the endpoint goes, and comes back without its settings.
        0 => refused("bad text"),
        2 => retry(false, None),
        3..9 => refused("no such deployment"),
        _ => done(texts),
    });
    assert_eq!(provider.embed_all(&["a", "bb"]).await, [Ok(vector("a")), Ok(vector("bb"))]);
}

#[tokio::test(start_paused = true)]
async fn what_succeeded_before_does_not_prove_a_refusal_of_everything_after_it() {
    let provider = Scripted::new(|number, texts| match number {
        // The first half has its vectors; then the account's budget is used up for a while.
        2..20 => refused("budget exceeded"),
        _ if texts.iter().any(|text| &**text == "poison") => refused("bad text"),
        _ => done(texts),
    });
    let texts = ["a", "b", "c", "d", "e", "f", "g", "poison"];
    let vectors = provider.embed_all(&texts).await;
    for (text, vector) in texts.iter().zip(vectors) {
        assert_eq!(vector.is_err(), *text == "poison", "{text}: {vector:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slip_in_what_is_charged_holds_nobody_back_for_days() {
    let provider = Scripted::new(|_, texts| {
        let vectors = texts.iter().map(|text| Ok(vector(text))).collect();
        Ok(Embeddings { vectors, tokens: Some(u64::MAX) })
    });
    let limits = RateLimitSettings { tokens_per_minute: Some(6000), ..RateLimitSettings::default() };
    let shared = Calls { limiter: Limiter::new(limits), ..provider.shared() };
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(embed(&shared, &["a"]).await, [Ok(vector("a"))]);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_person_holds_all_calls_and_is_tried_slowly_until_it_is_repaired() {
    let provider = Scripted::new(|number, texts| match number {
        0..20 => fatal("wrong key"),
        _ => done(texts),
    });
    let shared = provider.shared();
    let watch = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let ComponentHealth { state, reason, .. } = shared.status.health();
        assert_eq!((state, reason.as_deref()), (HealthState::Unhealthy, Some("wrong key")));
        embed(&shared, &["another"]).await
    };
    let (vectors, others) = tokio::join!(embed(&shared, &["a", "bb"]), watch);
    assert_eq!((vectors, others), (vec![Ok(vector("a")), Ok(vector("bb"))], vec![Ok(vector("another"))]));
    assert_eq!(shared.status.health().state, HealthState::Ok);
    let calls = provider.calls.lock().unwrap();
    assert_eq!(calls.len(), 20 + 2, "no batch is halved for it");
    let apart = |pair: &[Instant]| pair[1] - pair[0];
    let of_all: Vec<Instant> = calls[..21].iter().map(|(at, _)| *at).collect();
    assert!(of_all.windows(2).all(|pair| apart(pair) <= Duration::from_secs(66)));
    let of_one: Vec<Instant> = calls[..21].iter().filter(|(_, texts)| texts.len() == 2).map(|(at, _)| *at).collect();
    assert!(of_one.windows(2).all(|pair| apart(pair) >= Duration::from_secs(5)));
}

/// An account that can pay for short texts and not for a long one.
#[tokio::test(start_paused = true)]
async fn what_needs_a_person_for_one_text_holds_all_calls_too_and_rejects_nothing() {
    let topped_up = Instant::now() + Duration::from_secs(600);
    let provider = Scripted::new(move |_, texts| {
        let is_dear = texts.iter().any(|text| &**text == "dear");
        if is_dear && Instant::now() < topped_up { fatal("no credit for so many tokens") } else { done(texts) }
    });
    let shared = provider.shared();
    let other = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(shared.status.health().state, HealthState::Unhealthy);
        let began = Instant::now();
        embed(&shared, &["another"]).await;
        assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    };
    let (vectors, ()) = tokio::join!(embed(&shared, &["a", "dear"]), other);
    assert_eq!(vectors, [Ok(vector("a")), Ok(vector("dear"))]);
    let calls = provider.calls.lock().unwrap();
    assert!(calls.iter().all(|(_, texts)| texts.len() == 2 || &*texts[0] == "another"), "nor is the batch halved");
}

#[tokio::test(start_paused = true)]
async fn a_text_that_only_ever_fails_does_not_hold_its_batch_for_ever() {
    let provider =
        Scripted::new(
            |_, texts| if texts.iter().any(|text| &**text == "poison") { retry(false, None) } else { done(texts) },
        );
    let vectors = provider.embed_all(&["a", "poison", "ccc"]).await;
    assert_eq!((&vectors[0], &vectors[2]), (&Ok(vector("a")), &Ok(vector("ccc"))));
    assert!(vectors[1].as_ref().unwrap_err().contains("not now"));
}

#[tokio::test(start_paused = true)]
async fn every_call_is_told_with_its_latency_and_charge() {
    let provider = Scripted::new(|number, texts| match number {
        0 => retry(true, None),
        1 => retry(false, None),
        2 => fatal("wrong key"),
        3 => forbidden(),
        _ => done(texts),
    });
    let shared = provider.shared();
    let (texts, calls) = (["a".into(), "b".into()], RefCell::new(Vec::new()));
    let note = |call| calls.borrow_mut().push(call);
    shared.embed(&texts, &note, async |_, _| {}).await;
    let calls = calls.into_inner();
    let told = |call: &FinishedCall| (call.status.as_str(), call.texts, call.made_for.clone(), call.tokens);
    let failed = ["retry", "retry", "fatal", "refused"].map(|status| (status, 2, 0..2, 0));
    // The first that succeeds is that with the harmless text.
    let succeeded = [0..2, 0..1, 1..2].map(|made_for| ("ok", 1, made_for, 7));
    assert_eq!(calls.iter().map(told).collect::<Vec<_>>(), [&failed[..], &succeeded[..]].concat());
    assert!(calls.iter().all(|call| call.latency.as_millis() / 10 == 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_innocent_gets_its_vector_and_is_paid_for_once(
        guilty in prop::collection::vec(any::<bool>(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let texts: Vec<String> = (0..guilty.len()).map(|n| "x".repeat(n + 1)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let refused: Vec<&str> = texts.iter().zip(&guilty).filter(|(_, guilty)| **guilty).map(|(text, _)| *text).collect();
        let provider = Scripted::refusing(&refused);
        let vectors = runtime.block_on(provider.embed_all(&texts));
        let embedded = provider.embedded.lock().unwrap();
        for ((text, guilty), result) in texts.iter().zip(&guilty).zip(&vectors) {
            prop_assert_eq!(embedded.get(*text), (!guilty).then_some(&1));
            if *guilty {
                prop_assert!(result.is_err())
            } else {
                prop_assert_eq!(result, &Ok(vector(text)))
            }
        }
    }
}
