//! `millpond repo`: list, create, show, delete.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::output::{Cell, Column};
use crate::paging::PageArgs;
use crate::session::Session;
use crate::uri::RepositoryUri;
use clap::{Args, Subcommand};
use millpond_client::{Config, Kind, Repository, RepositoryCreation};

/// List, create, show and delete repositories.
#[derive(Debug, Clone, Subcommand)]
pub enum Repo {
    /// List repositories
    List(List),
    /// Create a repository
    #[command(after_help = "Examples:
  millpond repo create demo
  millpond repo create demo --storage-namespace s3://bucket/demo")]
    Create(Create),
    /// Show a repository
    Show(Show),
    /// Delete a repository with all its branches, tags and commits
    Delete(Delete),
}

/// List repositories.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Only names that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    page: PageArgs,
}

/// Create a repository.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// Name: 3 to 63 lower-case letters, digits and dashes
    #[arg(value_name = "REPOSITORY")]
    name: RepositoryUri,
    /// Where its data is stored [default: the server's place for new repositories]
    #[arg(long, value_name = "URL")]
    storage_namespace: Option<String>,
    /// Name of the first branch
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    default_branch: String,
    /// Commit sample files
    #[arg(long)]
    sample_data: bool,
}

/// Show a repository.
#[derive(Debug, Clone, Args)]
pub struct Show {
    /// Which repository
    #[arg(value_name = "REPOSITORY")]
    name: RepositoryUri,
}

/// Delete a repository.
#[derive(Debug, Clone, Args)]
pub struct Delete {
    /// Which repository
    #[arg(value_name = "REPOSITORY")]
    name: RepositoryUri,
    /// Also if it is read-only
    #[arg(long)]
    force: bool,
}

impl Repo {
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
        const COLUMNS: &[Column] = &[
            Column::left("name"),
            Column::left("default branch"),
            Column::left("created"),
            Column::left("storage"),
        ];
        let client = session.client()?;
        let fetch = async |query| Ok(client.list_repositories(&query).await?);
        let cells = |repository: &Repository| {
            [
                Cell::text(&repository.id),
                Cell::text(&repository.default_branch),
                Cell::Time(repository.creation_date),
                Cell::text(&repository.storage_namespace),
            ]
        };
        if self.page.print(&session.output, COLUMNS, &self.prefix, fetch, cells).await? == 0 {
            session.output.note("no repositories; make one with 'millpond repo create NAME'");
        }
        Ok(Exit::Ok)
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let name = &self.name.repository;
        let storage_namespace = match self.storage_namespace {
            Some(namespace) => namespace,
            None => default_namespace(&client.config().await?, name)?,
        };
        let creation = RepositoryCreation {
            name: name.clone(),
            storage_namespace,
            default_branch: Some(self.default_branch),
            sample_data: self.sample_data,
            read_only: false,
        };
        let repository = client.create_repository(&creation).await.map_err(|error| {
            let taken = error.kind() == Kind::Conflict;
            let failure = Failure::from(error);
            if taken { failure.hint_if_none(format!("millpond repo show {name}")) } else { failure }
        })?;
        session.output.outcome(&repository, &repository.id)?;
        session.output.note(&format!(
            "created; next: millpond cp -r FOLDER mp://{}/{}/",
            repository.id, repository.default_branch
        ));
        Ok(Exit::Ok)
    }
}

/// The server says where new repositories go; clients append `/name` (`local://` becomes `local:///name`).
/// Where the server puts a new repository of this name.
pub(super) fn default_namespace(config: &Config, name: &str) -> Result<String, Failure> {
    let storage = config.storage_config.as_ref();
    let prefix = storage.and_then(|s| s.default_namespace_prefix.as_deref()).unwrap_or_default();
    if prefix.is_empty() {
        let example = storage.map(|s| s.blockstore_namespace_example.as_str()).unwrap_or_default();
        return Err(Failure::usage("the server has no place for new repositories")
            .hint(format!("add --storage-namespace, for example {example}{name}")));
    }
    let prefix = if prefix.ends_with("://") { prefix } else { prefix.trim_end_matches('/') };
    Ok(format!("{prefix}/{name}"))
}

impl Show {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = &self.name.repository;
        let repository = session.client()?.get_repository(name).await.in_repository(name)?;
        let fields = [
            ("name", Cell::text(&repository.id)),
            ("default branch", Cell::text(&repository.default_branch)),
            ("created", Cell::Time(repository.creation_date)),
            ("storage", Cell::text(&repository.storage_namespace)),
            ("read-only", Cell::text(if repository.read_only { "yes" } else { "no" })),
        ];
        session.output.record(&repository, &fields)?;
        Ok(Exit::Ok)
    }
}

impl Delete {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let name = &self.name.repository;
        // Asking about something that does not exist would be odd.
        client.get_repository(name).await.in_repository(name)?;
        let question =
            format!("Repository {name} with all its branches, tags and commits will be gone for good.");
        session.confirm_by_name(&question, name).await?;
        client.delete_repository(name, self.force).await.in_repository(name)?;
        session.output.outcome(&serde_json::json!({ "deleted": name }), name)?;
        session.output.note("deleted");
        Ok(Exit::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_client::StorageConfig;

    #[test]
    fn a_namespace_is_the_prefix_and_the_name() {
        let config = |prefix: &str| Config {
            storage_config: Some(StorageConfig {
                blockstore_type: "local".into(),
                blockstore_namespace_example: "local://example-bucket/".into(),
                default_namespace_prefix: Some(prefix.into()),
            }),
            version_config: None,
        };
        assert_eq!(default_namespace(&config("local://"), "demo"), Ok("local:///demo".into()));
        assert_eq!(default_namespace(&config("s3://bucket/"), "demo"), Ok("s3://bucket/demo".into()));
        assert_eq!(default_namespace(&config("s3://bucket/a"), "demo"), Ok("s3://bucket/a/demo".into()));
        let hint = default_namespace(&config(""), "demo").expect_err("refused").hint.expect("a hint");
        assert!(hint.ends_with("local://example-bucket/demo"), "{hint}");
    }
}
