//! Request bodies: bounded, also after decompression.

use std::io::Read;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName};
use actix_web::web::{Bytes, Payload};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt;

use crate::memory::{NoRoom, Patience, Pool, Taken};
use crate::settings::ByteSize;

use super::error::{ApiError, blocking};

/// The longest that a caller may take to send a body.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The beginning of a body, in bytes, which has memory of its own: whoever sends no more waits for nobody who sends much.
const BEGINNING: u64 = 64 << 10;

/// Who takes the memory.
const HOLDERS: &str = "the bodies of other requests";

/// The memory that bodies may take, all together. Each takes as much as has come of it, so that many that come slowly leave room for
/// others.
pub struct Memory {
    limit: ByteSize,
    /// What whoever sends more is told to do.
    advice: &'static str,
    /// For the beginnings of all bodies.
    beginnings: Pool,
    /// For what goes beyond.
    rest: Pool,
}

/// A body that has come, and its share of the memory.
pub struct Received {
    /// The bytes, decompressed and without a byte order mark.
    pub bytes: Bytes,
    /// To be kept as long as anything of the bytes is.
    pub share: Share,
}

/// What a body takes of the memory, until it is dropped.
#[derive(Default)]
pub struct Share {
    beginning: Taken,
    rest: Taken,
}

impl Memory {
    /// Room for so many bodies of the largest size, or for more that are smaller, and as much as for one more for their beginnings.
    pub fn new(limit: ByteSize, largest: u64, advice: &'static str) -> Self {
        let room = |bodies: u64| Pool::new(limit.as_u64().saturating_mul(bodies), HOLDERS);
        Self { limit, advice, beginnings: room(1), rest: room(largest) }
    }

    /// Reads a body of at most the largest size, sent as it is or as gzip. What has not come yet takes no room; what finds none is left
    /// unread for some seconds, and then refused.
    pub async fn read(&self, request: &HttpRequest, payload: Payload) -> Result<Received, ApiError> {
        let Self { limit, advice, .. } = *self;
        let gzip = is_gzip(request)?;
        let length = header(request, CONTENT_LENGTH).parse().ok();
        if length.is_some_and(|length: u64| length > limit.as_u64()) {
            return Err(too_large(limit, advice));
        }
        let (mut share, mut patience) = (Share::default(), Patience::default());
        let body = self.collect(payload, &mut share, &mut patience).await?;
        if !gzip {
            return Ok(Received { bytes: unmarked(body), share });
        }
        // It may become as large as any, and is there as it came until it has.
        self.grow(&mut share, body.len() as u64 + limit.as_u64(), &mut patience).await?;
        // The share goes where the bytes go: the caller may be gone before they are.
        let (plain, mut share) = blocking(move || Ok::<_, ApiError>((gunzip(&body, limit)?, share))).await?;
        let bytes = plain.ok_or_else(|| too_large(limit, advice))?;
        share.shrink(bytes.len() as u64);
        Ok(Received { bytes: unmarked(bytes), share })
    }

    async fn collect(
        &self,
        mut payload: Payload,
        share: &mut Share,
        patience: &mut Patience,
    ) -> Result<Bytes, ApiError> {
        let mut body = Vec::new();
        // What waits for memory take is not of the caller's time.
        let mut callers = Patience::new(TIMEOUT);
        while let Some(part) = callers.wait(payload.next()).await.ok_or_else(too_slow)? {
            let part = part.map_err(|error| broken_off(&error))?;
            let length = body.len() + part.len();
            if length > self.limit.as_usize() {
                return Err(too_large(self.limit, self.advice));
            }
            self.grow(share, length as u64, patience).await?;
            body.extend_from_slice(&part);
        }
        Ok(exact(body))
    }

    /// Takes what is missing for so many bytes.
    async fn grow(&self, share: &mut Share, bytes: u64, patience: &mut Patience) -> Result<(), NoRoom> {
        let (beginning, rest) = parts(bytes);
        self.beginnings.grow(&mut share.beginning, beginning, patience).await?;
        self.rest.grow(&mut share.rest, rest, patience).await
    }

    /// Kibibytes that are free.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.beginnings.room() + self.rest.room()
    }
}

impl Share {
    /// Gives back what so many bytes do not need.
    fn shrink(&mut self, bytes: u64) {
        let (beginning, rest) = parts(bytes);
        self.beginning.shrink(beginning);
        self.rest.shrink(rest);
    }
}

/// How many bytes of a body are its beginning, and how many its rest.
fn parts(bytes: u64) -> (u64, u64) {
    let beginning = bytes.min(BEGINNING);
    (beginning, bytes - beginning)
}

fn is_gzip(request: &HttpRequest) -> Result<bool, ApiError> {
    match header(request, CONTENT_ENCODING).to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        other => {
            let reason = format!("the body is encoded as `{other}`, and only `gzip` and `identity` are understood");
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason))
        }
    }
}

