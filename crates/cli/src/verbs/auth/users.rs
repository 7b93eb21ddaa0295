//! `millpond auth users`: list, create, show, delete.

use super::policies;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column};
use crate::paging::{self, PageArgs};
use crate::session::Session;
use clap::{Args, Subcommand};
use millpond_client::{Holder, PageQuery, User};
use serde::Serialize;

pub(super) const COLUMNS: &[Column] = &[Column::left("NAME"), Column::left("CREATED")];

pub(super) fn cells(user: &User) -> [Cell; 2] {
    [Cell::text(&user.id), Cell::Time(user.creation_date)]
}

/// List, create, show and delete users.
#[derive(Debug, Clone, Subcommand)]
pub enum Users {
    /// List the users
    List(List),
    /// Create a user, who may do nothing until a group or policy says so
    #[command(after_help = "Examples:
  millpond auth users create ann --group Developers
  millpond auth keys create ann")]
    Create(Create),
    /// Show a user with groups and effective policies
    Show(Name),
    /// Delete a user with all keys and sessions; requests that run are refused
    Delete(Name),
}

/// List the users.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Only names that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    page: PageArgs,
}

/// Create a user.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// Name of the user
    #[arg(value_name = "USER")]
    name: String,
    /// Make the user a member of this group; may be repeated
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
}

/// A user.
#[derive(Debug, Clone, Args)]
pub struct Name {
    /// Name of the user
    #[arg(value_name = "USER")]
    name: String,
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(flatten)]
    user: &'a User,
    groups: Vec<String>,
    policies: Vec<String>,
}

impl Users {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::List(verb) => verb.run(session).await,
            Self::Create(verb) => verb.run(session).await,
            Self::Show(verb) => verb.show(session).await,
            Self::Delete(verb) => verb.delete(session).await,
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let fetch = async |query: PageQuery| Ok(client.list_users(&query).await?);
        self.page.print(&session.output, COLUMNS, &self.prefix, fetch, cells).await?;
        Ok(Exit::Ok)
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        // A group that is not there is found out before the user is made.
        for group in &self.group {
            client.get_group(group).await?;
        }
        let user = client.create_user(&self.name).await?;
        for group in &self.group {
            client.add_member(group, &self.name).await?;
        }
        session.output.outcome(&user, &user.id)?;
        if self.group.is_empty() {
            session.output.note(&format!(
                "may do nothing yet; next: millpond auth groups add-member Viewers {}",
                user.id
            ));
        } else {
            session.output.note(&format!("next: millpond auth keys create {}", user.id));
        }
        Ok(Exit::Ok)
    }
}

impl Name {
    async fn show(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let user = client.get_user(&self.name).await?;
        let fetch = async |query: PageQuery| Ok(client.list_user_groups(&self.name, &query).await?);
        let groups = paging::all(&session.output, fetch).await?;
        let groups: Vec<String> = groups.into_iter().map(|group| group.id).collect();
        let policies = policies::attached(session, Holder::User(&self.name)).await?;
        let fields = [
            ("name", Cell::text(&user.id)),
            ("created", Cell::Time(user.creation_date)),
            ("e-mail", Cell::text(user.email.as_deref().unwrap_or_default())),
            ("groups", Cell::text(&groups.join(", "))),
            ("effective policies", Cell::text(&policies.join(", "))),
        ];
        session.output.record(&Details { user: &user, groups, policies }, &fields)?;
        Ok(Exit::Ok)
    }

    async fn delete(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let user = client.get_user(&self.name).await?;
        session.confirm(&format!("User {} and all keys of the user will be deleted.", self.name)).await?;
        client.delete_user(&self.name).await?;
        session.output.outcome(&user, &user.id)?;
        session.output.note(&format!("deleted user {}", user.id));
        Ok(Exit::Ok)
    }
}
