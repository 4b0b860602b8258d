//! A stream that ends when its caller keeps it waiting: takes nothing of an answer, or sends no request while none is at work.
//!
//! What is to be written holds memory, and every connection holds a place. actix-web waits for a caller who takes nothing for as long as it
//! likes, and has a time-out for the head of the first request of a connection alone.

use std::cell::Cell;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long a write may wait until any of it is taken. The system takes more when a third of its buffer is free again, which
/// [`super::connections`] keeps small for that.
const WRITE: Duration = Duration::from_secs(60);
/// How long a connection may be without a request at work, whatever is sent over it: longer than the head of a request may take.
const REST: Duration = Duration::from_secs(15);

/// See the module.
pub(super) struct Timeouts<S> {
    stream: S,
    at_work: AtWork,
    /// Runs while a write waits.
    write: Option<Pin<Box<Sleep>>>,
    /// Runs until it may have rested long enough.
    rest: Pin<Box<Sleep>>,
}

/// The requests of a connection that are at work. Clones share them.
#[derive(Clone)]
pub(super) struct AtWork(Rc<Requests>);

struct Requests {
    now: Cell<usize>,
    /// When the last one ended, or anything that was to be written of one.
    last: Cell<Instant>,
}

/// A request at work, until it is dropped.
pub(super) struct Working(Rc<Requests>);

impl AtWork {
    /// A request begins its work, which ends when its answer was handed over or is dropped.
    pub(super) fn begin(&self) -> Working {
        self.0.now.update(|now| now + 1);
        Working(self.0.clone())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.now.update(|now| now - 1);
        self.0.last.set(Instant::now());
    }
}

/// The body of an answer, whose request is at work until it was handed over.
pub(super) struct Watched {
    body: BoxBody,
    _working: Option<Working>,
}

impl Watched {
    pub(super) fn new(body: impl MessageBody + 'static, working: Option<Working>) -> Self {
        Self { body: BoxBody::new(body), _working: working }
    }
}

impl MessageBody for Watched {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

impl<S> Timeouts<S> {
    pub(super) fn new(stream: S) -> Self {
        let requests = Requests { now: Cell::new(0), last: Cell::new(Instant::now()) };
        Self { stream, at_work: AtWork(Rc::new(requests)), write: None, rest: Box::pin(sleep(REST)) }
    }

    /// Where requests of this connection say that they are at work.
    pub(super) fn at_work(&self) -> AtWork {
        self.at_work.clone()
    }

    /// Whether for so long there was no request at work, nor anything to be written of one.
    fn has_rested(&mut self, cx: &mut Context<'_>) -> bool {
        let Requests { now, last } = &*self.at_work.0;
        while self.rest.as_mut().poll(cx).is_ready() {
            let is_at_work = now.get() > 0 || self.write.is_some();
            let until = if is_at_work { Instant::now() } else { last.get() } + REST;
            if until <= Instant::now() {
                return true;
            }
            self.rest.as_mut().reset(until);
        }
        false
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timeouts<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, at_work, write, .. } = &mut *self;
        if let Poll::Ready(written) = Pin::new(stream).poll_write(cx, bytes) {
            if write.take().is_some() {
                at_work.0.last.set(Instant::now());
            }
            return Poll::Ready(written);
        }
        ready!(write.get_or_insert_with(|| Box::pin(sleep(WRITE))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "nobody takes what is written")))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timeouts<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.has_rested(cx) {
            return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "no request comes")));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_of_which_nothing_is_taken_fails() {
        let (near, _far) = duplex(10);
        let began = Instant::now();
        let error = Timeouts::new(near).write_all(&[0; 11]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!((WRITE..WRITE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_of_which_little_is_taken_goes_on() {
        let (near, mut far) = duplex(10);
        let read = async {
            for _ in 0..15 {
                sleep(WRITE / 2).await;
                far.read_u8().await.unwrap();
            }
        };
        let mut stream = Timeouts::new(near);
        let (written, ()) = tokio::join!(stream.write_all(&[0; 20]), read);
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_that_brings_no_request_whatever_it_brings() {
        let (near, mut far) = duplex(10);
        let mut stream = Timeouts::new(near);
        let brings = async {
            while far.write_u8(b'G').await.is_ok() {
                sleep(REST / 10).await;
            }
        };
        let reads = async {
            let at_work = stream.at_work();
            let working = at_work.begin();
            let read = async |stream: &mut Timeouts<_>, until: Duration| {
                let until = Instant::now() + until;
                while Instant::now() < until {
                    stream.read_u8().await?;
                }
                io::Result::Ok(())
            };
            read(&mut stream, REST * 10 - REST / 5).await.unwrap();
            drop(working);
            read(&mut stream, REST - REST / 5).await.expect("a request was at work less long ago");
            for _ in 0..10 {
                drop(at_work.begin());
                read(&mut stream, REST / 2).await.unwrap();
            }
            drop(at_work.begin());
            let began = Instant::now();
            let error = read(&mut stream, REST * 10).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!((REST..REST + REST / 100).contains(&began.elapsed()), "{:?}", began.elapsed());
            drop(stream);
        };
        tokio::join!(brings, reads);
    }
}
