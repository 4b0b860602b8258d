//! The effective configuration as YAML.

use serde_yaml::Value;

use super::Settings;
use super::expand::escape;

/// The keys that hold an address. Some services take their key in its query string.
const ADDRESSES: [&str; 2] = ["base_url", "url"];
/// What a query string may say that is not secret.
const PLAIN: [&str; 1] = ["sslmode"];

/// The settings as YAML: defaults filled in, secrets and what query strings hold as `***`. Reading it again gives the same settings,
/// secrets aside.
pub fn print(settings: &Settings) -> String {
    let mut value = serde_yaml::to_value(settings).expect("settings are texts, numbers, lists and maps with text keys");
    mask_queries(&mut value);
    escape_all(&mut value);
    serde_yaml::to_string(&value).expect("a YAML value is YAML")
}

fn mask_queries(value: &mut Value) {
    match value {
        Value::Sequence(list) => list.iter_mut().for_each(mask_queries),
        Value::Mapping(map) => {
            for (key, value) in map {
                match value {
                    Value::String(address) if key.as_str().is_some_and(|key| ADDRESSES.contains(&key)) => {
                        *address = masked(address);
                    }
                    other => mask_queries(other),
                }
            }
        }
        _ => {}
    }
}

fn masked(address: &str) -> String {
    let Some((place, query)) = address.split_once('?') else { return address.to_owned() };
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, _)) if PLAIN.contains(&name) => part.to_owned(),
        Some((name, _)) => format!("{name}=***"),
        None => "***".to_owned(),
    });
    format!("{place}?{}", parts.collect::<Vec<_>>().join("&"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_string_holds_is_masked() {
        for (address, printed) in [
            ("http://h:1/v1", "http://h:1/v1"),
            ("http://h/v1?key=SECRET", "http://h/v1?key=***"),
            ("https://h?api-version=2&code=SE=CRET", "https://h?api-version=***&code=***"),
            ("https://h?SECRET", "https://h?***"),
            ("postgres://u@h/d?sslmode=require", "postgres://u@h/d?sslmode=require"),
        ] {
            assert_eq!(masked(address), printed);
        }
        let mut value: Value =
            serde_yaml::from_str("{index: {url: 'http://h?k=SECRET', a: ['b?c=d']}, x: 'e?f=g'}").unwrap();
        mask_queries(&mut value);
        let expected =
            serde_yaml::from_str::<Value>("{index: {url: 'http://h?k=***', a: ['b?c=d']}, x: 'e?f=g'}").unwrap();
        assert_eq!(value, expected);
    }
}
