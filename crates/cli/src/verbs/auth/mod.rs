//! `millpond auth`: who there is and what they may do.

mod explain;
mod groups;
mod keys;
mod lifetime;
mod login_link;
mod password;
mod policies;
mod principals;
mod users;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use clap::{Args, Subcommand};
use millpond_client::Holder;

/// Say who may use the server and what they may do.
#[derive(Debug, Clone, Subcommand)]
pub enum Auth {
    /// List, create, show and delete users
    #[command(subcommand)]
    Users(users::Users),
    /// List, create, show and delete groups, and change their members
    #[command(subcommand)]
    Groups(groups::Groups),
    /// List, write, show and delete policies, and give them to users and groups
    #[command(subcommand)]
    Policies(policies::Policies),
    /// List, create and delete access keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Say who users are in other systems, such as the OIDC provider
    #[command(subcommand)]
    Principals(principals::Principals),
    /// Print a link that signs a browser in, once
    LoginLink(login_link::LoginLink),
    /// Set a password; sessions of the user end
    Password(password::Password),
    /// Say whether a user may do something, and which statement decides
    Explain(explain::Explain),
    /// Have the server make a new master key and seal every secret with it
    #[command(
        after_help = "The server writes the new key into its master key file. Copies of the earlier file open
backups made until now and nothing later: keep them as long as those backups, and make a copy of the new one."
    )]
    RotateMasterKey,
}

impl Auth {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Users(verb) => verb.run(session).await,
            Self::Groups(verb) => verb.run(session).await,
            Self::Policies(verb) => verb.run(session).await,
            Self::Keys(verb) => verb.run(session).await,
            Self::Principals(verb) => verb.run(session).await,
            Self::LoginLink(verb) => verb.run(session).await,
            Self::Password(verb) => verb.run(session).await,
            Self::Explain(verb) => verb.run(session).await,
            Self::RotateMasterKey => rotate_master_key(session).await,
        }
    }
}

async fn rotate_master_key(session: &Session) -> Result<Exit, Failure> {
    let client = session.client()?;
    session.confirm("Every secret of the server will be sealed with a new master key.").await?;
    let key = client.rotate_master_key().await?;
    session.output.outcome(&key, &key.master_key_id)?;
    session.output.note("done; copy the master key file of the server to where its copies are kept");
    Ok(Exit::Ok)
}

/// Who or what gets a policy, or loses it.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct To {
    /// A user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A group, for all its members
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

impl To {
    fn holder(&self) -> Holder<'_> {
        match (&self.user, &self.group) {
            (Some(user), _) => Holder::User(user),
            (None, group) => Holder::Group(group.as_deref().unwrap_or_default()),
        }
    }
    /// As it was typed.
    fn flag(&self) -> String {
        match self.holder() {
            Holder::User(name) => format!("--user {name}"),
            Holder::Group(name) => format!("--group {name}"),
        }
    }
}
