//! The connections of the server. Each worker takes them in for itself, and when the server stops none that was taken in is left without
//! an answer.
//!
//! actix-web's own server, when it stops, drops what it accepted and has not begun to serve, and what the system accepted in its name:
//! those callers see a reset, and cannot know whether they were heard. Here what the system took in is served until there is nothing left,
//! and only then the socket is closed. A caller who connects in the instant between the two is the only one whose connection is reset.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix_rt::Arbiter;
use actix_rt::net::{TcpListener, TcpStream};
use actix_web::dev::{Service, ServiceFactory};
use socket2::{Domain, Socket, Type};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};

/// Threads that answer requests. They parse and wait; what computes runs on blocking threads.
const WORKERS: usize = 2;
/// The most connections there are at once. Others wait until the system takes no more in.
const CONNECTIONS: u32 = 2_048;
/// The most connections that the system takes in before a worker does.
const BACKLOG: i32 = 1_024;
/// How much of an answer the system takes before its caller does, in bytes.
const SEND_BUFFER: usize = 256 << 10;
/// After the system refused a connection that was there: most often there are too many open files.
const ACCEPT_RETRY: Duration = Duration::from_millis(500);
/// How long connections may take to end when the server stops.
const ENDING: Duration = Duration::from_secs(5);
/// How long of that a connection is kept over which nothing is asked: long enough for a caller who is at work to be told that it ends.
const IDLE: Duration = Duration::from_secs(2);

/// How far the server is with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It goes on.
    Serving,
    /// It will end: every answer is the last of its connection.
    Leaving,
    /// It takes no more connections in; those that it has end.
    Closing,
}

/// See the module.
pub(super) struct Connections {
    socket: Socket,
    phase: watch::Sender<Phase>,
    /// One for each connection that may yet be taken in.
    room: Arc<Semaphore>,
    workers: Vec<Worker>,
}

struct Worker {
    arbiter: Arbiter,
    /// Ends when it takes no more connections in.
    accepts: oneshot::Receiver<()>,
}

impl Phase {
    /// Completes when a connection over which nothing is asked must end.
    pub(super) async fn over(mut phase: watch::Receiver<Self>) {
        // Without a server there is nobody to wait for either.
        let _ = phase.wait_for(|phase| *phase == Self::Closing).await;
        sleep(IDLE).await;
    }
}

impl Connections {
    /// Serves connections to this address. Must be called inside an actix system. `service` makes what serves them, once for each worker.
    pub(super) fn open<F, S>(address: SocketAddr, phase: watch::Sender<Phase>, service: F) -> io::Result<Self>
    where
        F: Fn() -> S + Clone + Send + 'static,
        S: ServiceFactory<TcpStream, Config = (), Response = ()> + 'static,
    {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // So that the next process need not wait until the connections of this one are forgotten.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // A write goes on when a third of this is free again: with the megabytes that systems grow it to, a caller who takes some kilobytes
        // a second would be taken for one who takes nothing.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        // A large answer is several writes: else the system keeps the last of them until the caller has said that the others came, which
        // callers put off for 40 milliseconds. Every connection has this of the socket, as it has the buffer.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let room = Arc::new(Semaphore::new(CONNECTIONS as usize));
        let worker = |_| {
            let listener = socket.try_clone()?.into();
            let (service, room, phase) = (service.clone(), room.clone(), phase.subscribe());
            let (ended, accepts) = oneshot::channel();
            let arbiter = Arbiter::new();
            arbiter.spawn_fn(move || {
                actix_rt::spawn(async move {
                    if let Err(error) = accept(listener, service(), &room, phase).await {
                        tracing::error!(%error, "no connections can be taken in");
                    }
                    // Nobody listens when the server was dropped.
                    let _ = ended.send(());
                });
            });
            Ok(Worker { arbiter, accepts })
        };
        let workers = (0..WORKERS).map(worker).collect::<io::Result<_>>()?;
        Ok(Self { socket, phase, room, workers })
    }