/// `None`: it is more than the limit.
pub(super) fn gunzip(body: &[u8], limit: ByteSize) -> Result<Option<Bytes>, ApiError> {
    let mut plain = Vec::new();
    // One byte more than allowed is enough to know, however much a few bytes would grow into.
    let read = MultiGzDecoder::new(body).take(limit.as_u64().saturating_add(1)).read_to_end(&mut plain);
    read.map_err(|error| ApiError::bad_request(format!("the body is not whole gzip: {error}")))?;
    Ok((plain.len() <= limit.as_usize()).then(|| exact(plain)))
}

fn unmarked(text: Bytes) -> Bytes {
    text.slice_ref(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text))
}

/// Bytes in as much memory as they need: what a vector grew by in vain would be kept as long as they are, and be nobody's share.
fn exact(bytes: Vec<u8>) -> Bytes {
    bytes.into_boxed_slice().into()
}

fn broken_off(error: &PayloadError) -> ApiError {
    let reason = match error {
        PayloadError::Incomplete(_) => "its end is missing, or the length of a chunk is no number".to_owned(),
        error => error.to_string(),
    };
    ApiError::bad_request(format!("the body did not arrive whole: {reason}"))
}

fn too_slow() -> ApiError {
    let reason = format!("the body took longer than {} seconds to arrive", TIMEOUT.as_secs());
    ApiError::new(StatusCode::REQUEST_TIMEOUT, reason)
}

fn too_large(limit: ByteSize, advice: &str) -> ApiError {
    // Told with its unit only where it is a round number of a larger one.
    let unit = if limit.as_u64().is_multiple_of(1024) { "" } else { " bytes" };
    let reason = format!("the body is larger than {limit}{unit}; {advice}");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
}

