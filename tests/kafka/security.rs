//! Connections that are encrypted, and users who prove who they are without sending a password.

use serde_json::{Value, json};

use crate::broker::{lend, products};
use crate::health::get;
use crate::provider::Provider;

/// What is wrong, the settings that are, and what is said of them in words of ours and of the client.
struct Wrong {
    settings: Value,
    said: &'static str,
    cause: &'static str,
}

const NOT_TRUSTED: (&str, &str) = ("no encrypted connection: look at `tls`", "certificate verify failed");
const REFUSED: (&str, &str) = ("the broker refuses the user or the password: look at `sasl`", "Authentication failed");

impl Wrong {
    fn new(settings: Value, (said, cause): (&'static str, &'static str)) -> Self {
        Self { settings, said, cause }
    }
}

/// What is wrong is said by the log, by health and by `check --connect`, without a password. With `right` all there is is read.
fn told_and_then_read(wrong: &[Wrong], right: &[Value]) {
    let Some(broker) = lend() else { return };
    let topic = broker.topic(2);
    broker.produce_all(&topic, &products(10));
    for Wrong { settings, said, cause } in wrong {
        let provider = Provider::new();
        let mut pipeline = broker.pipeline(&topic, &provider);
        pipeline.set("server={listen: '127.0.0.1:0'}");
        broker.read(&mut pipeline, &topic, settings.clone());
        let check = pipeline.command(&["check", "--connect"]).output().unwrap();
        let checked = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(!check.status.success() && checked.contains(cause), "{checked}");
        let mut run = pipeline.spawn(pipeline.command(&["--log", "debug", "run"]));
        let address = run.wait_for_address();
        run.wait_to_hear(said);
        run.wait_until("its health says so", || {
            let health = get(address, "/health/ready");
            health.contains("\"sources\":{\"events\":") && health.contains(said) && health.contains(cause)
        });
        run.signal("TERM");
        let said = run.end().said + &checked;
        assert!(!said.contains("hunter2") && !said.contains("the-password"), "{said}");
    }
    for settings in right {
        let provider = Provider::new();
        let mut pipeline = broker.pipeline(&topic, &provider);
        broker.read(&mut pipeline, &topic, settings.clone());
        pipeline.run_well();
        assert_eq!(pipeline.ids().len(), 10);
    }
}

#[test]
fn a_broker_is_read_over_tls_and_one_whose_certificate_is_not_trusted_is_not() {
    let Some(broker) = lend() else { return };
    let with = |tls: Value| json!({ "brokers": [broker.address_with_tls()], "tls": tls });
    let [ca, other] = ["ca.pem", "other-ca.pem"].map(|file| with(json!({ "ca_file": broker.authority(file) })));
    let (system, plain) = (with(json!({})), with(Value::Null));
    drop(broker);
    let plain = Wrong::new(plain, ("no broker can be reached", "Disconnected"));
    told_and_then_read(&[Wrong::new(other, NOT_TRUSTED), Wrong::new(system, NOT_TRUSTED), plain], &[ca]);
}

#[test]
fn a_user_is_let_in_by_scram_and_a_wrong_password_is_told() {
    let Some(broker) = lend() else { return };
    let with = |mechanism: &str, password: &str| {
        json!({
            "brokers": [broker.address_with_scram()], "tls": { "ca_file": broker.authority("ca.pem") },
            "sasl": { "mechanism": mechanism, "username": "vectide", "password": password },
        })
    };
    let [wrong, plain] = [with("scram_sha512", "hunter2"), with("plain", "the-password")];
    let right = ["scram_sha256", "scram_sha512"].map(|mechanism| with(mechanism, "the-password"));
    drop(broker);
    told_and_then_read(&[Wrong::new(wrong, REFUSED), Wrong::new(plain, ("look at `sasl`", "mechanism"))], &right);
}
