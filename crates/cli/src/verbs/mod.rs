//! The verbs, one file each. A file holds the verb's arguments and what it does with a [`Session`]; none
//! prints, exits or reads the environment by itself.

mod audit;
mod auth;
mod branch;
mod cat;
mod cherry_pick;
mod commit;
mod completion;
mod cp;
mod diff;
mod import;
mod log;
mod login;
mod ls;
mod merge;
mod migrate;
mod op;
mod pr;
mod protect;
mod repo;
mod reset;
mod revert;
mod rm;
mod show;
mod stat;
mod tag;
mod undo;
pub mod upkeep;

use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::{GlobalArgs, command};
use clap::Subcommand;
use std::collections::BTreeMap;

/// What can be asked of a server.
#[derive(Debug, Clone, Subcommand)]
pub enum ClientVerb {
    /// Save a server and its keys, after checking them
    Login(login::Login),
    /// List, create, show and delete repositories
    #[command(subcommand)]
    Repo(repo::Repo),
    /// List, create, show and delete branches
    #[command(subcommand)]
    Branch(branch::Branch),
    /// List, create, show and delete tags
    #[command(subcommand)]
    Tag(tag::Tag),
    /// List objects
    Ls(ls::Ls),
    /// Copy files to, from and between repositories
    Cp(cp::Cp),
    /// Import a directory of the server without copying its bytes
    Import(import::Import),
    /// Write objects to stdout
    Cat(cat::Cat),
    /// Delete objects from a branch
    Rm(rm::Rm),
    /// Show all that is known about an object
    Stat(stat::Stat),
    /// Commit what is uncommitted on a branch
    Commit(commit::Commit),
    /// Show the history of a ref
    Log(log::Log),
    /// Show a commit and what it changed
    Show(show::Show),
    /// Compare two refs, or show what is uncommitted on a branch
    Diff(diff::DiffVerb),
    /// Merge a ref into a branch
    Merge(merge::MergeVerb),
    /// Commit the opposite of a commit
    Revert(revert::Revert),
    /// Commit again, on another branch, what a commit changed
    CherryPick(cherry_pick::CherryPick),
    /// Drop uncommitted changes, or move a branch
    Reset(reset::Reset),
    /// Take back the last operation on a branch
    Undo(undo::Undo),
    /// Show what moved branches and tags
    #[command(subcommand)]
    Op(op::Op),
    /// Ask for a merge, and merge what was asked for
    #[command(subcommand)]
    Pr(pr::Pr),
    /// Protect branches, so that only merges change them
    #[command(subcommand)]
    Protect(protect::Protect),
    /// Show who did what, and prove that the record of it was not changed
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Say who may use the server and what they may do
    #[command(subcommand)]
    Auth(auth::Auth),
    /// Take over repositories and people of another server
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Check that everything stored is what was written, down to the bytes of every object
    Fsck(upkeep::Fsck),
    /// Copy everything stored to a backup, while the server runs
    Backup(upkeep::Backup),
    /// Print the completion script for a shell
    Completion(completion::Completion),
}

impl ClientVerb {
    /// Runs the verb for this process and returns its exit code. Ctrl-C ends it with 130; temporary files
    /// are removed then. The caller should leave by `exit` or shut its runtime down in the background: a
    /// read of the terminal may still be pending.
    pub async fn run(self, global: GlobalArgs) -> i32 {
        self.run_as(global, command()).await
    }

    /// The same inside a larger command, which `completion` then covers whole.
    pub async fn run_as(self, mut global: GlobalArgs, whole: clap::Command) -> i32 {
        if let Self::Fsck(verb) = &self {
            verb.adjust(&mut global);
        }
        let environment = Environment::of_process();
        let output = Output::of_process(
            global.output,
            global.color.unwrap_or_default(),
            global.full_ids,
            global.quiet,
            &environment,
        );
        let session = Session::new(global, environment, output);
        let exit = tokio::select! {
            exit = self.run_in(&session, whole) => exit,
            // Without a handler the default action of the signal stays in force.
            Ok(()) = tokio::signal::ctrl_c() => {
                session.interrupted().await;
                Exit::Interrupted
            }
        };
        exit.code()
    }

    /// Runs the verb in a session of any kind and reports its failure there.
    pub async fn run_in(self, session: &Session, whole: clap::Command) -> Exit {
        let result = self.dispatch(session, whole).await;
        let flushed = session.output.flush();
        match result.and_then(|exit| flushed.map(|()| exit)) {
            Ok(exit) => exit,
            Err(failure) => {
                session.output.failure(&failure);
                failure.exit
            }
        }
    }

    async fn dispatch(self, session: &Session, whole: clap::Command) -> Result<Exit, Failure> {
        match self {
            Self::Login(verb) => verb.run(session).await,
            Self::Repo(verb) => verb.run(session).await,
            Self::Branch(verb) => verb.run(session).await,
            Self::Tag(verb) => verb.run(session).await,
            Self::Ls(verb) => verb.run(session).await,
            Self::Cp(verb) => verb.run(session).await,
            Self::Import(verb) => verb.run(session).await,
            Self::Cat(verb) => verb.run(session).await,
            Self::Rm(verb) => verb.run(session).await,
            Self::Stat(verb) => verb.run(session).await,
            Self::Commit(verb) => verb.run(session).await,
            Self::Log(verb) => verb.run(session).await,
            Self::Show(verb) => verb.run(session).await,
            Self::Diff(verb) => verb.run(session).await,
            Self::Merge(verb) => verb.run(session).await,
            Self::Revert(verb) => verb.run(session).await,
            Self::CherryPick(verb) => verb.run(session).await,
            Self::Reset(verb) => verb.run(session).await,
            Self::Undo(verb) => verb.run(session).await,
            Self::Op(verb) => verb.run(session).await,
            Self::Pr(verb) => verb.run(session).await,
            Self::Protect(verb) => verb.run(session).await,
            Self::Audit(verb) => verb.run(session).await,
            Self::Auth(verb) => verb.run(session).await,
            Self::Migrate(verb) => verb.run(session).await,
            Self::Fsck(verb) => verb.run(session).await,
            Self::Backup(verb) => verb.run(session).await,
            Self::Completion(verb) => verb.run(session, whole),
        }
    }
}

/// `key=value` of `--meta`; the value may hold further equals signs.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not of the form key=value")),
    }
}

/// The pairs as a map; of a repeated key the last value counts.
fn pairs(given: &[(String, String)]) -> BTreeMap<String, String> {
    given.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_pairs() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(parse_pair("a="), Ok(("a".into(), String::new())));
        assert!(parse_pair("=b").is_err());
        assert!(parse_pair("a").is_err());
    }
}
