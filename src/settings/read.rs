//! Reads parts of the configuration as settings types and goes on after every problem, so that one look finds all.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::nearest::{list, nearest, suggestion};
use super::node::{Kind, Node};
use super::problem::{Place, Problem, Step};
use super::required::required;
use super::typed::Fault;

/// Reads and notes what is wrong.
#[derive(Debug, Default)]
pub struct Reader {
    /// What was wrong so far.
    pub problems: Vec<Problem>,
}

/// One of several forms of a section: its name, and how the rest is read.
pub type Form<T> = (&'static str, fn(&mut Reader, &Place, Node) -> Option<T>);

impl Reader {
    /// Notes a problem.
    pub fn note(&mut self, place: Place, text: impl Into<String>) {
        self.problems.push(Problem::new(place, text));
    }

    /// Reads a value of one type. What is wrong inside is noted and left out, as if it were not there, and the rest is read again;
    /// an example stands in for a key that must be there. `None`: the value as a whole is of no use.
    pub fn read<T: DeserializeOwned>(&mut self, place: &Place, mut node: Node) -> Option<T> {
        let mut left_out = BTreeSet::new();
        let mut removed_before = BTreeMap::new();
        loop {
            let error = match serde_path_to_error::deserialize(&node) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let inside = inner_place(error.path());
            match error.into_inner() {
                Fault::Missing(key) => {
                    let missing = inside.key(key);
                    let whole = place.join(&missing);
                    let required = required(&whole);
                    if left_out.insert(missing.clone()) {
                        let text = required.map_or_else(|| "is missing".to_owned(), |required| required.missing());
                        self.note(whole, text);
                    }
                    let stand_in = required.map(|required| required.stand_in())?;
                    // A key that is missing though it is there: the type and the tree disagree, and asking again would not end.
                    if node.at(&missing).is_some() || !node.insert(&missing, stand_in) {
                        return None;
                    }
                }
                fault => {
                    let inside = match &fault {
                        Fault::UnknownKey { key, .. } if inside.steps().last() != Some(&Step::Key(key.clone())) => {
                            inside.key(key)
                        }
                        _ => inside,
                    };
                    if let Fault::UnknownKey { key, known } = &fault
                        && let Some(meant) = nearest(key, known.iter().copied())
                        && let Some((_, parent)) = inside.steps().split_last()
                    {
                        // The slip explains why the key that was meant is missing.
                        left_out.insert(parent.iter().cloned().collect::<Place>().key(meant));
                    }
                    let shown = place.join(&as_written(&inside, &removed_before));
                    let text = in_words(fault, node.at(&inside));
                    self.note(shown, text);
                    node.remove(&inside)?;
                    if let Some((Step::Index(_), list)) = inside.steps().split_last() {
                        *removed_before.entry(list.to_vec()).or_default() += 1;
                    }
                    left_out.insert(inside);
                }
            }
        }
    }

    /// Reads a value whose form is named by the key `tag`. `default` is the form where the whole value is absent, if it may be.
    pub fn read_form<T>(
        &mut self,
        place: &Place,
        mut node: Node,
        tag: &str,
        forms: &[Form<T>],
        default: Option<&str>,
    ) -> Option<T> {
        let names = || forms.iter().map(|(name, _)| *name);
        let Kind::Map(_) = &node.kind else {
            let set_by = node.origin().map(|origin| format!(" (set by {origin})")).unwrap_or_default();
            let text = format!("needs keys below it, first of all `{tag}`: one of {}{set_by}", list(names()));
            self.note(place.clone(), text);
            return None;
        };
        let (name, origin) = match node.remove(&Place::root().key(tag)) {
            Some(Node { kind: Kind::Text(name), origin }) => (name, origin),
            None | Some(Node { kind: Kind::Null, .. }) => {
                let Kind::Map(others) = &node.kind else { return None };
                match others.keys().find(|key| nearest(key, [tag]).is_some()) {
                    Some(slip) => {
                        let text = format!("unknown key `{slip}`; did you mean `{tag}`? (one of {})", list(names()));
                        self.note(place.key(slip), text);
                    }
                    None => {
                        let absent = default.map(|default| format!("; without `{place}` it is `{default}`"));
                        let text = format!("is missing: one of {}{}", list(names()), absent.unwrap_or_default());
                        self.note(place.key(tag), text);
                    }
                }
                return None;
            }
            Some(_) => {
                self.note(place.key(tag), format!("needs a name, one of {}", list(names())));
                return None;
            }
        };
        match forms.iter().find(|(known, _)| *known == name) {
            Some((_, read)) => read(self, place, node),
            None => {
                let text = match origin {
                    Some(origin) => format!("needs one of {} (set by {origin})", list(names())),
                    None => unknown_name(tag, &name, names()),
                };
                self.note(place.key(tag), text);
                None
            }
        }
    }
}

/// The place that an error names, without the steps that exist in types only.
fn inner_place(path: &serde_path_to_error::Path) -> Place {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// The place as the file has it: list items that were left out before are counted again.
fn as_written(place: &Place, removed_before: &BTreeMap<Vec<Step>, usize>) -> Place {
    let steps = place.steps();
    let step = |(number, step): (usize, &Step)| match step {
        Step::Key(_) => step.clone(),
        Step::Index(index) => Step::Index(index + removed_before.get(&steps[..number]).copied().unwrap_or(0)),
    };
    steps.iter().enumerate().map(step).collect()
}

fn unknown_name<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let near = nearest(name, known.clone()).map(|near| format!("; did you mean `{near}`?"));
    format!("unknown {what} `{name}`{} (one of {})", near.unwrap_or_default(), list(known))
}

fn in_words(fault: Fault, node: Option<&Node>) -> String {
    let origin = node.and_then(Node::origin);
    let text = match fault {
        Fault::UnknownKey { key, known } => {
            format!("unknown key `{key}`{}", suggestion(&key, known.iter().copied()))
        }
        Fault::UnknownName { .. } | Fault::Unfit { .. } if node.is_some_and(Node::is_null) => {
            "has no value; give it one or remove the key".to_owned()
        }
        Fault::UnknownName { known, .. } if origin.is_some() => format!("needs one of {}", list(known.iter().copied())),
        Fault::UnknownName { name, known } => unknown_name("value", &name, known.iter().copied()),
        Fault::Unfit { expected, .. } if origin.is_some() => format!("needs {expected}"),
        Fault::Unfit { found, expected } => {
            let quotes = expected == "text" && found.starts_with(['`', 't']) && !found.starts_with("the text");
            let quotes = if quotes { "; put it in quotes" } else { "" };
            format!("needs {expected}, not {found}{quotes}")
        }
        fault @ (Fault::Missing(_) | Fault::Other(_)) => fault.to_string(),
    };
    match origin {
        Some(origin) => format!("{text} (set by {origin})"),
        None => text,
    }
}
