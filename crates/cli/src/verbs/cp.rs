//! `millpond cp`: files, folders and streams to, from and between repositories.
//!
//! `plan` turns the command line into single transfers, `unchanged` finds those that are not needed,
//! `transfer` carries one out, `progress` tells how it goes. Nothing is skipped in silence: what cannot be copied is named and makes the exit code 10.

mod plan;
mod progress;
mod transfer;
mod unchanged;

use super::{pairs, parse_pair};
use crate::environment::Stopwatch;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Format;
use crate::output::cell::human_size;
use crate::session::Session;
use crate::uri::Location;
use clap::Args;
use futures::StreamExt;
use plan::{Planned, Transfer};
use progress::Progress;
use serde::Serialize;

/// Copy files to, from and between repositories.
#[derive(Debug, Clone, Args)]
#[command(override_usage = "millpond cp [OPTIONS] SOURCE... DESTINATION")]
#[command(after_help = "Examples:
  millpond cp a.csv mp://demo/main/tables/
  millpond cp -r data mp://demo/main/data/         the contents of data, under data/
  millpond cp -r data mp://demo/main/data/         again: only what has changed is sent
  pg_dump db | millpond cp - mp://demo/main/db.sql
  millpond cp mp://demo/v1.0/a.csv .
  millpond cp -r mp://demo/main/images/ ./images
  millpond cp -r mp://demo/v1.0/ mp://demo/main/old/

A place in a repository must begin with mp:// or lakefs://. Uploads are uncommitted until 'millpond commit'.
Files of a folder that the branch holds already (same bytes, content type and metadata) are not sent again.
Symbolic links are followed. Exit code 10: some files were not copied; each is named.")]
pub struct Cp {
    /// What to copy, then where to
    #[arg(required = true, num_args = 2.., value_name = "LOCATION")]
    locations: Vec<Location>,
    /// Folders with everything in them
    #[arg(short, long)]
    recursive: bool,
    /// Transfers in flight at a time
    #[arg(short, long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u16).range(1..=512))]
    jobs: u16,
    /// Media type of what is uploaded [default: application/octet-stream]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Metadata of what is uploaded; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    meta: Vec<(String, String)>,
    /// Never replace an object: fail where the path exists
    #[arg(long)]
    no_clobber: bool,
    /// Send files of a folder even if the branch holds them already
    #[arg(long)]
    rewrite: bool,
    /// Only say what would be copied
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Report {
    files: u64,
    bytes: u64,
    unchanged: u64,
    failed: Vec<Failed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_copy: Vec<Pair>,
    #[serde(skip)]
    first: Option<Failure>,
    #[serde(skip)]
    stopped: bool,
}

#[derive(Debug, Serialize)]
struct Failed {
    source: String,
    error: String,
}

#[derive(Debug, Serialize)]
struct Pair {
    source: String,
    destination: String,
}

impl Cp {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let stopwatch = Stopwatch::start();
        let compare = !self.no_clobber && !self.rewrite;
        let plan = plan::plan(&self.locations, self.recursive, compare, session).await?;
        if !self.dry_run {
            // Without a server or keys there is one thing to say, not one about each file.
            session.client()?;
        }
        let is_upload = !self.locations.iter().rev().skip(1).any(|from| matches!(from, Location::Remote(_)));
        let single = plan.is_single;
        let progress = Progress::start(session, plan.total, stopwatch);
        let options = transfer::Options {
            content_type: self.content_type.clone(),
            metadata: pairs(&self.meta),
            must_not_exist: self.no_clobber,
        };
        let (mut report, options, shown) = (Report::default(), &options, &progress);
        let mut transfers = plan.transfers;
        let mut skipped = Vec::new();
        // The second time with what the branch does not hold any more of what was left out the first time.
        loop {
            let mut results = transfers
                .map(async |planned| match planned {
                    Planned::Transfer(transfer) if unchanged::is_unchanged(&transfer, options).await => {
                        (transfer.source.to_string(), Ok(Done::Unchanged(transfer)))
                    }
                    Planned::Transfer(transfer) if self.dry_run => {
                        (transfer.source.to_string(), Ok(Done::Would(transfer)))
                    }
                    Planned::Transfer(transfer) => {
                        let name = transfer.source.to_string();
                        (name, transfer::run(session, &transfer, options, shown).await.map(Done::Bytes))
                    }
                    Planned::Problem { source, failure } => (source, Err(failure)),
                })
                .buffer_unordered(usize::from(self.jobs));
            while let Some((source, result)) = results.next().await {
                match result {
                    Ok(Done::Bytes(bytes)) => {
                        report.files += 1;
                        report.bytes += bytes;
                        progress.file_done(session);
                    }
                    Ok(Done::Unchanged(transfer)) => {
                        report.unchanged += 1;
                        progress.bytes_done(transfer.size_bytes.unwrap_or(0));
                        progress.file_done(session);
                        skipped.push(transfer);
                    }
                    Ok(Done::Would(transfer)) => {
                        report.would_copy.push(Pair { source, destination: transfer.destination.to_string() })
                    }
                    Err(failure) => {
                        if !single {
                            progress.suspend(|| {
                                session.output.message(&format!("failed: {source}: {}", failure.message));
                            });
                        }
                        // The rest would fail the same way. What an upload misses is the repository or the branch.
                        let hopeless = matches!(failure.exit, Exit::Denied | Exit::BrokenPipe)
                            || (is_upload && failure.exit == Exit::NotFound)
                            || transfer::is_unreachable(&failure);
                        report.failed.push(Failed { source, error: failure.message.clone() });
                        report.first.get_or_insert(failure);
                        if hopeless {
                            report.stopped = true;
                            break;
                        }
                    }
                }
            }
            drop(results);
            let left_out = std::mem::take(&mut skipped);
            if self.dry_run || report.stopped || left_out.is_empty() {
                break;
            }
            let changed = unchanged::changed_since(session.client()?, left_out).await;
            if changed.is_empty() {
                break;
            }
            report.unchanged -= changed.len() as u64;
            transfers = Box::pin(futures::stream::iter(changed));
        }
        progress.finish();
        self.conclude(session, report, single, stopwatch)
    }

