//! What an error of PostgreSQL means for what was asked. Codes: PostgreSQL's documentation, appendix A.

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::http_client::with_causes;
use crate::index::external::collection::CollectionError;

impl From<Error> for CollectionError {
    fn from(error: Error) -> Self {
        match error.as_db_error() {
            Some(error) => judge(error),
            // None of the causes holds a password.
            None => Self::Unavailable { reason: with_causes(error.to_string(), &error), after: None },
        }
    }
}

fn judge(error: &DbError) -> CollectionError {
    let code = error.code().code();
    let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let text = format!("{}{detail} [{code}]", error.message());
    match (&code[..2], code) {
        (_, "42P01") => CollectionError::Missing(text),
        // The table was made anew with another dimension.
        (_, "22000") if error.message().contains("dimensions") => CollectionError::Unfit(text),
        ("22" | "23" | "54", _) => CollectionError::OneRefused(text),
        ("28", _) => CollectionError::Fatal(format!("{text}: see the user in `index.url`, and `index.password`")),
        (_, "42501") => CollectionError::Fatal(format!(
            "{text}: let an administrator give the user of `index.url` this right, as with `GRANT CREATE ON SCHEMA public TO ...` for a table \
             that is to be made"
        )),
        (_, "57014") => CollectionError::Unavailable { reason: format!("{text}: see `index.timeout`"), after: None },
        (_, "3D000") => CollectionError::Fatal(format!("{text}: make it, or see `index.url`")),
        ("42" | "0A" | "58" | "3F", _) => CollectionError::Fatal(text),
        _ => CollectionError::Unavailable { reason: text, after: None },
    }
}
