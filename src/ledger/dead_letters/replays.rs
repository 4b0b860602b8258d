//! Dead letters that are to go through the pipeline again.

use super::{COLUMNS, DeadLetter, collect, is_refused};
use crate::ledger::error::LedgerError;
use crate::ledger::{Ledger, documents};

impl Ledger {
    /// Marks dead letters to go through the pipeline again, all of them for `None`; answers how many were marked now.
    pub fn request_replay(&self, ids: Option<&[i64]>) -> Result<usize, LedgerError> {
        self.change("replay dead letters", |transaction| {
            let Some(ids) = ids else {
                return Ok(transaction.execute("UPDATE dead_letters SET replay = 1 WHERE replay = 0", [])?);
            };
            let mut statement =
                transaction.prepare_cached("UPDATE dead_letters SET replay = 1 WHERE id = ?1 AND replay = 0")?;
            let mut marked = 0;
            for id in ids {
                marked += statement.execute([id])?;
            }
            Ok(marked)
        })
    }

    /// The dead letters that wait for their replay, with numbers above `after`, in ascending order: at most `max`, and no more than
    /// `max_bytes` of payload. The first is given in any case.
    pub fn replays(&self, after: i64, max: usize, max_bytes: usize) -> Result<Vec<DeadLetter>, LedgerError> {
        self.read("read the dead letters", |connection| {
            let mut statement =
                connection.prepare_cached(&format!("{COLUMNS} WHERE replay = 1 AND id > ?1 ORDER BY id LIMIT ?2"))?;
            collect(&mut statement, after, max, max_bytes)
        })
    }

    /// Drops dead letters whose replay settled, each with the attempts that it had when it was given. One that was buried again meanwhile
    /// has more, and stays, also when it was asked for again. So does one whose document is refused all the same: under another
    /// configuration its record was ignored, or said something of another document.
    pub fn finish_replay(&self, given: &[(i64, u32)]) -> Result<(), LedgerError> {
        self.change("drop replayed dead letters", |transaction| {
            let mut taken_in = transaction.prepare_cached(
                "SELECT document FROM dead_letters
                 WHERE id = ?1 AND attempts = ?2 AND replay = 1 AND taken_in AND document IS NOT NULL",
            )?;
            let mut keep = transaction.prepare_cached("UPDATE dead_letters SET replay = 0 WHERE id = ?1")?;
            let mut drop_it = transaction
                .prepare_cached("DELETE FROM dead_letters WHERE id = ?1 AND attempts = ?2 AND replay = 1")?;
            for letter in given {
                let document =
                    taken_in.query(*letter)?.next()?.map(|row| documents::document_id(row, 0)).transpose()?;
                let held = document.map(|id| documents::look_up(transaction, &id)).transpose()?.flatten();
                if held.is_some_and(|held| is_refused(&held)) {
                    keep.execute([letter.0])?;
                } else {
                    drop_it.execute(*letter)?;
                }
            }
            Ok(())
        })
    }
}
