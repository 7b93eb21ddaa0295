//! `millpond fsck` and `millpond backup`: long work on a server, or on a data directory whose server is stopped.
//!
//! With `--data`, and for `backup verify`, the work is done by the program itself; the binary does that and lets
//! [`Follow`] show it, so that both ways look the same.

use crate::GlobalArgs;
use crate::environment::Stopwatch;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::cell::human_size;
use crate::output::{Cell, Format};
use crate::session::Session;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Check what is stored.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond fsck                        # the server checks itself while it works
  millpond fsck --data /var/lib/millpond   # a server that is stopped
  millpond fsck --repository demo --json

Exit code 1 if anything is damaged; each defect is named with the object, what is wrong and what to do
(docs/operations.md). Imported objects whose sources are gone or changed are named too; they are no damage
here and leave the exit code 0. Only an administrator may ask a server.")]
pub struct Fsck {
    /// Check this data directory, whose server is stopped, instead of asking a server
    #[arg(long, value_name = "DIRECTORY")]
    pub data: Option<PathBuf>,
    /// Check only this repository
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,
    /// Check refs, commits and trees, but do not read the bytes of objects
    #[arg(long)]
    pub quick: bool,
    /// Write one JSON document (the same as -o json)
    #[arg(long)]
    pub json: bool,
}

/// Copy everything stored to a backup.
#[derive(Debug, Clone, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  millpond backup /mnt/backup/millpond          # the server writes it, without stopping
  millpond backup /mnt/backup/millpond --data /var/lib/millpond   # a server that is stopped
  millpond backup verify /mnt/backup/millpond
  millpond restore /mnt/backup/millpond /var/lib/millpond-2

A later backup into the same directory copies only what is new. The directory is one of the server's
machine and must lie in one that the server's setting 'backup' names. The master key is never in it."
)]
pub struct Backup {
    /// Where the backup is or shall be
    #[arg(value_name = "DIRECTORY", required = true)]
    pub directory: Option<PathBuf>,
    /// Back up this data directory, whose server is stopped, instead of asking a server
    #[arg(long, value_name = "DIRECTORY")]
    pub data: Option<PathBuf>,
    /// What else to do with a backup
    #[command(subcommand)]
    pub other: Option<BackupVerb>,
}

/// What else can be done with a backup.
#[derive(Debug, Clone, Subcommand)]
pub enum BackupVerb {
    /// Prove that a backup is whole, without restoring it
    Verify(BackupVerify),
}

/// Prove that a backup is whole.
#[derive(Debug, Clone, Args)]
pub struct BackupVerify {
    /// Where the backup is
    #[arg(value_name = "DIRECTORY")]
    pub directory: PathBuf,
    /// Check metadata only, do not read the bytes of objects
    #[arg(long)]
    pub quick: bool,
}

fn not_here() -> Failure {
    Failure::usage("only the program 'millpond' itself can work on a directory")
}

impl Fsck {
    /// Makes `--json` what it is short for.
    pub fn adjust(&self, global: &mut GlobalArgs) {
        if self.json {
            global.output = Some(Format::Json);
        }
    }

    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        if self.data.is_some() {
            return Err(not_here());
        }
        let mut lines = session.client()?.fsck(self.repository.as_deref(), self.quick).await?;
        let mut follow = Follow::new(session);
        while let Some(line) = lines.next().await? {
            follow.line(&line)?;
        }
        follow.finish()
    }
}

impl Backup {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let (None, None, Some(directory)) = (&self.data, &self.other, &self.directory) else {
            return Err(not_here());
        };
        let directory =
            directory.to_str().ok_or_else(|| Failure::usage("the directory's name is not UTF-8"))?;
        let mut lines = session.client()?.backup(directory).await?;
        let mut follow = Follow::new(session);
        while let Some(line) = lines.next().await? {
            follow.line(&line)?;
        }
        follow.finish()
    }
}

/// Seconds between two lines of progress where there is no terminal.
const LINE_SECONDS: u64 = 10;

/// Shows long work as its lines come: progress on stderr, defects and the report on stdout.
pub struct Follow<'a> {
    session: &'a Session,
    bar: Option<ProgressBar>,
    stopwatch: Stopwatch,
    next_line_seconds: u64,
    defects: Vec<Value>,
    sources: Vec<Value>,
    report: Option<Value>,
    error: Option<String>,
}

impl<'a> Follow<'a> {
    /// Nothing has come yet.
    pub fn new(session: &'a Session) -> Self {
        let wanted = !session.output.is_quiet() && session.environment.stderr_is_terminal;
        let style = ProgressStyle::with_template("{spinner} {msg}");
        let bar = wanted.then(|| {
            ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self {
            session,
            bar,
            stopwatch: Stopwatch::start(),
            next_line_seconds: LINE_SECONDS,
            defects: Vec::new(),
            sources: Vec::new(),
            report: None,
            error: None,
        }
    }

    /// Takes a line.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn line(&mut self, line: &Value) -> Result<(), Failure> {
        if let Some(progress) = line.get("progress") {
            self.progress(progress);
        }
        if let Some(defect) = line.get("defect") {
            if self.session.output.format == Format::Json {
                self.defects.push(defect.clone());
            } else {
                self.show("defect", defect)?;
            }
        }
        if let Some(source) = line.get("source") {
            if self.session.output.format == Format::Json {
                self.sources.push(source.clone());
            } else {
                self.show("source", source)?;
            }
        }
        if let Some(report) = line.get("report") {
            self.report = Some(report.clone());
        }
        if let Some(error) = line.get("error") {
            self.error = Some(error.as_str().unwrap_or("it failed").to_owned());
        }
        Ok(())
    }

    fn progress(&mut self, progress: &Value) {
        let text = describe(progress, self.stopwatch.elapsed().as_secs_f64());
        let seconds = self.stopwatch.elapsed().as_secs();
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            bar.tick();
        } else if seconds >= self.next_line_seconds {
            self.next_line_seconds = seconds + LINE_SECONDS;
            self.session.output.note(&text);
        }
    }

