//! Large answers: bounded all together, whether their callers read them or not.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::ContentType;
use actix_web::web::Bytes;
use serde::Serialize;

use crate::memory::{NoRoom, Patience, Pool, Taken};

/// What all large answers may take together that were foreseen, in bytes.
const FORESEEN: u64 = 96 << 20;
/// What they may take beyond.
const BEYOND: u64 = 32 << 20;
/// Answers of at most so many bytes take none of it: there are no more of them than connections.
const SMALL: u64 = 64 << 10;
/// How much of an answer is handed over to its connection at a time, in bytes.
const PART: usize = 32 << 10;
/// Who takes the memory.
const HOLDERS: &str = "large answers to other requests";

/// The memory that large answers may take.
pub(super) struct Answers {
    /// For what may be waited for, and for what is there while nobody waits.
    foreseen: Pool,
    /// For what is there. Nobody waits for it, so that what is free can be had.
    beyond: Pool,
}

/// What an answer takes of the memory, until it was handed over or is dropped.
#[derive(Default)]
pub(super) struct Reserved {
    foreseen: Taken,
    beyond: Taken,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self { foreseen: Pool::new(FORESEEN, HOLDERS), beyond: Pool::new(BEYOND, HOLDERS) }
    }

    /// Memory for an answer that may have about so many bytes, before any of it is there. Where there is no room, that is waited for, some
    /// seconds at most.
    pub(super) async fn expect(&self, bytes: u64) -> Result<Reserved, NoRoom> {
        let mut reserved = Reserved::default();
        if bytes > SMALL {
            self.foreseen.grow(&mut reserved.foreseen, bytes, &mut Patience::default()).await?;
        }
        Ok(reserved)
    }

    /// What was found takes so many bytes until it is written down. What was not foreseen of it must be free at once: it is in memory
    /// already, so waiting for room would save nothing.
    pub(super) fn hold(&self, reserved: &mut Reserved, bytes: u64) -> Result<(), NoRoom> {
        let bytes = counted(bytes);
        if self.foreseen.try_grow(&mut reserved.foreseen, bytes).is_ok() {
            return Ok(());
        }
        let beyond = bytes.saturating_sub(reserved.foreseen.bytes());
        self.beyond.try_grow(&mut reserved.beyond, beyond)
    }

    /// An answer of JSON. What it takes beyond what was expected must be free at once: it is in memory already, and many must not wait with
    /// what they hold.
    pub(super) fn json(&self, json: Bytes, mut reserved: Reserved) -> Result<Parts, NoRoom> {
        let bytes = counted(json.len() as u64);
        reserved.foreseen.shrink(bytes);
        reserved.beyond.shrink(bytes.saturating_sub(reserved.foreseen.bytes()));
        self.hold(&mut reserved, bytes)?;
        Ok(Parts { rest: json, _reserved: reserved })
    }

    /// Kibibytes that are free.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.foreseen.room() + self.beyond.room()
    }
}

/// How many of so many bytes are counted.
fn counted(bytes: u64) -> u64 {
    if bytes > SMALL { bytes } else { 0 }
}

/// What to answer, as JSON that takes no more than its length.
pub(super) fn as_json(answer: &impl Serialize) -> Bytes {
    let json = serde_json::to_vec(answer).expect("texts, numbers and JSON values always serialise");
    Bytes::from(json.into_boxed_slice())
}

/// What is left of an answer, and what it takes. It is handed over in parts, because a connection copies what it is given.
pub(super) struct Parts {
    rest: Bytes,
    _reserved: Reserved,
}

impl Parts {
    pub(super) fn respond(self) -> HttpResponse {
        HttpResponse::Ok().content_type(ContentType::json()).body(self)
    }
}

impl MessageBody for Parts {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let length = self.rest.len().min(PART);
        let part = self.rest.split_to(length);
        Poll::Ready((length > 0).then_some(Ok(part)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use actix_web::ResponseError;
    use actix_web::http::StatusCode;

    use super::*;
    use crate::server::error::ApiError;

    const ROOM: usize = ((FORESEEN + BEYOND) >> 10) as usize;

    fn json(bytes: usize) -> Bytes {
        Bytes::from(vec![b'7'; bytes])
    }

    #[actix_rt::test]
    async fn an_answer_has_its_share_until_it_is_handed_over_or_dropped() {
        let answers = Answers::new();
        let reserved = answers.expect(1 << 20).await.unwrap();
        assert_eq!(answers.room(), ROOM - 1_024);
        let answer = answers.json(json(100 << 10), reserved).unwrap().respond();
        assert_eq!(answers.room(), ROOM - 100, "what it does not need is free");
        let mut body = answer.into_body();
        assert_eq!(body.size(), BodySize::Sized(100 << 10));
        let mut parts = Vec::new();
        while let Some(part) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
            parts.push(part.unwrap().len());
            assert_eq!(answers.room(), ROOM - 100);
        }
        assert_eq!(parts, [PART, PART, PART, 4 << 10]);
        drop(body);
        assert_eq!(answers.room(), ROOM);
        let unread = answers.json(json(100 << 10), Reserved::default()).unwrap();
        assert_eq!(answers.room(), ROOM - 100, "nothing was expected of it");
        drop(unread);
        assert_eq!(answers.room(), ROOM);
    }

    #[actix_rt::test]
    async fn an_answer_that_finds_no_room_is_to_be_asked_for_again_and_a_small_one_always_does() {
        tokio::time::pause();
        let answers = Answers::new();
        let _foreseen = answers.expect(2 * FORESEEN).await.unwrap();
        let _beyond = answers.json(json(2 * BEYOND as usize), Reserved::default()).unwrap();
        let refused = ApiError::from(answers.expect(SMALL + 1).await.err().expect("there is no room")).error_response();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers().get("retry-after").unwrap(), "1");
        let reserved = answers.expect(SMALL).await.unwrap();
        assert_eq!(answers.json(json(SMALL as usize), reserved).unwrap().respond().status(), StatusCode::OK);
        let large = answers.json(json(SMALL as usize + 1), Reserved::default()).err().expect("there is no room");
        assert_eq!(ApiError::from(large).status_code(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[actix_rt::test]
    async fn an_answer_that_is_there_has_its_room_though_another_waits_for_what_it_may_be() {
        tokio::time::pause();
        let answers = Answers::new();
        let _most = answers.expect(FORESEEN - SMALL).await.unwrap();
        let waits = answers.expect(2 * SMALL);
        tokio::pin!(waits);
        assert!(poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await);
        assert!(answers.json(json(1 << 20), Reserved::default()).is_ok());
    }
}
