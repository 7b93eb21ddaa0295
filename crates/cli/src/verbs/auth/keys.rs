//! `millpond auth keys`: list, create, delete.

use super::lifetime::Lifetime;
use super::policies;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column};
use crate::paging::PageArgs;
use crate::session::Session;
use clap::{Args, Subcommand};
use millpond_client::{AccessKey, Client, PageQuery};
use std::path::PathBuf;

const COLUMNS: &[Column] = &[Column::left("ACCESS KEY ID"), Column::left("CREATED")];

/// List, create and delete access keys.
#[derive(Debug, Clone, Subcommand)]
pub enum Keys {
    /// List the access keys of a user
    List(List),
    /// Create an access key and show its secret, this one time
    #[command(after_help = "Examples:
  millpond auth keys create
  millpond auth keys create ann -o json
  millpond auth keys create --expires 12h --policy read-demo.json

A key never does more than its user may; one that ends may be held to a policy as well. S3 clients
need no session token with it, and one that they send decides nothing.")]
    Create(Create),
    /// Delete an access key; it stops working at once
    Delete(Delete),
}

/// List the access keys of a user.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Whose [default: your own]
    #[arg(value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// Create an access key.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// For whom [default: yourself]
    #[arg(value_name = "USER")]
    user: Option<String>,
    /// The key ends after this time, 1m to 36h
    #[arg(long, value_name = "TIME")]
    expires: Option<Lifetime>,
    /// File with a policy that the key is held to as well; '-' is stdin
    #[arg(long, value_name = "FILE", requires = "expires")]
    policy: Option<PathBuf>,
}

/// Delete an access key.
#[derive(Debug, Clone, Args)]
pub struct Delete {
    /// Which key
    #[arg(value_name = "ACCESS KEY ID")]
    id: String,
    /// Whose it is [default: your own]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// The user named, or the one who asks.
async fn named(client: &Client, user: Option<String>) -> Result<String, Failure> {
    Ok(match user {
        Some(user) => user,
        None => client.current_user().await?.id,
    })
}

impl Keys {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::List(verb) => verb.run(session).await,
            Self::Create(verb) => verb.run(session).await,
            Self::Delete(verb) => verb.run(session).await,
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let user = named(client, self.user).await?;
        let fetch = async |query: PageQuery| Ok(client.list_keys(&user, &query).await?);
        let cells = |key: &AccessKey| [Cell::text(&key.access_key_id), Cell::Time(key.creation_date)];
        self.page.print(&session.output, COLUMNS, "", fetch, cells).await?;
        Ok(Exit::Ok)
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        match self.expires {
            None => {
                let user = named(client, self.user).await?;
                let key = client.create_key(&user).await?;
                let fields = [
                    ("user", Cell::text(&user)),
                    ("access key id", Cell::text(&key.access_key_id)),
                    ("secret access key", Cell::text(&key.secret_access_key)),
                ];
                session.output.record(&key, &fields)?;
            }
            Some(Lifetime { seconds }) => {
                let statements = match &self.policy {
                    Some(file) => Some(policies::statements(file).await?),
                    None => None,
                };
                let key = client
                    .create_short_lived_key(self.user.as_deref(), seconds, statements.as_deref())
                    .await?;
                let fields = [
                    ("user", Cell::text(&key.user_id)),
                    ("access key id", Cell::text(&key.access_key_id)),
                    ("secret access key", Cell::text(&key.secret_access_key)),
                    ("ends", Cell::text(&key.expires)),
                ];
                session.output.record(&key, &fields)?;
            }
        }
        session.output.note("the secret is shown this one time; who loses it makes a new key");
        Ok(Exit::Ok)
    }
}

impl Delete {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let user = named(client, self.user).await?;
        session.confirm(&format!("Access key {} of user {user} will be deleted.", self.id)).await?;
        client.delete_key(&user, &self.id).await?;
        session.output.outcome(&AccessKey { access_key_id: self.id.clone(), creation_date: 0 }, &self.id)?;
        session.output.note(&format!("deleted access key {}", self.id));
        Ok(Exit::Ok)
    }
}
