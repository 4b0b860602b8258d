//! The source `kafka` with a real broker, through the binary: what is delivered, what it costs, and what goes wrong on the way.
//!
//! One broker serves all tests, one after the other, because they kill it and cut it off. Where it is not installed the tests say so and
//! pass; `tests/servers/kafka.sh install` installs it.

mod acceptance;
mod broker;
mod delivery;
mod faults;
mod health;
#[allow(dead_code)]
#[path = "../faults/pipeline.rs"]
mod pipeline;
#[path = "../servers/ports.rs"]
mod ports;
#[allow(dead_code)]
#[path = "../faults/provider.rs"]
mod provider;
mod proxy;
mod rebalance;
#[cfg(feature = "kafka-tls")]
mod security;
