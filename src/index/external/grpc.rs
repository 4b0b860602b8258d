//! gRPC to the systems that outside indexes live in. Messages are structs written by hand from the systems' published field numbers, so the
//! build needs no `protoc`; fields that are not named are skipped, so newer servers may answer more.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::http_client::with_causes;
use crate::settings::Secret;

use super::authorities;
use super::collection::CollectionError;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes that are read of an answer. The largest are points with their vectors.
const MAX_ANSWER: usize = 256 << 20;

/// One server. Its calls share a connection, which the first call opens; one that broke, or on which a call had no answer in time, is
/// left for a new one.
///
/// Nothing is compressed: vectors are most of what is sent, and floats of embeddings do not get smaller.
pub struct Client {
    endpoint: Endpoint,
    /// Works on the Tokio runtime of the call that opened it, and can be used from others.
    channel: Mutex<Option<Channel>>,
    header: Option<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
    timeout: Duration,
}

impl Client {
    /// For the server at `index.url`, which with `https` is trusted by the authorities in `ca_file`, or the system's; every call carries
    /// the header and takes at most `timeout`. Opens no connection.
    ///
    /// # Errors
    /// Names the setting and what to do. Never shows the address, which may hold a secret, nor the header's value.
    pub fn new(
        url: &str,
        ca_file: Option<&Path>,
        header: Option<(&'static str, Secret)>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let header = header.map(|(name, value)| {
            let mut value: MetadataValue<Ascii> = value.reveal().parse().map_err(|_| {
                "index.api_key: it has a character that no header may have, such as a line end".to_owned()
            })?;
            value.set_sensitive(true);
            Ok::<_, String>((MetadataKey::from_static(name), value))
        });
        Ok(Self { endpoint: endpoint(url, ca_file)?, channel: Mutex::new(None), header: header.transpose()?, timeout })
    }

    /// The server's host and port, for people.
    pub fn address(&self) -> &str {
        self.endpoint.uri().authority().map_or("", |authority| authority.as_str())
    }

    /// How long a call may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// One question, one answer. `path` is `/package.Service/Method`.
    ///
    /// # Errors
    /// What the server said, or `UNAVAILABLE` and `DEADLINE_EXCEEDED` when it could not be asked or was silent.
    pub async fn unary<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let channel = self.channel.lock().get_or_insert_with(|| self.endpoint.connect_lazy()).clone();
        let mut request = Request::new(question);
        if let Some((name, value)) = &self.header {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        let call = async {
            let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(request, PathAndQuery::from_static(path), codec).await
        };
        // Around all of it: a limit of the channel would not count the time in which it connects. A call that is dropped is cancelled,
        // which the server learns.
        let answer = match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => {
                let call = path.rsplit('/').next().unwrap_or(path);
                Err(Status::deadline_exceeded(format!("no answer to {call} in {:?} (`index.timeout`)", self.timeout)))
            }
        };
        // A firewall may have forgotten the connection, which nobody tells; it would stay silent for a quarter of an hour.
        if answer.as_ref().is_err_and(|status| status.code() == Code::DeadlineExceeded || status.source().is_some()) {
            *self.channel.lock() = None;
        }
        answer
    }
}

/// What a status means wherever the system in question gives it no meaning of its own. `system` is its name; where it is, the collection's
/// place says before every error.
pub fn judge(status: &Status, system: &str) -> CollectionError {
    let told = told(status);
    match status.code() {
        Code::Unauthenticated => {
            CollectionError::Fatal(format!("{system} does not accept the key; check `index.api_key`: {told}"))
        }
        Code::PermissionDenied => CollectionError::Fatal(format!(
            "{system} does not let this key do it; give it the right to read and write the collection: {told}"
        )),
        Code::Unimplemented => CollectionError::Fatal(format!(
            "what answers as {system} does not know this call: is `index.url` the address of its gRPC port, and the server new enough? {told}"
        )),
        Code::InvalidArgument | Code::OutOfRange => CollectionError::OneRefused(format!("{system} refused it: {told}")),
        // Go, Python and C++ servers say so of a message above their limit, which a smaller one is not.
        Code::ResourceExhausted if told.contains("larger than max") => {
            CollectionError::OneRefused(format!("{system} takes no message so large: {told}"))
        }
        Code::NotFound => CollectionError::Missing(format!("{system} does not have it: {told}")),
        _ => CollectionError::Unavailable { reason: told, after: retry_after(status) },
    }
}

/// The server's words and what caused the error here, on one line.
pub fn told(status: &Status) -> String {
    let own = if status.message().is_empty() {
        status.code().description().to_owned()
    } else {
        status.message().replace('\n', " ")
    };
    with_causes(own, status)
}

