//! What is wrong with a configuration: all of it at once, each with its place and what to do.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `document.events.price_change.operation`. Empty for the file as a whole.
    pub path: Place,
    /// What is wrong and what to do about it. Never holds a secret.
    pub text: String,
}

/// All that is wrong, in the order of the file's sections. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file that was read.
    pub file: PathBuf,
    /// What is wrong with it.
    pub list: Vec<Problem>,
}

/// A place in the configuration: the keys that lead there. Shown with dots, list positions in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place(Vec<Step>);

/// One step into the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Into a map, by key.
    Key(String),
    /// Into a list, by position from 0.
    Index(usize),
}

impl Problem {
    /// A problem at a place.
    pub fn new(path: impl Into<Place>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

impl Place {
    /// The whole file.
    pub fn root() -> Self {
        Self::default()
    }

    /// The place under this key.
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.step(Step::Key(key.into()))
    }

    /// The place at this position of the list, from 0.
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    /// The place one step further.
    pub fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The place reached by going on from here.
    pub fn join(&self, inside: &Place) -> Self {
        Self([self.0.as_slice(), inside.0.as_slice()].concat())
    }

    /// The steps from the top.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether one of the two places lies within the other.
    pub fn touches(&self, other: &Place) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

/// From keys with dots between them; for places whose keys are known to hold none.
impl From<&str> for Place {
    fn from(keys: &str) -> Self {
        keys.split('.').filter(|key| !key.is_empty()).fold(Self::root(), |place, key| place.key(key))
    }
}

impl FromIterator<Step> for Place {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if number == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.steps().is_empty() {
            return f.write_str(&self.text);
        }
        write!(f, "{}: {}", self.path, self.text)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.list.len() {
            1 => write!(f, "{file} has a problem:")?,
            count => write!(f, "{file} has {count} problems:")?,
        }
        self.list.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_shown_as_they_are_written() {
        let place = Place::from("document.metadata").index(2).key("x");
        assert_eq!(place.to_string(), "document.metadata[2].x");
    }

    #[test]
    fn a_problem_of_the_file_has_no_place() {
        let problems =
            Problems { file: "a.yaml".into(), list: vec![Problem::new("", "is empty"), Problem::new("a.b", "is odd")] };
        assert_eq!(problems.to_string(), "a.yaml has 2 problems:\n  is empty\n  a.b: is odd");
    }

    #[test]
    fn places_touch_when_one_holds_the_other() {
        let place = |text: &str| Place::from(text);
        assert!(place("a.b").touches(&place("a")));
        assert!(place("a").touches(&place("a.b")));
        assert!(!place("a.b").touches(&place("a.bc")));
    }
}
