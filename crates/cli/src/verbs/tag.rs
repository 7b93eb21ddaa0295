//! `millpond tag`: list, create, show, delete.

use super::branch::{REF_COLUMNS, ref_cells};
use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::output::Cell;
use crate::paging::PageArgs;
use crate::session::Session;
use crate::uri::{RefUri, RepositoryUri};
use clap::{Args, Subcommand};
use millpond_client::{PageQuery, TagCreation};
use serde::Serialize;

/// List, create, show and delete tags.
#[derive(Debug, Clone, Subcommand)]
pub enum Tag {
    /// List the tags of a repository
    List(List),
    /// Create a tag; it never moves
    #[command(after_help = "Examples:
  millpond tag create demo/v1.0 main
  millpond tag create demo/before-the-fix main~1")]
    Create(Create),
    /// Show a tag and its commit
    Show(Show),
    /// Delete a tag; its commit stays
    Delete(Delete),
}

/// List the tags of a repository.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Which repository
    #[arg(value_name = "REPOSITORY")]
    repository: RepositoryUri,
    /// Only names that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    page: PageArgs,
}

/// Create a tag.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// The new tag
    #[arg(value_name = "REPOSITORY/TAG")]
    tag: RefUri,
    /// Branch, tag, commit or expression to name
    #[arg(value_name = "REF")]
    at: String,
}

/// Show a tag.
#[derive(Debug, Clone, Args)]
pub struct Show {
    /// Which tag
    #[arg(value_name = "REPOSITORY/TAG")]
    tag: RefUri,
}

/// Delete a tag.
#[derive(Debug, Clone, Args)]
pub struct Delete {
    /// Which tag
    #[arg(value_name = "REPOSITORY/TAG")]
    tag: RefUri,
    /// Also in a read-only repository
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct TagDetails<'a> {
    id: &'a str,
    commit_id: &'a str,
    message: &'a str,
    committer: &'a str,
    creation_date: i64,
}

impl Tag {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::List(verb) => verb.run(session).await,
            Self::Create(verb) => verb.run(session).await,
            Self::Show(verb) => verb.run(session).await,
            Self::Delete(verb) => verb.run(session).await,
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let repository = &self.repository.repository;
        let fetch =
            async |query: PageQuery| client.list_tags(repository, &query).await.in_repository(repository);
        self.page.print(&session.output, REF_COLUMNS, &self.prefix, fetch, ref_cells).await?;
        Ok(Exit::Ok)
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let RefUri { repository, reference: name } = &self.tag;
        let reference = self.tag.sibling(&self.at).map_err(|e| Failure::usage(e.to_string()))?;
        let creation = TagCreation { id: name.clone(), reference, force: false };
        let tag = session.client()?.create_tag(repository, &creation).await.in_repository(repository)?;
        session.output.outcome(&tag, &tag.commit_id)?;
        session.output.note(&format!("tag {} names that commit", self.tag));
        Ok(Exit::Ok)
    }
}

impl Show {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let RefUri { repository, reference: name } = &self.tag;
        let tag = client.get_tag(repository, name).await.in_repository(repository)?;
        let commit = client.get_commit(repository, &tag.commit_id).await.in_repository(repository)?;
        let fields = [
            ("name", Cell::text(&tag.id)),
            ("commit", Cell::id(&tag.commit_id)),
            ("committed", Cell::Time(commit.creation_date)),
            ("committer", Cell::text(&commit.committer)),
            ("message", Cell::text(&commit.message)),
        ];
        let item = TagDetails {
            id: &tag.id,
            commit_id: &tag.commit_id,
            message: &commit.message,
            committer: &commit.committer,
            creation_date: commit.creation_date,
        };
        session.output.record(&item, &fields)?;
        Ok(Exit::Ok)
    }
}

impl Delete {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let RefUri { repository, reference: name } = &self.tag;
        let tag = client.get_tag(repository, name).await.in_repository(repository)?;
        session.confirm(&format!("Tag {} will be deleted.", self.tag)).await?;
        client.delete_tag(repository, name, self.force).await.in_repository(repository)?;
        session.output.outcome(&tag, &tag.commit_id)?;
        session.output.note(&format!("deleted tag {}", self.tag));
        session.output.undo_note(&format!("millpond tag create {} {}", self.tag, tag.commit_id));
        Ok(Exit::Ok)
    }
}
