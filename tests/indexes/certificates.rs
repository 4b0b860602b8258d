//! TLS before a server that speaks none: a certificate that was made for this test, and the server behind it.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// How `tests/servers/certificates.sh` ends when it cannot make any.
const NO_OPENSSL: i32 = 69;

/// What PostgreSQL's clients ask before they speak TLS, and the answer that it may begin.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GO_ON: &[u8] = b"S";

/// How a connection begins.
#[derive(Clone, Copy, PartialEq)]
pub enum Beginning {
    /// With TLS.
    Tls,
    /// With the question of PostgreSQL's clients whether there is TLS.
    Postgres,
}

/// A host that the certificate of a misplaced relay is for.
pub const ELSEWHERE: &str = "elsewhere.example";

/// The certificates that relays show, and the authorities that made them or did not.
pub struct Certificates(TempDir);

impl Certificates {
    /// New ones; none, and a line that says why, where they cannot be made.
    pub fn make() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/certificates.sh");
        let made = Command::new(script).arg(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        if made.status.code() == Some(NO_OPENSSL) {
            // Not through `println!`, which a passing test swallows.
            std::io::stderr().write_all(format!("SKIPPED: no certificates can be made: {said}").as_bytes()).unwrap();
            return None;
        }
        assert!(made.status.success(), "{said}");
        Some(Self(folder))
    }

    /// The authority that made the certificates of relays.
    pub fn authority(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// One that made none.
    pub fn stranger(&self) -> PathBuf {
        self.0.path().join("other-ca.pem")
    }

    /// A way with TLS to the server at this host and port, until the process ends; says its own.
    pub fn relay(&self, server: &str, beginning: Beginning) -> String {
        self.relay_that_shows("server", server, beginning)
    }

    /// As [`Certificates::relay`], with a certificate of the same authority that is for [`ELSEWHERE`].
    pub fn misplaced_relay(&self, server: &str, beginning: Beginning) -> String {
        self.relay_that_shows("elsewhere", server, beginning)
    }

    fn relay_that_shows(&self, certificate: &str, server: &str, beginning: Beginning) -> String {
        let file = |kind| self.0.path().join(certificate).with_extension(kind);
        let chain = CertificateDer::pem_file_iter(file("pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
        let cryptography = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(cryptography).with_safe_default_protocol_versions().unwrap();
        let mut config =
            config.with_no_client_auth().with_single_cert(chain.map(Result::unwrap).collect(), key).unwrap();
        // gRPC insists on the first; the clients of REST offer the second only.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = server.to_owned();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let (acceptor, server) = (acceptor.clone(), server.clone());
                    // A client that does not trust the certificate ends the connection.
                    tokio::spawn(async move { pass_on(client, &acceptor, &server, beginning).await });
                }
            });
        });
        address
    }
}

async fn pass_on(
    mut client: TcpStream,
    acceptor: &TlsAcceptor,
    server: &str,
    beginning: Beginning,
) -> std::io::Result<()> {
    if beginning == Beginning::Postgres {
        let mut question = [0; SSL_REQUEST.len()];
        client.read_exact(&mut question).await?;
        assert_eq!(question, SSL_REQUEST, "it does not ask for TLS");
        client.write_all(GO_ON).await?;
    }
    let mut client = acceptor.accept(client).await?;
    let mut server = TcpStream::connect(server).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
