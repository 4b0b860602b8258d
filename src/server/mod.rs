//! The HTTP interface: events come in, searches are answered, and the state of the process is told.
//!
//! One file a resource. `openapi.json` describes all of it.

mod admission;
mod answer;
mod body;
mod connections;
mod documents;
mod error;
mod events;
mod fault;
mod health;
#[cfg(test)]
mod hostile;
mod lines;
mod metrics;
mod openapi;
mod routes;
mod search;
mod shared;
mod stats;
#[cfg(test)]
mod testing;
mod timeouts;
mod wait;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_rt::net::TcpStream;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, Service, ServiceFactory};
use actix_web::http::{ConnectionType, header};
use actix_web::web::Data;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::settings::ServerSettings;

use connections::{Connections, Phase};
use shared::Shared;
use timeouts::{AtWork, Timeouts};

pub use shared::ServerContext;

/// How long a connection is kept that nobody uses.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long the head of a request may take to come.
const REQUEST: Duration = Duration::from_secs(10);
/// How long a caller may take to end a connection that was ended here.
const DISCONNECT: Duration = Duration::from_secs(1);

/// A server that listens.
pub struct RunningServer {
    /// Where, with the port that was given when port 0 was asked for.
    pub address: SocketAddr,
    connections: Connections,
}

impl RunningServer {
    /// Goes on to answer, and says with every answer that no other will follow over the same connection: to be called when an end is near.
    pub fn leave(&self) {
        self.connections.leave();
    }

    /// Takes no more connections, answers what was asked over those it has, and lets them end for some seconds.
    pub async fn stop(self) {
        self.connections.close().await;
    }
}

/// Starts the server. Must be called inside an actix system.
pub fn start(context: ServerContext, settings: &ServerSettings) -> Result<RunningServer, String> {
    let (phase, ending) = watch::channel(Phase::Serving);
    let shared = Data::new(Shared::new(context, settings.clone(), ending));
    let connections = Connections::open(settings.listen, phase, move || service(shared.clone()));
    let listening = connections.and_then(|connections| Ok((connections.address()?, connections)));
    let (address, connections) = listening.map_err(|error| cannot_listen(settings.listen, &error))?;
    tracing::info!(%address, "listening for HTTP");
    Ok(RunningServer { address, connections })
}

/// What serves a connection.
fn service(shared: Data<Shared>) -> impl ServiceFactory<TcpStream, Config = (), Response = ()> {
    let stream = async |stream: TcpStream| {
        let peer = stream.peer_addr().ok();
        Ok::<_, DispatchError>((Timeouts::new(stream), Protocol::Http1, peer))
    };
    fn_service(stream).and_then(http(shared))
}

