//! `millpond protect`: add, rm, list.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::output::{Cell, Column};
use crate::session::Session;
use crate::uri::RepositoryUri;
use clap::{Args, Subcommand};
use millpond_client::{Kind, ProtectionRule};

const COLUMNS: &[Column] = &[Column::left("PATTERN")];

/// Say which branches only merges change.
#[derive(Debug, Clone, Subcommand)]
pub enum Protect {
    /// Protect branches: from now on nothing but merges changes them
    #[command(after_help = "Examples:
  millpond protect add demo main
  millpond protect add demo 'release-*'
  millpond protect add demo '{main,prod}'

In a pattern '*' stands for any run of characters, '?' for one, '[abc]' and '[!a-z]' for one of some,
'{a,b}' for one of several texts; a backslash takes the next character literally.")]
    Add(Change),
    /// Take a rule away
    #[command(after_help = "Example:
  millpond protect rm demo 'release-*'")]
    Rm(Change),
    /// List the rules of a repository
    List(List),
}

/// Add a rule, or take it away.
#[derive(Debug, Clone, Args)]
pub struct Change {
    /// Which repository
    #[arg(value_name = "REPOSITORY")]
    repository: RepositoryUri,
    /// Name of a branch, or a pattern that covers several
    #[arg(value_name = "PATTERN")]
    pattern: String,
}

/// List the rules of a repository.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Which repository
    #[arg(value_name = "REPOSITORY")]
    repository: RepositoryUri,
}

impl Protect {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Add(verb) => verb.add(session).await,
            Self::Rm(verb) => verb.remove(session).await,
            Self::List(verb) => verb.run(session).await,
        }
    }
}

impl Change {
    async fn add(self, session: &Session) -> Result<Exit, Failure> {
        let (repository, rule) = (self.repository.repository, ProtectionRule { pattern: self.pattern });
        session.client()?.add_protection(&repository, &rule).await.in_repository(&repository)?;
        session.output.outcome(&rule, &rule.pattern)?;
        session.output.note(&format!("only merges change branches of {repository} that are called so"));
        session.output.undo_note(&format!("millpond protect rm {repository} '{}'", rule.pattern));
        Ok(Exit::Ok)
    }

    async fn remove(self, session: &Session) -> Result<Exit, Failure> {
        let (repository, rule) = (self.repository.repository, ProtectionRule { pattern: self.pattern });
        let removed = session.client()?.remove_protection(&repository, &rule).await;
        match removed {
            // The answer has no text (API-1.4), so it is said here what is missing.
            Err(error) if error.kind() == Kind::NotFound => {
                session.client()?.list_protection(&repository).await.in_repository(&repository)?;
                let what = format!("no rule of {repository} has the pattern '{}'", rule.pattern);
                let hint = format!("'millpond protect list {repository}' shows the rules");
                return Err(Failure::new(Exit::NotFound, what).hint(hint));
            }
            outcome => outcome.in_repository(&repository)?,
        }
        session.output.outcome(&rule, &rule.pattern)?;
        session.output.note(&format!("{repository} has one rule less"));
        session.output.undo_note(&format!("millpond protect add {repository} '{}'", rule.pattern));
        Ok(Exit::Ok)
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let repository = &self.repository.repository;
        let rules = session.client()?.list_protection(repository).await.in_repository(repository)?;
        let mut list = session.output.list(COLUMNS);
        for rule in &rules {
            list.push(rule, &[Cell::text(&rule.pattern)])?;
        }
        list.finish()?;
        Ok(Exit::Ok)
    }
}
