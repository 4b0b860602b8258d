//! The name of a text inside its vector space: the key under which an embedding is kept and found again.

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

/// SHA-256 over the space and the text. Equal fingerprints mean that one embedding serves both texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The length in bytes.
    pub const BYTES: usize = 32;

    /// A fingerprint from its bytes, as [`Fingerprint::as_bytes`] gave them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Eight bytes of a SHA-256 tell entries of a map apart as well as all of them do, and a map asks often.
impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, ..] = self.0.as_chunks::<8>().0 else { return };
        state.write_u64(u64::from_le_bytes(*first));
    }
}

/// Lower-case hexadecimal, 64 characters.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Makes the fingerprints of one space. The hash of the space is computed once and shared by every text.
#[derive(Clone)]
pub struct Fingerprinter(Sha256);

impl Fingerprinter {
    /// For the space with this key (see `Space::key`).
    pub fn new(space: &str) -> Self {
        let mut hash = Sha256::new();
        // The length keeps (space, text) pairs apart that would be equal when written one after the other.
        hash.update((space.len() as u64).to_le_bytes());
        hash.update(space.as_bytes());
        Self(hash)
    }

    /// The fingerprint of a text in this space.
    pub fn of(&self, text: &str) -> Fingerprint {
        let mut hash = self.0.clone();
        hash.update(text.as_bytes());
        Fingerprint(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_on_the_space_and_the_text_and_nothing_else() {
        let (a, b) = (Fingerprinter::new("a"), Fingerprinter::new("ab"));
        assert_eq!(a.of("text"), Fingerprinter::new("a").of("text"));
        assert_ne!(a.of("text"), a.of("texts"));
        assert_ne!(a.of("bx"), b.of("x"), "where the space ends is part of the name");
    }
}
