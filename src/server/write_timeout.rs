//! A stream that ends when nobody takes what is written to it.
//!
//! What is to be written holds memory and a place among the connections, and actix-web waits for its caller as long as it likes.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a write may wait until any of it is taken. The system takes more when a third of its buffer is free again, which
/// [`super::connections`] keeps small for that.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct WriteTimeout<S> {
    stream: S,
    /// Runs while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeout<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, deadline: None }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, deadline } = &mut *self;
        if let Poll::Ready(written) = Pin::new(stream).poll_write(cx, bytes) {
            *deadline = None;
            return Poll::Ready(written);
        }
        ready!(deadline.get_or_insert_with(|| Box::pin(sleep(PATIENCE))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "nobody takes what is written")))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_of_which_nothing_is_taken_fails() {
        let (near, _far) = duplex(10);
        let began = Instant::now();
        let error = WriteTimeout::new(near).write_all(&[0; 11]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!((PATIENCE..PATIENCE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_of_which_little_is_taken_goes_on() {
        let (near, mut far) = duplex(10);
        let read = async {
            for _ in 0..15 {
                sleep(PATIENCE / 2).await;
                far.read_u8().await.unwrap();
            }
        };
        let mut stream = WriteTimeout::new(near);
        let (written, ()) = tokio::join!(stream.write_all(&[0; 20]), read);
        written.unwrap();
    }
}
