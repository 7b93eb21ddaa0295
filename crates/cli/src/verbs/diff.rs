//! `millpond diff`: two refs in two ways, or what is uncommitted on a branch.

use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::output::{Cell, Column, List, Paint};
use crate::paging::PageArgs;
use crate::session::Session;
use crate::uri::RefUri;
use clap::Args;
use millpond_client::{Diff, DiffQuery, DotDiff, PageQuery};

/// Compare two refs, or show what is uncommitted on a branch.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond diff demo/main                what is uncommitted on main
  millpond diff demo/v1.0..main          from the tree of v1.0 to the tree of main
  millpond diff demo/v1.0 main           the same
  millpond diff demo/main...experiment   what merging experiment into main would bring
  millpond diff demo/main --exit-code    9 if something is uncommitted, 0 if not")]
pub struct DiffVerb {
    /// A branch, or two refs as LEFT..RIGHT or LEFT...RIGHT
    #[arg(value_name = "REPOSITORY/REF")]
    left: RefUri,
    /// The ref to compare with
    #[arg(value_name = "REF")]
    right: Option<String>,
    /// Only paths that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Fold everything up to the next such text into one line, for example /
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    delimiter: String,
    /// Exit with 9 if there are differences
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    page: PageArgs,
}

/// What is compared.
#[derive(Debug, PartialEq, Eq)]
enum Comparison {
    Uncommitted { branch: String },
    Refs { left: String, right: String, dots: DotDiff },
}

impl DiffVerb {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let repository = &self.left.repository;
        let comparison = self.comparison()?;
        let mut changes = Changes::new(session);
        let fetch = async |page: PageQuery| {
            let query = DiffQuery { page, delimiter: self.delimiter.clone() };
            match &comparison {
                Comparison::Uncommitted { branch } => {
                    client.diff_branch(repository, branch, &query).await.in_repository(repository)
                }
                Comparison::Refs { left, right, dots } => {
                    client.diff_refs(repository, left, right, *dots, &query).await.in_repository(repository)
                }
            }
        };
        self.page.for_each(&session.output, &self.prefix, fetch, |diff| changes.push(&diff)).await?;
        let differs = changes.finish(session)? > 0;
        Ok(if differs && self.exit_code { Exit::Differences } else { Exit::Ok })
    }

    fn comparison(&self) -> Result<Comparison, Failure> {
        let text = &self.left.reference;
        if let Some(right) = &self.right {
            if text.contains("..") {
                return Err(Failure::usage("two refs are given twice: with dots and as a second argument"));
            }
            let right = self.left.sibling(right).map_err(|e| Failure::usage(e.to_string()))?;
            return Ok(Comparison::Refs { left: text.clone(), right, dots: DotDiff::Two });
        }
        let (split, dots) = match text.split_once("...") {
            Some(split) => (Some(split), DotDiff::Three),
            None => (text.split_once(".."), DotDiff::Two),
        };
        match split {
            None => Ok(Comparison::Uncommitted { branch: text.clone() }),
            Some((left, right)) if !left.is_empty() && !right.is_empty() => {
                Ok(Comparison::Refs { left: left.to_owned(), right: right.to_owned(), dots })
            }
            Some(_) => Err(Failure::usage(format!("a ref is missing in '{text}'"))
                .hint(format!("write {}/LEFT..RIGHT", self.left.repository))),
        }
    }
}

const COLUMNS: &[Column] = &[Column::left("change"), Column::right("size"), Column::left("path")];

/// A list of differences with a count of each kind; `show`, `merge` and `reset` use it too.
pub(super) struct Changes<'a> {
    list: List<'a>,
    counts: [(&'static str, u64); 5],
}

impl<'a> Changes<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self {
            list: session.output.list(COLUMNS),
            counts: [("added", 0), ("changed", 0), ("removed", 0), ("conflict", 0), ("prefix_changed", 0)],
        }
    }

    pub(super) fn push(&mut self, diff: &Diff) -> Result<(), Failure> {
        if let Some((_, count)) = self.counts.iter_mut().find(|(name, _)| *name == diff.change) {
            *count += 1;
        }
        self.list.push(diff, &cells(diff))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.count() == 0
    }

    /// Writes the list and, as a message, the counts. Returns the number of items.
    pub(super) fn finish(self, session: &Session) -> Result<usize, Failure> {
        let count = self.list.finish()?;
        session.output.note(&summary(&self.counts));
        Ok(count)
    }
}

fn cells(diff: &Diff) -> [Cell; 3] {
    let (sign, paint) = match diff.change.as_str() {
        "added" => ('+', Paint::Green),
        "removed" => ('-', Paint::Red),
        "changed" => ('~', Paint::Yellow),
        "conflict" => ('!', Paint::Red),
        "prefix_changed" => ('/', Paint::Cyan),
        _ => ('?', Paint::Bold),
    };
    let size = diff.size_bytes.and_then(|size| u64::try_from(size).ok());
    // A removed object has no size of its own in some answers (API-15.2).
    let size = size.filter(|&size| !(diff.change == "removed" && size == 0) && diff.path_type == "object");
    [Cell::Marked(sign, diff.change.clone(), paint), Cell::Size(size), Cell::text(&diff.path)]
}

fn summary(counts: &[(&str, u64)]) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|&(name, count)| match (name, count) {
            ("conflict", 1) => "1 conflict".to_owned(),
            ("conflict", n) => format!("{n} conflicts"),
            ("prefix_changed", 1) => "1 prefix changed".to_owned(),
            ("prefix_changed", n) => format!("{n} prefixes changed"),
            (name, n) => format!("{n} {name}"),
        })
        .collect();
    if parts.is_empty() { "no differences".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(left: &str, right: Option<&str>) -> Result<Comparison, Failure> {
        let verb = DiffVerb {
            left: left.parse().expect(left),
            right: right.map(ToOwned::to_owned),
            prefix: String::new(),
            delimiter: String::new(),
            exit_code: false,
            page: PageArgs::default(),
        };
        verb.comparison()
    }

    fn refs(left: &str, right: &str, dots: DotDiff) -> Comparison {
        Comparison::Refs { left: left.into(), right: right.into(), dots }
    }

    #[test]
    fn what_is_compared() {
        assert_eq!(comparison("demo/main", None), Ok(Comparison::Uncommitted { branch: "main".into() }));
        assert_eq!(comparison("demo/a..b", None), Ok(refs("a", "b", DotDiff::Two)));
        assert_eq!(comparison("mp://demo/a...b~1", None), Ok(refs("a", "b~1", DotDiff::Three)));
        assert_eq!(comparison("demo/v1.0..v1.1", None), Ok(refs("v1.0", "v1.1", DotDiff::Two)));
        assert_eq!(comparison("demo/a", Some("b")), Ok(refs("a", "b", DotDiff::Two)));
        assert_eq!(comparison("demo/a", Some("demo/b$")), Ok(refs("a", "b$", DotDiff::Two)));
        for (left, right) in
            [("demo/a..", None), ("demo/...b", None), ("demo/a..b", Some("c")), ("demo/a", Some("x/b"))]
        {
            assert_eq!(comparison(left, right).expect_err("refused").exit, Exit::Usage, "{left} {right:?}");
        }
    }

    #[test]
    fn counts_read_like_a_sentence() {
        assert_eq!(summary(&[("added", 0), ("conflict", 0)]), "no differences");
        assert_eq!(
            summary(&[("added", 3), ("changed", 1), ("removed", 0), ("conflict", 1), ("prefix_changed", 2)]),
            "3 added, 1 changed, 1 conflict, 2 prefixes changed"
        );
    }
}
