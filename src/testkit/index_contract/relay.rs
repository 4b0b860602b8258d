//! A network between Vectide and a server that can be slow: what the server answers is held back.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// The address with its port replaced.
pub fn with_port(address: &str, port: &dyn Fn(u16) -> u16) -> String {
    let begin = address.rfind(':').unwrap() + 1;
    let end = address[begin..].find(|letter: char| !letter.is_ascii_digit()).map_or(address.len(), |end| begin + end);
    let old: u16 = address[begin..end].parse().unwrap();
    format!("{}{}{}", &address[..begin], port(old), &address[end..])
}

/// Passes on what comes to its ports.
#[derive(Default)]
pub struct Relay {
    gate: Arc<Gate>,
    /// By the port that they lead to.
    ports: Mutex<HashMap<u16, u16>>,
}

#[derive(Default)]
struct Gate {
    held: Mutex<bool>,
    changed: Condvar,
}

impl Relay {
    /// A port that leads to this one of the same machine.
    pub fn to(&self, server: u16) -> u16 {
        *self.ports.lock().unwrap().entry(server).or_insert_with(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let gate = self.gate.clone();
            // As long as the process: connections are few, and it listens on this machine only.
            std::thread::spawn(move || {
                for client in listener.incoming().map_while(Result::ok) {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                    let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                    std::thread::spawn(move || pass(forth, server, None));
                    let gate = gate.clone();
                    std::thread::spawn(move || pass(back, client, Some(&gate)));
                }
            });
            port
        })
    }

    /// From now on no answer comes through, or all that were held back and every later one.
    pub fn hold(&self, held: bool) {
        *self.gate.held.lock().unwrap() = held;
        self.gate.changed.notify_all();
    }
}

/// To the end of either, which becomes that of the other.
fn pass(mut from: TcpStream, mut to: TcpStream, gate: Option<&Gate>) {
    let mut bytes = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if let Some(gate) = gate {
            drop(gate.changed.wait_while(gate.held.lock().unwrap(), |held| *held).unwrap());
        }
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    // Whoever is gone already need not be told.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
