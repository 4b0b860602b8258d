//! A value that never reaches a log, an error or a page.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The most that is read of a key's file, in bytes: it may have been given the name of something endless.
const MAX_KEY_FILE: u64 = 64 << 10;

/// A secret text. `Debug`, `Display` and `Serialize` show `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The key that a section has as `api_key` or in the file `api_key_file`, without the spaces and the line end that a file or a
    /// shell leaves around it.
    ///
    /// # Errors
    /// Names the setting and what to do.
    pub fn given(section: &str, key: Option<&Self>, file: Option<&Path>) -> Result<Option<Self>, String> {
        let key = match (key, file) {
            (Some(_), Some(_)) => {
                return Err(format!("{section}.api_key: `api_key_file` is set as well; keep one of the two"));
            }
            (Some(key), None) => key.reveal().trim().to_owned(),
            (None, Some(file)) => {
                let mut read = String::new();
                File::open(file)
                    .and_then(|file| file.take(MAX_KEY_FILE).read_to_string(&mut read))
                    .map_err(|error| format!("{section}.api_key_file: the file cannot be read: {error}"))?;
                let key = read.trim().to_owned();
                if key.is_empty() {
                    return Err(format!("{section}.api_key_file: the file is empty; it must hold the key"));
                }
                key
            }
            (None, None) => return Ok(None),
        };
        match key.is_empty() {
            // An environment variable that is not set is the usual cause; the server would only say that the key is wrong.
            true => Err(format!(
                "{section}.api_key: it is empty; is the environment variable set? Leave `api_key` out where no key is needed"
            )),
            false => Ok(Some(Self::new(key))),
        }
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
                f.write_str("a text")
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
