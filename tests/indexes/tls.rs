//! Every index over TLS: a server is trusted for the authority that `ca_file` names, or for one that the system trusts, and for no other;
//! and only where its certificate is for the host that was asked for.

use std::path::Path;

use futures_util::TryFutureExt;
use serde::de::DeserializeOwned;
use serde_json::json;
use vectide::index::external::collection::{Collection, CollectionError, Established, Nearest};
use vectide::index::external::inspect::Inspect;
use vectide::testkit::index_contract::points::{DIMENSIONS, point};
use vectide::testkit::index_contract::{assert_same, block_on};

use crate::certificates::{Beginning, Certificates, ELSEWHERE};
use crate::pinecone::stub::{KEY, Stub};
use crate::pipeline::{Pipeline, sound};
use crate::points::near;

/// A server that is reached over TLS, as the settings of its index say it. Without braces, authority and collection.
struct Reached {
    kind: &'static str,
    settings: String,
    /// As `settings`, for ways that show the certificate of another host.
    misplaced: Vec<String>,
    /// Settings beside which an authority is named in vain.
    plain: &'static [&'static str],
}

impl Reached {
    fn is_used_for_its_authority_alone<S: DeserializeOwned, C: Inspect>(
        &self,
        certificates: &Certificates,
        make: impl Fn(&S, &str, usize) -> Result<C, String>,
    ) {
        let made = |settings: &str| make(&serde_yaml::from_str(settings).unwrap(), "tls", DIMENSIONS);
        let with = |more: &str| made(&format!("{{ {}, collection: named, {more} }}", self.settings));
        let trusting = |file: &Path| with(&format!("ca_file: '{}'", file.display())).unwrap();
        block_on(async {
            let trusted = trusting(&certificates.authority());
            assert_eq!(trusted.establish().await, Ok(Established::Created));
            let points = [point("a", 0, &json!({ "price": 1 }), 1), point("b", 0, &json!({ "price": 2 }), 2)];
            trusted.upsert(&points).await.unwrap();
            assert_same(trusted.fetch(&[points[0].id, points[1].id]).await.unwrap(), &[&points[0], &points[1]]);
            let nearest = Nearest { vector: &points[0].vector, filter: None, limit: 1 };
            assert_eq!(near(&trusted, nearest.clone()).await.unwrap()[0].document, points[0].document);
            for stranger in [trusting(&certificates.stranger()), with("").unwrap()] {
                let refused = stranger.establish().await.unwrap_err();
                let CollectionError::Unavailable { reason, .. } = &refused else { panic!("{refused:?}") };
                assert!(reason.contains("invalid peer certificate: UnknownIssuer"), "{reason}");
            }
            assert!(!self.misplaced.is_empty());
            for settings in &self.misplaced {
                let ca_file = certificates.authority();
                let misplaced =
                    made(&format!("{{ {settings}, collection: named, ca_file: '{}' }}", ca_file.display())).unwrap();
                let refused = misplaced.establish().and_then(|_| misplaced.nearest(nearest.clone())).await.unwrap_err();
                let CollectionError::Unavailable { reason, .. } = &refused else { panic!("{refused:?}") };
                assert_names_the_other_host(reason);
            }
        });
        let nothing = with("ca_file: /no/such/file").err().unwrap();
        assert!(nothing.starts_with("index.ca_file: cannot be read"), "{nothing}");
        let ca_file = certificates.authority();
        let plain =
            self.plain.iter().map(|settings| made(&format!("{{ {settings}, ca_file: '{}' }}", ca_file.display())));
        for in_vain in plain {
            let told = in_vain.err().unwrap();
            assert!(
                told.starts_with("index.ca_file: is set, and") && told.contains("asks for no encryption"),
                "{told}"
            );
        }
    }

    /// OpenSSL's variable says what the system trusts. Where `ca_file` is set, it does not count.
    fn is_used_for_the_systems_authorities(&self, certificates: &Certificates) {
        let mut pipeline = Pipeline::new();
        pipeline.write("input.jsonl", sound("a"));
        pipeline.set(format!("index={{ type: {}, collection: trusted, {} }}", self.kind, self.settings));
        pipeline.set_variable("SSL_CERT_FILE", certificates.authority());
        let ended = pipeline.run_well();
        assert!(ended.said.contains("1 indexed"), "{}", ended.said);
        pipeline.set(format!("index.ca_file={}", certificates.stranger().display()));
        let check = pipeline.command(&["check", "--connect"]).output().unwrap();
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(!check.status.success() && said.contains("invalid peer certificate"), "{said}");
        pipeline.set(format!("index={{ type: {}, collection: trusted, {} }}", self.kind, self.misplaced[0]));
        let check = pipeline.command(&["check", "--connect"]).output().unwrap();
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(!check.status.success(), "{said}");
        assert_names_the_other_host(&said);
    }
}

/// In words, with the host that was asked for and the one that the certificate is for.
#[track_caller]
fn assert_names_the_other_host(told: &str) {
    let parts = ["certificate not valid for name \"127.0.0.1\"", ELSEWHERE];
    assert!(parts.iter().all(|part| told.contains(part)), "{told}");
}

fn host_of(url: &str) -> &str {
    url.strip_prefix("http://").unwrap()
}

