//! `millpond stat`: an object without its bytes.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::output::Cell;
use crate::session::Session;
use crate::uri::ObjectUri;
use clap::Args;

/// Show all that is known about an object.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  millpond stat demo/main/images/0001.png")]
pub struct Stat {
    /// Which object
    #[arg(value_name = "REPOSITORY/REF/PATH")]
    uri: ObjectUri,
}

impl Stat {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let ObjectUri { repository, reference, path } = &self.uri;
        if path.is_empty() {
            return Err(Failure::usage(format!("{} names no object", self.uri.ref_uri()))
                .hint(format!("millpond show {}", self.uri.ref_uri())));
        }
        let object =
            session.client()?.stat_object(repository, reference, path).await.in_repository(repository)?;
        let names: Vec<String> = object.metadata.keys().map(|key| format!("metadata {key}")).collect();
        let mut fields = vec![
            ("path", Cell::text(&object.path)),
            ("size", Cell::Size(object.size_bytes)),
            ("modified", Cell::Time(object.mtime)),
            ("checksum", Cell::text(&object.checksum)),
            ("content type", Cell::text(object.content_type.as_deref().unwrap_or_default())),
            ("address", Cell::text(&object.physical_address)),
        ];
        fields.extend(names.iter().map(String::as_str).zip(object.metadata.values().map(|v| Cell::text(v))));
        session.output.record(&object, &fields)?;
        Ok(Exit::Ok)
    }
}
