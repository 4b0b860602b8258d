//! `DELETE /v1/documents/{id}` as an event of the journal.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::document::{Change, DocumentId, Fields, Operation, Version};
use crate::settings::document::VersionUnit;

/// What the bytes of a removal start with. A record is a JSON object and never starts so.
const VERB: &str = "DELETE ";

/// A request to take a document out of the index, whatever the configuration says of event types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The document.
    pub id: DocumentId,
    /// What it makes void.
    pub reach: Reach,
}

/// What a removal makes void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Changes up to this version, whether they came before it or come after.
    UpTo(Version),
    /// What comes before it in its source and nothing that comes behind it; and changes up to this version, which another source has
    /// brought.
    Before(Option<Version>),
}

impl Reach {
    /// What a removal makes void that does not say it: all that there is of the document, of which `held` is the newest, and nothing
    /// that is to come. `unit` is that of the version field, `None` where the sources' own order is the version.
    ///
    /// Times are compared with the time now and not with a place in the journal, which is ahead of it after the clock was set back.
    /// Counters, by the settings or by what is held, tell nothing about time: the newest that is held is taken, since a removal wins over
    /// changes of its own version, and the next change may come after it.
    pub fn now(held: Option<Version>, unit: Option<VersionUnit>, now: Version) -> Result<Self, &'static str> {
        match (unit, held) {
            (None, held) => Ok(Self::Before(held)),
            (Some(VersionUnit::Counter), None) => {
                Err("nothing is held of it yet, so only `?version=` can say what the deletion is newer than, because \
                     `document.version.unit` is `counter`")
            }
            (Some(VersionUnit::Counter), Some(held)) => Ok(Self::UpTo(held)),
            (Some(VersionUnit::Auto), Some(held)) if held.time().is_none() => Ok(Self::UpTo(held)),
            (Some(_), held) => Ok(Self::UpTo(held.map_or(now, |held| held.max(now)))),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    id: String,
    /// Billionths, as text: JSON numbers of other programs do not reach so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version_nanos: Option<String>,
    /// The same, of [`Reach::Before`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_nanos: Option<String>,
}

impl Removal {
    /// Its bytes in the journal and in the dead letters: `DELETE {"id":"p1"}`.
    pub fn to_payload(&self) -> Bytes {
        let nanos = |version: Version| version.as_nanos().to_string();
        let (version_nanos, held_nanos) = match self.reach {
            Reach::UpTo(version) => (Some(nanos(version)), None),
            Reach::Before(held) => (None, held.map(nanos)),
        };
        let written = Written { id: self.id.as_str().to_owned(), version_nanos, held_nanos };
        let json = serde_json::to_string(&written).expect("texts are always JSON");
        Bytes::from(format!("{VERB}{json}"))
    }

    /// The removal that these bytes are, if they are one.
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(payload.strip_prefix(VERB.as_bytes())?).ok()?;
        let version = |nanos: &String| nanos.parse().ok().map(Version::from_nanos);
        let reach = match (&written.version_nanos, &written.held_nanos) {
            (Some(nanos), _) => Reach::UpTo(version(nanos)?),
            (None, Some(nanos)) => Reach::Before(Some(version(nanos)?)),
            (None, None) => Reach::Before(None),
        };
        Some(Self { id: DocumentId::new(&written.id).ok()?, reach })
    }

    /// The change that it makes; `order` is its place in its source.
    pub fn into_change(self, order: Version) -> Change {
        let version = match self.reach {
            Reach::UpTo(version) => version,
            Reach::Before(held) => held.map_or(order, |held| held.max(order)),
        };
        Change {
            id: self.id,
            operation: Operation::Delete,
            version,
            fields: Fields::new(),
            priority: 0,
            immediate: false,
        }
    }
}
