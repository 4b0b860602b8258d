//! The effective configuration as YAML.

use serde_yaml::Value;

use super::Settings;
use super::expand::escape;

/// The settings as YAML: defaults filled in, secrets as `***`. Reading it again gives the same settings, secrets aside.
pub fn print(settings: &Settings) -> String {
    let mut value = serde_yaml::to_value(settings).expect("settings are texts, numbers, lists and maps with text keys");
    escape_all(&mut value);
    serde_yaml::to_string(&value).expect("a YAML value is YAML")
}

/// `${` in a value is a plain text by now; it must not be replaced when it is read again.
fn escape_all(value: &mut Value) {
    match value {
        Value::String(text) => *text = escape(text),
        Value::Sequence(list) => list.iter_mut().for_each(escape_all),
        Value::Mapping(map) => map.iter_mut().for_each(|(_, value)| escape_all(value)),
        _ => {}
    }
}
