//! From the `sources` section to the settings of librdkafka.

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;

use super::subscription::Subscription;
use crate::settings::Secret;
use crate::settings::source::{KafkaSaslSettings, KafkaSettings, SaslMechanism};

/// Settings of librdkafka that are not passed through, and why.
const REFUSED: &[(&str, &str)] = &[
    ("enable.auto.commit", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("auto.commit.enable", OFFSETS),
    ("auto.commit.interval.ms", "offsets are committed when records are settled; set `commit_interval`"),
    ("auto.offset.reset", "set `start` instead"),
    ("bootstrap.servers", "set `brokers` instead"),
    ("metadata.broker.list", "set `brokers` instead"),
    ("group.id", "set `group` instead"),
    ("group.protocol", "partitions are taken and given back by the classic protocol only"),
    ("enable.partition.eof", "the end of a partition is found from the statistics"),
    ("security.protocol", "it follows from `tls` and `sasl`"),
    ("ssl.ca.location", "set `tls.ca_file` instead"),
    ("ssl.certificate.location", "set `tls.certificate_file` instead"),
    ("ssl.key.location", "set `tls.key_file` instead"),
    ("ssl.key.password", SECRET),
    ("ssl.key.pem", SECRET),
    ("ssl.keystore.password", SECRET),
    ("sasl.mechanism", "set `sasl.mechanism` of the source instead"),
    ("sasl.mechanisms", "set `sasl.mechanism` of the source instead"),
    ("sasl.username", "set `sasl.username` of the source instead"),
    ("sasl.password", "set `sasl.password` of the source instead, which is never shown"),
    ("sasl.oauthbearer.client.secret", SECRET),
    ("sasl.oauthbearer.config", SECRET),
];

const OFFSETS: &str = "an offset that is committed before its records are settled would lose them";
const SECRET: &str = "`settings` are shown by `check --print`, and this is a secret";

/// What is set where the user does not say otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    // Others go on with their partitions while one comes or goes.
    ("partition.assignment.strategy", "cooperative-sticky"),
    // A topic that is made later is noticed in seconds and not in minutes.
    ("topic.metadata.refresh.interval.ms", "10000"),
    // What was fetched ahead is thrown away when partitions pause.
    ("queued.max.messages.kbytes", "16384"),
    // What was fetched ahead lasts for half a second at full speed, and librdkafka would wait a whole one until it fetches more.
    ("fetch.queue.backoff.ms", "50"),
    ("client.id", "vectide"),
    // Lag, and whether the end of each partition was reached.
    (STATISTICS, "1000"),
];

/// How often librdkafka tells its statistics.
const STATISTICS: &str = "statistics.interval.ms";

/// What a client that is only tried has to say: it reaches no broker, and need not.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, _: KafkaError, _: &str) {}

    fn stats(&self, _: Statistics) {}
}

impl ConsumerContext for Silent {}

