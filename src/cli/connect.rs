//! What `vectide check --connect` tries: everything that `run` will need, and nothing is changed by it.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use super::first_record::Reading;
use super::stats::of_running_process;
use crate::embed::provider::{InputType, Provider};
use crate::index::external::foreign;
use crate::index::{self, space};
use crate::ledger::{Ledger, LedgerErrorKind};
use crate::pipeline::resources::ledger_options;
use crate::server::cannot_listen;
use crate::settings::{EmbeddingSettings, Settings, SourceSettings};
use crate::source::file::FileSource;
use crate::telemetry::figures::{counted, money};

/// What is embedded to see whether the provider works. Some servers take several texts and answer one.
const SAMPLES: [&str; 2] = ["Does this work?", "Do two texts work in one call?"];

/// One thing that was tried.
#[derive(Debug)]
pub struct Tried {
    /// What, as a person calls it.
    pub what: String,
    /// What is right with it, with more about it on further lines; or what is wrong.
    pub found: Result<String, String>,
}

/// Tries everything, and hands over each result as it comes.
pub async fn connect(settings: &Settings, mut each: impl FnMut(Tried) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let running = of_running_process(settings).await.is_some();
    each(Tried { what: "state".into(), found: writable(&settings.state.path) })?;
    for (name, source) in &settings.sources {
        let found = match source {
            SourceSettings::File(file) => {
                let reading = Reading::new(&settings.document, source.operation()).map_err(anyhow::Error::msg)?;
                reading.first_record(FileSource::new(file)).await
            }
            SourceSettings::Stdin(_) => Ok("`vectide run` reads standard input".to_owned()),
            SourceSettings::Http(_) => Ok("`vectide run` takes events at `POST /v1/events`".to_owned()),
            #[cfg(feature = "kafka")]
            SourceSettings::Kafka(kafka) => {
                let kafka = kafka.clone();
                crate::actor::offload::on_blocking_thread(move || crate::source::kafka::connect::topics(&kafka)).await
            }
            #[cfg(not(feature = "kafka"))]
            SourceSettings::Kafka(_) => Err("this build cannot read Kafka".to_owned()),
        };
        each(Tried { what: format!("source {name}"), found })?;
    }
    if let Some(server) = &settings.server {
        let found = match (TcpListener::bind(server.listen), running) {
            (Ok(_), _) => Ok(format!("{} is free", server.listen)),
            (Err(_), true) => Ok(format!("this pipeline is running and listens on {}", server.listen)),
            (Err(error), false) => Err(cannot_listen(server.listen, &error)),
        };
        each(Tried { what: "server".into(), found })?;
    }
    let provider = match crate::embed::build(&settings.embedding) {
        Ok(provider) => provider,
        Err(found) => return each(Tried { what: "provider".into(), found: Err(found) }),
    };
    each(Tried { what: "provider".into(), found: embeds(settings, &*provider).await })?;
    let is_external = settings.index.external().is_some();
    let found = if is_external { stands(settings, &*provider).await } else { opens(settings, &*provider) };
    each(Tried { what: "index".into(), found })
}

pub(super) fn told(error: impl Display) -> String {
    error.to_string()
}

/// What is written to see whether there is room.
const PROBE_BYTES: usize = 64 << 10;

/// Makes a file in the folder and takes it away. A folder that is not there yet is looked at where it would be made.
fn writable(folder: &Path) -> Result<String, String> {
    let exists = folder.try_exists().map_err(|error| format!("cannot look at {}: {error}", folder.display()))?;
    let nearest = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let probe = nearest.join(format!(".vectide-check.{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&probe);
    // A full disk takes names of files well, and no more.
    let written = made.and_then(|mut file| file.write_all(&[0; PROBE_BYTES]).and_then(|()| file.sync_all()));
    let removed = fs::remove_file(&probe);
    written.and(removed).map_err(|error| {
        let nearest = nearest.display();
        format!(
            "cannot write to {nearest}: {error}; make it writable for this user, or set `state.path` to another folder"
        )
    })?;
    let made = if exists { "is writable" } else { "will be created" };
    Ok(format!("{} {made}", folder.display()))
}

async fn embeds(settings: &Settings, provider: &dyn Provider) -> Result<String, String> {
    let most = settings.batching.max_items.min(provider.max_items());
    let texts: Vec<Arc<str>> = SAMPLES.into_iter().take(most).map(Arc::from).collect();
    let count = texts.len();
    let answer = provider.embed(texts, InputType::Query).await;
    let reason = match answer.and_then(|embeddings| embeddings.checked(count)) {
        Ok(answer) => match answer.vectors.into_iter().find_map(Result::err) {
            None => {
                let price = provider.price_per_million_tokens();
                let cost = match &settings.embedding {
                    EmbeddingSettings::Openai(openai) if price == 0.0 && openai.price_per_million_tokens.is_none() => {
                        "; its price is not known: set `embedding.price_per_million_tokens` to see costs".to_owned()
                    }
                    _ => format!(" for {}", money(answer.tokens.unwrap_or(0) as f64 * price / 1e6)),
                };
                let spent = answer.tokens.map(|tokens| format!("; this try took {}{cost}", counted(tokens, "token")));
                return Ok(format!("{}{}", provider.space(), spent.unwrap_or_default()));
            }
            Some(reason) => reason.to_string(),
        },
        Err(error) => error.to_string(),
    };
    Err(format!("{}: {reason}", provider.space().name()))
}

/// The ledger, where there is one.
fn ledger(settings: &Settings, provider: &dyn Provider) -> Result<Option<Arc<Ledger>>, String> {
    let ledger = match Ledger::open_to_read(&settings.state.path) {
        Ok(ledger) => ledger,
        Err(error) if error.kind() == LedgerErrorKind::Missing => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    ledger.check_options(&ledger_options(settings)).map_err(told)?;
    space::compare(&ledger, provider.space()).map_err(told)?;
    Ok(Some(Arc::new(ledger)))
}

/// Looks at the collection in another system, and makes none.
async fn stands(settings: &Settings, provider: &dyn Provider) -> Result<String, String> {
    let ledger = ledger(settings, provider)?;
    let collection = index::collection(settings, provider.space().dimensions)?;
    let place = collection.place();
    match collection.look().await.map_err(|error| format!("{place}: {error}"))? {
        None => Ok(format!("{place} does not exist yet: `vectide run` creates it")),
        Some(found) if found.points() == 0 => Ok(format!("{place} exists and is empty")),
        Some(found) => {
            let mark = collection.mark().await.map_err(|error| format!("{place}: {error}"))?;
            let ours = ledger.map_or(Ok(false), |ledger| ledger.is_collection(place, mark.as_deref())).map_err(told)?;
            if settings.index.external().is_some_and(|external| external.adopt) || ours {
                Ok(format!("{place} holds {}", found.shown()))
            } else {
                Err(foreign(place, found, &settings.state.path))
            }
        }
    }
}

fn opens(settings: &Settings, provider: &dyn Provider) -> Result<String, String> {
    let Some(ledger) = ledger(settings, provider)? else {
        return Ok("nothing is indexed yet: start with `vectide run`".to_owned());
    };
    index::build(settings, ledger.clone(), provider.space().dimensions).map_err(told)?;
    let counts = ledger.counts().map_err(told)?;
    Ok(format!("{} in {}", counted(counts.indexed, "document"), counted(counts.points, "chunk")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_not_made_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        assert_eq!(writable(&data), Ok(format!("{} will be created", data.display())));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(writable(folder.path()), Ok(format!("{} is writable", folder.path().display())));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(writable(&file).unwrap_err().contains("`state.path`"));
    }
}
