//! What happened, as the clients saw it, and its picture: one column a client, time downwards.

use crate::ops::{Answer, Op};
use millpond_engine::{Error, Kind};
use std::fmt::Write;

/// One request and what its client knows of it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who.
    pub client: usize,
    /// Unique; the engine writes it into the journal.
    pub request: String,
    /// Requests with the same key are repetitions of one.
    pub key: Option<String>,
    /// On which repository.
    pub repo: String,
    /// What.
    pub op: Op,
    /// Which life of the server was asked.
    pub life: u32,
    /// Mutations that this server must know, because it has acknowledged them or has started on them.
    pub known_at_start: usize,
    /// Mutations that were durable when it was made.
    pub durable_at_start: usize,
    /// Mutations that were durable, and visible to this server, when it ended.
    pub durable_at_end: usize,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is still running.
    Running,
    /// Done.
    Done(Answer),
    /// Refused: it has changed nothing.
    Refused(Error),
    /// It may have happened: why nobody knows.
    Unknown(&'static str),
}

impl Outcome {
    fn words(&self) -> String {
        match self {
            Self::Running => "...".into(),
            Self::Done(Answer::Commit(id)) => format!("= {}", &id.to_hex()[..6]),
            Self::Done(Answer::Files(files)) => format!("= {} files", files.len()),
            Self::Done(_) => "= ok".into(),
            Self::Refused(e) => format!("= {:?}", e.kind),
            Self::Unknown(why) => format!("? {why}"),
        }
    }
}

/// An error that says only that something broke: the change may have been made.
pub fn leaves_unknown(error: &Error) -> bool {
    error.kind == Kind::Internal
}

/// Something to be drawn.
#[derive(Clone, Debug)]
struct Event {
    nanos: u64,
    /// 0 is the server.
    column: usize,
    text: String,
}

/// All calls, and the picture's lines.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In the order in which they were made.
    pub calls: Vec<Call>,
    events: Vec<Event>,
}

impl History {
    /// Something happened to the servers.
    pub fn server(&mut self, nanos: u64, text: impl Into<String>) {
        self.events.push(Event { nanos, column: 0, text: text.into() });
    }

    /// A call begins; gives its number.
    pub fn begin(&mut self, nanos: u64, call: Call) -> usize {
        let text = format!("{}@{} {}/{}", call.request, call.life, call.repo, call.op.words());
        self.events.push(Event { nanos, column: call.client + 1, text });
        self.calls.push(call);
        self.calls.len() - 1
    }

    /// A call ends.
    pub fn end(&mut self, nanos: u64, number: usize, durable: usize, outcome: Outcome) {
        let call = &mut self.calls[number];
        call.durable_at_end = durable;
        let text = format!("{} {}", call.request, outcome.words());
        self.events.push(Event { nanos, column: call.client + 1, text });
        call.outcome = outcome;
    }

    /// The history as a picture.
    pub fn picture(&self) -> String {
        const WIDTH: usize = 34;
        let clients = self.calls.iter().map(|c| c.client + 1).max().unwrap_or(0);
        let mut picture = format!("{:>12}  {:<WIDTH$}", "ms", "servers");
        for client in 0..clients {
            let _ = write!(picture, "| {:<WIDTH$}", format!("client {client}"));
        }
        picture.push('\n');
        for event in &self.events {
            let nanos = event.nanos;
            let _ = write!(picture, "{:>8}.{:03}  ", nanos / 1_000_000, nanos / 1_000 % 1_000);
            let fill = if event.column == 0 { '-' } else { ' ' };
            for column in 0..=clients {
                let bar = if column == 0 { "" } else { "| " };
                let text: String = if column == event.column {
                    event.text.chars().take(WIDTH).collect()
                } else {
                    String::new()
                };
                let missing = WIDTH.saturating_sub(text.chars().count());
                let _ = write!(picture, "{bar}{text}{}", fill.to_string().repeat(missing));
            }
            picture.truncate(picture.trim_end().len());
            picture.push('\n');
        }
        picture
    }
}