    /// Where it listens, with the port that was given when port 0 was asked for.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        Ok(self.socket.local_addr()?.as_socket().expect("it was bound to an address with a port"))
    }

    /// From now on every answer is the last of its connection.
    pub(super) fn leave(&self) {
        self.phase.send_if_modified(|phase| std::mem::replace(phase, Phase::Leaving) == Phase::Serving);
    }

    #[cfg(test)]
    pub(super) fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Takes no more connections in, and waits until those that were have ended, for some seconds at most.
    pub(super) async fn close(self) {
        let Self { socket, phase, room, workers } = self;
        // The workers have the same socket under other handles: it is closed when the last of them took in what was waiting.
        drop(socket);
        phase.send_replace(Phase::Closing);
        let (arbiters, accepts): (Vec<_>, Vec<_>) =
            workers.into_iter().map(|worker| (worker.arbiter, worker.accepts)).unzip();
        let ended = async {
            for accepts in accepts {
                // It ends without a word when its thread panicked.
                let _ = accepts.await;
            }
            drop(room.acquire_many(CONNECTIONS).await);
        };
        if timeout(ENDING, ended).await.is_err() {
            tracing::warn!(seconds = ENDING.as_secs(), "connections that did not end in that time are closed");
        }
        for arbiter in arbiters {
            arbiter.stop();
        }
    }
}

/// Takes connections in until the server closes, and then those that the system has taken in.
async fn accept<S>(
    listener: net::TcpListener,
    service: S,
    room: &Arc<Semaphore>,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()>
where
    S: ServiceFactory<TcpStream, Config = (), Response = ()> + 'static,
{
    let service = service.new_service(()).await.map_err(|_| io::Error::other("the service could not be made"))?;
    let listener = TcpListener::from_std(listener)?;
    let next = async || {
        let place = place(room).await;
        (listener.accept().await, place)
    };
    loop {
        let (accepted, place) = tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase == Phase::Closing) => break,
            next = next() => next,
        };
        match accepted {
            Ok((stream, _)) => serve(&service, stream, place).await,
            Err(error) if concerns_one(&error) => {}
            Err(error) => {
                tracing::error!(%error, "a connection could not be taken in; trying again");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
    let listener = listener.into_std()?;
    loop {
        let place = place(room).await;
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                serve(&service, TcpStream::from_std(stream)?, place).await;
            }
            Err(error) if concerns_one(&error) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

async fn place(room: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    room.clone().acquire_owned().await.expect("the semaphore is never closed")
}

/// Serves a connection in a task of its own, and gives its place back when it has ended.
async fn serve<S>(service: &S, stream: TcpStream, place: OwnedSemaphorePermit)
where
    S: Service<TcpStream, Response = ()>,
    S::Future: 'static,
{
    if poll_fn(|cx| service.poll_ready(cx)).await.is_err() {
        return;
    }
    let connection = service.call(stream);
    actix_rt::spawn(async move {
        // What a caller does to its connection is no concern of anybody else.
        let _ = connection.await;
        drop(place);
    });
}

/// Whether the connection is gone that was to be taken in, and the next may be well.
fn concerns_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use actix_service::fn_service;
    use tokio::sync::mpsc;

    use super::*;

    #[actix_rt::test]
    async fn no_write_over_a_connection_waits_for_another_to_be_acknowledged() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let service = move || {
            let tell = tell.clone();
            fn_service(move |stream: super::TcpStream| {
                tell.send(stream.nodelay().unwrap()).unwrap();
                async { Ok::<_, ()>(()) }
            })
        };
        let (phase, _) = watch::channel(Phase::Serving);
        let connections = Connections::open(([127, 0, 0, 1], 0).into(), phase, service).unwrap();
        let _caller = TcpStream::connect(connections.address().unwrap()).unwrap();
        assert_eq!(told.recv().await, Some(true));
        connections.close().await;
    }
}
