//! Which vectors an index holds. Vectors of two spaces cannot be compared, so they never meet in one index.

use std::path::Path;

use crate::embed::Space;
use crate::ledger::{Ledger, LedgerError, LedgerOptions};

/// Where the ledger keeps the space of its index.
const SETTING: &str = "space";

/// Why an index cannot be used with a model.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// Its vectors are of another space.
    #[error(
        "embedding: the index in {folder} was made with {held}, and the configuration names {named}. Vectors of two models cannot \
         be compared: go back to that model, or name another folder in `state.path` to build a new index from the sources"
    )]
    Differs {
        /// The index's folder.
        folder: String,
        /// What is in the index.
        held: Box<Space>,
        /// What the configuration names.
        named: Box<Space>,
    },
    /// What it was made with is kept in no form that this Vectide knows.
    #[error(
        "embedding: what the index in {folder} was made with cannot be read ({reason}). Vectors of two models cannot be compared: use a \
         Vectide that is not older than the one that wrote it, or name another folder in `state.path` to build a new index from the \
         sources"
    )]
    Unreadable {
        /// The index's folder.
        folder: String,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
    /// The ledger cannot tell.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
}

/// Refuses a space whose vectors cannot be compared with those in the index. Answers whether the index is known to be of this space; when
/// it is not, it holds nothing.
pub fn compare(ledger: &Ledger, space: &Space) -> Result<bool, SpaceError> {
    let Some(text) = ledger.setting(SETTING)? else { return Ok(false) };
    let held = serde_json::from_str(&text).map(Box::<Space>::new);
    if held.as_ref().is_ok_and(|held| **held == *space) {
        return Ok(true);
    }
    // What was paid for is kept also while there is no index, and must not go for a slip.
    if ledger.point_count()? == 0 && !ledger.keeps_other_lengths(space.dimensions)? {
        return Ok(false);
    }
    let folder = ledger.folder().display().to_string();
    Err(match held {
        Ok(held) => SpaceError::Differs { folder, held, named: Box::new(space.clone()) },
        Err(reason) => SpaceError::Unreadable { folder, reason },
    })
}

/// Opens the ledger of this folder to write, unless what it holds is of another space: a refusal has changed nothing.
pub fn open(folder: &Path, options: LedgerOptions, space: &Space) -> Result<Ledger, SpaceError> {
    // Until it is open to write: the last to close a ledger tidies its log away. What is wrong with it, the other one says.
    let reader = Ledger::open_to_read(folder).ok();
    reader.as_ref().map_or(Ok(false), |ledger| compare(ledger, space))?;
    Ok(Ledger::open(folder, options)?)
}

/// As [`compare`], and from now on the index is of this space.
pub fn claim(ledger: &Ledger, space: &Space) -> Result<(), SpaceError> {
    if !compare(ledger, space)? {
        let text = serde_json::to_string(space).expect("a space is two texts and a number");
        ledger.set_setting(SETTING, &text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{DocumentId, Fingerprint, Version};
    use crate::ledger::{ChunkWrite, DocumentWrite, Moot, Points, VectorSource, testing};

    fn space(model: &str) -> Space {
        Space { model: model.into(), revision: String::new(), dimensions: 2 }
    }

    #[test]
    fn an_index_with_vectors_keeps_its_space_and_an_empty_one_takes_another() {
        let (_folder, ledger) = testing::open();
        assert!(!compare(&ledger, &space("a")).unwrap());
        claim(&ledger, &space("a")).unwrap();
        assert!(compare(&ledger, &space("a")).unwrap());
        claim(&ledger, &space("b")).unwrap();
        let vector = VectorSource::Here([1.0, 2.0].into());
        let write = DocumentWrite {
            id: DocumentId::new("p1").unwrap(),
            document: r#"{"fields":[]}"#.into(),
            record: None,
            clears: Some(Moot::up_to(Version::from_nanos(1))),
            metadata: Some("{}".into()),
            chunks: vec![ChunkWrite { fingerprint: Fingerprint::from_bytes([1; 32]), vector }],
        };
        ledger.write(&[write]).unwrap();
        assert!(compare(&ledger, &space("b")).unwrap());
        let refused = claim(&ledger, &space("a")).unwrap_err().to_string();
        for part in ["b with 2 dimensions", "a with 2 dimensions", "`state.path`"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert!(compare(&ledger, &space("b")).unwrap(), "a refusal changes nothing");
    }

    #[test]
    fn vectors_that_no_index_uses_are_not_lost_for_a_slip() {
        let folder = tempfile::tempdir().unwrap();
        let options = || LedgerOptions { points: Points::Nowhere, ..testing::options() };
        let ledger = open(folder.path(), options(), &space("a")).unwrap();
        claim(&ledger, &space("a")).unwrap();
        ledger.keep_vectors(&[(Fingerprint::from_bytes([1; 32]), [1.0, 2.0].into())]).unwrap();
        let longer = Space { dimensions: 3, ..space("a") };
        assert!(claim(&ledger, &longer).unwrap_err().to_string().contains("3 dimensions"));
        claim(&ledger, &space("b")).unwrap();
        drop(ledger);
        assert!(open(folder.path(), options(), &longer).is_err());
        open(folder.path(), options(), &space("a")).unwrap();
    }

    #[test]
    fn an_index_that_was_emptied_and_keeps_no_vectors_takes_another_space() {
        let folder = tempfile::tempdir().unwrap();
        let options = || LedgerOptions { persist_vectors: false, ..testing::options() };
        let ledger = Ledger::open(folder.path(), options()).unwrap();
        claim(&ledger, &space("a")).unwrap();
        ledger.write(&[testing::write("p1", vec![testing::here("one")])]).unwrap();
        ledger.write(&[testing::write("p1", vec![])]).unwrap();
        let longer = Space { dimensions: 30, ..space("a") };
        assert!(!compare(&ledger, &longer).unwrap());
        drop(ledger);
        claim(&open(folder.path(), options(), &longer).unwrap(), &longer).unwrap();
    }

    #[test]
    fn a_space_that_cannot_be_read_lets_no_vectors_in_beside_those_that_are_there() {
        let (_folder, ledger) = testing::open();
        let unreadable = r#"{"model":["a","b"]}"#;
        ledger.set_setting(SETTING, unreadable).unwrap();
        assert!(!compare(&ledger, &space("a")).unwrap(), "it is of nothing");
        ledger.write(&[testing::write("p1", vec![testing::here("one")])]).unwrap();
        let refused = claim(&ledger, &space("a")).unwrap_err().to_string();
        for part in ["cannot be read", "invalid type", "`state.path`"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert_eq!(ledger.setting(SETTING).unwrap().as_deref(), Some(unreadable), "a refusal changes nothing");
    }
}
