//! The connections that read: as many as calls run at once, kept for the next call.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::Connection;

use super::connection::connect_to_read;
use super::error::Trouble;

/// Connections kept while nobody uses them. Each may hold some megabytes of cache.
const KEPT: usize = 4;

#[derive(Debug)]
pub(super) struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), idle: Mutex::default() }
    }

    /// Keeps a connection that is open already.
    pub(super) fn keep(&self, connection: Connection) {
        self.idle.lock().push(connection);
    }

    #[cfg(test)]
    pub(super) fn drop_idle(&self) {
        self.idle.lock().clear();
    }

    /// Lends a connection to `work`.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect_to_read(&self.file)?,
        };
        let done = work(&connection);
        let mut idle = self.idle.lock();
        if idle.len() < KEPT {
            idle.push(connection);
        }
        done
    }
}
