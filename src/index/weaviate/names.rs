//! What a class and its properties may be called.

use crate::index::external::collection::reserved;

/// The class of this name. Weaviate writes the first letter upper-case whatever it is given.
///
/// # Errors
/// Names the setting and what a name must be.
pub fn class(name: &str) -> Result<String, String> {
    let mut letters = name.chars();
    let first = letters.next().filter(char::is_ascii_alphabetic);
    let rest = letters.as_str();
    match first {
        Some(first) if name.len() <= 255 && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
            Ok(format!("{}{rest}", first.to_ascii_uppercase()))
        }
        _ => Err("index.collection: a class of Weaviate has letters, digits and `_` in its name, a letter first, and at most 255 of them; \
                  without it the pipeline's name is taken"
            .into()),
    }
}

/// Whether a class can have this property beside what is Vectide's own.
///
/// # Errors
/// Names the setting and what is wrong.
pub fn check_property(name: &str) -> Result<(), String> {
    let fits = name.len() <= 231
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !fits {
        return Err(format!(
            "index.metadata.{name}: a property of Weaviate has letters, digits and `_` in its name, no digit first"
        ));
    }
    if name.starts_with(reserved::PREFIX) || matches!(name, "id" | "_id" | "_additional") {
        return Err(format!(
            "index.metadata.{name}: this name has a meaning of its own in Weaviate or here; it cannot be filtered by"
        ));
    }
    Ok(())
}
