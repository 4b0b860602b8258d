//! `vectide dead-letters`: looks at, replays or drops the records that could not be processed.

use std::borrow::Cow;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::lenient::Lenient;
use super::table::Table;
use super::{exit, opened, print_json};
use crate::document::Version;
use crate::ledger::{DeadLetter, Ledger};
use crate::settings::Settings;
use crate::telemetry::figures::counted;
use crate::telemetry::terminal::{self, printable};
use crate::view::{DeadLetterView, VersionView};

/// What to do with dead letters.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// List them, oldest first.
    List {
        /// One line of JSON per dead letter: `{"id","source","position","reason","attempts","at"}`.
        #[arg(long)]
        json: bool,
    },
    /// Show one with its record.
    Show {
        /// Its number, as `list` shows it.
        id: i64,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send them through the pipeline again.
    Replay(Which),
    /// Forget them: their records are lost.
    Drop(Which),
}

/// Some dead letters, or all.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Their numbers, as `list` shows them.
    #[arg(value_name = "ID", value_parser = number)]
    pub ids: Vec<i64>,
    /// All of them.
    #[arg(long)]
    pub all: bool,
}

fn number(text: &str) -> Result<i64, &'static str> {
    text.parse().map_err(|_| "it must be a number as `vectide dead-letters list` shows it")
}

/// Dead letters read at once.
const PAGE: usize = 256;

/// Does it in the ledger; a running pipeline takes up what is to be replayed.
pub fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut out: Box<dyn Write> = match &args {
        Args::List { .. } | Args::Show { .. } => Box::new(io::stdout().lock()),
        Args::Replay(_) | Args::Drop(_) => Box::new(Lenient::on_stdout()),
    };
    let done = match args {
        Args::List { json } => list(&mut out, &opened::ledger(&settings)?, json),
        Args::Show { id, json } => show(&mut out, &opened::ledger(&settings)?, id, json, &settings),
        Args::Replay(which) => replay(&mut out, &opened::ledger_to_edit(&settings)?, &which),
        Args::Drop(which) => forget(&mut out, &opened::ledger_to_edit(&settings)?, &which),
    }?;
    out.flush()?;
    Ok(done)
}

/// Calls `each` with pages of dead letters, until there is none.
fn pages(ledger: &Ledger, mut each: impl FnMut(&[DeadLetter]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut after = i64::MIN;
    loop {
        let page = ledger.dead_letters(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        each(&page)?;
    }
}

fn list(out: &mut impl Write, ledger: &Ledger, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        pages(ledger, |page| page.iter().try_for_each(|dead| print_json(out, &DeadLetterView::from(dead))))?;
        return Ok(ExitCode::from(exit::DONE));
    }
    let (mut table, mut number) = (Table::new(["ID", "AT", "FROM~", "ATTEMPTS", "REASON~"]), 0);
    pages(ledger, |page| {
        number += page.len() as u64;
        for dead in page {
            let DeadLetterView { id, source, position, reason, attempts, at } = dead.into();
            let reason = if dead.replay { format!("(waiting for its replay) {reason}") } else { reason };
            table.row([id.to_string(), at, format!("{source}: {position}"), attempts.to_string(), reason]);
        }
        Ok(())
    })?;
    if number == 0 {
        writeln!(out, "there are no dead letters")?;
        return Ok(ExitCode::from(exit::DONE));
    }
    table.write(out, terminal::width())?;
    writeln!(
        out,
        "\n{}: `vectide dead-letters show ID` shows a record, `replay` sends it through the pipeline again, `drop` forgets it",
        counted(number, "dead letter")
    )?;
    Ok(ExitCode::from(exit::DONE))
}

/// All that is known of a dead letter.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    letter: DeadLetterView,
    document: Option<&'a str>,
    version: Option<VersionView>,
    /// Whether it waits to go through the pipeline again.
    replay: bool,
    /// The record as text.
    payload: Cow<'a, str>,
    /// Whether the record holds bytes that are not text; they stand as `�`.
    payload_lossy: bool,
}

