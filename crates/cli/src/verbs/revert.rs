//! `millpond revert`: a new commit that takes another one back.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::session::Session;
use crate::uri::RefUri;
use clap::Args;
use millpond_client::{CommitOverrides, RevertCreation};

/// Commit the opposite of a commit.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond revert demo/main main~1
  millpond revert demo/main 4f2a91c0d3e7 -m 'Bad sensor data'
  millpond revert demo/main main --parent 1     of a merge, keep the side of the first parent")]
pub struct Revert {
    /// The branch that gets the new commit
    #[arg(value_name = "REPOSITORY/BRANCH")]
    branch: RefUri,
    /// What to take back
    #[arg(value_name = "REF")]
    commit: String,
    /// Of a merge commit: the parent to go back to, counted from 1
    #[arg(long, value_name = "N")]
    parent: Option<u32>,
    /// Message of the new commit [default: the server's]
    #[arg(short, long)]
    message: Option<String>,
    /// Also if nothing changes
    #[arg(long)]
    allow_empty: bool,
}

impl Revert {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let RefUri { repository, reference: branch } = &self.branch;
        let reference = self.branch.sibling(&self.commit).map_err(|e| Failure::usage(e.to_string()))?;
        let creation = RevertCreation {
            reference: reference.clone(),
            parent_number: self.parent.unwrap_or(0),
            commit_overrides: self
                .message
                .map(|message| CommitOverrides { message: Some(message), metadata: None }),
            allow_empty: self.allow_empty,
            force: false,
        };
        client.revert(repository, branch, &creation).await.in_repository(repository).map_err(|failure| {
            failure
                .hint_about("parent", "a merge commit has several parents: add --parent 1")
                .hint_about(
                    "conflict",
                    format!("the same paths changed again since: 'millpond log {}' shows it", self.branch),
                )
                .hint_about("no changes", "its effect is not on the branch, or was taken back already")
                .hint_about(
                    "uncommitted",
                    format!("'millpond commit {0}' or 'millpond reset {0} --all' first", self.branch),
                )
        })?;
        // The answer holds no commit.
        let head = client.get_commit(repository, branch).await.in_repository(repository)?;
        session.output.outcome(&head, &head.id)?;
        session.output.note(&format!("reverted {reference} on {}", self.branch));
        session.output.undo_note(&format!("millpond undo {}", self.branch));
        Ok(Exit::Ok)
    }
}
