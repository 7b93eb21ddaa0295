//! `millpond show`: a commit and what it changed against its first parent.

use super::diff::Changes;
use super::log::paragraph;
use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::output::Format;
use crate::paging::PageArgs;
use crate::session::Session;
use crate::uri::RefUri;
use clap::Args;
use millpond_client::{Commit, Diff, DiffQuery, DotDiff, PageQuery};
use serde::Serialize;

/// Show a commit and what it changed.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond show demo/main
  millpond show demo/main~2 --prefix images/
  millpond show demo/v1.0 -o json")]
pub struct Show {
    /// Branch, tag, commit or expression
    #[arg(value_name = "REPOSITORY/REF")]
    uri: RefUri,
    /// Only changes of paths that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    commit: &'a Commit,
    changes: Vec<Diff>,
}

impl Show {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let output = &session.output;
        let RefUri { repository, reference } = &self.uri;
        let commit = client.get_commit(repository, reference).await.in_repository(repository)?;
        let as_text = matches!(output.format, Format::Table | Format::Tsv);
        if as_text {
            output.line(&paragraph(output, &commit))?;
        }
        let mut changes = Changes::new(session);
        let mut items = Vec::new();
        // The first commit of a repository has no parent and is empty.
        if let Some(parent) = commit.parents.first() {
            let fetch = async |page: PageQuery| {
                let query = DiffQuery { page, ..DiffQuery::default() };
                client
                    .diff_refs(repository, parent, &commit.id, DotDiff::Two, &query)
                    .await
                    .in_repository(repository)
            };
            self.page
                .for_each(output, &self.prefix, fetch, |diff| {
                    if !as_text {
                        items.push(diff);
                        return Ok(());
                    }
                    if changes.is_empty() {
                        output.line("")?;
                    }
                    changes.push(&diff)
                })
                .await?;
        }
        if as_text {
            changes.finish(session)?;
        } else {
            output.json(&Shown { commit: &commit, changes: items })?;
        }
        Ok(Exit::Ok)
    }
}
