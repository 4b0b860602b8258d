//! What each part of a run, by its name, tells about itself at any moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The board that every part writes to and that statistics are read from. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Board<T>(pub(super) Arc<Mutex<BTreeMap<Arc<str>, T>>>);

/// One part's place on the board.
#[derive(Debug, Clone)]
pub struct Handle<T> {
    board: Board<T>,
    name: Arc<str>,
}

impl<T: Clone + Default> Board<T> {
    /// The place of a part, which may be entered later.
    pub fn of(&self, name: &str) -> Handle<T> {
        Handle { board: self.clone(), name: Arc::from(name) }
    }

    /// All parts by name.
    pub fn snapshot(&self) -> BTreeMap<String, T> {
        self.0.lock().iter().map(|(name, told)| (name.to_string(), told.clone())).collect()
    }
}

impl<T: Default> Handle<T> {
    /// Changes what the part tells. One that was not entered is entered by this.
    pub(super) fn update(&self, change: impl FnOnce(&mut T)) {
        change(self.board.0.lock().entry(self.name.clone()).or_default());
    }
}
