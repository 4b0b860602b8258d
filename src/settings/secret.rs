//! A value that never reaches a log, an error or a page.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Larger than any key: a wrong path must not be read to its end.
const MAX_FILE: u64 = 64 << 10;

/// A secret text. `Debug`, `Display` and `Serialize` show `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret that stands in the setting `place` or in the file that `place` with `_file` names, without the spaces and the line end
    /// that a file or a shell leaves around it. `None` when neither is set.
    ///
    /// # Errors
    /// Names the setting and what to do; never what was found.
    pub fn given(place: &str, text: Option<&Self>, file: Option<&Path>) -> Result<Option<Self>, String> {
        let text = match (text, file) {
            (Some(_), Some(_)) => {
                let key = place.rsplit('.').next().unwrap_or(place);
                return Err(format!("{place}: `{key}_file` is set as well; keep one of the two"));
            }
            (Some(text), None) => text.reveal().trim().to_owned(),
            (None, Some(file)) => {
                let mut read = String::new();
                File::open(file)
                    .and_then(|file| file.take(MAX_FILE).read_to_string(&mut read))
                    .map_err(|error| format!("{place}_file: the file cannot be read: {error}"))?;
                // Some editors begin every file with a mark that nobody sees.
                let text = read.trim_start_matches('\u{feff}').trim().to_owned();
                if text.is_empty() {
                    return Err(format!("{place}_file: the file is empty; it must hold the secret"));
                }
                text
            }
            (None, None) => return Ok(None),
        };
        if text.is_empty() {
            // An environment variable that is not set is the usual cause; the other side would only refuse it.
            Err(format!("{place}: it is empty; is the environment variable set? Leave it out if none is needed"))
        } else {
            Ok(Some(Self(text)))
        }
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// By hand, so that an error does not show what was found.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Text {
            fn unfit<E: de::Error>(&self) -> E {
                E::invalid_type(Unexpected::Other("a value of another type; put it in quotes"), self)
            }
        }
        impl Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
                Err(self.unfit())
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
                Err(self.unfit())
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
                Err(self.unfit())
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
                Err(self.unfit())
            }
        }
        deserializer.deserialize_string(Text)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
