//! Texts kept by name, in the table `settings`: what the pipeline was built with, and what else is one value.

use rusqlite::{Connection, OptionalExtension};

use super::Ledger;
use super::error::LedgerError;

/// What all documents were planned with. Absent in a ledger with documents: not all with the same.
pub const PLAN: &str = "plan";

impl Ledger {
    /// The text kept under this name.
    pub fn setting(&self, key: &str) -> Result<Option<String>, LedgerError> {
        self.read("read a setting", |connection| Ok(setting(connection, key)?))
    }

    /// Keeps a text under a name.
    pub fn set_setting(&self, key: &str, value: &str) -> Result<(), LedgerError> {
        self.change("keep a setting", |transaction| Ok(set_setting(transaction, key, value)?))
    }

    /// Forgets the text under a name.
    pub fn forget_setting(&self, key: &str) -> Result<(), LedgerError> {
        self.change("forget a setting", |transaction| Ok(forget_setting(transaction, key)?))
    }
}

pub(super) fn setting(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value FROM settings WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

pub(super) fn forget_setting(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM settings WHERE key = ?1")?.execute([key])?;
    Ok(())
}

pub(super) fn set_setting(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO settings VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value")?
        .execute([key, value])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::ledger::testing::open;

    #[test]
    fn keeps_the_last_text_under_each_name() {
        let (_folder, ledger) = open();
        assert_eq!(ledger.setting("space").unwrap(), None);
        for value in ["a", "b"] {
            ledger.set_setting("space", value).unwrap();
            assert_eq!(ledger.setting("space").unwrap().as_deref(), Some(value));
        }
    }
}
