//! The difference between what the index should hold for a document and what it holds. Nothing is told, counted or sent here: that is for
//! `plan`.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::claim::Group;
use super::draft::Draft;
use super::work::{Settlement, Work};
use crate::delivery::Verdict;
use crate::document::chunk::Chunker;
use crate::document::fingerprint::Fingerprinter;
use crate::document::template::Template;
use crate::document::{Document, Fingerprint};
use crate::ledger::{DocumentWrite, HeldChunk, HeldDocument, Moot, PointKey, VectorSource};
use crate::telemetry::Reason;

/// What turns documents into chunks.
pub struct Renderer {
    /// Renders texts and metadata.
    pub template: Arc<Template>,
    /// Cuts long texts.
    pub chunker: Arc<Chunker>,
    /// Names texts in the provider's space.
    pub fingerprints: Fingerprinter,
}

/// What is to be done for one document.
pub(super) enum Need {
    /// Nothing but to tell so.
    Nothing(Settlement),
    /// It lacks no vector.
    Write(Work),
    /// It leaves the index, because its changes took what its text needs.
    Leave(Work, Document),
    /// It lacks some.
    Vectors(Wanting),
}

/// A document that lacks vectors.
pub(super) struct Wanting {
    pub draft: Draft,
    /// (chunk, its name, its text) where the draft has no vector.
    pub texts: Vec<(usize, Fingerprint, Arc<str>)>,
    pub priority: u8,
    pub immediate: bool,
    pub reason: Reason,
}

/// Compares the document that a group makes of what is held with what the index holds of it. Answers what is to be done, and how many of
/// its texts the index holds already.
///
/// | it is news | it is looked at again | its text and metadata | so |
/// |---|---|---|---|
/// | no | no, and it is in the index, or nothing of the group can be why it is not | are not made | there is nothing to do |
/// | no | no, or it has no dead letter | are as the index holds them | there is nothing to do |
/// | | | cannot be made | it is rejected, and leaves the index |
/// | | | lack no vector, or there are none | it is written |
/// | | | lack vectors | those are looked for first |
pub(super) fn diff(renderer: &Renderer, group: Group, held: Option<HeldDocument>) -> (Need, usize) {
    let Group { claim, delta, receipts, record, priority, immediate, refresh } = group;
    let HeldDocument { document, metadata, chunks, unwritten, buried } = held.unwrap_or_default();
    let Joined { document, changed, superseded, moot } = Joined::of(document, delta);
    let is_news = changed || unwritten;
    let id = claim.id().clone();
    let settlement = |verdict| Settlement { verdict, receipts, arrivals: Vec::new(), claim };
    let nothing_new = if superseded { Verdict::Superseded } else { Verdict::Unchanged };
    // A change that is already part of a document outside the index is planned again: it may be the one for which the document was
    // rejected, and the process may have ended before its dead letter was written.
    if !is_news && !refresh && (moot || buried || metadata.is_some()) {
        return (Need::Nothing(settlement(nothing_new)), 0);
    }
    let rendered = match renderer.render(&document, &chunks) {
        Ok(rendered) => rendered,
        Err(reason) => {
            let write = DocumentWrite::out_of_index(id, document.to_json(), Vec::new());
            return (Need::Write(Work { write, settlement: settlement(Verdict::Rejected(reason.into())) }), 0);
        }
    };
    let kept = rendered.chunks.len() - rendered.lacking.len();
    let stays = rendered.is_held(metadata.as_deref(), &chunks);
    // Under another template one that was rejected may only lack a field: it is written, which clears its dead letter.
    if stays && !is_news && !(refresh && buried) {
        return (Need::Nothing(settlement(nothing_new)), kept);
    }
    let verdict = match rendered.metadata {
        // A deletion of what the index holds is done there, and not only kept.
        None if stays || document.has_fields() => Verdict::Stored,
        // The index holds what the others say, and nothing of this.
        Some(_) if stays && superseded && !unwritten => Verdict::Superseded,
        _ => Verdict::Indexed,
    };
    // One that is deleted is meant to leave, and so is one that is only looked at again, under another template.
    let leaves = changed && metadata.is_some() && rendered.metadata.is_none() && !document.is_deleted();
    let write = DocumentWrite {
        id,
        document: document.to_json(),
        record: record.filter(|_| !superseded).map(|(_, record)| record),
        clears: Some(Moot::by(&document)),
        metadata: rendered.metadata,
        chunks: Vec::new(),
    };
    let work = Work { write, settlement: settlement(verdict) };
    let draft = Draft { work, chunks: rendered.chunks, awaited: rendered.lacking.len(), rejected: None };
    if leaves {
        return (Need::Leave(draft.finish(), document), kept);
    }
    if rendered.lacking.is_empty() {
        return (Need::Write(draft.finish()), kept);
    }
    let reason = match changed {
        _ if chunks.is_empty() => Reason::New,
        true => Reason::Changed,
        // Nobody said anything new: the configuration did.
        false => Reason::Migrated,
    };
    (Need::Vectors(Wanting { draft, texts: rendered.lacking, priority, immediate, reason }), kept)
}