/// Everything that is wrong with the settings of one source, each with its keys, separated by `/`.
pub fn problems(settings: &KafkaSettings) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut note = |key: &str, text: String| problems.push((key.to_owned(), text));
    for name in settings.settings.keys() {
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| refused == name) {
            note(&format!("settings/{name}"), format!("cannot be set: {why}"));
        }
    }
    if settings.settings.get(STATISTICS).is_some_and(|interval| interval.trim().parse() == Ok(0_u32)) {
        let text = "cannot be 0: lag, the end of a partition, and that a broker is back are found from the statistics. Leave it out, \
                    or set `1000` for one second";
        note(&format!("settings/{STATISTICS}"), text.to_owned());
    }
    // What librdkafka takes for a protocol says nothing that `tls` and `sasl` do not, and where it says another, the broker is skipped
    // without a word.
    if settings.brokers.iter().any(|broker| broker.contains("://")) {
        let text = "holds a URL; write the host and the port, like `localhost:9092`: how they are spoken to is said by `tls` and `sasl`";
        note("brokers", text.to_owned());
    }
    if let Some(topic) = &settings.dead_letter_topic {
        if topic.is_empty() || topic.starts_with('^') {
            note(
                "dead_letter_topic",
                "must be the name of a topic; leave it out to keep dead letters here alone".to_owned(),
            );
        } else if Subscription::new(&settings.topics).covers(topic) {
            let text = "is one of the topics that are read: each dead letter would make another one, without end; name another topic";
            note("dead_letter_topic", text.to_owned());
        }
    }
    let needs_tls = "this build has no TLS; build it with `--features kafka-tls`";
    if settings.tls.is_some() && !cfg!(feature = "kafka-tls") {
        note("tls", needs_tls.to_owned());
    }
    if let Some(sasl) = &settings.sasl {
        if sasl.mechanism != SaslMechanism::Plain && !cfg!(feature = "kafka-tls") {
            note("sasl/mechanism", format!("SCRAM needs TLS's hashing, and {needs_tls}"));
        }
        match (&sasl.password, &sasl.password_file) {
            (Some(_), Some(_)) => note("sasl/password_file", "is set beside `password`; keep one of them".to_owned()),
            (None, None) => note(
                "sasl/password",
                "is missing: write `password: ${KAFKA_PASSWORD}`, or name a file in `password_file`".to_owned(),
            ),
            _ => {
                if let Err((key, text)) = password(sasl) {
                    note(&key, text);
                }
            }
        }
    }
    if problems.is_empty() {
        problems.extend(refusal(settings).err());
    }
    problems
}

/// Has librdkafka look at the settings. The error names its key.
fn refusal(settings: &KafkaSettings) -> Result<(), (String, String)> {
    let config = trial(settings)?;
    let refused = |error| match error {
        KafkaError::ClientConfig(_, what, name, _) => {
            (format!("settings/{name}"), format!("librdkafka refuses it: {what}"))
        }
        error => ("settings".to_owned(), error.to_string()),
    };
    let mut patterns = settings.topics.iter().filter(|topic| topic.starts_with('^')).peekable();
    // Patterns, and some settings together, are looked at only by a client. It takes a twentieth of a second.
    if settings.settings.is_empty() && patterns.peek().is_none() {
        return config.create_native_config().map(drop).map_err(refused);
    }
    let consumer: BaseConsumer<_> = config.create_with_context(Silent).map_err(refused)?;
    match patterns.find(|pattern| consumer.subscribe(&[pattern.as_str()]).is_err()) {
        Some(pattern) => Err(("topics".to_owned(), format!("`{pattern}` is no regular expression"))),
        None => Ok(()),
    }
}

/// The settings of a consumer that reaches no broker.
fn trial(settings: &KafkaSettings) -> Result<ClientConfig, (String, String)> {
    let mut config = consumer(settings)?;
    config.set("bootstrap.servers", "127.0.0.1:1").set("group.id", "vectide-check");
    Ok(config)
}

/// The settings of a consumer. The error names its key.
pub(super) fn consumer(settings: &KafkaSettings) -> Result<ClientConfig, (String, String)> {
    let mut config = client(settings)?;
    for (name, value) in DEFAULTS {
        config.set(*name, *value);
    }
    for (name, value) in &settings.settings {
        config.set(name, value);
    }
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Only for offsets that are not there any more, or of a topic that was made anew: what is there is read.
        .set("auto.offset.reset", "earliest");
    Ok(config)
}

/// The settings of the producer of dead letters. librdkafka passes over those that are for consumers alone. The error names its key.
pub(super) fn producer(settings: &KafkaSettings) -> Result<ClientConfig, (String, String)> {
    let mut config = client(settings)?;
    for (name, value) in &settings.settings {
        config.set(name, value);
    }
    // They would gather in memory until the next dead letter.
    config.set(STATISTICS, "0");
    Ok(config)
}