/// What answers the requests of a stream.
fn http<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    shared: Data<Shared>,
) -> impl ServiceFactory<
    (Timeouts<S>, Protocol, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
> {
    let (phase, until) = (shared.phase.clone(), shared.phase.clone());
    let app = App::new().app_data(shared).configure(routes::configure).wrap_fn(move |request, service| {
        // Whoever asks for another protocol is answered in this one, and then the connection is ended, which no setting changes.
        let upgrade = request.head().upgrade() || request.headers().contains_key(header::UPGRADE);
        let working = request.conn_data::<AtWork>().map(AtWork::begin);
        let (phase, answer) = (phase.clone(), service.call(request));
        async move {
            let mut answer = answer.await?.map_body(|_, body| timeouts::Watched::new(body, working));
            if upgrade || *phase.borrow() != Phase::Serving {
                answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
            }
            Ok(answer)
        }
    });
    let app = app.into_factory().map_err(|error| error.error_response());
    HttpService::build()
        .on_connect_ext(|stream: &Timeouts<S>, data| drop(data.insert(stream.at_work())))
        .graceful_shutdown_signal(move || Phase::over(until.clone()))
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(REQUEST)
        .client_disconnect_timeout(DISCONNECT)
        .finish(map_config(app, |()| AppConfig::default()))
}

/// Why there is no listening at this address, and what to do.
pub(crate) fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there: end it, or set `server.listen` to another port",
        io::ErrorKind::PermissionDenied => "this user may not: set `server.listen` to a port above 1023",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address: set `server.listen` to one it has",
        _ => "set `server.listen` to another address",
    };
    format!("cannot listen on {address} ({error}); {advice}")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net;

    use actix_web::http::StatusCode;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, sleep};

    use super::testing::{Ground, Setup};
    use super::*;
    use crate::settings::{ByteSize, Span};
    use crate::telemetry::health::Component;

    #[actix_rt::test]
    async fn readiness_tells_what_is_missing_and_liveness_does_not_care() {
        let ground = Ground::new(Setup::default()).await;
        let starting = ground.get("/health/ready").await;
        assert_eq!(starting.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(starting.json(), json!({"status": "starting", "components": {"pipeline": {"state": "starting"}}}));
        ground.health.ok(Component::Pipeline);
        let ready = ground.get("/health/ready").await;
        assert_eq!(ready.status, StatusCode::OK);
        assert_eq!(ready.json(), json!({"status": "ok", "components": {"pipeline": {"state": "ok"}}}));
        ground.health.unhealthy(Component::Provider, "401: check the key");
        let unhealthy = ground.get("/health/ready").await;
        assert_eq!(unhealthy.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(unhealthy.json()["components"]["provider"]["reason"], "401: check the key");
        ground.health.degraded(Component::Index, "Qdrant at http://h:6334: no answer");
        let index = ground.health.of(Component::Index);
        assert_eq!(ground.get("/health/ready").await.json()["components"]["index"], json!(index));
        let stats = ground.get("/v1/stats").await.json();
        let told = json!({"type": "qdrant", "graph_lag_points": 0, "state": "degraded", "reason": index.reason, "since": index.since});
        assert_eq!(stats["index"], told);
        ground.ending.send_replace(Phase::Leaving);
        let stopping = ground.get("/health/ready").await;
        assert_eq!(
            (stopping.status, &stopping.json()["status"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("stopping"))
        );
        let live = ground.get("/health/live").await;
        assert_eq!((live.status, live.json()), (StatusCode::OK, json!({"status": "ok"})));
    }

    #[actix_rt::test]
    async fn statistics_and_metrics_are_those_of_the_moment() {
        let ground = Ground::new(Setup::default()).await;
        ground.hold("p1", 1, &["Boots", "Leather", "Brown"]);
        let stats = ground.get("/v1/stats").await.json();
        assert_eq!((&stats["documents"], &stats["points"], &stats["dead_letters"]), (&json!(1), &json!(3), &json!(0)));
        assert_eq!((&stats["run"]["texts_sent"], &stats["total"]["texts_sent"]), (&json!(0), &json!(0)));
        assert_eq!(stats["provider"], json!({"model": "fake", "dimensions": 2, "state": "ok"}));
        let metrics = ground.get("/metrics").await;
        assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = String::from_utf8(metrics.body).unwrap();
        assert!(text.contains("\nvectide_documents 1\n") && text.contains("\nvectide_points 3\n"), "{text}");
    }

    #[actix_rt::test]
    async fn an_actor_that_panicked_is_shown_with_its_state_and_what_it_said() {
        let ground = Ground::new(Setup::default()).await;
        ground.actors.register("embedder");
        let batcher = ground.actors.register("batcher");
        batcher.panicked("index out of bounds");
        let actors = ground.get("/v1/stats").await.json()["actors"].take();
        assert_eq!(actors["embedder"], json!({"state": "running", "restarts": 0}));
        assert_eq!((&actors["batcher"]["state"], &actors["batcher"]["restarts"]), (&json!("restarting"), &json!(1)));
        assert_eq!(actors["batcher"]["last_panic"]["reason"], "index out of bounds");
        for state in ["restarting", "running"] {
            let metrics = String::from_utf8(ground.get("/metrics").await.body).unwrap();
            for each in ["running", "restarting", "stopped"] {
                let is = u8::from(each == state);
                let line = format!("\nvectide_actor_state{{actor=\"batcher\",state=\"{each}\"}} {is}\n");
                assert!(metrics.contains(&line), "{state}: {metrics}");
            }
            batcher.running();
        }
    }

    fn settings(listen: SocketAddr) -> ServerSettings {
        let wait_timeout = Span::new(Duration::from_secs(1));
        ServerSettings { listen, max_body: ByteSize::mebibytes(1), wait_timeout }
    }

    /// What is answered to a request until the connection ends.
    fn ask(mut stream: &net::TcpStream, request: &str) -> io::Result<String> {
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// One request over a real connection.
    async fn talk(address: SocketAddr, request: &'static str) -> io::Result<String> {
        let talk = move || ask(&net::TcpStream::connect(address)?, request);
        tokio::task::spawn_blocking(talk).await.unwrap()
    }

    #[actix_rt::test]
    async fn a_server_listens_until_it_is_stopped() {
        let ground = Ground::new(Setup::default()).await;
        let ledger = ground.ledger.clone();
        let (context, _folder) = ground.into_context();
        let server = start(context, &settings("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = server.address;
        assert_ne!(address.port(), 0);
        let request = "POST /v1/events HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 8\r\n\r\n{\"id\":1}";
        let answer = talk(address, request).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 202 Accepted") && answer.ends_with("{\"accepted\":1}"), "{answer}");
        assert_eq!(ledger.journal_of("api"), ["{\"id\":1}"]);
        server.stop().await;
        assert!(talk(address, request).await.is_err());
    }

    #[actix_rt::test]
    async fn who_asks_for_another_protocol_is_answered_in_this_one_and_told_that_the_connection_ends() {
        let ground = Ground::new(Setup::default()).await;
        let ledger = ground.ledger.clone();
        let (context, _folder) = ground.into_context();
        let server = start(context, &settings("127.0.0.1:0".parse().unwrap())).unwrap();
        // As Java sends it with the first request of every connection.
        let http_2 = "POST /v1/events HTTP/1.1\r\nconnection: Upgrade, HTTP2-Settings\r\nhost: a\r\nhttp2-settings: AAMAAABk\r\n\
                      upgrade: h2c\r\ncontent-length: 8\r\n\r\n{\"id\":1}";
        let answer = talk(server.address, http_2).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 202 Accepted") && answer.ends_with("{\"accepted\":1}"), "{answer}");
        assert!(answer.contains("\nconnection: close\r\n"), "{answer}");
        // Its body is taken for a stream without an end, whatever its length.
        let web_socket = "POST /v1/events HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                          content-length: 8\r\n\r\n{\"id\":2}";
        let answer = talk(server.address, web_socket).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request") && answer.contains("no WebSocket"), "{answer}");
        assert!(answer.contains("\nconnection: close\r\n"), "{answer}");
        assert_eq!(ledger.journal_of("api"), ["{\"id\":1}"]);
        server.stop().await;
    }

    #[actix_rt::test]
    async fn a_server_that_stops_answers_whoever_is_connected_once_more() {
        let (context, _folder) = Ground::new(Setup::default()).await.into_context();
        let server = start(context, &settings("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = server.address;
        let callers: Vec<_> = (0..100).map(|_| net::TcpStream::connect(address).unwrap()).collect();
        let asked = server.connections.subscribe();
        let ask = tokio::task::spawn_blocking(move || {
            while *asked.borrow() != Phase::Closing {
                std::thread::yield_now();
            }
            // Whoever asks nothing is let go after a while, so all ask before any listens.
            for mut caller in &callers {
                caller.write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            }
            callers.into_iter().map(|caller| io::read_to_string(caller).unwrap()).collect::<Vec<_>>()
        });
        let ((), answers) = tokio::join!(server.stop(), ask);
        for answer in answers.unwrap() {
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\nconnection: close"), "{answer}");
        }
        assert!(net::TcpStream::connect(address).is_err());
    }

    #[actix_rt::test]
    async fn a_server_that_will_stop_says_with_every_answer_that_it_is_the_last() {
        let (context, _folder) = Ground::new(Setup::default()).await.into_context();
        let server = start(context, &settings("127.0.0.1:0".parse().unwrap())).unwrap();
        let caller = net::TcpStream::connect(server.address).unwrap();
        let (first, caller) = tokio::task::spawn_blocking(move || {
            (&caller).write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            let mut answer = [0; 1_000];
            let length = (&caller).read(&mut answer).unwrap();
            (String::from_utf8_lossy(&answer[..length]).into_owned(), caller)
        })
        .await
        .unwrap();
        assert!(first.starts_with("HTTP/1.1 200 OK") && !first.contains("close"), "{first}");
        server.leave();
        let again = move || ask(&caller, "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let last = tokio::task::spawn_blocking(again).await.unwrap();
        assert!(last.starts_with("HTTP/1.1 200 OK") && last.contains("\nconnection: close"), "{last}");
        server.stop().await;
    }

    #[actix_rt::test]
    async fn a_caller_who_reads_nothing_is_left() {
        let ground = Ground::new(Setup::default()).await;
        tokio::time::pause();
        let service = http(ground.shared()).new_service(()).await.unwrap();
        let (near, mut far) = duplex(1_000);
        let connection = service.call((Timeouts::new(near), Protocol::Http1, None));
        far.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let error = connection.await.unwrap_err();
        assert!(matches!(&error, DispatchError::Io(error) if error.kind() == io::ErrorKind::TimedOut), "{error}");
    }

    #[actix_rt::test]
    async fn a_connection_is_left_over_which_no_whole_request_comes_any_more() {
        let ground = Ground::new(Setup::default()).await;
        tokio::time::pause();
        let service = http(ground.shared()).new_service(()).await.unwrap();
        let get = "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";
        let refused = "POST /nowhere HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
        for (case, more) in [("half a head", "G"), ("a body without its end", refused)] {
            let (near, mut far) = duplex(10_000);
            let connection = service.call((Timeouts::new(near), Protocol::Http1, None));
            let caller = async {
                // As long as requests come it stays.
                for _ in 0..20 {
                    far.write_all(get.as_bytes()).await.unwrap();
                    sleep(Duration::from_secs(4)).await;
                }
                far.write_all(more.as_bytes()).await.unwrap();
                let began = Instant::now();
                let mut answers = String::new();
                far.read_to_string(&mut answers).await.unwrap();
                (answers.matches("HTTP/1.1 200").count(), began.elapsed())
            };
            let (_, (answers, took)) = tokio::join!(connection, caller);
            assert!(answers == 20 && took <= Duration::from_secs(16), "{case}: {answers}, {took:?}");
        }
    }

    #[actix_rt::test]
    async fn what_a_large_answer_takes_comes_back_when_its_caller_reads_it_or_is_left() {
        let ground = Ground::new(Setup::default()).await;
        ground.hold("p1", 1, &["Boots"; 2_000]);
        tokio::time::pause();
        let room = || ground.shared().answers.room();
        let all = room();
        let service = http(ground.shared()).new_service(()).await.unwrap();
        for reads in [true, false] {
            let (near, mut far) = duplex(1_000);
            let connection = service.call((Timeouts::new(near), Protocol::Http1, None));
            let caller = async {
                far.write_all(b"GET /v1/documents/p1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
                far.read_u8().await.unwrap();
                assert!(room() < all);
                let mut answer = Vec::new();
                if reads {
                    far.read_to_end(&mut answer).await.unwrap();
                }
                (answer.len(), far)
            };
            let (connection, (answer, _far)) = tokio::join!(connection, caller);
            assert_eq!((connection.is_ok(), answer > 128 << 10, room()), (reads, reads, all));
        }
    }

    #[actix_rt::test]
    async fn a_port_in_use_is_named_with_its_setting() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let (context, _folder) = Ground::new(Setup::default()).await.into_context();
        let Err(error) = start(context, &settings(address)) else { panic!("the port is taken") };
        assert!(error.contains(&address.to_string()) && error.contains("`server.listen`"), "{error}");
        assert!(error.contains("another program listens there"), "{error}");
    }
}