    fn conclude(
        &self,
        session: &Session,
        report: Report,
        single: bool,
        stopwatch: Stopwatch,
    ) -> Result<Exit, Failure> {
        let output = &session.output;
        let to_stdout = matches!(self.locations.last(), Some(Location::Standard));
        match output.format {
            // The data itself has stdout.
            _ if to_stdout => {}
            Format::Json | Format::Ndjson => output.json(&report)?,
            Format::Table | Format::Tsv => {
                for Pair { source, destination } in &report.would_copy {
                    output.line(&format!(
                        "{}\t{}",
                        crate::output::cell::escape_tsv(source),
                        crate::output::cell::escape_tsv(destination)
                    ))?;
                }
            }
        }
        if self.dry_run && report.first.is_none() {
            output.note(&format!(
                "{} would be copied; nothing was{}",
                files(report.would_copy.len() as u64),
                there_already(report.unchanged)
            ));
            return Ok(Exit::Ok);
        }
        let Some(first) = report.first else {
            let seconds = stopwatch.elapsed().as_secs_f64();
            output.note(&format!(
                "copied {}, {} in {seconds:.1} s{}",
                files(report.files),
                human_size(report.bytes),
                there_already(report.unchanged)
            ));
            return Ok(Exit::Ok);
        };
        if single {
            return Err(first);
        }
        let stopped = if report.stopped { "; the rest was not tried" } else { "" };
        let exit = if report.files > 0 || report.unchanged > 0 || !report.would_copy.is_empty() {
            Exit::Partial
        } else {
            first.exit
        };
        let mut failure = Failure::new(
            exit,
            format!(
                "copy: {} failed, {} copied ({}){}{stopped}",
                report.failed.len(),
                report.files,
                human_size(report.bytes),
                there_already(report.unchanged)
            ),
        );
        let uploads = matches!(self.locations.last(), Some(Location::Remote(_)));
        let again = match uploads && self.recursive && !self.rewrite {
            true => "the same command again sends what is missing",
            false => "the same command again copies everything once more",
        };
        failure.hint = first.hint.or_else(|| Some(again.to_owned()));
        Err(failure)
    }
}

enum Done {
    Bytes(u64),
    Unchanged(Transfer),
    Would(Transfer),
}

fn there_already(count: u64) -> String {
    if count == 0 { String::new() } else { format!("; {} already there", files(count)) }
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}