/// The server's wish in whole seconds.
fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.metadata().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn endpoint(url: &str, ca_file: Option<&Path>) -> Result<Endpoint, String> {
    let wrong = |what: &str| format!("index.url: {what}; write it like `http://127.0.0.1:6334`");
    let uri: Uri = url.parse().map_err(|_| wrong("is no address"))?;
    let https = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("must start with `http://` or `https://`")),
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("index.url: it holds a name or a password; put the key into `index.api_key`".into());
    }
    if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
        return Err(wrong("must end after the port: gRPC has no paths of one's own"));
    }
    let endpoint = Endpoint::from(uri)
        .user_agent(concat!("vectide/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| wrong(&error.to_string()))?
        .connect_timeout(CONNECT_TIMEOUT);
    authorities::not_in_vain(ca_file, https, "`index.url`")?;
    if !https {
        return Ok(endpoint);
    }
    let tls = match ca_file {
        Some(file) => ClientTlsConfig::new().trust_anchors(authorities::read(file)?.roots),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    endpoint.tls_config(tls).map_err(|error| with_causes(format!("index.url: cannot prepare https: {error}"), &error))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for (url, expected) in [
            ("http://127.0.0.1:19530", Ok("127.0.0.1:19530")),
            ("http://milvus:19530/", Ok("milvus:19530")),
            ("127.0.0.1:19530", Err("http://")),
            ("grpc://127.0.0.1:19530", Err("http://")),
            ("http://", Err("no address")),
            ("http://a b", Err("no address")),
            ("http://root:hunter2@milvus:19530", Err("index.api_key")),
            ("http://milvus:19530/v1", Err("after the port")),
        ] {
            match (Client::new(url, None, None, SECOND), expected) {
                (Ok(client), Ok(address)) => assert_eq!(client.address(), address),
                (Err(error), Err(part)) => {
                    assert!(error.starts_with("index.url: ") && error.contains(part), "{url}: {error}");
                    assert!(!error.contains("hunter2"), "{error}");
                }
                (found, _) => panic!("{url}: {:?}", found.map(|client| client.address().to_owned())),
            }
        }
    }

    #[test]
    fn a_key_that_no_header_can_hold_is_not_shown() {
        let error = Client::new("http://a:1", None, Some(("api-key", Secret::new("hunter2\n"))), SECOND).err().unwrap();
        assert!(error.starts_with("index.api_key: ") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_status_is_judged_by_what_helps() {
        let verdict = |code, message: &str| judge(&Status::new(code, message), "Milvus");
        for code in [Code::Unavailable, Code::Internal, Code::Unknown, Code::DeadlineExceeded, Code::Aborted] {
            assert!(matches!(verdict(code, "x"), CollectionError::Unavailable { .. }), "{code:?}");
        }
        assert!(
            matches!(verdict(Code::Unauthenticated, "x"), CollectionError::Fatal(text) if text.contains("index.api_key"))
        );
        assert!(matches!(verdict(Code::InvalidArgument, "x"), CollectionError::OneRefused(_)));
        assert!(matches!(verdict(Code::NotFound, "x"), CollectionError::Missing(_)));
        let large = "Received message larger than max (9 vs. 4)";
        assert!(matches!(verdict(Code::ResourceExhausted, large), CollectionError::OneRefused(_)));
        assert!(matches!(
            verdict(Code::ResourceExhausted, "slow down"),
            CollectionError::Unavailable { after: None, .. }
        ));

        let mut limited = Status::resource_exhausted("slow down");
        limited.metadata_mut().insert("retry-after", MetadataValue::from_static("7"));
        let CollectionError::Unavailable { after, .. } = judge(&limited, "Qdrant") else { panic!() };
        assert_eq!(after, Some(Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn nobody_there_and_a_silent_server_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = |timeout| Client::new(&url, None, None, Duration::from_millis(timeout)).unwrap();
        let ask = async |client: &Client| client.unary::<(), ()>("/a.B/C", ()).await.unwrap_err();
        let impatient = client(200);
        // The system takes the connection; nobody ever answers on it, and the next call does not rely on it.
        for _ in 0..2 {
            let silent = ask(&impatient).await;
            assert!(
                silent.code() == Code::DeadlineExceeded
                    && silent.message() == "no answer to C in 200ms (`index.timeout`)",
                "{silent:?}"
            );
        }
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_ok() && listener.accept().is_ok(), "there were two connections");
        drop(listener);
        let nobody = ask(&client(60_000)).await;
        assert!(nobody.code() == Code::Unavailable && told(&nobody).contains("refused"), "{}", told(&nobody));
    }
}
