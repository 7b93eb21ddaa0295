//! `millpond auth groups`: list, create, show, delete, add-member, remove-member.

use super::{policies, users};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column};
use crate::paging::PageArgs;
use crate::session::Session;
use clap::{Args, Subcommand};
use millpond_client::{Group, Holder, PageQuery};
use serde::Serialize;

const COLUMNS: &[Column] = &[Column::left("NAME"), Column::left("DESCRIPTION"), Column::left("CREATED")];

/// List, create, show and delete groups, and change their members.
#[derive(Debug, Clone, Subcommand)]
pub enum Groups {
    /// List the groups
    List(List),
    /// Create a group
    #[command(after_help = "Example:
  millpond auth groups create labelling --description 'Who labels images'
  millpond auth policies attach FSReadAll --group labelling")]
    Create(Create),
    /// Show a group with its policies
    Show(Name),
    /// Delete a group; its members stay users
    Delete(Name),
    /// List the members of a group
    Members(Members),
    /// Make a user a member of a group
    AddMember(Member),
    /// Take a user out of a group
    RemoveMember(Member),
}

/// List the groups.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Only names that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    page: PageArgs,
}

/// Create a group.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
}

/// A group.
#[derive(Debug, Clone, Args)]
pub struct Name {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    name: String,
}

/// Members of a group.
#[derive(Debug, Clone, Args)]
pub struct Members {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    name: String,
    #[command(flatten)]
    page: PageArgs,
}

/// A user in a group.
#[derive(Debug, Clone, Args)]
pub struct Member {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    group: String,
    /// Name of the user
    #[arg(value_name = "USER")]
    user: String,
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(flatten)]
    group: &'a Group,
    policies: Vec<String>,
}

#[derive(Serialize)]
struct Membership<'a> {
    group: &'a str,
    user: &'a str,
}

impl Groups {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::List(verb) => verb.run(session).await,
            Self::Create(verb) => verb.run(session).await,
            Self::Show(verb) => verb.show(session).await,
            Self::Delete(verb) => verb.delete(session).await,
            Self::Members(verb) => verb.run(session).await,
            Self::AddMember(verb) => verb.add(session).await,
            Self::RemoveMember(verb) => verb.remove(session).await,
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let fetch = async |query: PageQuery| Ok(client.list_groups(&query).await?);
        let cells = |group: &Group| {
            [Cell::text(&group.id), Cell::text(&group.description), Cell::Time(group.creation_date)]
        };
        self.page.print(&session.output, COLUMNS, &self.prefix, fetch, cells).await?;
        Ok(Exit::Ok)
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let group = session.client()?.create_group(&self.name, &self.description).await?;
        session.output.outcome(&group, &group.id)?;
        session.output.note(&format!(
            "its members may do nothing yet; next: millpond auth policies attach POLICY --group {}",
            group.id
        ));
        Ok(Exit::Ok)
    }
}

impl Name {
    async fn show(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let group = client.get_group(&self.name).await?;
        let policies = policies::attached(session, Holder::Group(&self.name)).await?;
        let fields = [
            ("name", Cell::text(&group.id)),
            ("description", Cell::text(&group.description)),
            ("created", Cell::Time(group.creation_date)),
            ("policies", Cell::text(&policies.join(", "))),
        ];
        session.output.record(&Details { group: &group, policies }, &fields)?;
        Ok(Exit::Ok)
    }

    async fn delete(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let group = client.get_group(&self.name).await?;
        session
            .confirm(&format!("Group {} will be deleted; its members lose its rights.", self.name))
            .await?;
        client.delete_group(&self.name).await?;
        session.output.outcome(&group, &group.id)?;
        session.output.note(&format!("deleted group {}", group.id));
        Ok(Exit::Ok)
    }
}

impl Members {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let fetch = async |query: PageQuery| Ok(client.list_members(&self.name, &query).await?);
        self.page.print(&session.output, users::COLUMNS, "", fetch, users::cells).await?;
        Ok(Exit::Ok)
    }
}

impl Member {
    async fn add(self, session: &Session) -> Result<Exit, Failure> {
        let Self { group, user } = &self;
        session.client()?.add_member(group, user).await?;
        session.output.outcome(&Membership { group, user }, user)?;
        session.output.undo_note(&format!("millpond auth groups remove-member {group} {user}"));
        Ok(Exit::Ok)
    }

    async fn remove(self, session: &Session) -> Result<Exit, Failure> {
        let Self { group, user } = &self;
        session.client()?.remove_member(group, user).await?;
        session.output.outcome(&Membership { group, user }, user)?;
        session.output.undo_note(&format!("millpond auth groups add-member {group} {user}"));
        Ok(Exit::Ok)
    }
}
