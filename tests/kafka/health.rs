//! What whoever asks is told of a source: over HTTP, while the process runs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::broker::{lend, products};
use crate::provider::Provider;

#[test]
fn lag_and_what_is_wrong_are_shown_to_whoever_asks() {
    let Some(mut broker) = lend() else { return };
    let provider = Provider::new();
    let topic = broker.topic(1);
    let mut pipeline = broker.pipeline(&topic, &provider);
    pipeline.set("server={listen: '127.0.0.1:0'}");
    broker.produce_all(&topic, &products(120));
    provider.close_at(1);
    let mut run = pipeline.start();
    let address = run.wait_for_address();
    let lag = |records: u32| format!("vectide_source_lag{{partition=\"{topic}[0]\",source=\"events\"}} {records}\n");
    run.wait_until("nothing is settled", || get(address, "/metrics").contains(&lag(120)));
    provider.open();
    run.wait_until("everything is settled", || get(address, "/metrics").contains(&lag(0)));
    assert!(!get(address, "/health/ready").contains("sources"));
    broker.kill();
    run.wait_until("it says what is wrong", || {
        let health = get(address, "/health/ready");
        health.starts_with("HTTP/1.1 200") && health.contains("\"sources\":{\"events\":\"no broker can be reached")
    });
    broker.restart();
    run.wait_until("it says that it is over", || !get(address, "/health/ready").contains("sources"));
}

/// The whole answer, head and body.
pub fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