pub(super) fn header(request: &HttpRequest, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use actix_web::test::TestRequest;
    use actix_web::{FromRequest, ResponseError, dev};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::{Stream, stream};

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    async fn compressed(body: Vec<u8>) -> (HttpRequest, Payload) {
        let request = TestRequest::post().insert_header((CONTENT_ENCODING, "gzip"));
        let (request, mut payload) = request.set_payload(body).to_http_parts();
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        (request, payload)
    }

    /// A body of about 100 bytes that, being gzip, does not tell how large it becomes.
    async fn request(plain: usize) -> (HttpRequest, Payload) {
        compressed(gzip(&vec![b'a'; plain])).await
    }

    /// A body of which a part has come, and the rest does not.
    async fn slow(length: usize, part: usize) -> (HttpRequest, Payload) {
        let come = stream::iter([Ok(Bytes::from(vec![b'a'; part]))]).chain(stream::pending());
        streamed(TestRequest::post().insert_header((CONTENT_LENGTH, length)), come).await
    }

    async fn streamed(
        request: TestRequest,
        parts: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
    ) -> (HttpRequest, Payload) {
        let request = request.to_http_request();
        let mut payload = dev::Payload::Stream { payload: Box::pin(parts) as Pin<Box<_>> };
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        (request, payload)
    }

    fn is_pending(future: Pin<&mut impl Future>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[actix_rt::test]
    async fn bodies_wait_unread_while_others_fill_the_memory() {
        let memory = Memory::new(ByteSize::bytes(100 << 10), 1, "send less");
        let (large, payload) = request(100_000).await;
        let held = memory.read(&large, payload).await.unwrap();
        assert_eq!(held.bytes.len(), 100_000);
        let (next, payload) = slow(100_000, 100_000).await;
        let mut waiting = pin!(memory.read(&next, payload));
        assert!(is_pending(waiting.as_mut()), "it waits for the first to be dropped");
        drop(held);
        assert!(is_pending(waiting.as_mut()), "it waits for the rest of its body");
        assert_eq!(memory.room(), 200 - 98);
    }

    #[actix_rt::test]
    async fn a_body_keeps_only_what_it_takes() {
        let memory = Memory::new(ByteSize::bytes(100 << 10), 1, "send less");
        let (small, payload) = request(10).await;
        let small = memory.read(&small, payload).await.unwrap();
        assert_eq!(memory.room(), 199);
        drop(small);
        assert_eq!(memory.room(), 200);
    }

    #[test]
    fn a_body_that_nobody_waits_for_keeps_its_share_until_it_is_inflated() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let memory = Memory::new(ByteSize::bytes(100 << 10), 4, "send less");
            let (begin, began) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || began.recv());
            // Noise does not become smaller.
            let mut random = fastrand::Rng::with_seed(1);
            let noise: Vec<u8> = (0..50 << 10).map(|_| random.u8(..)).collect();
            let (large, payload) = compressed(gzip(&noise)).await;
            {
                let mut reading = pin!(memory.read(&large, payload));
                assert!(is_pending(reading.as_mut()), "it waits for the thread");
            }
            let (came, becomes) = (50 + 1, 100);
            assert_eq!(memory.room(), 500 - came - becomes, "the thread will inflate it all the same");
            drop(begin);
            busy.await.unwrap().unwrap_err();
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            assert_eq!(memory.room(), 500, "the thread has come to what was asked of it later");
        });
    }

    #[actix_rt::test]
    async fn a_body_takes_no_more_than_its_length_however_it_came() {
        let memory = Memory::new(ByteSize::bytes(100 << 10), 1, "send less");
        let parts = stream::iter([40_000, 30_000].map(|length| Ok(vec![b'a'; length].into())));
        for (request, payload) in [request(70_000).await, streamed(TestRequest::post(), parts).await] {
            let Received { bytes, .. } = memory.read(&request, payload).await.unwrap();
            assert_eq!(bytes.try_into_mut().unwrap().capacity(), 70_000);
        }
    }

    #[actix_rt::test]
    async fn a_byte_order_mark_is_no_part_of_a_body() {
        let memory = Memory::new(ByteSize::bytes(100 << 10), 1, "send less");
        let marked = b"\xef\xbb\xbf{}";
        let plain = || stream::iter([Ok(Bytes::from_static(marked))]);
        for (request, payload) in [compressed(gzip(marked)).await, streamed(TestRequest::post(), plain()).await] {
            assert_eq!(memory.read(&request, payload).await.unwrap().bytes, "{}");
        }
    }

    #[actix_rt::test]
    async fn slow_bodies_leave_room_for_others() {
        let memory = Memory::new(ByteSize::bytes(1_000 << 10), 4, "send less");
        let mut slow_ones = Vec::new();
        for _ in 0..10 {
            let (request, payload) = slow(1_000 << 10, 100 << 10).await;
            let memory = &memory;
            let mut reading = Box::pin(async move { memory.read(&request, payload).await });
            assert!(is_pending(reading.as_mut()));
            slow_ones.push(reading);
        }
        // More than what four of the largest size take was announced, and a tenth of that has come.
        let (large, payload) = request(900 << 10).await;
        assert_eq!(memory.read(&large, payload).await.unwrap().bytes.len(), 900 << 10);
    }

    #[actix_rt::test]
    async fn a_body_that_finds_no_room_is_to_be_sent_again_and_a_small_one_always_does() {
        tokio::time::pause();
        let memory = Memory::new(ByteSize::bytes(100 << 10), 1, "send less");
        let mut others = Taken::default();
        memory.rest.grow(&mut others, 100 << 10, &mut Patience::default()).await.unwrap();
        let (large, payload) = slow(100_000, 100_000).await;
        let refused = memory.read(&large, payload).await.err().expect("there is no room").error_response();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers().get("retry-after").unwrap(), "1");
        let small = TestRequest::post().set_payload("{}".repeat(1_000));
        let (small, mut payload) = small.to_http_parts();
        let payload = Payload::from_request(&small, &mut payload).await.unwrap();
        assert_eq!(memory.read(&small, payload).await.unwrap().bytes.len(), 2_000);
    }

    #[actix_rt::test]
    async fn the_time_of_a_body_is_what_its_caller_takes_and_no_wait_for_memory() {
        tokio::time::pause();
        let memory = Memory::new(ByteSize::bytes(100 << 10), 1, "send less");
        let mut others = Taken::default();
        memory.rest.grow(&mut others, 100 << 10, &mut Patience::default()).await.unwrap();
        let after = |seconds, bytes| {
            stream::once(async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok(Bytes::from(vec![b'a'; bytes]))
            })
        };
        for (first, second, status) in [
            // It waits for memory until the minute is over, and is told of the memory.
            ((55, 100_000), (0, 0), StatusCode::SERVICE_UNAVAILABLE),
            ((40, 10), (40, 10), StatusCode::REQUEST_TIMEOUT),
        ] {
            let parts = after(first.0, first.1).chain(after(second.0, second.1));
            let (request, payload) = streamed(TestRequest::post(), parts).await;
            let refused = memory.read(&request, payload).await.err().expect("it comes late");
            assert_eq!(refused.error_response().status(), status, "{refused}");
        }
    }

    #[actix_rt::test]
    async fn a_body_that_is_broken_off_is_told_so() {
        let memory = Memory::new(ByteSize::bytes(1_024), 1, "send less");
        let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(PayloadError::Incomplete(None))]);
        let (request, payload) = streamed(TestRequest::post(), broken).await;
        let refused = memory.read(&request, payload).await.err().expect("its end is missing");
        assert!(
            refused.to_string().ends_with("its end is missing, or the length of a chunk is no number"),
            "{refused}"
        );
    }

    #[actix_rt::test]
    async fn a_body_that_is_refused_leaves_no_trace_in_the_memory() {
        for (limit, told) in [(1_024, "larger than 1KiB; send less"), (1_000, "larger than 1000 bytes; send less")] {
            let memory = Memory::new(ByteSize::bytes(limit), 1, "send less");
            let (bomb, payload) = request(5_000_000).await;
            let refused = memory.read(&bomb, payload).await.err().expect("it is too large");
            assert!(refused.to_string().contains(told), "{refused}");
            assert_eq!(memory.room(), 2);
        }
    }
}
