//! `millpond ls`: objects of a ref, one level or all.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::output::{Cell, Column, Paint};
use crate::paging::PageArgs;
use crate::session::Session;
use crate::uri::ObjectUri;
use clap::Args;
use millpond_client::{ObjectQuery, ObjectStats, PageQuery, PathType};

/// List objects.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond ls demo/main
  millpond ls demo/main/images/
  millpond ls -r demo/v1.0/images/ -o json
  millpond ls 'demo/main@{2026-11-22T20:00Z}'

Everything after the ref is a prefix: demo/main/ima lists images/ too.")]
pub struct Ls {
    /// What to list
    #[arg(value_name = "REPOSITORY/REF[/PREFIX]")]
    uri: ObjectUri,
    /// All levels, not only the first
    #[arg(short, long, conflicts_with = "delimiter")]
    recursive: bool,
    /// What ends a level
    #[arg(long, default_value = "/", value_name = "TEXT")]
    delimiter: String,
    #[command(flatten)]
    page: PageArgs,
}

const COLUMNS: &[Column] = &[Column::left("path"), Column::right("size"), Column::left("modified")];

impl Ls {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let ObjectUri { repository, reference, path: prefix } = &self.uri;
        let delimiter = if self.recursive { String::new() } else { self.delimiter };
        let fetch = async |page: PageQuery| {
            let query = ObjectQuery { page, delimiter: delimiter.clone(), ..ObjectQuery::default() };
            client.list_objects(repository, reference, &query).await.in_repository(repository)
        };
        let shown = self.page.print(&session.output, COLUMNS, prefix, fetch, cells).await?;
        if shown == 0 && !prefix.is_empty() {
            session.output.note(&format!("nothing begins with '{prefix}'"));
        }
        Ok(Exit::Ok)
    }
}

fn cells(object: &ObjectStats) -> [Cell; 3] {
    let path = match object.path_type {
        PathType::Object => Cell::text(&object.path),
        PathType::CommonPrefix => Cell::Painted(object.path.clone(), Paint::Cyan),
    };
    [path, Cell::Size(object.size_bytes), Cell::Time(object.mtime)]
}
