//! `millpond import`: objects of a directory of the server become entries of a branch; Ctrl-C cancels.

use super::{pairs, parse_pair};
use crate::environment::Stopwatch;
use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::session::Session;
use crate::uri::ObjectUri;
use clap::Args;
use indicatif::ProgressBar;
use millpond_client::{CommitCreation, ImportCreation, ImportLocation, Kind, PathType};
use std::time::Duration;

/// Between two looks at an import: it doubles from the first to the second.
const LOOK_AFTER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Between two lines where there is no terminal.
const LINE_SECONDS: u64 = 10;
/// After looks that failed one after the other, in milliseconds: a server that is started again within two minutes
/// goes on with the import, and so do we.
const AGAIN_MILLIS: [u64; 14] =
    [50, 100, 500, 1_000, 3_000, 5_000, 10_000, 10_000, 15_000, 15_000, 15_000, 15_000, 15_000, 15_000];

/// Import a directory of the server without copying its bytes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond import /srv/datasets/imagenet demo/main/imagenet/
  millpond import --object /srv/labels.csv demo/main/labels.csv

The source is a path on the server, below a directory that the server's setting 'local_import' names.
Everything that begins with the destination is replaced, in one commit. Files stay where they are: one
that is changed or deleted later can no longer be read from the commit. Links are passed over. Ctrl-C
cancels the import.")]
pub struct Import {
    /// Absolute path on the server, or its local:// URI
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Where it goes; without a path, everything on the branch is replaced
    #[arg(value_name = "REPOSITORY/BRANCH[/PATH]")]
    destination: ObjectUri,
    /// The source is one file, not a directory
    #[arg(long)]
    object: bool,
    /// Message of the commit [default: the server's]
    #[arg(short, long)]
    message: Option<String>,
    /// Something worth recording; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    meta: Vec<(String, String)>,
}

impl Import {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let ObjectUri { repository, reference: branch, path: destination } = &self.destination;
        let source = match self.source.starts_with('/') {
            true => format!("local://{}", self.source),
            false => self.source.clone(),
        };
        let kind = if self.object { PathType::Object } else { PathType::CommonPrefix };
        let location = ImportLocation { kind, path: source, destination: destination.clone() };
        let commit = CommitCreation {
            message: self.message.unwrap_or_default(),
            metadata: pairs(&self.meta),
            ..CommitCreation::default()
        };
        let creation = ImportCreation { paths: vec![location], commit, force: false };
        let stopwatch = Stopwatch::start();
        let id = client.import_start(repository, branch, &creation).await.in_repository(repository)?;
        {
            let (client, repository, branch, id) =
                (client.clone(), repository.clone(), branch.clone(), id.clone());
            session.before_interrupt(Box::pin(async move {
                // There is nobody left to tell; the import's own status does.
                let _ = client.import_cancel(&repository, &branch, &id).await;
            }));
        }
        let bar = (!session.output.is_quiet() && session.environment.stderr_is_terminal)
            .then(ProgressBar::new_spinner);
        let mut next_line = LINE_SECONDS;
        let mut pause = LOOK_AFTER.0;
        let mut again = AGAIN_MILLIS.iter();
        let status = loop {
            let status = match client.import_status(repository, branch, &id).await {
                Err(error) if is_passing(&error) => {
                    let Some(millis) = again.next() else {
                        return Err(error).in_repository(repository).map_err(|failure| {
                            failure.hint(format!(
                                "import {id} may go on at the server; its commit will be in 'millpond log \
                                 {repository}/{branch}'"
                            ))
                        });
                    };
                    if again.len() + 1 == AGAIN_MILLIS.len() {
                        session
                            .output
                            .note(&format!("{error}; the import goes on at the server, looking again"));
                    }
                    tokio::time::sleep(Duration::from_millis(*millis)).await;
                    continue;
                }
                looked => looked.in_repository(repository)?,
            };
            again = AGAIN_MILLIS.iter();
            if status.completed || status.error.is_some() {
                break status;
            }
            let elapsed = stopwatch.elapsed();
            let text = rate(status.ingested_objects, elapsed);
            if let Some(bar) = &bar {
                bar.set_message(text);
                bar.tick();
            } else if elapsed.as_secs() >= next_line {
                next_line = elapsed.as_secs() + LINE_SECONDS;
                session.output.note(&text);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AFTER.1);
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        if let Some(error) = &status.error {
            return Err(Failure::new(Exit::Failed, format!("nothing was imported: {}", error.message))
                .hint_about("uncommitted", format!("'millpond commit {repository}/{branch}' or 'millpond reset {repository}/{branch} --all' first")));
        }
        let commit = status.commit.as_ref().map_or("", |commit| &commit.id);
        session.output.outcome(&status, commit)?;
        let done = rate(status.ingested_objects, stopwatch.elapsed());
        session.output.note(&format!("imported {done} into {repository}/{branch}"));
        if status.skipped_objects > 0 {
            let skipped = status.skipped_objects;
            session.output.note(&format!("passed over {skipped} links and special files"));
        }
        session.output.undo_note(&format!("millpond undo {repository}/{branch}"));
        Ok(Exit::Ok)
    }
}

/// Whether the same question may be answered later. A restarted server answers for imports that it goes on with.
fn is_passing(error: &millpond_client::Error) -> bool {
    matches!(error.kind(), Kind::Unreachable | Kind::Busy | Kind::Server | Kind::Unreadable)
}

fn rate(objects: u64, elapsed: Duration) -> String {
    let per_second = objects as f64 / elapsed.as_secs_f64().max(0.001);
    format!("{objects} objects, {per_second:.0} objects/s")
}
