//! `millpond pr`: create, list, show, close, merge.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::output::{Cell, Column};
use crate::paging::PageArgs;
use crate::session::Session;
use crate::uri::{RefUri, RepositoryUri};
use clap::{Args, Subcommand, ValueEnum};
use millpond_client::{Kind, PageQuery, PullRequest, PullRequestCreation};

const COLUMNS: &[Column] = &[
    Column::left("ID"),
    Column::left("STATUS"),
    Column::left("SOURCE"),
    Column::left("DESTINATION"),
    Column::left("AUTHOR"),
    Column::left("TITLE"),
];

/// Ask for a merge, and merge what was asked for.
#[derive(Debug, Clone, Subcommand)]
pub enum Pr {
    /// Ask for a branch to be merged into another
    #[command(after_help = "Examples:
  millpond pr create demo/experiment main -t 'New labels'
  id=$(millpond pr create demo/fix main -t 'Drop duplicates' -d 'See ticket 12')")]
    Create(Create),
    /// List the pull requests of a repository, newest first
    List(List),
    /// Show a pull request
    Show(One),
    /// Close a pull request without merging it
    Close(One),
    /// Merge a pull request
    #[command(after_help = "Example:
  millpond pr merge demo 5gb4ov8tm4lbfl3jnq0g

The source branch is merged as it is at that moment. When both sides changed a path nothing is merged
and the exit code is 6.")]
    Merge(One),
}

/// Ask for a branch to be merged into another.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// What is to be merged
    #[arg(value_name = "REPOSITORY/SOURCE")]
    source: RefUri,
    /// The branch to merge into
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// What it is about, in a line
    #[arg(short, long)]
    title: String,
    /// What it is about, at length
    #[arg(short, long, default_value = "", hide_default_value = true)]
    description: String,
}

/// List the pull requests of a repository.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Which repository
    #[arg(value_name = "REPOSITORY")]
    repository: RepositoryUri,
    /// Which of them
    #[arg(long, value_enum, default_value = "open")]
    status: Which,
    #[command(flatten)]
    page: PageArgs,
}

/// Which pull requests to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// Neither merged nor closed
    Open,
    /// Merged or closed
    Closed,
    /// All of them
    All,
}

/// One pull request.
#[derive(Debug, Clone, Args)]
pub struct One {
    /// Which repository
    #[arg(value_name = "REPOSITORY")]
    repository: RepositoryUri,
    /// Which pull request
    #[arg(value_name = "ID")]
    id: String,
}

impl Pr {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Create(verb) => verb.run(session).await,
            Self::List(verb) => verb.run(session).await,
            Self::Show(verb) => verb.show(session).await,
            Self::Close(verb) => verb.close(session).await,
            Self::Merge(verb) => verb.merge(session).await,
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let repository = &self.source.repository;
        let destination =
            self.source.sibling(&self.destination).map_err(|e| Failure::usage(e.to_string()))?;
        let creation = PullRequestCreation {
            title: self.title,
            description: self.description,
            source_branch: self.source.reference.clone(),
            destination_branch: destination,
        };
        let client = session.client()?;
        let id = client.create_pull_request(repository, &creation).await.in_repository(repository)?;
        let pull = client.get_pull_request(repository, &id).await.in_repository(repository)?;
        session.output.outcome(&pull, &id)?;
        session.output.note(&format!("to merge it: millpond pr merge {repository} {id}"));
        session.output.undo_note(&format!("millpond pr close {repository} {id}"));
        Ok(Exit::Ok)
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let repository = &self.repository.repository;
        let status = match self.status {
            Which::Open => "open",
            Which::Closed => "closed",
            Which::All => "all",
        };
        let fetch = async |query: PageQuery| {
            client.list_pull_requests(repository, &query, status).await.in_repository(repository)
        };
        let cells = |pull: &PullRequest| {
            [&pull.id, &pull.status, &pull.source_branch, &pull.destination_branch, &pull.author, &pull.title]
                .map(|text| Cell::text(text))
        };
        self.page.print(&session.output, COLUMNS, "", fetch, cells).await?;
        Ok(Exit::Ok)
    }
}

impl One {
    async fn show(self, session: &Session) -> Result<Exit, Failure> {
        let repository = &self.repository.repository;
        let pull =
            session.client()?.get_pull_request(repository, &self.id).await.in_repository(repository)?;
        let mut fields = vec![
            ("id", Cell::text(&pull.id)),
            ("status", Cell::text(&pull.status)),
            ("title", Cell::text(&pull.title)),
            ("source", Cell::text(&pull.source_branch)),
            ("destination", Cell::text(&pull.destination_branch)),
            ("author", Cell::text(&pull.author)),
            ("created", Cell::text(&pull.creation_date)),
        ];
        fields.extend(pull.closed_date.iter().map(|time| ("closed", Cell::text(time))));
        fields.extend(pull.merged_commit_id.iter().map(|id| ("merged as", Cell::id(id))));
        if !pull.description.is_empty() {
            fields.push(("description", Cell::text(&pull.description)));
        }
        session.output.record(&pull, &fields)?;
        Ok(Exit::Ok)
    }

    async fn close(self, session: &Session) -> Result<Exit, Failure> {
        let (client, repository) = (session.client()?, &self.repository.repository);
        let pull = client.get_pull_request(repository, &self.id).await.in_repository(repository)?;
        if pull.status != "open" {
            let what = format!("pull request {} of {repository} is {} already", pull.id, pull.status);
            return Err(Failure::new(Exit::Precondition, what));
        }
        client.set_pull_request_status(repository, &self.id, "closed").await.in_repository(repository)?;
        let pull = client.get_pull_request(repository, &self.id).await.in_repository(repository)?;
        session.output.outcome(&pull, &pull.id)?;
        session.output.note(&format!("closed; {repository}/{} is as it was", pull.destination_branch));
        Ok(Exit::Ok)
    }

    async fn merge(self, session: &Session) -> Result<Exit, Failure> {
        let (client, repository) = (session.client()?, &self.repository.repository);
        let pull = client.get_pull_request(repository, &self.id).await.in_repository(repository)?;
        let PullRequest { source_branch: source, destination_branch: destination, .. } = &pull;
        match client.merge_pull_request(repository, &self.id).await {
            Ok(merged) => {
                session.output.outcome(&merged, &merged.reference)?;
                session.output.note(&format!("merged {source} into {repository}/{destination}"));
                Ok(Exit::Ok)
            }
            Err(error) => {
                let conflict = error.kind() == Kind::Conflict;
                Err::<Exit, _>(error).in_repository(repository).map_err(|failure| {
                    let diff = format!("'millpond diff {repository}/{destination}...{source}'");
                    let branch = format!("{repository}/{destination}");
                    let failure = match conflict {
                        true => failure.hint_if_none(format!("{diff} shows what both sides changed")),
                        false => failure,
                    };
                    failure
                        .hint_about("no changes", format!("{diff} shows what a merge would bring"))
                        .hint_about(
                            "uncommitted",
                            format!("'millpond commit {branch}' or 'millpond reset {branch} --all' first"),
                        )
                        .hint_about(
                            "is not open",
                            format!("'millpond pr show {repository} {}' says what became of it", pull.id),
                        )
                })
            }
        }
    }
}
