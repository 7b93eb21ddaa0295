//! `millpond reset`: drops uncommitted changes, or moves a branch to another commit.

use super::diff::Changes;
use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::paging::PageArgs;
use crate::session::Session;
use crate::uri::RefUri;
use clap::Args;
use millpond_client::{Client, Diff, DiffQuery, PageQuery, ResetCreation};

/// Drop uncommitted changes, or move a branch.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond reset demo/main --path a.csv
  millpond reset demo/main --prefix images/ --dry-run
  millpond reset demo/main --all
  millpond reset demo/main --hard main~3      the branch itself; 'millpond undo' takes it back")]
pub struct Reset {
    /// Which branch
    #[arg(value_name = "REPOSITORY/BRANCH")]
    branch: RefUri,
    #[command(flatten)]
    what: What,
    /// Only show what would be dropped
    #[arg(short = 'n', long, conflicts_with = "hard")]
    dry_run: bool,
}

/// What to drop.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Drop the uncommitted change of this path
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Drop the uncommitted changes under this prefix
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Drop all uncommitted changes
    #[arg(long)]
    all: bool,
    /// Move the branch to this branch, tag, commit or expression
    #[arg(long, value_name = "REF")]
    hard: Option<String>,
}

impl Reset {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        if let Some(hard) = &self.what.hard {
            return self.move_branch(session, client, hard).await;
        }
        let RefUri { repository, reference: branch } = &self.branch;
        let (creation, prefix) = match &self.what {
            What { path: Some(path), .. } => (ResetCreation::Object { path: path.clone() }, path.as_str()),
            What { prefix: Some(prefix), .. } => {
                (ResetCreation::CommonPrefix { path: prefix.clone() }, prefix.as_str())
            }
            _ => (ResetCreation::All, ""),
        };
        if self.dry_run {
            return self.show(session, client, prefix).await;
        }
        let what = match &creation {
            ResetCreation::All => format!("All uncommitted changes of {}", self.branch),
            ResetCreation::CommonPrefix { path } => {
                format!("The uncommitted changes of {} under '{path}'", self.branch)
            }
            ResetCreation::Object { path } => format!("The uncommitted change of {}/{path}", self.branch),
        };
        session.confirm(&format!("{what} will be lost.")).await?;
        client.reset_branch(repository, branch, &creation).await.in_repository(repository)?;
        session.output.note("dropped");
        Ok(Exit::Ok)
    }

    async fn show(&self, session: &Session, client: &Client, prefix: &str) -> Result<Exit, Failure> {
        let RefUri { repository, reference: branch } = &self.branch;
        let one = self.what.path.as_deref();
        let mut changes = Changes::new(session);
        let fetch = async |page: PageQuery| {
            let query = DiffQuery { page, ..DiffQuery::default() };
            client.diff_branch(repository, branch, &query).await.in_repository(repository)
        };
        // The plan is shown whole, also in a table.
        PageArgs { all: true, ..PageArgs::default() }
            .for_each(&session.output, prefix, fetch, |diff: Diff| {
                if one.is_none_or(|path| path == diff.path) { changes.push(&diff) } else { Ok(()) }
            })
            .await?;
        changes.finish(session)?;
        session.output.note("would be dropped; nothing was");
        Ok(Exit::Ok)
    }

    async fn move_branch(&self, session: &Session, client: &Client, to: &str) -> Result<Exit, Failure> {
        let RefUri { repository, reference: branch } = &self.branch;
        let to = self.branch.sibling(to).map_err(|e| Failure::usage(e.to_string()))?;
        let before = client.get_branch(repository, branch).await.in_repository(repository)?;
        session
            .confirm(&format!(
                "{} moves from {} to {to}.",
                self.branch,
                session.output.short_id(&before.commit_id)
            ))
            .await?;
        client.hard_reset_branch(repository, branch, &to, false).await.in_repository(repository)?;
        let after = client.get_branch(repository, branch).await.in_repository(repository)?;
        session.output.outcome(&after, &after.commit_id)?;
        session.output.note(&format!("{} is at {to} now", self.branch));
        session.output.undo_note(&format!("millpond undo {}", self.branch));
        Ok(Exit::Ok)
    }
}
