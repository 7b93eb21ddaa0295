//! `millpond commit`: all that is staged, or chosen paths of it.

use super::{pairs, parse_pair};
use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::session::Session;
use crate::uri::RefUri;
use clap::Args;
use millpond_client::CommitCreation;

/// Commit what is uncommitted on a branch.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond commit demo/main -m 'Add January'
  millpond commit demo/main -m 'Labels only' --prefix labels/
  millpond commit demo/main -m 'Nightly' --meta run=42 --meta source=crm")]
pub struct Commit {
    /// Which branch
    #[arg(value_name = "REPOSITORY/BRANCH")]
    branch: RefUri,
    /// Why
    #[arg(short, long)]
    message: String,
    /// Something worth recording; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    meta: Vec<(String, String)>,
    /// Also if nothing changed
    #[arg(long)]
    allow_empty: bool,
    /// Only this path, the rest stays uncommitted; may be repeated
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// Only what is under this prefix; may be repeated
    #[arg(long, value_name = "PREFIX")]
    prefix: Vec<String>,
}

impl Commit {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let RefUri { repository, reference: branch } = &self.branch;
        let creation = CommitCreation {
            message: self.message,
            metadata: pairs(&self.meta),
            allow_empty: self.allow_empty,
            paths: self.path,
            prefixes: self.prefix,
            ..CommitCreation::default()
        };
        let commit =
            session.client()?.commit(repository, branch, &creation).await.in_repository(repository).map_err(
                |failure| {
                    let look = format!("millpond diff {}", self.branch);
                    failure.hint_about(
                        "no changes",
                        format!("'{look}' shows what is uncommitted; --allow-empty commits anyway"),
                    )
                },
            )?;
        session.output.outcome(&commit, &commit.id)?;
        session.output.note(&format!("committed to {}: {}", self.branch, commit.message));
        session.output.undo_note(&format!("millpond undo {}", self.branch));
        Ok(Exit::Ok)
    }
}