/// The settings that producers and consumers share. The error names its key.
fn client(settings: &KafkaSettings) -> Result<ClientConfig, (String, String)> {
    let mut config = ClientConfig::new();
    // What ended a connection is told at this level, and as an error only where more than one request was under way.
    config.set("bootstrap.servers", settings.brokers.join(",")).set_log_level(RDKafkaLogLevel::Info);
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, None) => "plaintext",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), None) => "ssl",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &settings.tls {
        let files = [
            ("ssl.ca.location", &tls.ca_file),
            ("ssl.certificate.location", &tls.certificate_file),
            ("ssl.key.location", &tls.key_file),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                config.set(name, file.to_string_lossy());
            }
        }
    }
    if let Some(sasl) = &settings.sasl {
        let mechanism = match sasl.mechanism {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        config.set("sasl.mechanism", mechanism).set("sasl.username", &sasl.username);
        if let Some(password) = password(sasl)? {
            config.set("sasl.password", password.reveal());
        }
    }
    Ok(config)
}

/// The password, where one is set. The error names its key.
fn password(sasl: &KafkaSaslSettings) -> Result<Option<Secret>, (String, String)> {
    let place = "sasl/password";
    Secret::given(place, sasl.password.as_ref(), sasl.password_file.as_deref()).map_err(|told| {
        let (key, text) = told.split_once(": ").unwrap_or((place, &told));
        (key.to_owned(), text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &str) -> KafkaSettings {
        serde_yaml::from_str(&format!("{{ brokers: [a, b], topics: [t], group: g, {more} }}")).unwrap()
    }

    #[test]
    fn what_would_break_the_promise_is_refused_with_its_reason() {
        for (name, why) in [
            ("enable.auto.commit", "before its records are settled"),
            ("group.id", "`group`"),
            ("sasl.password", "never shown"),
            ("ssl.key.password", "is a secret"),
        ] {
            let found = problems(&settings(&format!("settings: {{ {name}: s3cret }}")));
            let [(key, text)] = &found[..] else { panic!("{found:?}") };
            assert_eq!(key, &format!("settings/{name}"));
            assert!(text.contains(why) && !text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn statistics_cannot_be_switched_off() {
        let found = problems(&settings("settings: { statistics.interval.ms: '0' }"));
        let [(key, text)] = &found[..] else { panic!("{found:?}") };
        assert!(key == "settings/statistics.interval.ms" && text.contains("end of a partition"), "{key}: {text}");
        assert_eq!(problems(&settings("settings: { statistics.interval.ms: '100' }")), []);
    }

    #[test]
    fn dead_letters_are_not_read_as_records() {
        for (topics, topic, wrong) in [
            ("[a, b]", "dead", false),
            ("[a, b]", "b", true),
            ("['^fam']", "fam.dead", true),
            ("[a]", "''", true),
            ("[a]", "'^dead'", true),
        ] {
            let found = problems(&KafkaSettings {
                topics: serde_yaml::from_str(topics).unwrap(),
                ..settings(&format!("dead_letter_topic: {topic}"))
            });
            let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
            assert_eq!(keys, if wrong { vec!["dead_letter_topic"] } else { vec![] }, "{topics}, {topic}: {found:?}");
        }
    }

    #[test]
    fn a_broker_is_a_host_and_a_port() {
        for (brokers, wrong) in [
            ("['a:9092', b]", None),
            ("[a, 'http://b:9092']", Some("brokers")),
            ("['SSL://a:9092', b]", Some("brokers")),
        ] {
            let brokers = serde_yaml::from_str(brokers).unwrap();
            let found = problems(&KafkaSettings { brokers, ..settings("") });
            assert_eq!(found.first().map(|(key, _)| key.as_str()), wrong, "{found:?}");
        }
    }

    #[test]
    fn a_client_that_is_only_tried_says_nothing() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let file = log.reopen().unwrap();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(file).finish();
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(problems(&settings("settings: { fetch.min.bytes: '7' }, start: latest")), []);
            let tried = trial(&settings("")).unwrap().create_with_context::<_, BaseConsumer<_>>(Silent).unwrap();
            tried.subscribe(&["^t"]).unwrap();
            let refused = tried.poll(std::time::Duration::from_secs(60)).expect("no connection is refused");
            assert!(refused.is_err());
        });
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "");
    }

    #[test]
    fn every_other_setting_is_passed_through_and_librdkafka_says_what_it_does_not_know() {
        let passed = settings("settings: { fetch.min.bytes: '7', statistics.interval.ms: '500' }");
        assert_eq!(problems(&passed), []);
        let config = consumer(&passed).unwrap();
        assert_eq!((config.get("fetch.min.bytes"), config.get("statistics.interval.ms")), (Some("7"), Some("500")));
        assert_eq!((config.get("bootstrap.servers"), config.get("enable.auto.commit")), (Some("a,b"), Some("false")));
        let found = problems(&settings("settings: { max.poll.interval.ms: '1000' }"));
        assert!(
            matches!(&found[..], [(key, text)] if key == "settings" && text.contains("session.timeout.ms")),
            "{found:?}"
        );
        for (name, value) in [("fetch.min.byte", "7"), ("fetch.min.bytes", "many")] {
            let found = problems(&settings(&format!("settings: {{ {name}: '{value}' }}")));
            assert!(
                matches!(&found[..], [(key, text)] if *key == format!("settings/{name}") && text.contains("librdkafka")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn the_producer_of_dead_letters_gathers_no_statistics() {
        let passed = settings("settings: { linger.ms: '7', statistics.interval.ms: '500' }");
        let config = producer(&passed).unwrap();
        assert_eq!((config.get("linger.ms"), config.get("statistics.interval.ms")), (Some("7"), Some("0")));
    }

    #[test]
    fn a_topic_that_is_no_pattern_is_told_before_a_run_would_try_it_for_ever() {
        let of = |topics: &str| KafkaSettings { topics: serde_yaml::from_str(topics).unwrap(), ..settings("") };
        assert_eq!(problems(&of("[shop, '^shop-.*']")), []);
        let found = problems(&of("[shop, '^shop-.*', '^shop(']"));
        assert_eq!(found, [("topics".to_owned(), "`^shop(` is no regular expression".to_owned())]);
    }

    #[test]
    fn a_password_comes_from_the_environment_or_from_a_file_and_is_in_no_problem() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}s3cret \n").unwrap();
        let path = file.path().display();
        for sasl in
            ["password: s3cret".to_owned(), r#"password: "s3cret\n""#.to_owned(), format!("password_file: {path}")]
        {
            let settings = settings(&format!("sasl: {{ username: u, {sasl} }}"));
            let config = consumer(&settings).unwrap();
            assert_eq!((config.get("sasl.password"), config.get("sasl.mechanism")), (Some("s3cret"), Some("PLAIN")));
            assert_eq!(config.get("security.protocol"), Some("sasl_plaintext"));
            assert_eq!(problems(&settings), []);
            assert!(!format!("{settings:?}").contains("s3cret"));
        }
        for (sasl, key, said) in [
            (String::new(), "sasl/password", "missing"),
            ("password: ''".to_owned(), "sasl/password", "empty"),
            ("password: ' '".to_owned(), "sasl/password", "empty"),
            (format!("password: s3cret, password_file: {path}"), "sasl/password_file", "keep one"),
            ("password_file: /no/such/file".to_owned(), "sasl/password_file", "No such file"),
            ("password_file: /dev/null".to_owned(), "sasl/password_file", "empty"),
        ] {
            let found = problems(&settings(&format!("sasl: {{ username: u, {sasl} }}")));
            let [(at, text)] = &found[..] else { panic!("{sasl}: {found:?}") };
            assert!(at == key && text.contains(said) && !text.contains("s3cret"), "{at}: {text}");
        }
    }

    #[test]
    fn tls_and_scram_are_there_with_their_feature_and_missed_without_it() {
        let secure = settings("tls: {}, sasl: { mechanism: scram_sha512, username: u, password: p }");
        if cfg!(feature = "kafka-tls") {
            assert_eq!(problems(&secure), []);
            let config = consumer(&secure).unwrap();
            assert_eq!(config.get("security.protocol"), Some("sasl_ssl"));
            assert_eq!(config.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
        } else {
            let found = problems(&secure);
            assert!(found.len() == 2 && found.iter().all(|(_, text)| text.contains("kafka-tls")), "{found:?}");
        }
    }
}
