//! `${NAME}` and `${NAME:-default}` in texts: values from the environment.

use std::collections::BTreeMap;

/// Environment variables by name; `None` for a value that is not UTF-8.
pub type Environment = BTreeMap<String, Option<String>>;

/// Why a text cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The variable is not set, and has no default.
    #[error("the environment variable `{0}` is not set; set it, or give a default: `${{{0}:-value}}`")]
    Unset(String),
    /// The variable's value is not UTF-8.
    #[error("the environment variable `{0}` is not UTF-8")]
    NotUtf8(String),
    /// `${` without a name and an end.
    #[error(
        "`${{` starts an environment variable like `${{NAME}}` or `${{NAME:-default}}`, with no other in the default; write `$${{` for the characters themselves"
    )]
    Malformed,
}

/// A text with its variables replaced.
#[derive(Debug, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// The names that were replaced.
    pub names: Vec<String>,
}

/// Replaces `${NAME}` by the variable and `${NAME:-default}` by the variable or, when it is unset or empty, the default.
/// `$${` stands for `${`. Template expressions (`{{ }}`, and so `${{ price }}`) are left alone.
pub fn expand(text: &str, environment: &Environment) -> Result<Expanded, ExpandError> {
    let mut expanded = Expanded { text: String::with_capacity(text.len()), names: Vec::new() };
    let mut rest = text;
    while let Some(at) = next_mark(rest) {
        expanded.text.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("{{") {
            let end = rest.find("}}").map_or(rest.len(), |end| end + 2);
            expanded.text.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if let Some(after) = rest.strip_prefix("$${") {
            expanded.text.push_str("${");
            rest = after;
        } else {
            let after = &rest["${".len()..];
            let end = after.find('}').ok_or(ExpandError::Malformed)?;
            let (name, default) = match after[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (&after[..end], None),
            };
            // The first `}` would end both.
            let nested = default.is_some_and(|default| default.contains("${"));
            if nested || !is_name(name) {
                return Err(ExpandError::Malformed);
            }
            let value = match environment.get(name) {
                Some(None) => return Err(ExpandError::NotUtf8(name.to_owned())),
                Some(Some(value)) if default.is_none() || !value.is_empty() => value,
                _ => default.ok_or_else(|| ExpandError::Unset(name.to_owned()))?,
            };
            expanded.text.push_str(value);
            expanded.names.push(name.to_owned());
            rest = &after[end + 1..];
        }
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

/// Writes a text so that [`expand`] gives it back.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = next_mark(rest) {
        escaped.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = match rest {
            _ if rest.starts_with("{{") => rest.find("}}").map_or(rest.len(), |end| end + 2),
            // Before `${` one `$` is added; the `$` of `$${` is given as it is and its `${` comes next.
            _ if rest.starts_with("$${") => {
                escaped.push_str("$$${");
                rest = &rest[3..];
                continue;
            }
            _ => {
                escaped.push('$');
                2
            }
        };
        escaped.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    escaped.push_str(rest);
    escaped
}

/// Where the next `$${`, `${` or `{{` starts; a `$` before `{{` is an ordinary character.
fn next_mark(text: &str) -> Option<usize> {
    text.match_indices('{').find_map(|(at, _)| {
        if text[at..].starts_with("{{") {
            return Some(at);
        }
        let before = &text[..at];
        if before.ends_with("$$") {
            return Some(at - 2);
        }
        before.ends_with('$').then(|| at - 1)
    })
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        let variables = [("KEY", Some("k-1")), ("EMPTY", Some("")), ("BROKEN", None)];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect()
    }

    #[test]
    fn variables_are_replaced_and_templates_are_not() {
        for (text, meant) in [
            ("plain", "plain"),
            ("${KEY}", "k-1"),
            ("a ${KEY} b ${KEY}", "a k-1 b k-1"),
            ("${MISSING:-else}", "else"),
            ("${EMPTY:-else}", "else"),
            ("${EMPTY}", ""),
            ("${MISSING:-}", ""),
            ("$${KEY}", "${KEY}"),
            ("$$${KEY}", "$${KEY}"),
            ("{{ '${KEY}' }} ${KEY}", "{{ '${KEY}' }} k-1"),
            ("${{ price }}", "${{ price }}"),
            ("$5 {x} $", "$5 {x} $"),
        ] {
            assert_eq!(expand(text, &environment()).map(|expanded| expanded.text), Ok(meant.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_says_why() {
        for (text, error) in [
            ("${MISSING}", ExpandError::Unset("MISSING".into())),
            ("${BROKEN:-x}", ExpandError::NotUtf8("BROKEN".into())),
            ("${", ExpandError::Malformed),
            ("${}", ExpandError::Malformed),
            ("${9}", ExpandError::Malformed),
            ("${A B}", ExpandError::Malformed),
            ("${KEY:-${KEY}}", ExpandError::Malformed),
        ] {
            assert_eq!(expand(text, &environment()), Err(error), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_escaped_expands_to_itself(text in "[${}A: -]{0,12}|.{0,20}") {
            proptest::prop_assert_eq!(expand(&escape(&text), &Environment::new()).map(|expanded| expanded.text), Ok(text));
        }
    }
}
