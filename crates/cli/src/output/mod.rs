//! Where everything a verb says goes: data to stdout, messages to stderr, in the format asked for.
//!
//! Verbs hand over items with their cells; which of them becomes a table, TSV or JSON is decided here. No
//! verb prints by itself.

pub mod cell;
mod list;

pub use cell::{Cell, Paint};
pub use list::{Column, List};

use crate::environment::Environment;
use crate::failure::Failure;
use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people; the default on a terminal.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// Tab-separated, nothing shortened, no heading; the default elsewhere.
    Tsv,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

type Sink = Mutex<Box<dyn Write + Send>>;

/// The two streams and how to write to them.
pub struct Output {
    stdout: Sink,
    stderr: Sink,
    /// How data is written.
    pub format: Format,
    /// The time that "3 minutes ago" counts from.
    pub now: jiff::Timestamp,
    /// Whether tables show whole ids.
    pub full_ids: bool,
    quiet: bool,
    stdout_colored: bool,
    stderr_colored: bool,
}

impl Output {
    /// The process's own streams.
    pub fn of_process(
        format: Option<Format>,
        color: Color,
        full_ids: bool,
        quiet: bool,
        environment: &Environment,
    ) -> Self {
        Self {
            stdout: Mutex::new(Box::new(io::BufWriter::with_capacity(64 * 1024, io::stdout()))),
            stderr: Mutex::new(Box::new(io::stderr())),
            format: format.unwrap_or(if environment.stdout_is_terminal {
                Format::Table
            } else {
                Format::Tsv
            }),
            now: environment.now,
            full_ids,
            quiet,
            stdout_colored: is_colored(color, environment.stdout_is_terminal, environment),
            stderr_colored: is_colored(color, environment.stderr_is_terminal, environment),
        }
    }

    /// Streams that are kept in memory, without colour.
    pub fn captured(format: Format, now: jiff::Timestamp) -> (Self, Captured, Captured) {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let output = Self {
            stdout: Mutex::new(Box::new(stdout.clone())),
            stderr: Mutex::new(Box::new(stderr.clone())),
            format,
            now,
            full_ids: false,
            quiet: false,
            stdout_colored: false,
            stderr_colored: false,
        };
        (output, stdout, stderr)
    }

    /// The same output with or without messages.
    #[must_use]
    pub fn with_quiet(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }

    /// Starts a list.
    pub fn list(&self, columns: &'static [Column]) -> List<'_> {
        List::new(self, columns)
    }

    /// One thing with named fields.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn record(&self, item: &impl Serialize, fields: &[(&str, Cell)]) -> Result<(), Failure> {
        match self.format {
            Format::Json | Format::Ndjson => self.json(item),
            Format::Tsv => {
                for (name, cell) in fields {
                    self.line(&format!("{}\t{}", cell::escape_tsv(name), cell.tsv()))?;
                }
                Ok(())
            }
            Format::Table => {
                let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
                for (name, cell) in fields {
                    let pad = " ".repeat(width - name.chars().count());
                    let value = cell.detailed(self);
                    self.line(&format!("{}:{pad} {value}", self.paint(&cell::escape(name), Paint::Dim)))?;
                }
                Ok(())
            }
        }
    }

