//! `millpond auth policies`: list, show, create, update, delete, attach, detach.

use super::To;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local;
use crate::output::{Cell, Column};
use crate::paging::{self, PageArgs};
use crate::session::Session;
use crate::terminal;
use clap::{Args, Subcommand};
use millpond_client::{Client, Holder, Page, PageQuery, Policy};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

const COLUMNS: &[Column] = &[Column::left("NAME"), Column::right("STATEMENTS"), Column::left("CHANGED")];

/// List, write, show and delete policies, and give them to users and groups.
#[derive(Debug, Clone, Subcommand)]
pub enum Policies {
    /// List all policies, or those of a user or group
    List(List),
    /// Show a policy as JSON
    Show(Name),
    /// Save a new policy
    #[command(after_help = "Example:
  echo '{\"statement\": [{\"effect\": \"allow\", \"action\": [\"fs:Read*\", \"fs:List*\"],
      \"resource\": \"arn:lakefs:fs:::repository/demo*\"}]}' | millpond auth policies create read-demo -
  millpond auth policies attach read-demo --group labelling

What may stand in a policy: docs/security.md. A mistake in it is named, and nothing is saved.")]
    Create(Write),
    /// Give a policy other words; whoever has it has the new ones at once
    Update(Write),
    /// Delete a policy, wherever it is attached
    Delete(Name),
    /// Give a policy to a user or to a group
    #[command(after_help = "Example:
  millpond auth policies attach FSReadAll --user ann")]
    Attach(Attachment),
    /// Take a policy away from a user or a group
    Detach(Attachment),
}

/// List policies.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Only names that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only those that this user has, also through groups
    #[arg(long, value_name = "NAME", conflicts_with = "group")]
    user: Option<String>,
    /// Only those of this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// A policy.
#[derive(Debug, Clone, Args)]
pub struct Name {
    /// Name of the policy
    #[arg(value_name = "POLICY")]
    name: String,
}

/// Words for a policy.
#[derive(Debug, Clone, Args)]
pub struct Write {
    /// Name of the policy
    #[arg(value_name = "POLICY")]
    name: String,
    /// File with a JSON object whose member 'statement' is the list of statements; '-' is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// A policy and who has it.
#[derive(Debug, Clone, Args)]
pub struct Attachment {
    /// Name of the policy
    #[arg(value_name = "POLICY")]
    name: String,
    #[command(flatten)]
    to: To,
}

#[derive(Deserialize)]
struct Document {
    statement: Vec<Value>,
}

#[derive(Serialize)]
struct Attached<'a> {
    policy: &'a str,
    user: Option<&'a str>,
    group: Option<&'a str>,
}

impl Policies {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::List(verb) => verb.run(session).await,
            Self::Show(verb) => verb.show(session).await,
            Self::Create(verb) => verb.create(session).await,
            Self::Update(verb) => verb.update(session).await,
            Self::Delete(verb) => verb.delete(session).await,
            Self::Attach(verb) => verb.attach(session).await,
            Self::Detach(verb) => verb.detach(session).await,
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let fetch = async |query: PageQuery| match (&self.user, &self.group) {
            (Some(user), _) => fetch_attached(client, Holder::User(user), &query).await,
            (_, Some(group)) => fetch_attached(client, Holder::Group(group), &query).await,
            (None, None) => Ok(client.list_policies(&query).await?),
        };
        let cells = |policy: &Policy| {
            let count = policy.statement.len().to_string();
            let changed = Cell::Time(policy.creation_date.unwrap_or_default());
            [Cell::text(&policy.id), Cell::Text(count), changed]
        };
        self.page.print(&session.output, COLUMNS, &self.prefix, fetch, cells).await?;
        Ok(Exit::Ok)
    }
}

/// A group's own policies; of a user also those of the groups.
async fn fetch_attached(
    client: &Client,
    holder: Holder<'_>,
    query: &PageQuery,
) -> Result<Page<Policy>, Failure> {
    let effective = matches!(holder, Holder::User(_));
    Ok(client.list_attached_policies(holder, effective, query).await?)
}

/// The names of all policies that bind a user or a group.
pub(super) async fn attached(session: &Session, holder: Holder<'_>) -> Result<Vec<String>, Failure> {
    let client = session.client()?;
    let fetch = async |query: PageQuery| fetch_attached(client, holder, &query).await;
    let policies = paging::all(&session.output, fetch).await?;
    Ok(policies.into_iter().map(|policy| policy.id).collect())
}

impl Name {
    async fn show(self, session: &Session) -> Result<Exit, Failure> {
        let policy = session.client()?.get_policy(&self.name).await?;
        session.output.json(&policy)?;
        Ok(Exit::Ok)
    }

    async fn delete(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let policy = client.get_policy(&self.name).await?;
        session
            .confirm(&format!("Policy {} will be deleted and taken from whoever has it.", self.name))
            .await?;
        client.delete_policy(&self.name).await?;
        session.output.outcome(&policy, &policy.id)?;
        session.output.note(&format!("deleted policy {}", policy.id));
        Ok(Exit::Ok)
    }
}

/// The statements of the policy in a file; `-` is stdin.
pub(super) async fn statements(file: &Path) -> Result<Vec<Value>, Failure> {
    let (text, source) = if file.as_os_str() == "-" {
        (terminal::read_all().await?.into_bytes(), "stdin".to_owned())
    } else {
        let source = file.display().to_string();
        (local::read(file).map_err(|e| Failure::local(&format!("read {source}"), &e))?, source)
    };
    let document: Document = serde_json::from_slice(&text).map_err(|mistake| {
        Failure::usage(format!("{source} holds no policy: {mistake}"))
            .hint("'millpond auth policies show FSReadAll' shows how one looks")
    })?;
    Ok(document.statement)
}

impl Write {
    async fn policy(&self) -> Result<Policy, Failure> {
        let statement = statements(&self.file).await?;
        Ok(Policy { id: self.name.clone(), creation_date: None, statement })
    }

    async fn create(self, session: &Session) -> Result<Exit, Failure> {
        let policy = session.client()?.create_policy(&self.policy().await?).await?;
        session.output.outcome(&policy, &policy.id)?;
        session.output.note(&format!(
            "saved; next: millpond auth policies attach {} --user NAME (or --group NAME)",
            policy.id
        ));
        Ok(Exit::Ok)
    }

    async fn update(self, session: &Session) -> Result<Exit, Failure> {
        let policy = session.client()?.update_policy(&self.policy().await?).await?;
        session.output.outcome(&policy, &policy.id)?;
        session.output.note("saved; it holds at once");
        Ok(Exit::Ok)
    }
}

impl Attachment {
    fn attached(&self) -> Attached<'_> {
        Attached { policy: &self.name, user: self.to.user.as_deref(), group: self.to.group.as_deref() }
    }

    async fn attach(self, session: &Session) -> Result<Exit, Failure> {
        session.client()?.attach_policy(&self.name, self.to.holder()).await?;
        session.output.outcome(&self.attached(), &self.name)?;
        session.output.undo_note(&format!("millpond auth policies detach {} {}", self.name, self.to.flag()));
        Ok(Exit::Ok)
    }

    async fn detach(self, session: &Session) -> Result<Exit, Failure> {
        session.client()?.detach_policy(&self.name, self.to.holder()).await?;
        session.output.outcome(&self.attached(), &self.name)?;
        session.output.undo_note(&format!("millpond auth policies attach {} {}", self.name, self.to.flag()));
        Ok(Exit::Ok)
    }
}
