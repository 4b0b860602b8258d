//! Telling a story to a pipeline that ends before it was told, again and again, through each kind of source.

use std::io::Write;
use std::process::Stdio;
use std::thread::JoinHandle;

use vectide::ledger::Ledger;

use crate::callers::{Callers, End};
use crate::pipeline::{Ended, Pipeline, Running};
use crate::provider::Provider;
use crate::story::{Story, not_held};

/// The kind of source that a story comes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    File,
    Stdin,
    Http,
}

impl Through {
    pub const ALL: [Self; 3] = [Self::File, Self::Stdin, Self::Http];
}

/// See the module.
pub struct Telling<'a> {
    pub pipeline: Pipeline,
    story: &'a Story,
    through: Through,
    /// How many processes were told. Over standard input each is a source of its own name.
    pub runs: usize,
    /// Lines that standard input is still to give.
    rest: &'a [String],
    writer: Option<JoinHandle<()>>,
    callers: Option<Callers>,
    /// Of each process that read standard input, the name of its source and how many lines had been told before.
    pub inputs: Vec<(String, usize)>,
}

impl<'a> Telling<'a> {
    pub fn new(story: &'a Story, through: Through, provider: &Provider) -> Self {
        Self::of(Story::pipeline(provider), story, through, Callers::new(&story.lines, Vec::new(), || 0))
    }

    /// Through this pipeline, and these callers if it is to be told over HTTP.
    pub fn of(mut pipeline: Pipeline, story: &'a Story, through: Through, callers: Callers) -> Self {
        match through {
            Through::File => pipeline.write("input.jsonl", story.lines.concat()),
            Through::Stdin => {}
            Through::Http => {
                pipeline.set("server.listen=127.0.0.1:0");
                pipeline.set("sources={api: {type: http}}");
            }
        }
        let callers = Some(callers).filter(|_| through == Through::Http);
        Self { pipeline, story, through, runs: 0, rest: &story.lines, writer: None, callers, inputs: Vec::new() }
    }

    /// Starts a process and tells it what is not told yet.
    pub fn start(&mut self) -> Running {
        self.begin(&["run"])
    }

    /// As [`Telling::start`], a process that ends once everything is read.
    pub fn start_until_idle(&mut self) -> Running {
        self.begin(&["run", "--until-idle"])
    }

    /// Waits until a process ends that goes on by itself and was told to stop. It must have finished what it read; events that it accepted
    /// and did not read are work left.
    pub fn assert_stops(&self, run: Running) -> Ended {
        let ended = run.end();
        let ledger = self.pipeline.left_behind().1;
        let left = ledger.is_some_and(|ledger| {
            let settled = ledger.positions("api").unwrap().first().map_or(0, |position| position.offset);
            !ledger.journal("api", settled, 1, usize::MAX).unwrap().is_empty()
        });
        assert_eq!(ended.code, Some(if left { 3 } else { 0 }), "{}", ended.said);
        assert!(ended.said.contains("Stopped after"), "{}", ended.said);
        assert_eq!(ended.said.contains("with work left"), left, "{}", ended.said);
        ended
    }

    fn begin(&mut self, arguments: &[&str]) -> Running {
        if self.through == Through::Stdin {
            // Each input counts its lines from one, so each has positions of its own.
            self.runs += 1;
            self.pipeline.set(format!("sources={{{}: {{type: stdin}}}}", self.source()));
            self.inputs.push((self.source(), self.story.lines.len() - self.rest.len()));
        }
        let mut command = self.pipeline.command(arguments);
        if self.through == Through::Stdin {
            command.stdin(Stdio::piped());
        }
        let mut run = self.pipeline.spawn(command);
        match self.through {
            Through::File => {}
            Through::Stdin => {
                let (mut input, lines) = (run.input(), self.rest.concat());
                // A process that ended reads no more; what it left is told again.
                self.writer = Some(std::thread::spawn(move || drop(input.write_all(lines.as_bytes()))));
            }
            Through::Http => {
                let address = run.wait_for_address();
                self.callers().call(address);
            }
        }
        run
    }

