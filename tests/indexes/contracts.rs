//! The APIs that others published, held up to what was sent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, OnceLock};

use crate::http::Request;
use crate::server::Server;

/// In the order in which `tests/servers/contracts.sh` serves them.
#[derive(Debug, Clone, Copy)]
pub enum Contract {
    PineconeIndex,
    PineconeApi,
    Weaviate,
}

/// A validator that knows all contracts.
pub struct Contracts(String);

impl Contracts {
    /// One for all tests; it ends with the process.
    pub fn get() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<(Mutex<Server>, Contracts)>> = OnceLock::new();
        let server = SERVER.get_or_init(|| {
            let server = Server::start("contracts.sh")?;
            let address = server.address.strip_prefix("http://").unwrap().to_owned();
            Some((Mutex::new(server), Self(address)))
        });
        server.as_ref().map(|(_, contracts)| contracts)
    }

    /// What the contract says against a request for this target.
    pub fn violations(&self, contract: Contract, target: &str, request: &Request) -> Option<String> {
        let (host, port) = self.0.split_once(':').unwrap();
        let port = port.parse::<u16>().unwrap() + contract as u16;
        let mut stream = TcpStream::connect((host, port)).unwrap();
        let mut head = format!("{} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", request.method);
        let own = |name: &str| matches!(name, "host" | "content-length" | "connection");
        for (name, value) in request.headers.iter().filter(|(name, _)| !own(name)) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", request.body.len()));
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&request.body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let head = answer.split("\r\n\r\n").next().unwrap();
        let violations = head.lines().find_map(|line| line.strip_prefix("sl-violations: "));
        let refused = head.split(' ').nth(1).unwrap().starts_with('4').then_some(head);
        violations.or(refused).map(str::to_owned)
    }
}
