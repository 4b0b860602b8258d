//! The summary of a run that has ended: what it did, what it cost, and what is there.

use std::time::Duration;

use crate::dedup::Departed;
use crate::ledger::Ledger;
use crate::ledger::patience::blocking;
use crate::pipeline::{Ending, Resources};
use crate::telemetry::Outcome;
use crate::telemetry::figures::{bytes, count, counted, money, rate, span};
use crate::telemetry::terminal::printable;

use super::progress::Snapshot;

/// What is there at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Holdings {
    /// Documents in the index.
    pub documents: u64,
    /// Their chunks.
    pub points: u64,
    /// Records in the dead letters.
    pub dead_letters: u64,
    /// Bytes of the ledger, vectors included.
    pub bytes: u64,
}

impl Holdings {
    /// What is there now.
    pub async fn of(resources: &Resources) -> Self {
        let read = |ledger: &Ledger| (ledger.counts(), ledger.size_on_disk());
        let (counts, size) = blocking(&resources.ledger, read).await;
        // A ledger that cannot be asked now was reported; the counts of the run are told all the same.
        let counts = counts.unwrap_or_default();
        Self {
            documents: counts.indexed,
            points: counts.points,
            dead_letters: counts.dead_letters,
            bytes: size.unwrap_or_default(),
        }
    }
}

/// What a run did, for the person who started it.
pub fn summary(ending: &Ending, run: &Snapshot, holdings: &Holdings) -> String {
    let mut lines = vec![how_it_ended(ending, run)];
    lines.extend(outcomes(run));
    let mut spent = format!("{} sent", counted(run.texts, "text"));
    if run.tokens > 0 {
        spent = format!("{spent}, {}, {}", counted(run.tokens, "token"), money(run.money));
    }
    lines.push(format!("Embedding: {spent}"));
    let tiers = ["unchanged", "in memory", "in the ledger", "equal to a text already being embedded"];
    let hits: Vec<String> = run
        .hits
        .iter()
        .zip(tiers)
        .filter(|(hits, _)| **hits > 0)
        .map(|(hits, tier)| format!("{} {tier}", count(*hits)))
        .collect();
    if !hits.is_empty() {
        lines.push(format!("  {} needed no call: {}", counted(run.hits.iter().sum(), "text"), hits.join(", ")));
    }
    let Holdings { documents, points, dead_letters, bytes: size } = *holdings;
    let (documents, points) = (counted(documents, "document"), counted(points, "chunk"));
    lines.push(format!("Index: {documents} in {points}, {} on disk", bytes(size)));
    if let Some(Departed { documents, example, reason }) = &run.departed {
        let (documents, example) = (counted(*documents, "document"), printable(example.as_str()));
        lines.push(format!("Left the index for want of a text: {documents}, first `{example}`: {}", printable(reason)));
    }
    if dead_letters > 0 {
        let shown = "`vectide dead-letters list` shows them with their reasons";
        lines.push(format!("Dead letters: {}; {shown}", count(dead_letters)));
    }
    for (source, reason) in &run.failing {
        lines.push(format!("Source `{}` cannot read: {}", printable(source), printable(reason)));
    }
    for (name, reason) in &run.awaited {
        lines.push(format!("Waited for {name}: {}", printable(reason)));
    }
    lines.join("\n") + "\n"
}

fn how_it_ended(ending: &Ending, run: &Snapshot) -> String {
    let (time, settled) = (span(run.elapsed), run.settled());
    let done = match ending {
        Ending::Done if settled == 0 => return format!("Done in {time}: nothing new"),
        Ending::Stopped if settled == 0 => return format!("Stopped after {time}: no records arrived"),
        Ending::Done => format!("Done in {time}"),
        Ending::Stopped => format!("Stopped after {time}"),
        Ending::WorkLeft => format!("Stopped after {time} with work left (the next `vectide run` does it)"),
        Ending::Failed(_) | Ending::Hangs(_) => format!("Failed after {time}"),
    };
    format!("{done}: {}", records(settled, run.elapsed))
}

/// What became of the records, a line for each kind that there was.
fn outcomes(run: &Snapshot) -> impl Iterator<Item = String> {
    let kinds = [
        (Outcome::Indexed, "indexed"),
        (Outcome::Stored, "stored outside the index: their documents have no text, or are deleted"),
        (Outcome::Unchanged, "unchanged: the index already held what they say"),
        (Outcome::Superseded, "superseded by others of the same document, newer or of the same version"),
        (Outcome::Filtered, "filtered out by the configuration"),
        (Outcome::DeadLettered, "dead-lettered"),
    ];
    let kinds = kinds.map(|(outcome, meaning)| (count(run.of(outcome)), meaning));
    let width = kinds.iter().map(|(number, _)| number.len()).max().unwrap_or(0);
    let occurred = kinds.into_iter().filter(|(number, _)| number != "0");
    occurred.map(move |(number, meaning)| format!("  {number:>width$} {meaning}"))
}

fn records(settled: u64, time: Duration) -> String {
    if settled == 0 {
        return "no record was settled".to_owned();
    }
    let pace = settled as f64 / time.as_secs_f64().max(0.001);
    format!("{}, {}", counted(settled, "record"), rate(pace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::DocumentId;

    #[test]
    fn a_summary_tells_what_happened_what_it_cost_and_what_to_do() {
        let run = Snapshot {
            elapsed: Duration::from_secs(2),
            outcomes: [1_980, 20, 200, 30, 0, 5, 600],
            texts: 1_900,
            tokens: 31_234,
            money: 1.5,
            hits: [100, 20, 3, 0],
            awaited: vec![("the index", "Qdrant at http://h:6334: no answer".into())],
            departed: Some(Departed {
                documents: 20,
                example: DocumentId::new("SKU-7").unwrap(),
                reason: "its text lacks `title`".into(),
            }),
            ..Snapshot::default()
        };
        let holdings = Holdings { documents: 1_990, points: 2_010, dead_letters: 7, bytes: 2_400_000 };
        let expected = "\
Done in 2.0 s: 2,235 records, 1,118/s
  1,980 indexed
     20 stored outside the index: their documents have no text, or are deleted
    200 unchanged: the index already held what they say
     30 superseded by others of the same document, newer or of the same version
      5 dead-lettered
Embedding: 1,900 texts sent, 31,234 tokens, $1.50
  123 texts needed no call: 100 unchanged, 20 in memory, 3 in the ledger
Index: 1,990 documents in 2,010 chunks, 2.4 MB on disk
Left the index for want of a text: 20 documents, first `SKU-7`: its text lacks `title`
Dead letters: 7; `vectide dead-letters list` shows them with their reasons
Waited for the index: Qdrant at http://h:6334: no answer
";
        assert_eq!(summary(&Ending::Done, &run, &holdings), expected);
    }

    #[test]
    fn every_ending_has_its_first_line() {
        let (run, holdings) = (Snapshot::default(), Holdings::default());
        let rest = "Embedding: 0 texts sent\nIndex: 0 documents in 0 chunks, 0 B on disk\n";
        for (ending, first) in [
            (Ending::Done, "Done in 0 ms: nothing new"),
            (Ending::Stopped, "Stopped after 0 ms: no records arrived"),
            (
                Ending::WorkLeft,
                "Stopped after 0 ms with work left (the next `vectide run` does it): no record was settled",
            ),
            (Ending::Failed("no disk".into()), "Failed after 0 ms: no record was settled"),
        ] {
            assert_eq!(summary(&ending, &run, &holdings), format!("{first}\n{rest}"));
        }
    }
}
