//! Request bodies: bounded, also after decompression.

use std::io::Read;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName};
use actix_web::web::{Bytes, BytesMut, Payload};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::settings::ByteSize;

use super::error::{ApiError, blocking};

/// The longest that a caller may take to send a body.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The memory that bodies may take, all together.
pub struct Memory {
    limit: ByteSize,
    /// What whoever sends more is told to do.
    advice: &'static str,
    kibibytes: Semaphore,
}

/// A body, and its share of the memory.
pub struct Body<'a> {
    /// The bytes, decompressed.
    pub bytes: Bytes,
    _share: SemaphorePermit<'a>,
}

impl Memory {
    /// Room for so many bodies of the largest size, or for more that say that they are smaller.
    pub fn new(limit: ByteSize, largest: u64, advice: &'static str) -> Self {
        let kibibytes = u64::from(kibibytes(limit.as_u64())).saturating_mul(largest);
        let permits = usize::try_from(kibibytes).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { limit, advice, kibibytes: Semaphore::new(permits) }
    }

    /// Reads a body of at most the largest size, sent as it is or as gzip. Waits, with the body unread, while there is no room.
    pub async fn read(&self, request: &HttpRequest, payload: Payload) -> Result<Body<'_>, ApiError> {
        let Self { limit, advice, .. } = *self;
        let gzip = is_gzip(request)?;
        let length = header(request, CONTENT_LENGTH).parse().ok();
        if length.is_some_and(|length: u64| length > limit.as_u64()) {
            return Err(too_large(limit, advice));
        }
        // A body that does not tell its size, or grows, may take all that one body may.
        let size = length.filter(|_| !gzip).unwrap_or(limit.as_u64());
        let mut share = self.kibibytes.acquire_many(kibibytes(size)).await.expect("the semaphore is never closed");
        let body = match timeout(TIMEOUT, collect(payload, limit)).await {
            Ok(Ok(Some(body))) => body,
            Ok(Ok(None)) => return Err(too_large(limit, advice)),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let reason = format!("the body took longer than {} seconds to arrive", TIMEOUT.as_secs());
                return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, reason));
            }
        };
        let plain = if gzip { blocking(move || gunzip(&body, limit)).await? } else { Some(body) };
        let bytes = plain.ok_or_else(|| too_large(limit, advice))?;
        // From here on it takes what it is, and not what it could have been.
        let surplus = share.num_permits().saturating_sub(kibibytes(bytes.len() as u64) as usize);
        drop(share.split(surplus));
        Ok(Body { bytes, _share: share })
    }
}

fn kibibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
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

/// `None`: there is more than the limit.
async fn collect(mut payload: Payload, limit: ByteSize) -> Result<Option<Bytes>, ApiError> {
    let mut body = BytesMut::new();
    while let Some(part) = payload.next().await {
        let part = part.map_err(|error| ApiError::bad_request(format!("the body did not arrive whole: {error}")))?;
        if body.len() + part.len() > limit.as_usize() {
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body.freeze()))
}

/// `None`: it is more than the limit.
pub(super) fn gunzip(body: &[u8], limit: ByteSize) -> Result<Option<Bytes>, ApiError> {
    let mut plain = Vec::new();
    // One byte more than allowed is enough to know, however much a few bytes would grow into.
    let read = MultiGzDecoder::new(body).take(limit.as_u64().saturating_add(1)).read_to_end(&mut plain);
    read.map_err(|error| ApiError::bad_request(format!("the body is not whole gzip: {error}")))?;
    Ok((plain.len() <= limit.as_usize()).then(|| Bytes::from(plain)))
}

fn too_large(limit: ByteSize, advice: &str) -> ApiError {
    let reason = format!("the body is larger than {limit}; {advice}");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
}

pub(super) fn header(request: &HttpRequest, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use actix_web::FromRequest;
    use actix_web::test::TestRequest;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A body of about 100 bytes that, being gzip, does not tell how large it becomes.
    async fn request(plain: usize) -> (HttpRequest, Payload) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![b'a'; plain]).unwrap();
        let request = TestRequest::post().insert_header((CONTENT_ENCODING, "gzip"));
        let (request, mut payload) = request.set_payload(encoder.finish().unwrap()).to_http_parts();
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        (request, payload)
    }

    #[actix_rt::test]
    async fn bodies_wait_unread_while_others_fill_the_memory() {
        let memory = Memory::new(ByteSize::bytes(10_240), 1, "send less");
        let (large, payload) = request(10_000).await;
        let held = memory.read(&large, payload).await.unwrap();
        assert_eq!(held.bytes.len(), 10_000);
        let (next, payload) = request(10).await;
        let mut waiting = pin!(memory.read(&next, payload));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(held);
        let small = waiting.await.unwrap();
        assert_eq!(memory.kibibytes.available_permits(), 9, "a small body keeps only what it takes");
        drop(small);
        assert_eq!(memory.kibibytes.available_permits(), 10);
    }

    #[actix_rt::test]
    async fn a_body_that_is_refused_leaves_no_trace_in_the_memory() {
        let memory = Memory::new(ByteSize::bytes(1_024), 1, "send less");
        let (bomb, payload) = request(5_000_000).await;
        let refused = memory.read(&bomb, payload).await.err().expect("it is too large");
        assert!(refused.to_string().contains("larger than 1KiB; send less"), "{refused}");
        assert_eq!(memory.kibibytes.available_permits(), 1);
    }
}
