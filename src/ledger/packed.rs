//! How values lie in the ledger's columns.

use std::sync::Arc;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{ToSql, types::Value};

use crate::document::{Fingerprint, Version};

use super::PointKey;

/// One chunk that the index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldChunk {
    /// The text that it was made from.
    pub fingerprint: Fingerprint,
    /// Its point.
    pub key: PointKey,
}

/// `documents.chunks`: key and fingerprint of each chunk, in order.
pub(super) struct Chunks(pub(super) Vec<HeldChunk>);

const KEY_BYTES: usize = 8;
pub(super) const CHUNK_BYTES: usize = KEY_BYTES + Fingerprint::BYTES;

impl Chunks {
    pub(super) fn pack(chunks: &[HeldChunk], into: &mut Vec<u8>) {
        into.clear();
        for chunk in chunks {
            into.extend_from_slice(&chunk.key.to_le_bytes());
            into.extend_from_slice(chunk.fingerprint.as_bytes());
        }
    }
}

impl FromSql for Chunks {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let (chunks, rest) = value.as_blob()?.as_chunks::<CHUNK_BYTES>();
        if !rest.is_empty() {
            return Err(damaged("a list of chunks of a broken length"));
        }
        let chunk = |bytes: &[u8; CHUNK_BYTES]| {
            let (key, fingerprint) = bytes.split_first_chunk::<KEY_BYTES>()?;
            let fingerprint = Fingerprint::from_bytes(fingerprint.try_into().ok()?);
            Some(HeldChunk { fingerprint, key: u64::from_le_bytes(*key) })
        };
        Ok(Self(chunks.iter().filter_map(chunk).collect()))
    }
}

/// A version lies as decimal text.
impl FromSql for Version {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let nanos = value.as_str()?.parse().map_err(|_| damaged("a version that is no number"))?;
        Ok(Self::from_nanos(nanos))
    }
}

impl ToSql for Version {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Text(self.as_nanos().to_string())))
    }
}

/// Metadata is shared between the rows of a document's points.
pub(super) fn shared_text(value: ValueRef<'_>) -> FromSqlResult<Arc<str>> {
    Ok(Arc::from(value.as_str()?))
}

pub(super) fn damaged(what: &str) -> FromSqlError {
    FromSqlError::Other(what.into())
}
