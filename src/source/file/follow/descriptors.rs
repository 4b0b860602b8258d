//! How many files are held open. The system bounds it for the whole process, which needs descriptors for other things too: without one,
//! a folder cannot even be looked into.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use crate::open_files;

/// Files that are followed may have one out of so many descriptors.
const SHARE: usize = 2;

/// Opens files, no more than so many at a time. Clones share the count.
#[derive(Clone)]
pub(in crate::source::file) struct Descriptors(Arc<Count>);

struct Count {
    held: AtomicUsize,
    most: usize,
}

/// An open file that is counted until it is dropped.
pub(super) struct Held {
    file: Arc<File>,
    _counted: Counted,
}

struct Counted(Arc<Count>);

impl Descriptors {
    /// Those of all sources of this process.
    pub fn of_process() -> Self {
        static ALL: LazyLock<Descriptors> = LazyLock::new(|| {
            // `check --connect` opens no resources, which would have done it.
            open_files::allow_all();
            let most = open_files::most().and_then(|most| usize::try_from(most).ok());
            Descriptors::at_most(most.unwrap_or(usize::MAX) / SHARE)
        });
        ALL.clone()
    }

    pub fn at_most(most: usize) -> Self {
        Self(Arc::new(Count { held: AtomicUsize::new(0), most }))
    }

    /// How many files may be open at a time.
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// Opens a file, unless as many are open as may be.
    pub(super) fn open(&self, path: &Path) -> io::Result<Option<Held>> {
        let more = |held| (held < self.0.most).then_some(held + 1);
        if self.0.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Ok(None);
        }
        let _counted = Counted(self.0.clone());
        Ok(Some(Held { file: Arc::new(File::open(path)?), _counted }))
    }
}

impl Deref for Held {
    type Target = Arc<File>;

    fn deref(&self) -> &Arc<File> {
        &self.file
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}
