//! `millpond branch`: list, create, show, delete.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::output::{Cell, Column};
use crate::paging::PageArgs;
use crate::session::Session;
use crate::uri::{RefUri, RepositoryUri};
use clap::{Args, Subcommand};
use millpond_client::{BranchCreation, DiffQuery, PageQuery, Ref};
use serde::Serialize;

/// List, create, show and delete branches.
#[derive(Debug, Clone, Subcommand)]
pub enum Branch {
    /// List the branches of a repository
    List(List),
    /// Create a branch; nothing is copied
    #[command(after_help = "Examples:
  millpond branch create demo/experiment
  millpond branch create demo/fix --from v1.0
  millpond branch create demo/then --from 'main@{2026-11-22T20:00Z}'")]
    Create(Create),
    /// Show a branch, its last commit and whether something is uncommitted
    Show(Show),
    /// Delete a branch and what is uncommitted on it; its commits stay
    Delete(Delete),
}

/// List the branches of a repository.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Which repository
    #[arg(value_name = "REPOSITORY")]
    repository: RepositoryUri,
    /// Only names that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Also branches that were created hidden
    #[arg(long)]
    show_hidden: bool,
    #[command(flatten)]
    page: PageArgs,
}

/// Create a branch.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// The new branch
    #[arg(value_name = "REPOSITORY/BRANCH")]
    branch: RefUri,
    /// Branch, tag, commit or expression to start at [default: the repository's default branch]
    #[arg(long, short = 's', visible_alias = "source", value_name = "REF")]
    from: Option<String>,
    /// Leave it out of listings
    #[arg(long)]
    hidden: bool,
}

/// Show a branch.
#[derive(Debug, Clone, Args)]
pub struct Show {
    /// Which branch
    #[arg(value_name = "REPOSITORY/BRANCH")]
    branch: RefUri,
}

/// Delete a branch.
#[derive(Debug, Clone, Args)]
pub struct Delete {
    /// Which branch
    #[arg(value_name = "REPOSITORY/BRANCH")]
    branch: RefUri,
    /// Also in a read-only repository
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct BranchDetails<'a> {
    id: &'a str,
    commit_id: &'a str,
    message: &'a str,
    committer: &'a str,
    creation_date: i64,
    has_uncommitted: bool,
}

impl Branch {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::List(verb) => verb.run(session).await,
            Self::Create(verb) => verb.run(session).await,
            Self::Show(verb) => verb.run(session).await,
            Self::Delete(verb) => verb.run(session).await,
        }
    }
}

/// Columns of branches and of tags.
pub(super) const REF_COLUMNS: &[Column] = &[Column::left("name"), Column::left("commit")];

pub(super) fn ref_cells(named: &Ref) -> [Cell; 2] {
    [Cell::text(&named.id), Cell::id(&named.commit_id)]
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let repository = &self.repository.repository;
        let fetch = async |query: PageQuery| {
            client.list_branches(repository, &query, self.show_hidden).await.in_repository(repository)
        };
        self.page.print(&session.output, REF_COLUMNS, &self.prefix, fetch, ref_cells).await?;
        Ok(Exit::Ok)
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let RefUri { repository, reference: name } = &self.branch;
        let source = match &self.from {
            Some(text) => self.branch.sibling(text).map_err(|e| Failure::usage(e.to_string()))?,
            None => client.get_repository(repository).await.in_repository(repository)?.default_branch,
        };
        let creation =
            BranchCreation { name: name.clone(), source: source.clone(), hidden: self.hidden, force: false };
        let commit_id = client.create_branch(repository, &creation).await.in_repository(repository)?;
        let created = Ref { id: name.clone(), commit_id };
        session.output.outcome(&created, &created.commit_id)?;
        session.output.note(&format!("branch {} starts at {source}", self.branch));
        Ok(Exit::Ok)
    }
}

impl Show {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let RefUri { repository, reference: name } = &self.branch;
        let branch = client.get_branch(repository, name).await.in_repository(repository)?;
        let commit = client.get_commit(repository, &branch.commit_id).await.in_repository(repository)?;
        let one = DiffQuery { page: PageQuery { amount: 1, ..PageQuery::default() }, ..DiffQuery::default() };
        let staged = client.diff_branch(repository, name, &one).await.in_repository(repository)?;
        let has_uncommitted = !staged.results.is_empty();
        let fields = [
            ("name", Cell::text(&branch.id)),
            ("commit", Cell::id(&branch.commit_id)),
            ("committed", Cell::Time(commit.creation_date)),
            ("committer", Cell::text(&commit.committer)),
            ("message", Cell::text(&commit.message)),
            ("uncommitted changes", Cell::text(if has_uncommitted { "yes" } else { "no" })),
        ];
        let item = BranchDetails {
            id: &branch.id,
            commit_id: &branch.commit_id,
            message: &commit.message,
            committer: &commit.committer,
            creation_date: commit.creation_date,
            has_uncommitted,
        };
        session.output.record(&item, &fields)?;
        Ok(Exit::Ok)
    }
}

impl Delete {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let RefUri { repository, reference: name } = &self.branch;
        let branch = client.get_branch(repository, name).await.in_repository(repository)?;
        let question = format!("Branch {} and what is uncommitted on it will be deleted.", self.branch);
        session.confirm(&question).await?;
        client.delete_branch(repository, name, self.force).await.in_repository(repository)?;
        session.output.outcome(&branch, &branch.commit_id)?;
        session.output.note(&format!("deleted branch {}", self.branch));
        session
            .output
            .undo_note(&format!("millpond branch create {} --from {}", self.branch, branch.commit_id));
        Ok(Exit::Ok)
    }
}
