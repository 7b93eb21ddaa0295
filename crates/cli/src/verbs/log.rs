//! `millpond log`: the history of a ref, newest first.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::output::cell::{escape, relative_time, rfc3339};
use crate::output::{Cell, Column, Format, Output, Paint};
use crate::paging::PageArgs;
use crate::session::Session;
use crate::uri::RefUri;
use clap::Args;
use millpond_client::{Commit, LogQuery, PageQuery};

/// Show the history of a ref.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond log demo/main
  millpond log demo/main --oneline --limit 20
  millpond log demo/main --path images/0001.png
  millpond log demo/main --prefix images/ --since 7d
  millpond log demo/main --first-parent -o ndjson")]
pub struct Log {
    /// Branch, tag, commit or expression to start at
    #[arg(value_name = "REPOSITORY/REF")]
    uri: RefUri,
    /// One line a commit
    #[arg(long)]
    oneline: bool,
    /// Only commits that changed this path; may be repeated
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// Only commits that changed something under this prefix; may be repeated
    #[arg(long, value_name = "PREFIX")]
    prefix: Vec<String>,
    /// Follow only the first parent of merges
    #[arg(long)]
    first_parent: bool,
    /// Only commits since then: 2026-11-22, 2026-11-22T20:00:00Z, or an age such as 7d or 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

const COLUMNS: &[Column] =
    &[Column::left("commit"), Column::left("time"), Column::left("committer"), Column::left("message")];

impl Log {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let RefUri { repository, reference } = &self.uri;
        let since = match &self.since {
            Some(text) => since_instant(text, session.environment.now)?,
            None => String::new(),
        };
        let fetch = async |page: PageQuery| {
            let query = LogQuery {
                page,
                objects: self.path.clone(),
                prefixes: self.prefix.clone(),
                first_parent: self.first_parent,
                since: since.clone(),
                ..LogQuery::default()
            };
            client.log(repository, reference, &query).await.in_repository(repository)
        };
        let output = &session.output;
        let mut list = output.list(COLUMNS);
        let mut first = true;
        self.page
            .for_each(output, "", fetch, |commit: Commit| {
                if output.format != Format::Table {
                    return list.push(&commit, &cells(&commit));
                }
                if self.oneline {
                    return output.line(&one_line(output, &commit));
                }
                if !std::mem::take(&mut first) {
                    output.line("")?;
                }
                output.line(&paragraph(output, &commit))
            })
            .await?;
        list.finish()?;
        Ok(Exit::Ok)
    }
}

fn cells(commit: &Commit) -> [Cell; 4] {
    [
        Cell::id(&commit.id),
        Cell::Time(commit.creation_date),
        Cell::text(&commit.committer),
        Cell::text(&commit.message),
    ]
}

fn one_line(output: &Output, commit: &Commit) -> String {
    let id = output.paint(&escape(output.short_id(&commit.id)), Paint::Yellow);
    format!("{id} {}", escape(commit.message.lines().next().unwrap_or_default()))
}

/// A commit for people, over several lines, without a newline at the end.
pub(super) fn paragraph(output: &Output, commit: &Commit) -> String {
    let mut lines = vec![output.paint(&format!("commit {}", escape(&commit.id)), Paint::Yellow)];
    if commit.parents.len() > 1 {
        let parents: Vec<String> = commit.parents.iter().map(|p| escape(output.short_id(p))).collect();
        lines.push(format!("merge   {}", parents.join(" ")));
    }
    lines.push(format!("author  {}", escape(&commit.committer)));
    let date = commit.creation_date;
    lines.push(format!("date    {} ({})", rfc3339(date), relative_time(date, output.now)));
    if !commit.message.is_empty() {
        lines.push(String::new());
        lines.extend(commit.message.lines().map(|line| format!("    {}", escape(line))));
    }
    if !commit.metadata.is_empty() {
        lines.push(String::new());
        lines.extend(commit.metadata.iter().map(|(k, v)| format!("    {} = {}", escape(k), escape(v))));
    }
    lines.join("\n")
}

/// Brings the forms of `--since` to RFC 3339.
fn since_instant(text: &str, now: jiff::Timestamp) -> Result<String, Failure> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(instant.to_string());
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>()
        && let Ok(start) = date.to_zoned(jiff::tz::TimeZone::UTC)
    {
        return Ok(start.timestamp().to_string());
    }
    let age = text.parse::<jiff::Span>().ok().filter(|span| span.is_positive());
    // Months and years follow the calendar, so the age is subtracted from a date.
    let start = age.and_then(|age| now.to_zoned(jiff::tz::TimeZone::UTC).checked_sub(age).ok());
    start.map(|start| start.timestamp().to_string()).ok_or_else(|| {
        Failure::usage(format!("'{text}' is no time"))
            .hint("write --since 2026-11-22, --since 2026-11-22T20:00:00Z or --since 7d")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn since_takes_instants_dates_and_ages() {
        let now: jiff::Timestamp = "2026-11-24T12:00:00Z".parse().expect("valid");
        let table = [
            ("2026-11-22T20:00:00Z", "2026-11-22T20:00:00Z"),
            ("2026-11-22T21:00:00+01:00", "2026-11-22T20:00:00Z"),
            ("2026-11-22", "2026-11-22T00:00:00Z"),
            ("7d", "2026-11-17T12:00:00Z"),
            ("2 hours", "2026-11-24T10:00:00Z"),
            ("1mo", "2026-10-24T12:00:00Z"),
        ];
        for (text, wanted) in table {
            assert_eq!(since_instant(text, now).expect(text), wanted);
        }
        for bad in ["", "yesterday", "-7d", "2026-13-01"] {
            assert!(since_instant(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_merge_reads_like_this() {
        let now: jiff::Timestamp = "2026-11-24T12:00:00Z".parse().expect("valid");
        let (output, ..) = Output::captured(Format::Table, now);
        let commit = Commit {
            id: "a1".repeat(32),
            parents: vec!["b2".repeat(32), "c3".repeat(32)],
            committer: "ada".into(),
            message: "Merge labels\n\nsecond \u{1b}[31mline".into(),
            creation_date: now.as_second() - 7200,
            meta_range_id: String::new(),
            metadata: BTreeMap::from([("run".into(), "42".into())]),
            generation: None,
            version: None,
        };
        assert_eq!(
            paragraph(&output, &commit),
            format!(
                "\
commit {}
merge   b2b2b2b2b2b2 c3c3c3c3c3c3
author  ada
date    2026-11-24T10:00:00Z (2 hours ago)

    Merge labels
    
    second \\x1b[31mline

    run = 42",
                "a1".repeat(32)
            )
        );
        assert_eq!(one_line(&output, &commit), "a1a1a1a1a1a1 Merge labels");
    }
}