fn show(out: &mut impl Write, ledger: &Ledger, id: i64, json: bool, settings: &Settings) -> anyhow::Result<ExitCode> {
    let Some(dead) = ledger.dead_letter(id)? else { return Ok(unknown(id)) };
    let payload = String::from_utf8_lossy(&dead.letter.payload);
    let unit = settings.document.version_unit();
    // A record that says nothing has none to show.
    let version = dead.letter.version.filter(|version| *version != Version::OLDEST);
    let shown = Shown {
        letter: DeadLetterView::from(&dead),
        document: dead.letter.document.as_ref().map(|id| id.as_str()),
        version: version.map(|version| VersionView::new(version, unit)),
        replay: dead.replay,
        payload_lossy: matches!(payload, Cow::Owned(_)),
        payload,
    };
    if json {
        print_json(out, &shown)?;
        return Ok(ExitCode::from(exit::DONE));
    }
    let DeadLetterView { id, source, position, reason, attempts, at } = &shown.letter;
    writeln!(out, "id        {id}")?;
    writeln!(out, "at        {at}")?;
    writeln!(out, "source    {}", printable(source))?;
    writeln!(out, "position  {}", printable(position))?;
    writeln!(out, "reason    {}", printable(reason))?;
    writeln!(out, "attempts  {attempts}")?;
    if let Some(document) = shown.document {
        writeln!(out, "document  {}", printable(document))?;
    }
    if let Some(version) = &shown.version {
        writeln!(out, "version   {version}")?;
    }
    if shown.replay {
        writeln!(out, "replay    requested; a running process, or the next `vectide run`, does it")?;
    }
    let lossy = if shown.payload_lossy { "; � stands for bytes that are not text" } else { "" };
    writeln!(out, "record    {}{lossy}", counted(dead.letter.payload.len() as u64, "byte"))?;
    shown.payload.lines().try_for_each(|line| writeln!(out, "{}", printable(line)))?;
    Ok(ExitCode::from(exit::DONE))
}

fn unknown(id: i64) -> ExitCode {
    let message = format_args!("there is no dead letter {id}; `vectide dead-letters list` shows all of them");
    exit::failed(exit::NOT_FOUND, &message)
}

/// The first of these that does not exist: nothing is done then.
fn missing(ledger: &Ledger, ids: &[i64]) -> anyhow::Result<Option<i64>> {
    for id in ids {
        if ledger.dead_letter(*id)?.is_none() {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

fn replay(out: &mut impl Write, ledger: &Ledger, which: &Which) -> anyhow::Result<ExitCode> {
    if let Some(id) = missing(ledger, &which.ids)? {
        return Ok(unknown(id));
    }
    match ledger.request_replay((!which.all).then_some(&which.ids[..]))? {
        0 if which.all && ledger.counts()?.dead_letters == 0 => writeln!(out, "there are no dead letters")?,
        0 if which.all => writeln!(out, "every dead letter is already waiting for its replay")?,
        0 => writeln!(out, "already requested; a running process, or the next `vectide run`, replays them")?,
        marked => {
            let marked = counted(marked as u64, "dead letter");
            writeln!(
                out,
                "{marked} will go through the pipeline again: in a running process within a second, otherwise with the next `vectide run`"
            )?;
        }
    }
    Ok(ExitCode::from(exit::DONE))
}

fn forget(out: &mut impl Write, ledger: &Ledger, which: &Which) -> anyhow::Result<ExitCode> {
    if let Some(id) = missing(ledger, &which.ids)? {
        return Ok(unknown(id));
    }
    if which.all {
        let mut dropped = 0;
        pages(ledger, |page| {
            let ids: Vec<i64> = page.iter().map(|dead| dead.id).collect();
            dropped += ledger.drop_dead_letters(&ids)? as u64;
            Ok(())
        })?;
        match dropped {
            0 => writeln!(out, "there are no dead letters")?,
            _ => writeln!(out, "dropped {}", counted(dropped, "dead letter"))?,
        }
    }
    for id in &which.ids {
        // One may have been cleared meanwhile, by a newer version of its document.
        let Some(dead) = ledger.dead_letter(*id)? else { continue };
        ledger.drop_dead_letters(&[*id])?;
        let DeadLetterView { id, source, position, reason, .. } = (&dead).into();
        writeln!(out, "dropped {}", printable(&format!("{id}, {source}: {position}: {reason}")))?;
    }
    Ok(ExitCode::from(exit::DONE))
}
