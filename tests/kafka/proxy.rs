//! The network between clients and the broker, which can be cut.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// See the module. Whoever connects speaks with the broker.
pub struct Proxy {
    address: SocketAddr,
    network: Arc<Mutex<Network>>,
}

#[derive(Default)]
struct Network {
    is_cut: bool,
    open: Vec<TcpStream>,
}

impl Proxy {
    /// A way to this port.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let network = Arc::<Mutex<Network>>::default();
        let shared = network.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                // A connection that cannot be made is closed, as one whose network is cut.
                let _ = client.and_then(|client| connect(client, port, &shared));
            }
        });
        Self { address, network }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends all connections, and lets nobody through until [`Proxy::mend`].
    pub fn cut(&self) {
        let mut network = self.network.lock().unwrap();
        network.is_cut = true;
        for stream in network.open.drain(..) {
            // It may have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.network.lock().unwrap().is_cut = false;
    }
}

fn connect(client: TcpStream, port: u16, network: &Mutex<Network>) -> io::Result<()> {
    let mut network = network.lock().unwrap();
    if network.is_cut {
        return Ok(());
    }
    let broker = TcpStream::connect(("127.0.0.1", port))?;
    for (from, to) in [(client.try_clone()?, broker.try_clone()?), (broker.try_clone()?, client.try_clone()?)] {
        std::thread::spawn(move || {
            let (mut from, mut to) = (from, to);
            // However it ends, the other side sees the end.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    network.open.extend([client, broker]);
    Ok(())
}
