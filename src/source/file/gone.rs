//! How much is remembered of files that are gone.
//!
//! One that comes back is not read again, and another content under its name is newer than all that the name had: so it is worth being
//! remembered for a while. But files may come and go without end.

use std::cmp::Reverse;

use super::identity::Progress;

/// So many files that are gone are remembered.
pub(super) const REMEMBERED: usize = 1000;

/// Which of these files that are gone are to be forgotten, by name: those with the oldest records.
pub(super) fn too_many<'a>(gone: impl Iterator<Item = (&'a str, &'a Progress)>) -> Vec<String> {
    let mut gone: Vec<_> = gone.collect();
    gone.sort_by_key(|(_, progress)| Reverse(progress.end()));
    gone.into_iter().skip(REMEMBERED).map(|(name, _)| name.to_owned()).collect()
}
