//! `millpond cherry-pick`: what one commit changed, on another branch.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::session::Session;
use crate::uri::RefUri;
use clap::Args;
use millpond_client::{CherryPickCreation, CommitOverrides};

/// Commit again, on another branch, what a commit changed.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond cherry-pick demo/main experiment
  millpond cherry-pick demo/main 4f2a91c0d3e7 -m 'Only the labels'")]
pub struct CherryPick {
    /// The branch that gets the new commit
    #[arg(value_name = "REPOSITORY/BRANCH")]
    branch: RefUri,
    /// What to pick
    #[arg(value_name = "REF")]
    commit: String,
    /// Of a merge commit: the parent to compare with, counted from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    parent: Option<u32>,
    /// Message of the new commit [default: that of the commit]
    #[arg(short, long)]
    message: Option<String>,
}

impl CherryPick {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let RefUri { repository, reference: branch } = &self.branch;
        let reference = self.branch.sibling(&self.commit).map_err(|e| Failure::usage(e.to_string()))?;
        let creation = CherryPickCreation {
            reference: reference.clone(),
            parent_number: self.parent,
            commit_overrides: self
                .message
                .map(|message| CommitOverrides { message: Some(message), metadata: None }),
            force: false,
        };
        let commit = session
            .client()?
            .cherry_pick(repository, branch, &creation)
            .await
            .in_repository(repository)
            .map_err(|failure| {
                failure
                    .hint_about("parent", "a merge commit has several parents: add --parent 1")
                    .hint_about(
                        "conflict",
                        format!("'millpond show {repository}/{reference}' shows what would be picked"),
                    )
                    .hint_about(
                        "uncommitted",
                        format!("'millpond commit {0}' or 'millpond reset {0} --all' first", self.branch),
                    )
            })?;
        session.output.outcome(&commit, &commit.id)?;
        session.output.note(&format!("picked {reference} to {}", self.branch));
        session.output.undo_note(&format!("millpond undo {}", self.branch));
        Ok(Exit::Ok)
    }
}
