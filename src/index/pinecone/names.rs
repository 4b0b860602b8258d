//! What an index and the fields of its records may be called.

use crate::index::external::collection::reserved;
use crate::settings::field_kind::FieldKind;

/// Whether an index can have this name.
///
/// # Errors
/// Names the setting and what a name must be.
pub fn check_index(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=45).contains(&name.len())
        && name.chars().all(|c| plain(c) || c == '-')
        && name.starts_with(plain)
        && name.ends_with(plain);
    if !fits {
        return Err(
            "index.collection: a name of Pinecone has 1 to 45 lower-case letters, digits and `-`, and neither begins nor ends with `-`; \
             without it the pipeline's name is taken"
                .into(),
        );
    }
    Ok(())
}

/// Whether a record can have this field beside what is Vectide's own.
///
/// # Errors
/// Names the setting and what is wrong.
pub fn check_field(name: &str, kind: FieldKind) -> Result<(), String> {
    if matches!(kind, FieldKind::Numbers | FieldKind::Booleans) {
        return Err(format!("index.metadata.{name}: Pinecone has lists of texts only, not `{kind}`"));
    }
    if name.starts_with('$') || name.starts_with(reserved::PREFIX) {
        return Err(format!(
            "index.metadata.{name}: names that begin with `$` or `vectide_` have a meaning of their own"
        ));
    }
    Ok(())
}
