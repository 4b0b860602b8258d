//! One file that is read on as it grows, for as long as anybody writes to it.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::info;

use super::descriptors::Held;
use super::known::Known;
use super::sight::Sight;
use crate::source::Partition;
use crate::source::batch::Batch;
use crate::source::file::content::{Content, Mark};
use crate::source::file::identity::{self, Identity, Progress};
use crate::source::file::kind::Kind;
use crate::source::file::name::name_of;
use crate::source::file::scan::{Seen, cannot_read};
use crate::source::place::Place;

/// One file that is read on as it grows.
pub(super) struct Followed {
    pub path: PathBuf,
    kind: Kind,
    pub file: Held,
    pub identity: Identity,
    content: Content,
    pub place: Place,
    pub earlier: Vec<Progress>,
    pub given: Mark,
    /// Whether all was read that was there at the last look.
    pub drained: bool,
    /// How long the file was, and when it had been written last, at the last look.
    pub size: u64,
    modified: i64,
    /// Since when it is gone and nobody writes to it.
    pub gone_since: Option<Instant>,
    /// Whether what stands behind the last line feed was taken for a line: the file is gone, and its line feed will not come.
    pub ended: bool,
    /// Whether its last position says that it is gone and nobody waits for it.
    pub parted: bool,
}

impl Followed {
    /// Goes on with an open file where it was left, under whatever name that was. `all` is what is there now.
    pub fn open(seen: &Seen, file: Held, known: &Known, all: &Sight, max_record: usize) -> Result<Self, String> {
        let name = name_of(&seen.path);
        let said = |error: std::io::Error| cannot_read(&name, &error);
        let mut identity = Identity::of(&file, seen.kind).map_err(said)?;
        let (base, given) = match known.progress(&file, identity.id(), seen.kind, all).map_err(said)? {
            Some(progress) if progress.mark.offset <= identity.size() => {
                identity = progress.identity.renewed(&file, seen.kind).map_err(said)?;
                (progress.base, progress.mark)
            }
            Some(progress) => (progress.base_behind(identity.modified()), Mark::default()),
            None => {
                let modified = identity.modified();
                (known.behind(&name).map_or(modified, |behind| modified.max(behind)), Mark::default())
            }
        };
        let content = Content::open_growing(&file, seen.kind, max_record, given)
            .map_err(|reason| format!("`{name}` cannot be read: {reason}"))?;
        let partition = Arc::new(Partition { name: name.clone(), detail: String::new() });
        let mut followed = Self {
            path: seen.path.clone(),
            kind: seen.kind,
            file,
            earlier: known.earlier(&name, identity.id(), all),
            size: identity.size(),
            modified: identity.modified(),
            identity,
            content,
            place: Place { partition, base },
            given,
            drained: false,
            gone_since: None,
            ended: false,
            parted: false,
        };
        followed.set_place(base);
        Ok(followed)
    }

    pub fn name(&self) -> &str {
        &self.place.partition.name
    }

    /// How far it was read.
    pub fn progress(&self) -> Progress {
        Progress::of(self.identity.clone(), self.place.base, self.given)
    }

    /// Whether all is read that is there now.
    pub fn is_read_to_its_end(&mut self) -> bool {
        self.drained && self.file.metadata().map_or(true, |now| now.len() == self.content.read_to())
    }

    /// How many bytes were there at the last look and are not given.
    pub fn remaining(&self) -> u64 {
        self.size.saturating_sub(self.given.offset)
    }

    /// Has what is left read as the last line.
    pub fn end(&mut self) {
        self.content.end();
        (self.ended, self.drained) = (true, false);
    }

    /// Reads what is there, as far as there is room, and about `share` bytes beyond it.
    pub fn read(&mut self, batch: &mut Batch, max_record: usize, share: u64) -> Result<(), String> {
        let metadata = self.file.metadata().map_err(|error| error.to_string())?;
        let (size, modified) = (metadata.len(), identity::modified(&metadata));
        self.size = size;
        let mut read_to = self.content.read_to();
        if self.ended && size != read_to {
            // Whoever has it open writes on after all.
            self.content = Content::open_growing(&self.file, self.kind, max_record, self.given)?;
            (self.ended, self.drained, self.gone_since) = (false, false, None);
            read_to = self.content.read_to();
        }
        if self.drained && (size, modified) == (read_to, self.modified) {
            return Ok(());
        }
        // Whoever still has it open writes on.
        if size != read_to {
            self.gone_since = None;
        }
        let overwritten = if size < read_to {
            Some("the file is shorter than what was read of it")
        } else if (self.drained || modified != self.modified)
            && !self.identity.holds(&self.file).map_err(|error| error.to_string())?
        {
            Some("the file does not hold what was read of it")
        } else {
            None
        };
        if let Some(why) = overwritten {
            self.start_again(why, max_record)?;
            read_to = 0;
        }
        self.modified = modified;
        if self.identity.head_may_grow(size) {
            self.identity = self.identity.renewed(&self.file, self.kind).map_err(|error| error.to_string())?;
            self.set_place(self.place.base);
        }
        self.content.expect((size - read_to).min(share));
        let first = batch.len();
        self.drained = self.content.read(batch, &self.place, &mut self.given)?;
        self.parted &= batch.len() == first;
        // Records that come now are known by what was read with them.
        let news = self.identity.note_read(&self.file, self.content.read_to()).map_err(|error| error.to_string())?;
        if news {
            self.set_place(self.place.base);
            batch.move_to(first, &self.place);
        }
        Ok(())
    }

    fn start_again(&mut self, why: &str, max_record: usize) -> Result<(), String> {
        info!(file = self.name(), line = self.given.ordinal, why, "a file was overwritten; reading it from the start");
        let before = self.progress();
        self.content = Content::open_growing(&self.file, self.kind, max_record, Mark::default())?;
        self.given = Mark::default();
        self.identity = Identity::of(&self.file, self.kind).map_err(|error| error.to_string())?;
        self.set_place(before.base_behind(self.identity.modified()));
        Ok(())
    }

    /// Has what comes now given under this name, which these had before.
    pub fn rename(&mut self, to: PathBuf, earlier: Vec<Progress>) {
        (self.path, self.earlier) = (to, earlier);
        self.set_place(self.place.base);
    }

    fn set_place(&mut self, base: i64) {
        let progress = Progress::of(self.identity.clone(), base, self.given);
        let partition = progress.position(&name_of(&self.path), &self.earlier).partition;
        self.place = Place { partition, base };
    }
}
