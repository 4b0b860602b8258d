//! `vectide get`: shows what is held of a document.

use std::io::{self, Write};
use std::process::ExitCode;

use super::table::Table;
use super::{exit, opened, print_json};
use crate::document::template::Template;
use crate::document::{Document, DocumentId};
use crate::settings::Settings;
use crate::telemetry::terminal::{self, printable};
use crate::view::DocumentView;

/// The options of `get`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The document's id.
    #[arg(value_parser = DocumentId::new)]
    pub id: DocumentId,
    /// Answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Shows the document's fields, their versions, its metadata and chunks.
pub fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let Args { id, json } = args;
    let found = opened::ledger(&settings)?.documents(std::slice::from_ref(&id))?;
    let Some(held) = found.into_iter().flatten().next() else {
        return Ok(exit::failed(exit::NOT_FOUND, &format_args!("there is no document `{id}`")));
    };
    let view = DocumentView::new(&id, &held, settings.document.version_unit());
    let mut out = io::stdout().lock();
    if json {
        print_json(&mut out, &view)?;
    } else {
        write(&mut out, &view, &state(&view, &held.document, &settings)?, terminal::width())?;
    }
    out.flush()?;
    Ok(ExitCode::from(exit::DONE))
}

/// Whether the index holds the document, and why not.
fn state(view: &DocumentView, document: &Document, settings: &Settings) -> anyhow::Result<String> {
    if view.indexed {
        return Ok("in the index".to_owned());
    }
    if view.fields.is_empty() {
        return Ok("deleted: it has no fields left".to_owned());
    }
    let template = Template::new(&settings.document).map_err(anyhow::Error::msg)?;
    let why = match template.why_no_text(document) {
        Some(reason) => printable(&reason),
        None => "rejected, see `vectide dead-letters list`; or the configuration changed since the last `vectide run`"
            .into(),
    };
    Ok(format!("not in the index: {why}"))
}

fn write(out: &mut impl Write, document: &DocumentView, state: &str, width: usize) -> io::Result<()> {
    let DocumentView { id, indexed, version, deleted, fields, versions, metadata, chunks } = document;
    writeln!(out, "id        {}", printable(id))?;
    writeln!(out, "state     {state}")?;
    writeln!(out, "version   {version}")?;
    if let Some(deleted) = deleted {
        writeln!(out, "deleted   at version {deleted}; later changes count")?;
    }
    if *indexed {
        writeln!(out, "metadata  {}", printable(&metadata.to_string()))?;
    }
    for (number, chunk) in chunks.iter().enumerate() {
        writeln!(out, "chunk {number:<3} {}", chunk.fingerprint)?;
    }
    if fields.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["FIELD~", "VERSION", "VALUE~"]);
    for (name, value) in fields {
        let version = versions.get(name).map(ToString::to_string).unwrap_or_default();
        table.row([name.clone(), version, value.to_string()]);
    }
    writeln!(out)?;
    table.write(out, width)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::Version;
    use crate::settings::document::VersionUnit;
    use crate::view::VersionView;

    #[test]
    fn nothing_of_a_document_can_steer_the_terminal() {
        let document = DocumentView {
            id: "a\u{9b}2K".into(),
            indexed: true,
            version: VersionView::new(Version::from_nanos(1), VersionUnit::Counter),
            deleted: None,
            fields: [("b\u{9b}2K".to_owned(), json!("c\u{9b}2K"))].into(),
            versions: Default::default(),
            metadata: json!({"d\u{9b}2K": "e\u{9b}2K"}),
            chunks: Vec::new(),
        };
        let mut out = Vec::new();
        write(&mut out, &document, "in the index", 80).unwrap();
        let written = String::from_utf8(out).unwrap();
        assert_eq!(written.matches(" 2K").count(), 5, "{written}");
        assert!(!written.contains('\u{9b}'), "{written}");
    }
}
