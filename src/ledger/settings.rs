//! Texts by name: what the pipeline was built with.

use rusqlite::{Connection, OptionalExtension};

use super::Ledger;
use super::error::LedgerError;

impl Ledger {
    /// The text kept under this name.
    pub fn setting(&self, key: &str) -> Result<Option<String>, LedgerError> {
        self.read("read a setting", |connection| Ok(setting(connection, key)?))
    }

    /// Keeps a text under a name.
    pub fn set_setting(&self, key: &str, value: &str) -> Result<(), LedgerError> {
        self.change("keep a setting", |transaction| Ok(set_setting(transaction, key, value)?))
    }
}

pub(super) fn setting(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value FROM settings WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

pub(super) fn set_setting(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO settings VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value")?
        .execute([key, value])?;
    Ok(())
}