    pub fn callers(&self) -> &Callers {
        self.callers.as_ref().expect("the story comes over HTTP")
    }

    fn source(&self) -> String {
        match self.through {
            Through::File => "input".to_owned(),
            Through::Stdin => format!("input{}", self.runs),
            Through::Http => "api".to_owned(),
        }
    }

    /// Whether nothing is left to tell: every line is settled, or accepted.
    pub fn is_over(&self) -> bool {
        match self.through {
            Through::File | Through::Stdin => {
                let position = format!("SELECT ordinal FROM positions WHERE source = '{}'", self.source());
                self.pipeline.number(&position).unwrap_or(0) == self.rest.len() as u64
            }
            Through::Http => self.callers().are_done(),
        }
    }

    /// How many lines lie before the committed position.
    fn settled(&self, ledger: &Ledger) -> usize {
        let positions = ledger.positions(&self.source()).unwrap();
        positions.first().map_or(0, |position| usize::try_from(position.ordinal).unwrap())
    }

    /// Sends the process a signal that may end it.
    pub fn signal(&self, run: &Running, name: &str) {
        if let Some(callers) = &self.callers {
            callers.expect(if name == "TERM" { End::Orderly } else { End::Sudden });
        }
        run.signal(name);
    }

    /// To be called once the process has ended: fails if what it had promised to keep is not in the data folder. That is every line
    /// before the committed position and, over HTTP, every event that was accepted.
    pub fn assert_kept(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.join().unwrap();
        }
        if let Some(callers) = &self.callers {
            callers.hang_up();
        }
        let (_folder, ledger) = self.pipeline.left_behind();
        let settled = ledger.as_ref().map_or(0, |ledger| self.settled(ledger));
        let lost = match &self.callers {
            None => lost(ledger.as_ref(), &self.rest[..settled]),
            Some(callers) => {
                let accepted: Vec<String> = callers.accepted().into_iter().map(|accepted| accepted.event).collect();
                lost(ledger.as_ref(), &accepted)
            }
        };
        assert!(lost.is_empty(), "{} lines are lost: {lost:?}", lost.len());
        if self.through == Through::Stdin {
            self.rest = &self.rest[settled..];
        }
    }

    /// Tells all that is left, to processes that end by themselves or when they are asked to, and compares the index with the truth.
    pub fn finish(&mut self) {
        if self.through == Through::Http {
            let mut run = self.start();
            run.wait_until("every event is accepted", || self.callers().are_done());
            self.signal(&run, "TERM");
            assert_undamaged(&self.assert_stops(run));
            self.assert_kept();
            let answers = self.callers().answers();
            let known = answers.keys().all(|status| [202, 429, 503].contains(status));
            assert!(known, "{answers:?}");
            self.pipeline.run_well();
        } else {
            let ended = self.start_until_idle().end();
            assert_eq!(ended.code, Some(0), "{}", ended.said);
            assert_undamaged(&ended);
            self.assert_kept();
        }
        self.story.assert_told(&self.pipeline);
    }
}

/// Whatever went before, it finds nothing that is damaged.
fn assert_undamaged(ended: &Ended) {
    assert!(!ended.said.contains("damaged"), "{}", ended.said);
}

/// Those of these lines that are neither held nor waiting behind the committed position of the journal.
pub fn lost(ledger: Option<&Ledger>, lines: &[String]) -> Vec<String> {
    let Some(ledger) = ledger else { return lines.to_vec() };
    let committed = ledger.positions("api").unwrap().first().map_or(0, |position| position.offset);
    let journal = ledger.journal("api", committed, usize::MAX, usize::MAX).unwrap();
    let waits = |line: &str| journal.iter().any(|entry| entry.payload == line.as_bytes());
    not_held(ledger, lines).into_iter().filter(|line| !waits(line)).map(str::to_owned).collect()
}
