//! Pinecone's published contract, held up to what was sent.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::server::Server;

use super::stub::Request;

pub struct Prism {
    server: Server,
}

impl Prism {
    pub fn start() -> Option<Self> {
        Server::start("pinecone_contract.sh").map(|server| Self { server })
    }

    /// What the contract says against a request.
    pub fn violations(&self, request: &Request) -> Option<String> {
        let (host, port) = self.server.address.strip_prefix("http://").unwrap().split_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        let (port, target) = match request.target.strip_prefix("/host/products") {
            Some(target) => (port, target),
            None => (port + 1, request.target.as_str()),
        };
        let mut stream = TcpStream::connect((host, port)).unwrap();
        let mut head = format!("{} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", request.method);
        for (name, value) in request
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "host" | "content-length" | "connection"))
        {
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
