//! `DELETE /v1/documents/{id}` as an event of the journal.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::document::{Change, DocumentId, Fields, Operation, Version};

/// What the bytes of a removal start with. A record is a JSON object and never starts so.
const VERB: &str = "DELETE ";

/// A request to take a document out of the index, whatever the configuration says of event types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The document.
    pub id: DocumentId,
    /// What it is newer than: changes up to this version are void. `None`: its place in the journal, a time.
    pub version: Option<Version>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    id: String,
    /// Billionths, as text: JSON numbers of other programs do not reach so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version_nanos: Option<String>,
}

impl Removal {
    /// Its bytes in the journal and in the dead letters: `DELETE {"id":"p1"}`.
    pub fn to_payload(&self) -> Bytes {
        let version_nanos = self.version.map(|version| version.as_nanos().to_string());
        let written = Written { id: self.id.as_str().to_owned(), version_nanos };
        let json = serde_json::to_string(&written).expect("texts are always JSON");
        Bytes::from(format!("{VERB}{json}"))
    }

    /// The removal that these bytes are, if they are one.
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(payload.strip_prefix(VERB.as_bytes())?).ok()?;
        let version = match written.version_nanos {
            Some(nanos) => Some(Version::from_nanos(nanos.parse().ok()?)),
            None => None,
        };
        Some(Self { id: DocumentId::new(&written.id).ok()?, version })
    }

    /// The change that it makes; `order` is its place in the journal.
    pub fn into_change(self, order: Version) -> Change {
        Change {
            id: self.id,
            operation: Operation::Delete,
            version: self.version.unwrap_or(order),
            fields: Fields::new(),
            priority: 0,
            immediate: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_from_its_bytes_and_nothing_else_is_taken_for_one() {
        let id = DocumentId::new("a \"quoted\"\n id").unwrap();
        for version in [None, Some(Version::from_nanos(i128::MAX))] {
            let removal = Removal { id: id.clone(), version };
            assert_eq!(Removal::from_payload(&removal.to_payload()), Some(removal));
        }
        for other in [r#"{"id":"a"}"#, r#"{"DELETE":{"id":"a"}}"#, "DELETE", r#"DELETE {"id":""}"#, "DELETE a"] {
            assert_eq!(Removal::from_payload(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn without_a_version_it_is_as_new_as_its_place_in_the_journal() {
        let removal = |version| Removal { id: DocumentId::new("a").unwrap(), version };
        let (place, given) = (Version::from_nanos(5), Version::from_nanos(3));
        assert_eq!(removal(None).into_change(place).version, place);
        assert_eq!(removal(Some(given)).into_change(place).version, given);
        assert_eq!(removal(None).into_change(place).operation, Operation::Delete);
    }
}