/// A document, with the changes of a group.
struct Joined {
    document: Document,
    /// Whether they made it another.
    changed: bool,
    /// Whether some of what they say lost against others, newer or of the same version.
    superseded: bool,
    /// Whether all that they say was replaced since.
    moot: bool,
}

impl Joined {
    fn of(mut document: Document, delta: Document) -> Self {
        let newest = delta.newest();
        // A document that is only looked at again brings no change that could be superseded.
        let says_something = delta != Document::default();
        let tied = (newest == document.newest()).then(|| delta.clone());
        let changed = document.join(delta);
        let lost = newest < document.newest() || tied.is_some_and(|delta| !document.is_as_said_by(&delta));
        let moot = document.replaced().is_some_and(|replaced| newest < replaced);
        Self { document, changed, superseded: says_something && lost, moot }
    }
}

/// What the index should hold of a document: nothing of one that has no text.
#[derive(Default)]
struct Rendered {
    metadata: Option<String>,
    /// The chunks in order, with the point that each keeps.
    chunks: Vec<(Fingerprint, Option<VectorSource>)>,
    /// (chunk, its name, its text) of those that keep none.
    lacking: Vec<(usize, Fingerprint, Arc<str>)>,
}

impl Renderer {
    /// `held`: the chunks whose points can be kept. An error says why the document can never be in the index.
    fn render(&self, document: &Document, held: &[HeldChunk]) -> Result<Rendered, String> {
        let Some(text) = self.template.render(document)? else { return Ok(Rendered::default()) };
        let cut = self.chunker.cut(&text);
        if cut.is_empty() {
            return Err("the document's text is empty".to_owned());
        }
        let fingerprints: Vec<Fingerprint> = cut.iter().map(|text| self.fingerprints.of(text)).collect();
        let keys = kept(held, &fingerprints);
        let named = cut.into_iter().zip(&fingerprints).enumerate();
        let lacking = named.filter(|(number, _)| keys[*number].is_none());
        let lacking = lacking.map(|(number, (text, name))| (number, *name, Arc::from(text))).collect();
        Ok(Rendered {
            metadata: Some(self.template.metadata(document)),
            lacking,
            chunks: fingerprints.into_iter().zip(keys.into_iter().map(|key| key.map(VectorSource::Held))).collect(),
        })
    }
}

impl Rendered {
    /// Whether the index holds just this.
    fn is_held(&self, held: Option<&str>, chunks: &[HeldChunk]) -> bool {
        let fingerprints = self.chunks.iter().map(|(fingerprint, _)| *fingerprint);
        self.metadata.as_deref() == held && fingerprints.eq(chunks.iter().map(|chunk| chunk.fingerprint))
    }
}

/// For each chunk the held point with its text: the one at the same place, else one that no other chunk keeps. A text that the
/// document has twice needs two points.
fn kept(held: &[HeldChunk], wanted: &[Fingerprint]) -> Vec<Option<PointKey>> {
    let stays = |place: usize| held.get(place).is_some_and(|chunk| wanted.get(place) == Some(&chunk.fingerprint));
    let mut free: HashMap<Fingerprint, Vec<PointKey>, RandomState> = HashMap::default();
    for (_, chunk) in held.iter().enumerate().filter(|(place, _)| !stays(*place)) {
        free.entry(chunk.fingerprint).or_default().push(chunk.key);
    }
    let keep = |(place, fingerprint): (usize, &Fingerprint)| {
        if stays(place) { Some(held[place].key) } else { free.get_mut(fingerprint)?.pop() }
    };
    wanted.iter().enumerate().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_moves_keeps_a_point_and_no_two_keep_the_same() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|text| Fingerprinter::new("test").of(text));
        let held = [(a, 1), (b, 2), (b, 3), (c, 4)].map(|(fingerprint, key)| HeldChunk { fingerprint, key });
        assert_eq!(kept(&held, &[d, a, b, b, b, c]), [None, Some(1), Some(3), Some(2), None, Some(4)]);
        assert_eq!(kept(&held, &[]), []);
    }
}