    /// The outcome of a change: its id or name as a line, or the whole of it as JSON.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn outcome(&self, item: &impl Serialize, plain: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json | Format::Ndjson => self.json(item),
            Format::Table => self.line(&cell::escape(plain)),
            Format::Tsv => self.line(&cell::escape_tsv(plain)),
        }
    }

    /// One JSON document: over several lines for `json`, on one for `ndjson`.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn json(&self, item: &impl Serialize) -> Result<(), Failure> {
        let text = match self.format {
            Format::Ndjson => serde_json::to_string(item),
            _ => serde_json::to_string_pretty(item),
        };
        self.line(&text.map_err(io::Error::other)?)
    }

    /// A line of data.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = lock(&self.stdout);
        stdout.write_all(text.as_bytes())?;
        stdout.write_all(b"\n")?;
        Ok(())
    }

    /// Bytes of data, untouched.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(lock(&self.stdout).write_all(bytes)?)
    }

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn flush(&self) -> Result<(), Failure> {
        Ok(lock(&self.stdout).flush()?)
    }

    /// A message for people; `--quiet` leaves it out.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.message(text);
        }
    }

    /// Says how to take back what was just done.
    pub fn undo_note(&self, command: &str) {
        self.note(&format!("  undo: {command}"));
    }

    /// Whether messages and progress are wanted.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A message that must be seen.
    pub fn message(&self, text: &str) {
        // Data first: on a terminal the message would otherwise overtake it. A closed stdout is noticed by
        // the next write of data; a closed stderr cannot be told to anyone.
        drop(lock(&self.stdout).flush());
        let mut stderr = lock(&self.stderr);
        for line in text.split('\n') {
            drop(writeln!(stderr, "{}", cell::escape(line)));
        }
    }

    /// An error with what to type next.
    pub fn failure(&self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        drop(lock(&self.stdout).flush());
        let label = if self.stderr_colored { Paint::Red.apply("error") } else { "error".to_owned() };
        let mut text = format!("{label}: {}\n", cell::escape(&failure.message));
        if let Some(hint) = &failure.hint {
            text.push_str(&format!("  hint: {}\n", cell::escape(hint)));
        }
        if let Some(id) = &failure.request_id {
            text.push_str(&format!("  request id: {}\n", cell::escape(id)));
        }
        drop(lock(&self.stderr).write_all(text.as_bytes()));
    }

    /// Text in colour where stdout has it.
    pub fn paint(&self, text: &str, paint: Paint) -> String {
        if self.stdout_colored { paint.apply(text) } else { text.to_owned() }
    }

    /// An id as tables show it: 12 characters.
    pub fn short_id<'a>(&self, id: &'a str) -> &'a str {
        if self.full_ids { id } else { id.get(..12).unwrap_or(id) }
    }
}

fn lock(sink: &Sink) -> std::sync::MutexGuard<'_, Box<dyn Write + Send>> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_colored(color: Color, is_terminal: bool, environment: &Environment) -> bool {
    let forced = |name| environment.variable(name).is_some_and(|value| value != "0");
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if environment.variable("NO_COLOR").is_some() => false,
        Color::Auto => is_terminal || forced("CLICOLOR_FORCE") || forced("FORCE_COLOR"),
    }
}

/// A stream kept in memory.
#[derive(Debug, Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// What was written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// The same as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn an_error_cannot_paint_the_terminal() {
        let (output, _, stderr) = Output::captured(Format::Table, jiff::Timestamp::UNIX_EPOCH);
        let failure = Failure::new(Exit::NotFound, "read demo/main/\u{1b}[31mred: not found (HTTP 404)")
            .hint("millpond ls demo/main");
        output.failure(&failure);
        assert_eq!(
            stderr.text(),
            "error: read demo/main/\\x1b[31mred: not found (HTTP 404)\n  hint: millpond ls demo/main\n"
        );
    }

    #[test]
    fn colour_follows_flag_then_environment_then_terminal() {
        let colored = |color, terminal, variables: &[(&str, &str)]| {
            is_colored(color, terminal, &Environment::fixed(variables, jiff::Timestamp::UNIX_EPOCH))
        };
        assert!(colored(Color::Auto, true, &[]));
        assert!(!colored(Color::Auto, false, &[]));
        assert!(!colored(Color::Auto, true, &[("NO_COLOR", "1")]));
        assert!(colored(Color::Auto, true, &[("NO_COLOR", "")]));
        assert!(colored(Color::Auto, false, &[("CLICOLOR_FORCE", "1")]));
        assert!(colored(Color::Always, false, &[("NO_COLOR", "1")]));
        assert!(!colored(Color::Never, true, &[("FORCE_COLOR", "1")]));
    }

    #[test]
    fn a_record_looks_the_same_every_time() {
        let fields = [
            ("path", Cell::text("a\tb.csv")),
            ("size", Cell::Size(Some(1536))),
            ("commit", Cell::id(&"ab".repeat(32))),
        ];
        let item = serde_json::json!({"path": "a\tb.csv"});
        let show = |format| {
            let (output, stdout, _) = Output::captured(format, jiff::Timestamp::UNIX_EPOCH);
            output.record(&item, &fields).expect("written");
            stdout.text()
        };
        let id = "ab".repeat(32);
        assert_eq!(
            show(Format::Table),
            format!("path:   a\\x09b.csv\nsize:   1.5 KiB (1536 bytes)\ncommit: {id}\n")
        );
        assert_eq!(show(Format::Tsv), format!("path\ta\\tb.csv\nsize\t1536\ncommit\t{id}\n"));
        assert_eq!(show(Format::Ndjson), "{\"path\":\"a\\tb.csv\"}\n");
        assert_eq!(show(Format::Json), "{\n  \"path\": \"a\\tb.csv\"\n}\n");
    }
}
