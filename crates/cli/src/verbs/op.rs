//! `millpond op`: the log of what moved branches and tags.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::output::{Cell, Column, Paint};
use crate::paging::PageArgs;
use crate::session::Session;
use crate::uri::{InvalidUri, RefUri, RepositoryUri};
use clap::{Args, Subcommand};
use millpond_client::{Operation, PageQuery};
use std::str::FromStr;

/// Show what moved branches and tags.
#[derive(Debug, Clone, Subcommand)]
pub enum Op {
    /// List the moves of branches and tags, newest first
    #[command(after_help = "Examples:
  millpond op log demo
  millpond op log demo/main --limit 20")]
    Log(OpLog),
}

/// List the moves of branches and tags.
#[derive(Debug, Clone, Args)]
pub struct OpLog {
    /// A repository, or one branch or tag of it
    #[arg(value_name = "REPOSITORY[/REF]")]
    of: Scope,
    #[command(flatten)]
    page: PageArgs,
}

/// All refs, or one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    repository: String,
    reference: String,
}

impl FromStr for Scope {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        match text.parse::<RepositoryUri>() {
            Ok(uri) => Ok(Self { repository: uri.repository, reference: String::new() }),
            Err(_) => text
                .parse::<RefUri>()
                .map(|uri| Self { repository: uri.repository, reference: uri.reference }),
        }
    }
}

const COLUMNS: &[Column] = &[
    Column::right("id"),
    Column::left("time"),
    Column::left("actor"),
    Column::left("verb"),
    Column::left("ref"),
    Column::left("old"),
    Column::left("new"),
    Column::left("message"),
];

impl Op {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Log(verb) => verb.run(session).await,
        }
    }
}

impl OpLog {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let Scope { repository, reference } = &self.of;
        let fetch = async |query: PageQuery| {
            client.operations(repository, reference, &query).await.in_repository(repository)
        };
        self.page.print(&session.output, COLUMNS, "", fetch, cells).await?;
        Ok(Exit::Ok)
    }
}

fn cells(operation: &Operation) -> [Cell; 8] {
    let time = Cell::rfc3339(&operation.time);
    [
        Cell::text(&operation.id),
        time,
        Cell::text(&operation.actor),
        Cell::Painted(operation.verb.clone(), Paint::Bold),
        Cell::text(&operation.reference),
        Cell::id(&operation.old),
        Cell::id(&operation.new),
        Cell::text(&operation.message),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_or_one_ref_of_it() {
        let scope = |text: &str| text.parse::<Scope>().map(|s| (s.repository, s.reference));
        assert_eq!(scope("demo"), Ok(("demo".into(), String::new())));
        assert_eq!(scope("mp://demo/main"), Ok(("demo".into(), "main".into())));
        assert!(scope("demo/main/a").is_err());
        assert!(scope("").is_err());
    }
}
