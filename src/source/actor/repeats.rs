//! Whether it pays to look for records that are known before they are decoded.
//!
//! To look costs a question to the ledger for each record. One that is known saves its decoding, its plan and its way through the stages;
//! one that is not was asked about in vain. A catalogue that is read again repeats itself nearly everywhere, a stream of news nowhere: what
//! the last look found tells which of them this is.

/// Of so many records one must be known for the next look to pay.
const ONE_OF: usize = 4;
/// Where it does not pay, one of so many reads is looked at all the same.
const TRY_EVERY: u32 = 16;

/// What the last looks found. One for each source.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    pays: bool,
    /// Reads since the last look.
    passed: u32,
}

impl Repeats {
    /// Whether to look at the records of the next read.
    pub(super) fn look(&mut self) -> bool {
        let looks = self.pays || self.passed.is_multiple_of(TRY_EVERY);
        self.passed += 1;
        looks
    }

    /// So many records were looked at, and so many of them were known.
    pub(super) fn found(&mut self, known: usize, looked: usize) {
        self.pays = known * ONE_OF >= looked;
        self.passed = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many reads were looked at, when each look finds so many of 100.
    fn looks(repeats: &mut Repeats, reads: usize, known: usize) -> usize {
        let look = |_: &usize| {
            let looks = repeats.look();
            if looks {
                repeats.found(known, 100);
            }
            looks
        };
        (0..reads).filter(look).count()
    }

    #[test]
    fn looks_on_while_it_finds_enough_and_tries_now_and_then_while_it_does_not() {
        let mut repeats = Repeats::default();
        assert_eq!(looks(&mut repeats, 161, 24), 11);
        assert_eq!(looks(&mut repeats, 160, 25), 160 - 15, "from the next try on");
        assert_eq!(looks(&mut repeats, 160, 0), 10, "it ends with the first look in vain");
    }
}
