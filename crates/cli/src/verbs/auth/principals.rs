//! `millpond auth principals`: list, link, unlink.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column};
use crate::paging::PageArgs;
use crate::session::Session;
use clap::{Args, Subcommand};
use millpond_client::{PageQuery, Principal};

const COLUMNS: &[Column] = &[Column::left("PRINCIPAL")];

/// Say who users are in other systems.
#[derive(Debug, Clone, Subcommand)]
pub enum Principals {
    /// List who a user is in other systems
    List(List),
    /// Say that a user is somebody in another system, who signs in as that user from now on
    #[command(after_help = "Example:
  millpond auth principals link ann 'https://id.example.org#8f2c'

Of an OIDC provider it is the issuer, '#' and the 'sub' of the person; the page of a refused sign-in
shows it.")]
    Link(Which),
    /// Take that back; sessions that were begun go on until they end
    Unlink(Which),
}

/// List who a user is in other systems.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Name of the user
    #[arg(value_name = "USER")]
    user: String,
    #[command(flatten)]
    page: PageArgs,
}

/// A user and somebody in another system.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Name of the user
    #[arg(value_name = "USER")]
    user: String,
    /// Who it is in the other system
    #[arg(value_name = "PRINCIPAL")]
    principal: String,
}

impl Principals {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::List(verb) => verb.run(session).await,
            Self::Link(verb) => {
                session.client()?.link_principal(&verb.user, &verb.principal).await?;
                verb.say(session, "signs in as")
            }
            Self::Unlink(verb) => {
                session.client()?.unlink_principal(&verb.user, &verb.principal).await?;
                verb.say(session, "no longer signs in as")
            }
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let fetch = async |query: PageQuery| Ok(client.list_principals(&self.user, &query).await?);
        let cells = |principal: &Principal| [Cell::text(&principal.id)];
        self.page.print(&session.output, COLUMNS, "", fetch, cells).await?;
        Ok(Exit::Ok)
    }
}

impl Which {
    fn say(self, session: &Session, what: &str) -> Result<Exit, Failure> {
        session.output.note(&format!("{} {what} {}", self.principal, self.user));
        let principal = Principal { id: self.principal, user_id: self.user };
        session.output.outcome(&principal, &principal.id)?;
        Ok(Exit::Ok)
    }
}
