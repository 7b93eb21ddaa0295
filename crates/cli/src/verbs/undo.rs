//! `millpond undo`: the last move of a branch, taken back on the server.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::session::Session;
use crate::uri::RefUri;
use clap::Args;

/// Take back the last operation on a branch.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  millpond undo demo/main

Undoes the last commit, merge, revert, cherry-pick or hard reset: the branch points where it pointed
before. 'millpond op log' shows what that was. No commit is lost. A second undo takes back the first.")]
pub struct Undo {
    /// Which branch
    #[arg(value_name = "REPOSITORY/BRANCH")]
    branch: RefUri,
}

impl Undo {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let RefUri { repository, reference: branch } = &self.branch;
        let undone = session.client()?.undo(repository, branch).await.in_repository(repository).map_err(
            |failure| failure.hint_if_none(format!("'millpond op log {}' shows what happened", self.branch)),
        )?;
        session.output.outcome(&undone, &undone.new)?;
        let what = &undone.undone;
        let quoted = if what.message.is_empty() { String::new() } else { format!(" \"{}\"", what.message) };
        session.output.note(&format!(
            "took back the {}{quoted} of {} by {}; {} is at {} again",
            what.verb,
            what.time,
            what.actor,
            self.branch,
            session.output.short_id(&undone.new)
        ));
        session.output.undo_note(&if undone.old.is_empty() {
            format!("millpond branch delete {}", self.branch)
        } else {
            format!("millpond reset {} --hard {}", self.branch, undone.old)
        });
        Ok(Exit::Ok)
    }
}
