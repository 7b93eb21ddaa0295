//! `millpond audit`: who did what, and the proof that the trail was not changed.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column, Format, Paint};
use crate::paging::PageArgs;
use crate::session::Session;
use clap::{Args, Subcommand};
use millpond_client::{AuditEvent, AuditFilter, PageQuery};
use serde_json::{Value, json};

/// Show and verify the audit trail.
#[derive(Debug, Clone, Subcommand)]
pub enum Audit {
    /// List what was done and what was refused, newest first
    #[command(after_help = "Examples:
  millpond audit log
  millpond audit log --actor ada --repository demo --since 2026-11-01T00:00:00Z
  millpond audit log --path data/raw/ --verb delete-object -o json
  millpond audit log --result refused")]
    Log(Box<Log>),
    /// Walk along the whole trail and name every row that was changed, dropped, moved or put in
    #[command(after_help = "Examples:
  millpond audit verify
  millpond audit verify --seen 1234:5f0c...   # row and head that an earlier run printed

Exit code 1 if anything does not hold. Keep row and head in another place: a trail that was put back to an
earlier state, or written anew as a whole, does not lead there.")]
    Verify(Verify),
}

/// List events.
#[derive(Debug, Clone, Args)]
pub struct Log {
    /// Only what this user did
    #[arg(long, value_name = "USER")]
    actor: Option<String>,
    /// Only this verb, or for refusals this action
    #[arg(long, value_name = "VERB")]
    verb: Option<String>,
    /// Only in this repository
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Only on this branch or tag
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// Only on objects whose paths begin so
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Not before this time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only what was done, or only what was refused
    #[arg(long, value_parser = ["done", "refused"])]
    result: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// Walk along the trail.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// Row and head that an earlier run printed, with a colon between
    #[arg(long, value_name = "ROW:HEAD", value_parser = seen)]
    seen: Option<(u64, String)>,
}

fn seen(text: &str) -> Result<(u64, String), String> {
    let parts = text.split_once(':').and_then(|(row, head)| Some((row.parse().ok()?, head.to_owned())));
    parts
        .filter(|(_, head)| head.len() == 64 && head.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .ok_or_else(|| format!("'{text}' is not of the form ROW:HEAD"))
}

const COLUMNS: &[Column] = &[
    Column::left("id"),
    Column::left("time"),
    Column::left("actor"),
    Column::left("address"),
    Column::left("verb"),
    Column::left("result"),
    Column::left("repository"),
    Column::left("ref"),
    Column::left("on"),
    Column::left("request"),
];

impl Audit {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Log(verb) => verb.run(session).await,
            Self::Verify(verb) => verb.run(session).await,
        }
    }
}

impl Log {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let filter = AuditFilter {
            actor: self.actor.unwrap_or_default(),
            verb: self.verb.unwrap_or_default(),
            repository: self.repository.unwrap_or_default(),
            reference: self.reference.unwrap_or_default(),
            path: self.path.unwrap_or_default(),
            since: self.since.unwrap_or_default(),
            until: self.until.unwrap_or_default(),
            result: self.result.unwrap_or_default(),
        };
        let fetch = async |query: PageQuery| Ok(client.audit(&filter, &query).await?);
        self.page.print(&session.output, COLUMNS, "", fetch, cells).await?;
        Ok(Exit::Ok)
    }
}

fn cells(event: &AuditEvent) -> [Cell; 10] {
    let time = Cell::rfc3339(&event.time);
    let result = match event.result.as_str() {
        "refused" if event.count > 1 => Cell::Painted(format!("refused {} times", event.count), Paint::Red),
        "refused" => Cell::Painted("refused".into(), Paint::Red),
        other => Cell::text(other),
    };
    let on = match event.changes.as_slice() {
        [] => event.resource.clone(),
        [one] => one.on.clone(),
        [first, rest @ ..] => format!("{} and {} more", first.on, rest.len()),
    };
    [
        Cell::text(&event.id),
        time,
        Cell::text(&event.actor),
        Cell::text(&event.address),
        Cell::Painted(event.verb.clone(), Paint::Bold),
        result,
        Cell::text(&event.repository),
        Cell::text(&event.reference),
        Cell::text(&on),
        Cell::text(&event.request_id),
    ]
}

impl Verify {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let known = self.seen.as_ref().map(|(row, head)| (*row, head.as_str()));
        let mut lines = session.client()?.verify_audit(known).await?;
        let mut report = None;
        while let Some(line) = lines.next().await? {
            if let Some(error) = line.get("error").and_then(Value::as_str) {
                return Err(Failure::new(Exit::Failed, error));
            }
            report = line.get("report").cloned().or(report);
        }
        let report =
            report.ok_or_else(|| Failure::new(Exit::Failed, "the server ended before the walk did"))?;
        show(session, &report)
    }
}

fn show(session: &Session, report: &Value) -> Result<Exit, Failure> {
    let output = &session.output;
    let of = |name: &str| match report.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    if !matches!(output.format, Format::Json | Format::Ndjson) {
        for fault in report.get("faults").and_then(Value::as_array).into_iter().flatten() {
            let what = fault.get("what").and_then(Value::as_str).unwrap_or_default();
            let row = fault.get("row").unwrap_or(&json!(0)).to_string();
            output.line(&format!("row {row}: {}", crate::output::cell::escape(what)))?;
        }
    }
    let names = ["begins_at_row", "begins_because", "rows", "events", "segments", "row", "head", "defects"];
    let fields: Vec<(&str, Cell)> = names.iter().map(|name| (*name, Cell::text(&of(name)))).collect();
    output.record(report, &fields)?;
    match report.get("defects").and_then(Value::as_u64) {
        Some(0) => {
            output.note(&format!("the trail holds; to prove it later: --seen {}:{}", of("row"), of("head")));
            Ok(Exit::Ok)
        }
        _ => {
            output.message(&format!("{} defects: the trail is not what was written", of("defects")));
            Ok(Exit::Failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen() {
        let head = "ab".repeat(32);
        assert_eq!(seen(&format!("7:{head}")), Ok((7, head.clone())));
        for wrong in ["7", "x:", &format!("7:{}", &head[1..]), &format!(":{head}")] {
            assert!(seen(wrong).is_err(), "{wrong}");
        }
    }
}
