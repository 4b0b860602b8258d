//! Which known name was meant.

/// The known name that is nearest to what was written, when it is near enough to be a slip: at most one edit for every
/// three letters, where an edit adds, drops or changes a letter or swaps two neighbours.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded: Vec<char> = written.to_lowercase().replace('-', "_").chars().collect();
    let limit = folded.len().div_ceil(3);
    let near = known.into_iter().map(|name| (distance(&folded, &name.chars().collect::<Vec<_>>()), name));
    near.filter(|(distance, _)| *distance <= limit).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// "; did you mean `batching`?", or the known names when none is near.
pub fn suggestion<'a>(written: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(written, known.clone()) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => match list(known) {
            names if names.is_empty() => "; nothing can be set here".to_owned(),
            names => format!("; known here: {names}"),
        },
    }
}

/// Names as a sentence lists them: "`a`, `b`, `c`".
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Edits between two words (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_other_words_are_not() {
        let known = ["batching", "chunking", "document", "embedding", "index"];
        for (written, meant) in [
            ("batchin", Some("batching")),
            ("bathcing", Some("batching")),
            ("Chunking", Some("chunking")),
            ("documents", Some("document")),
            ("indx", Some("index")),
            ("retries", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
        assert_eq!(nearest("max-items", ["max_items", "max_wait"]), Some("max_items"));
    }
}
