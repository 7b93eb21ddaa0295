//! `millpond cat`: bytes of objects, as they are.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::session::Session;
use crate::uri::ObjectUri;
use clap::Args;
use futures::StreamExt;

/// Write objects to stdout.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond cat demo/main/a.csv
  millpond cat demo/v1.0/part-1.jsonl demo/v1.0/part-2.jsonl | wc -l
  millpond cat --range 0-99 demo/main/model.bin | xxd")]
pub struct Cat {
    /// What to write, one after the other
    #[arg(required = true, value_name = "REPOSITORY/REF/PATH")]
    uris: Vec<ObjectUri>,
    /// Only these bytes of each: FIRST-LAST (both included), FIRST- or -COUNT
    #[arg(long, value_name = "RANGE", value_parser = parse_range, allow_hyphen_values = true)]
    range: Option<String>,
}

/// To the form of the `Range` header.
fn parse_range(text: &str) -> Result<String, String> {
    let number = |part: &str| part.is_empty() || part.parse::<u64>().is_ok();
    match text.split_once('-') {
        Some((first, last)) if number(first) && number(last) && text != "-" => Ok(format!("bytes={text}")),
        _ => Err("write FIRST-LAST, FIRST- or -COUNT".to_owned()),
    }
}

impl Cat {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        for uri in &self.uris {
            let ObjectUri { repository, reference, path } = uri;
            if path.is_empty() {
                return Err(Failure::usage(format!("{} names no object", uri.ref_uri()))
                    .hint(format!("millpond ls {}", uri.ref_uri())));
            }
            let object = client
                .get_object(repository, reference, path, self.range.as_deref())
                .await
                .in_repository(repository)?;
            let mut stream = object.into_stream();
            while let Some(chunk) = stream.next().await {
                session.output.bytes(&chunk?)?;
            }
        }
        Ok(Exit::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(parse_range("0-99"), Ok("bytes=0-99".into()));
        assert_eq!(parse_range("100-"), Ok("bytes=100-".into()));
        assert_eq!(parse_range("-5"), Ok("bytes=-5".into()));
        for bad in ["-", "5", "a-b", "1-2-3", ""] {
            assert!(parse_range(bad).is_err(), "{bad}");
        }
    }
}
