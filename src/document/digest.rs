//! The name of a record: what tells it from every other record without decoding either.

use std::fmt;

use sha2::{Digest, Sha256};

use super::Version;

/// The first half of a SHA-256 over how records are read, a record's bytes, and its place in its source where that is its version.
/// Records with equal digests say the same, so a document that has taken one of them in learns nothing from the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecordDigest([u8; 16]);

impl RecordDigest {
    /// The length in bytes.
    pub const BYTES: usize = 16;

    /// A digest from its bytes, as [`RecordDigest::as_bytes`] gave them.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Lower-case hexadecimal, 32 characters.
impl fmt::Debug for RecordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Makes the digests of records that are read in one way.
#[derive(Debug, Clone)]
pub(super) struct Digester(Sha256);

impl Digester {
    /// `reading`: what decides how records are read.
    pub(super) fn new(reading: &[u8]) -> Self {
        Self(Sha256::new().chain_update((reading.len() as u64).to_le_bytes()).chain_update(reading))
    }

    /// `order`: the record's place in its source, where that is its version.
    pub(super) fn of(&self, payload: &[u8], order: Option<Version>) -> RecordDigest {
        let mut hash = self.0.clone();
        if let Some(order) = order {
            hash.update(order.as_nanos().to_le_bytes());
        }
        hash.update(payload);
        let whole: [u8; 32] = hash.finalize().into();
        RecordDigest(*whole.first_chunk().expect("32 bytes begin with 16"))
    }
}