    fn show(&self, class: &str, defect: &Value) -> Result<(), Failure> {
        let output = &self.session.output;
        let text = |name: &str| defect.get(name).and_then(Value::as_str).unwrap_or_default();
        let write = || match output.format {
            Format::Ndjson if class == "source" => output.json(&json!({"source": defect})),
            Format::Ndjson => output.json(defect),
            Format::Tsv => {
                let cells = ["repository", "ref", "path", "thing", "what", "remedy"];
                let cells: Vec<String> =
                    cells.iter().map(|name| crate::output::cell::escape_tsv(text(name))).collect();
                output.line(&format!("{class}\t{}", cells.join("\t")))
            }
            Format::Json | Format::Table => {
                let place = [text("repository"), text("ref"), text("path")];
                let place: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
                let line = format!("{}: {}", text("thing"), text("what"));
                let line = if place.is_empty() { line } else { format!("{}: {line}", place.join(", ")) };
                output.line(&crate::output::cell::escape(&line))?;
                output.line(&format!("    {}", crate::output::cell::escape(text("remedy"))))
            }
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Shows the report and says how it went: exit code 1 if there are defects.
    ///
    /// # Errors
    /// The work failed or was cut off; stdout cannot be written.
    pub fn finish(self) -> Result<Exit, Failure> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some(error) = self.error {
            return Err(Failure::new(Exit::Failed, error));
        }
        let Some(report) = self.report else {
            return Err(Failure::new(Exit::Failed, "the server ended before the work did"));
        };
        let output = &self.session.output;
        match output.format {
            Format::Json => {
                let found = json!({"defects": self.defects, "sources": self.sources, "report": report});
                output.json(&found)
            }?,
            Format::Ndjson => output.json(&json!({"report": report}))?,
            Format::Table | Format::Tsv => {
                let mut fields = Vec::new();
                flatten("", &report, &mut fields);
                let fields: Vec<(&str, Cell)> =
                    fields.iter().map(|(name, value)| (name.as_str(), Cell::text(value))).collect();
                output.record(&report, &fields)?;
            }
        }
        let of = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or(0);
        let sources = of("sources_missing") + of("sources_changed") + of("sources_unreadable");
        if sources > 0 {
            output.message(&format!(
                "{sources} imported objects cannot be read: their sources are gone or changed"
            ));
        }
        match of("defects") + of("unreadable") {
            0 => Ok(Exit::Ok),
            count => {
                output.message(&format!("{count} defects"));
                Ok(Exit::Failed)
            }
        }
    }
}

/// Progress in words, with rate and the time it will still take.
fn describe(progress: &Value, seconds: f64) -> String {
    let of = |name: &str| progress.get(name).and_then(Value::as_u64).unwrap_or(0);
    let phase = progress.get("phase").and_then(Value::as_str).unwrap_or_default();
    let (objects, total, bytes, bytes_total) =
        (of("objects"), of("objects_total"), of("bytes"), of("bytes_total"));
    let mut text = phase.to_owned();
    if total > 0 {
        let rate = objects as f64 / seconds.max(0.001);
        text.push_str(&format!(
            ": {objects} of {total} objects, {} of {}, {rate:.0} objects/s",
            human_size(bytes),
            human_size(bytes_total)
        ));
        // Bytes for large objects, the count for small ones: whichever is behind.
        let share = (objects as f64 / total as f64).min(bytes as f64 / bytes_total.max(1) as f64);
        if share > 0.0 && share < 1.0 {
            text.push_str(&format!(", {:.0} s left", seconds / share - seconds));
        }
    } else if of("entries") > 0 {
        text.push_str(&format!(
            ": {} entries, {:.0}/s",
            of("entries"),
            of("entries") as f64 / seconds.max(0.001)
        ));
    }
    if of("defects") > 0 {
        text.push_str(&format!(", {} defects", of("defects")));
    }
    text
}

/// The members of an object, those of inner ones with a dot.
fn flatten(prefix: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    let Some(members) = value.as_object() else { return };
    for (name, value) in members {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(_) => flatten(&name, value, fields),
            Value::String(text) => fields.push((name, text.clone())),
            other => fields.push((name, other.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_in_words() {
        let line = json!({"phase": "objects", "objects": 50, "objects_total": 200, "bytes": 1024,
            "bytes_total": 4096, "entries": 3, "defects": 1});
        let text = "objects: 50 of 200 objects, 1.0 KiB of 4.0 KiB, 25 objects/s, 6 s left, 1 defects";
        assert_eq!(describe(&line, 2.0), text);
        assert_eq!(describe(&json!({"phase": "trees", "entries": 30}), 3.0), "trees: 30 entries, 10/s");
    }

    #[test]
    fn a_report_is_flat() {
        let mut fields = Vec::new();
        flatten("", &json!({"a": 1, "b": {"c": "x"}}), &mut fields);
        assert_eq!(fields, [("a".to_owned(), "1".to_owned()), ("b.c".to_owned(), "x".to_owned())]);
    }
}
