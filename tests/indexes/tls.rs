//! Every index over TLS: a server is trusted for the authority that `ca_file` names, or for one that the system trusts, and for no other.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::json;
use vectide::index::collection::{Collection, CollectionError, Established, Nearest};

use crate::certificates::{Beginning, Certificates};
use crate::contract::{assert_same, block_on};
use crate::pinecone::stub::{KEY, Stub};
use crate::pipeline::{Pipeline, sound};
use crate::points::{DIMENSIONS, point};
use crate::server::Server;

/// The same machine by a name that is in no certificate here.
const ELSEWHERE: &str = "0.0.0.0";

/// A server that is reached over TLS, as the settings of its index say it. Without braces, authority and collection.
struct Reached {
    kind: &'static str,
    settings: String,
    /// Settings beside which an authority is named in vain.
    plain: &'static [&'static str],
}

impl Reached {
    fn is_used_for_its_authority_alone<S: DeserializeOwned, C: Collection>(
        &self,
        certificates: &Certificates,
        make: impl Fn(&S, &str, usize) -> Result<C, String>,
    ) {
        let with = |more: &str| {
            let settings = format!("{{ {}, collection: named, {more} }}", self.settings);
            make(&serde_yaml::from_str(&settings).unwrap(), "tls", DIMENSIONS)
        };
        let trusting = |file: &Path| with(&format!("ca_file: '{}'", file.display())).unwrap();
        block_on(async {
            let trusted = trusting(&certificates.authority());
            assert_eq!(trusted.establish().await, Ok(Established::Created));
            let points = [point("a", 0, &json!({ "price": 1 }), 1), point("b", 0, &json!({ "price": 2 }), 2)];
            trusted.upsert(&points).await.unwrap();
            assert_same(trusted.fetch(&[points[0].id, points[1].id]).await.unwrap(), &[&points[0], &points[1]]);
            let nearest = Nearest { vector: &points[0].vector, filter: None, limit: 1 };
            assert_eq!(trusted.nearest(nearest).await.unwrap()[0].document, points[0].document);
            for stranger in [trusting(&certificates.stranger()), with("").unwrap()] {
                let refused = stranger.establish().await.unwrap_err();
                let CollectionError::Unavailable { reason, .. } = &refused else { panic!("{refused:?}") };
                assert!(reason.contains("invalid peer certificate: UnknownIssuer"), "{reason}");
            }
            let elsewhere = self.settings.replace("127.0.0.1", ELSEWHERE);
            let elsewhere =
                format!("{{ {elsewhere}, collection: named, ca_file: '{}' }}", certificates.authority().display());
            let elsewhere = make(&serde_yaml::from_str(&elsewhere).unwrap(), "tls", DIMENSIONS).unwrap();
            let refused = elsewhere.establish().await.unwrap_err();
            let CollectionError::Unavailable { reason, .. } = &refused else { panic!("{refused:?}") };
            assert!(reason.contains("certificate not valid for name \"0.0.0.0\""), "{reason}");
            assert!(reason.contains("certificate is only valid for") && reason.contains("localhost"), "{reason}");
        });
        let nothing = with("ca_file: /no/such/file").err().unwrap();
        assert!(nothing.starts_with("index.ca_file: cannot be read"), "{nothing}");
        let ca_file = certificates.authority();
        let plain = self.plain.iter().map(|settings| {
            let settings = format!("{{ {settings}, ca_file: '{}' }}", ca_file.display());
            make(&serde_yaml::from_str(&settings).unwrap(), "tls", DIMENSIONS)
        });
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
    }
}

fn host_of(url: &str) -> &str {
    url.strip_prefix("http://").unwrap()
}

#[cfg(feature = "pgvector")]
#[test]
fn postgresql_is_used_over_tls() {
    use vectide::index::pgvector::PgvectorTable;
    let Some(certificates) = Certificates::make() else { return };
    let Some(server) = Server::start("pgvector.sh") else { return };
    let (_, place) = server.address.split_once('@').unwrap();
    let (host, database) = place.split_once('/').unwrap();
    // This PostgreSQL was built without OpenSSL.
    let relay = certificates.relay(host, Beginning::Postgres);
    let settings = |at: &str, mode| format!("url: 'postgres://postgres@{at}/{database}{mode}', password: secret");
    let postgres = Reached {
        kind: "pgvector",
        settings: settings(&relay, ""),
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
    use vectide::index::qdrant::Qdrant;
    let Some(certificates) = Certificates::make() else { return };
    let Some(server) = Server::start("qdrant.sh") else { return };
    let relay = certificates.relay(host_of(&server.address), Beginning::Tls);
    let qdrant = Reached { kind: "qdrant", settings: format!("url: 'https://{relay}'"), plain: &["url: 'http://h'"] };
    qdrant.is_used_for_its_authority_alone(&certificates, Qdrant::new);
    qdrant.is_used_for_the_systems_authorities(&certificates);
}

#[cfg(feature = "milvus")]
#[test]
fn milvus_is_used_over_tls() {
    use vectide::index::milvus::Milvus;
    let Some(certificates) = Certificates::make() else { return };
    let Some(server) = Server::start("milvus.sh") else { return };
    let relay = certificates.relay(host_of(&server.address), Beginning::Tls);
    let milvus = Reached { kind: "milvus", settings: format!("url: 'https://{relay}'"), plain: &["url: 'http://h'"] };
    milvus.is_used_for_its_authority_alone(&certificates, Milvus::new);
    milvus.is_used_for_the_systems_authorities(&certificates);
}

#[cfg(feature = "weaviate")]
#[test]
fn weaviate_is_used_over_tls() {
    use vectide::index::weaviate::WeaviateClass;
    let Some(certificates) = Certificates::make() else { return };
    let Some(server) = Server::start("weaviate.sh") else { return };
    let (rest, grpc) = server.address.split_once(' ').unwrap();
    let [rest, grpc] = [rest, grpc].map(|url| certificates.relay(host_of(url), Beginning::Tls));
    let settings = format!("url: 'https://{rest}', grpc_url: 'https://{grpc}', api_key: secret");
    let weaviate =
        Reached { kind: "weaviate", settings, plain: &["url: 'http://h'", "url: 'https://h', grpc_url: 'http://h:1'"] };
    weaviate.is_used_for_its_authority_alone(&certificates, WeaviateClass::new);
    weaviate.is_used_for_the_systems_authorities(&certificates);
}

#[test]
fn pinecone_is_used_over_tls() {
    use vectide::index::pinecone::PineconeIndex;
    let Some(certificates) = Certificates::make() else { return };
    let stub = Stub::start();
    let relay = certificates.relay(host_of(&stub.url()), Beginning::Tls);
    stub.is_reached_at(&relay);
    let pinecone = Reached {
        kind: "pinecone",
        settings: format!("url: 'https://{relay}', api_key: {KEY}"),
        plain: &["url: 'http://h', api_key: k"],
    };
    pinecone.is_used_for_its_authority_alone(&certificates, PineconeIndex::new);
    pinecone.is_used_for_the_systems_authorities(&certificates);
}
