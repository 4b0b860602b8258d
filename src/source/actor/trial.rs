//! Whose fault it is when a delivery is lost again and again: its own, or that of a stage which fails with everything.
//!
//! One that travels alone and is lost shows that something is wrong, not what. The fault is its own only if others get through. So for
//! every one that is condemned another must have got through since the suspicion arose; while none does, nothing is condemned.

/// After so many losses a delivery is a suspect: it travels alone, so that it cannot harm its neighbours.
pub const LOSSES_UNTIL_ALONE: u32 = 3;
/// After so many losses a suspect may be condemned.
pub const LOSSES_UNTIL_DEAD: u32 = 5;
/// After so many lonely losses in a row, with nothing that got through between them, a stage seems to fail with everything.
const LOSSES_UNTIL_DEGRADED: u32 = 3;
/// After so many lonely losses in a row, which take most of a minute, actors that are built anew may do better.
const LOSSES_UNTIL_HOPELESS: u32 = 20;

/// What follows from a lonely loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It must be tried again, after a pause for so many losses.
    Again(u32),
    /// As before; and it seems that everything is lost.
    Degraded(u32),
    /// It crashes a stage that others pass.
    Guilty,
    /// Everything is lost, and has been for long.
    Hopeless,
}

/// The suspects of one source, from the first until none is left.
#[derive(Debug, Default)]
pub struct Trial {
    suspects: usize,
    /// How many deliveries of the pipeline had got through when it began, and at the last loss.
    through_before: u64,
    through: u64,
    condemned: u64,
    /// Lonely losses since anything got through.
    in_vain: u32,
}

impl Trial {
    /// There is one more suspect; so many deliveries got through so far.
    pub fn suspect(&mut self, through: u64) {
        if self.suspects == 0 {
            *self = Self { through_before: through, through, ..Self::default() };
        }
        self.suspects += 1;
    }

    /// A suspect was lost alone, for so many losses of its own.
    pub fn lost_alone(&mut self, losses: u32, through: u64) -> Finding {
        if through > self.through {
            self.in_vain = 0;
        }
        self.through = through;
        if losses >= LOSSES_UNTIL_DEAD && through - self.through_before > self.condemned {
            self.condemned += 1;
            return Finding::Guilty;
        }
        self.in_vain += 1;
        match self.in_vain {
            LOSSES_UNTIL_HOPELESS.. => Finding::Hopeless,
            LOSSES_UNTIL_DEGRADED.. => Finding::Degraded(losses.max(self.in_vain)),
            _ => Finding::Again(losses),
        }
    }

    /// A suspect is settled, one way or the other.
    pub fn settled(&mut self) {
        self.suspects = self.suspects.saturating_sub(1);
    }

    /// Whether no suspect is left.
    pub fn is_over(&self) -> bool {
        self.suspects == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Finding::{Again, Degraded, Guilty, Hopeless};
    use super::*;

    /// What is found at each lonely loss, given its own losses and how many got through until then; three are suspects.
    fn findings(losses: impl IntoIterator<Item = (u32, u64)>) -> Vec<Finding> {
        let mut trial = Trial::default();
        (0..3).for_each(|_| trial.suspect(100));
        losses.into_iter().map(|(losses, through)| trial.lost_alone(losses, through)).collect()
    }

    #[test]
    fn one_is_guilty_only_when_another_got_through_for_each_that_is_condemned() {
        for (what, losses, expected) in [
            ("others pass", vec![(4, 100), (5, 101)], vec![Again(4), Guilty]),
            ("they passed before its turn", vec![(4, 102), (5, 102)], vec![Again(4), Guilty]),
            ("none passes", vec![(4, 100), (5, 100), (6, 100)], vec![Again(4), Again(5), Degraded(6)]),
            (
                "then one does",
                vec![(4, 100), (5, 100), (6, 100), (7, 101)],
                vec![Again(4), Again(5), Degraded(6), Guilty],
            ),
            ("one for two", vec![(5, 101), (5, 101), (6, 101)], vec![Guilty, Again(5), Again(6)]),
            ("two for two", vec![(5, 102), (5, 102)], vec![Guilty, Guilty]),
            ("too early", vec![(4, 110), (4, 110)], vec![Again(4), Again(4)]),
        ] {
            assert_eq!(findings(losses), expected, "{what}");
        }
    }

    #[test]
    fn when_everything_is_lost_for_long_it_is_hopeless_and_whatever_gets_through_begins_anew() {
        let in_vain = |losses: u32| (0..losses).map(|loss| (4 + loss / 3, 100));
        assert_eq!(findings(in_vain(LOSSES_UNTIL_HOPELESS)).pop(), Some(Hopeless));
        assert_eq!(findings(in_vain(LOSSES_UNTIL_HOPELESS - 1)).pop(), Some(Degraded(19)));
        assert_eq!(findings(in_vain(LOSSES_UNTIL_HOPELESS - 1).chain([(4, 101)])).pop(), Some(Again(4)));
    }

    #[test]
    fn a_new_trial_knows_nothing_of_the_one_before() {
        let mut trial = Trial::default();
        trial.suspect(0);
        assert_eq!(trial.lost_alone(5, 9), Guilty);
        trial.settled();
        assert!(trial.is_over());
        trial.suspect(9);
        assert_eq!(trial.lost_alone(5, 9), Again(5), "what got through before says nothing about this one");
    }
}
