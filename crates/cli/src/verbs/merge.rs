//! `millpond merge`: a ref into a branch; on conflict, the list of paths that both changed.

use super::diff::Changes;
use super::{pairs, parse_pair};
use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::session::Session;
use crate::uri::RefUri;
use clap::{Args, ValueEnum};
use millpond_client::page::PAGE_ITEMS_MAX;
use millpond_client::{Client, DiffQuery, DotDiff, Kind, Merge, PageQuery, Strategy};

/// Merge a ref into a branch.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond merge demo/experiment main
  millpond merge demo/experiment main -m 'New labels' --squash
  millpond merge demo/experiment main --strategy source-wins

When both sides changed a path and no strategy is given, nothing is merged: the paths are listed and
the exit code is 6.")]
pub struct MergeVerb {
    /// What to merge
    #[arg(value_name = "REPOSITORY/SOURCE")]
    source: RefUri,
    /// The branch to merge into
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// Message of the merge commit [default: the server's]
    #[arg(short, long)]
    message: Option<String>,
    /// Which side's version to take where both changed a path
    #[arg(long, value_enum)]
    strategy: Option<StrategyChoice>,
    /// Give the merge commit only the destination as parent
    #[arg(long)]
    squash: bool,
    /// Also if there is nothing to merge
    #[arg(long)]
    allow_empty: bool,
    /// Something worth recording; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    meta: Vec<(String, String)>,
}

/// Which side wins a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StrategyChoice {
    /// The version of what is merged
    SourceWins,
    /// The version of the branch merged into
    DestWins,
}

impl MergeVerb {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let RefUri { repository, reference: source } = &self.source;
        let destination =
            self.source.sibling(&self.destination).map_err(|e| Failure::usage(e.to_string()))?;
        let merge = Merge {
            message: self.message,
            metadata: pairs(&self.meta),
            strategy: self.strategy.map(|choice| match choice {
                StrategyChoice::SourceWins => Strategy::SourceWins,
                StrategyChoice::DestWins => Strategy::DestWins,
            }),
            squash_merge: self.squash,
            allow_empty: self.allow_empty,
            force: false,
        };
        match client.merge(repository, source, &destination, &merge).await {
            Ok(merged) => {
                session.output.outcome(&merged, &merged.reference)?;
                session.output.note(&format!("merged {source} into {repository}/{destination}"));
                session.output.undo_note(&format!("millpond undo {repository}/{destination}"));
                Ok(Exit::Ok)
            }
            Err(error) if error.kind() == Kind::Conflict => {
                let count = list_conflicts(session, client, repository, source, &destination).await?;
                let what = match count {
                    0 => "a conflict was found".to_owned(),
                    1 => "1 path changed on both sides".to_owned(),
                    n => format!("{n} paths changed on both sides"),
                };
                let mut failure = Failure::from(error);
                failure.message =
                    format!("merge {source} into {repository}/{destination}: {what}; nothing was merged");
                Err(failure.hint_if_none(
                    "change one side so that they agree, or add --strategy source-wins or dest-wins",
                ))
            }
            Err(error) => Err::<Exit, _>(error).in_repository(repository).map_err(|failure| {
                let branch = format!("{repository}/{destination}");
                failure
                    .hint_about("no changes", format!("'millpond diff {repository}/{destination}...{source}' shows what a merge would bring"))
                    .hint_about("uncommitted", format!("'millpond commit {branch}' or 'millpond reset {branch} --all' first"))
            }),
        }
    }
}

/// Writes the conflicting paths as data; an item of any other kind is passed over.
async fn list_conflicts(
    session: &Session,
    client: &Client,
    repository: &str,
    source: &str,
    destination: &str,
) -> Result<usize, Failure> {
    let mut query = DiffQuery::default();
    query.page.amount = PAGE_ITEMS_MAX;
    let mut conflicts = Changes::new(session);
    loop {
        let page = client
            .diff_refs(repository, destination, source, DotDiff::Three, &query)
            .await
            .in_repository(repository)?;
        for diff in page.results.iter().filter(|diff| diff.change == "conflict") {
            conflicts.push(diff)?;
        }
        match page.next() {
            Some(next) => query.page = PageQuery { after: next.to_owned(), ..query.page.clone() },
            None => return conflicts.finish(session),
        }
    }
}
