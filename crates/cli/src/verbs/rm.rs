//! `millpond rm`: objects off a branch. Commits keep them.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::session::Session;
use crate::uri::ObjectUri;
use clap::Args;
use millpond_client::objects::DELETE_PATHS_MAX;
use millpond_client::{Client, ObjectQuery, PageQuery};
use serde::Serialize;

/// Delete objects from a branch.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond rm demo/experiment/a.csv
  millpond rm -r demo/experiment/images/
  millpond rm -r demo/experiment/images/ --dry-run

The deletion is uncommitted until 'millpond commit'; 'millpond reset' takes it back.")]
pub struct Rm {
    /// What to delete
    #[arg(required = true, value_name = "REPOSITORY/BRANCH/PATH")]
    uris: Vec<ObjectUri>,
    /// Everything under the path, taken as a folder
    #[arg(short, long)]
    recursive: bool,
    /// Only say what would be deleted
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Default, Serialize)]
struct Removed {
    deleted: u64,
    failed: Vec<Unremoved>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_delete: Vec<String>,
}

#[derive(Serialize)]
struct Unremoved {
    uri: String,
    error: String,
}

impl Rm {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let mut removed = Removed::default();
        for uri in &self.uris {
            if self.recursive {
                self.remove_folder(session, client, uri, &mut removed).await?;
            } else {
                self.remove_one(client, uri, &mut removed).await?;
            }
        }
        self.report(session, &removed)
    }

    async fn remove_one(
        &self,
        client: &Client,
        uri: &ObjectUri,
        removed: &mut Removed,
    ) -> Result<(), Failure> {
        let ObjectUri { repository, reference, path } = uri;
        if path.is_empty() || path.ends_with('/') {
            return Err(Failure::usage(format!("{uri} is a folder")).hint(format!("millpond rm -r {uri}")));
        }
        // The server answers the same whether the object was there or not; people want to know.
        client.stat_object(repository, reference, path).await.in_repository(repository)?;
        if self.dry_run {
            removed.would_delete.push(uri.to_string());
        } else {
            client.delete_object(repository, reference, path).await.in_repository(repository)?;
            removed.deleted += 1;
        }
        Ok(())
    }

    async fn remove_folder(
        &self,
        session: &Session,
        client: &Client,
        uri: &ObjectUri,
        removed: &mut Removed,
    ) -> Result<(), Failure> {
        let ObjectUri { repository, reference, .. } = uri;
        let folder = uri.at(uri.folder());
        let mut query = ObjectQuery { page: PageQuery::prefix(&folder.path), ..ObjectQuery::default() };
        query.page.amount = DELETE_PATHS_MAX;
        let mut page = client.list_objects(repository, reference, &query).await.in_repository(repository)?;
        if page.results.is_empty() {
            return Err(Failure::new(
                crate::Exit::NotFound,
                format!("delete {folder}: there is nothing under it"),
            )
            .hint(format!("millpond ls {}", uri.ref_uri())));
        }
        if !self.dry_run {
            let count = match page.next() {
                Some(_) => format!("More than {} objects", page.results.len()),
                None => format!("{} objects", page.results.len()),
            };
            session.confirm(&format!("{count} under {folder} will be deleted from the branch.")).await?;
        }
        loop {
            let next = page.next().map(ToOwned::to_owned);
            let paths: Vec<String> = page.results.into_iter().map(|object| object.path).collect();
            if self.dry_run {
                removed.would_delete.extend(paths.iter().map(|path| uri.at(path).to_string()));
            } else if !paths.is_empty() {
                let errors =
                    client.delete_objects(repository, reference, &paths).await.in_repository(repository)?;
                removed.deleted += (paths.len() - errors.len().min(paths.len())) as u64;
                removed.failed.extend(errors.into_iter().map(|error| Unremoved {
                    uri: uri.at(error.path.unwrap_or_default()).to_string(),
                    error: format!("{} (HTTP {})", error.message, error.status_code),
                }));
            }
            let Some(next) = next else { return Ok(()) };
            query.page.after = next;
            page = client.list_objects(repository, reference, &query).await.in_repository(repository)?;
        }
    }

    fn report(&self, session: &Session, removed: &Removed) -> Result<Exit, Failure> {
        use crate::output::Format;
        let output = &session.output;
        match output.format {
            Format::Json | Format::Ndjson => output.json(removed)?,
            Format::Table | Format::Tsv => {
                for uri in &removed.would_delete {
                    output.outcome(&(), uri)?;
                }
            }
        }
        for failed in &removed.failed {
            output.message(&format!("failed: delete {}: {}", failed.uri, failed.error));
        }
        if self.dry_run {
            output.note(&format!("{} would be deleted; nothing was", removed.would_delete.len()));
            return Ok(Exit::Ok);
        }
        output.note(&format!("{} deleted, uncommitted", removed.deleted));
        match (removed.failed.is_empty(), removed.deleted) {
            (true, _) => {
                let branch = self.uris[0].ref_uri();
                output.undo_note(&format!("millpond reset {branch} --path PATH (or --prefix, --all)"));
                Ok(Exit::Ok)
            }
            (false, 0) => Ok(Exit::Failed),
            (false, _) => Ok(Exit::Partial),
        }
    }
}