/// A system that has one address, of gRPC.
fn by_grpc(kind: &'static str, certificates: &Certificates, server: &str) -> Reached {
    let settings = |at: String| format!("url: 'https://{at}'");
    Reached {
        kind,
        settings: settings(certificates.relay(server, Beginning::Tls)),
        misplaced: vec![settings(certificates.misplaced_relay(server, Beginning::Tls))],
        plain: &["url: 'http://h'"],
    }
}

#[cfg(feature = "pgvector")]
#[test]
fn postgresql_is_used_over_tls() {
    use crate::server::Server;
    use vectide::index::pgvector::PgvectorTable;
    let Some(certificates) = Certificates::make() else { return };
    let Some(server) = Server::start("pgvector.sh") else { return };
    let (_, place) = server.address.split_once('@').unwrap();
    let (host, database) = place.split_once('/').unwrap();
    // This PostgreSQL was built without OpenSSL.
    let relay = certificates.relay(host, Beginning::Postgres);
    let misplaced = certificates.misplaced_relay(host, Beginning::Postgres);
    let settings = |at: &str, mode| format!("url: 'postgres://postgres@{at}/{database}{mode}', password: secret");
    let postgres = Reached {
        kind: "pgvector",
        settings: settings(&relay, ""),
        misplaced: vec![settings(&misplaced, "")],
        plain: &["url: 'postgres://u@h/d?sslmode=disable'"],
    };
    postgres.is_used_for_its_authority_alone(&certificates, PgvectorTable::new);
    postgres.is_used_for_the_systems_authorities(&certificates);
    // Whoever names an authority insists on TLS.
    let insisting = |at: &str| {
        let settings = format!("{{ {}, ca_file: '{}' }}", settings(at, ""), certificates.authority().display());
        PgvectorTable::new(&serde_yaml::from_str(&settings).unwrap(), "insisting", DIMENSIONS).unwrap()
    };
    block_on(async {
        assert_eq!(insisting(&relay).establish().await, Ok(Established::Created));
        let refused = insisting(host).look().await.unwrap_err();
        assert!(refused.to_string().contains("server does not support TLS"), "{refused}");
    });
}

#[cfg(feature = "qdrant")]
#[test]
fn qdrant_is_used_over_tls() {
    use crate::server::Server;
    use vectide::index::qdrant::Qdrant;
    let Some(certificates) = Certificates::make() else { return };
    let Some(server) = Server::start("qdrant.sh") else { return };
    let qdrant = by_grpc("qdrant", &certificates, host_of(&server.address));
    qdrant.is_used_for_its_authority_alone(&certificates, Qdrant::new);
    qdrant.is_used_for_the_systems_authorities(&certificates);
}

#[cfg(feature = "milvus")]
#[test]
fn milvus_is_used_over_tls() {
    use crate::server::Server;
    use vectide::index::milvus::Milvus;
    let Some(certificates) = Certificates::make() else { return };
    let Some(server) = Server::start("milvus.sh") else { return };
    let milvus = by_grpc("milvus", &certificates, host_of(&server.address));
    milvus.is_used_for_its_authority_alone(&certificates, Milvus::new);
    milvus.is_used_for_the_systems_authorities(&certificates);
}

#[cfg(feature = "weaviate")]
#[test]
fn weaviate_is_used_over_tls() {
    use crate::server::Server;
    use vectide::index::weaviate::WeaviateClass;
    let Some(certificates) = Certificates::make() else { return };
    let Some(server) = Server::start("weaviate.sh") else { return };
    let (rest, grpc) = server.address.split_once(' ').unwrap();
    let (rest, grpc) = (host_of(rest), host_of(grpc));
    let [misplaced_rest, misplaced_grpc] = [rest, grpc].map(|host| certificates.misplaced_relay(host, Beginning::Tls));
    let [rest, grpc] = [rest, grpc].map(|host| certificates.relay(host, Beginning::Tls));
    let settings =
        |rest: &str, grpc: &str| format!("url: 'https://{rest}', grpc_url: 'https://{grpc}', api_key: secret");
    let weaviate = Reached {
        kind: "weaviate",
        settings: settings(&rest, &grpc),
        misplaced: vec![settings(&misplaced_rest, &grpc), settings(&rest, &misplaced_grpc)],
        plain: &["url: 'http://h'", "url: 'https://h', grpc_url: 'http://h:1'"],
    };
    weaviate.is_used_for_its_authority_alone(&certificates, WeaviateClass::new);
    weaviate.is_used_for_the_systems_authorities(&certificates);
}

#[test]
fn pinecone_is_used_over_tls() {
    use vectide::index::pinecone::PineconeIndex;
    let Some(certificates) = Certificates::make() else { return };
    let stub = Stub::start();
    let host = host_of(&stub.url()).to_owned();
    let (relay, misplaced) =
        (certificates.relay(&host, Beginning::Tls), certificates.misplaced_relay(&host, Beginning::Tls));
    stub.is_reached_at(&relay);
    let settings = |at: &str| format!("url: 'https://{at}', api_key: {KEY}");
    let pinecone = Reached {
        kind: "pinecone",
        settings: settings(&relay),
        misplaced: vec![settings(&misplaced)],
        plain: &["url: 'http://h', api_key: k"],
    };
    pinecone.is_used_for_its_authority_alone(&certificates, PineconeIndex::new);
    pinecone.is_used_for_the_systems_authorities(&certificates);
}
