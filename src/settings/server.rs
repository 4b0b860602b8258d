//! The `server` section: the HTTP address.

use std::fmt;
use std::net::SocketAddr;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

use super::units::{ByteSize, Span};

/// The HTTP address for events, search, health and metrics.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// IP address and port, not a host name. Vectide asks for no password: keep it on `127.0.0.1` or behind a proxy.
    #[serde(default = "default_listen", deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// The largest request body, after decompression; a larger one is answered 413.
    #[serde(default = "default_max_body")]
    pub max_body: ByteSize,
    /// How long `?wait=indexed` waits before it answers 202.
    #[serde(default = "default_wait_timeout")]
    pub wait_timeout: Span,
}

/// By hand for the sake of the error: the standard one shows no example.
fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    struct Address;

    impl Visitor<'_> for Address {
        type Value = SocketAddr;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an IP address and port like `127.0.0.1:9090`")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<SocketAddr, E> {
            text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_str(Address)
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9090))
}

fn default_max_body() -> ByteSize {
    ByteSize::mebibytes(16)
}

fn default_wait_timeout() -> Span {
    Span::new(std::time::Duration::from_secs(30))
}
