//! Lists that come in pages: how much of them is wanted, and saying so when they were cut.

use crate::failure::Failure;
use crate::output::{Cell, Column, Format, Output};
use clap::Args;
use millpond_client::page::PAGE_ITEMS_MAX;
use millpond_client::{Page, PageQuery};
use serde::Serialize;

const TABLE_ITEMS: usize = 100;

/// How much of a list is wanted.
#[derive(Debug, Clone, Default, Args)]
pub struct PageArgs {
    /// Show at most this many [default: 100 in a table, everything otherwise]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Show everything
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// Start after this item
    #[arg(long, value_name = "ITEM")]
    pub after: Option<String>,
}

impl PageArgs {
    /// Items wanted; none is all.
    pub fn items_max(&self, output: &Output) -> Option<usize> {
        match self.limit {
            Some(limit) => Some(usize::try_from(limit).unwrap_or(usize::MAX)),
            None if self.all || output.format != Format::Table => None,
            None => Some(TABLE_ITEMS),
        }
    }

    /// Fetches what is wanted and prints a line for each; how many.
    ///
    /// # Errors
    /// What `fetch` fails with, or the output.
    pub async fn print<T: Serialize, const COLUMNS: usize>(
        &self,
        output: &Output,
        columns: &'static [Column],
        prefix: &str,
        fetch: impl AsyncFn(PageQuery) -> Result<Page<T>, Failure>,
        cells: impl Fn(&T) -> [Cell; COLUMNS],
    ) -> Result<usize, Failure> {
        let mut list = output.list(columns);
        self.for_each(output, prefix, fetch, |item| list.push(&item, &cells(&item))).await?;
        list.finish()
    }

    /// Fetches page after page until enough is there. Says on stderr when more would follow.
    ///
    /// # Errors
    /// What `fetch` or `take` fail with.
    pub async fn for_each<T>(
        &self,
        output: &Output,
        prefix: &str,
        fetch: impl AsyncFn(PageQuery) -> Result<Page<T>, Failure>,
        mut take: impl FnMut(T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let items_max = self.items_max(output);
        let mut taken = 0;
        let mut query = PageQuery::prefix(prefix);
        query.after = self.after.clone().unwrap_or_default();
        loop {
            query.amount = items_max.map_or(PAGE_ITEMS_MAX, |max| (max - taken).min(PAGE_ITEMS_MAX));
            let page = fetch(query.clone()).await?;
            let next = page.next().map(ToOwned::to_owned);
            taken += page.results.len();
            for item in page.results {
                take(item)?;
            }
            let Some(next) = next else { return Ok(()) };
            if items_max.is_some_and(|max| taken >= max) {
                output.note(&format!("{taken} shown, more follow: add --all, --limit N or --after '{next}'"));
                return Ok(());
            }
            query.after = next;
        }
    }
}

/// All items of a list.
///
/// # Errors
/// What `fetch` fails with.
pub async fn all<T>(
    output: &Output,
    fetch: impl AsyncFn(PageQuery) -> Result<Page<T>, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut items = Vec::new();
    let take = |item| {
        items.push(item);
        Ok(())
    };
    PageArgs { all: true, ..PageArgs::default() }.for_each(output, "", fetch, take).await?;
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_client::Pagination;
    use std::cell::RefCell;

    /// Pages over 1..=2500 that note what was asked.
    async fn run(args: PageArgs, format: Format) -> (Vec<u32>, Vec<(String, usize)>, String) {
        let (output, _, stderr) = Output::captured(format, jiff::Timestamp::UNIX_EPOCH);
        let asked = RefCell::new(Vec::new());
        let mut got = Vec::new();
        args.for_each(
            &output,
            "",
            async |query: PageQuery| {
                asked.borrow_mut().push((query.after.clone(), query.amount));
                let start: u32 = query.after.parse().unwrap_or(0);
                let results: Vec<u32> = (start + 1..=2500).take(query.amount).collect();
                let last = results.last().copied().unwrap_or(2500);
                let pagination = Pagination {
                    has_more: last < 2500,
                    next_offset: if last < 2500 { last.to_string() } else { String::new() },
                    results: results.len() as u64,
                    max_per_page: 1000,
                };
                Ok(Page { pagination, results })
            },
            |item| {
                got.push(item);
                Ok(())
            },
        )
        .await
        .expect("pages");
        (got, asked.into_inner(), stderr.text())
    }

    #[tokio::test]
    async fn everything_comes_in_full_pages() {
        let (got, asked, stderr) = run(PageArgs::default(), Format::Tsv).await;
        assert_eq!(got, (1..=2500).collect::<Vec<_>>());
        assert_eq!(asked, [(String::new(), 1000), ("1000".into(), 1000), ("2000".into(), 1000)]);
        assert_eq!(stderr, "");
    }

    #[tokio::test]
    async fn a_table_is_cut_and_says_so() {
        let (got, _, stderr) = run(PageArgs::default(), Format::Table).await;
        assert_eq!(got.len(), 100);
        assert_eq!(stderr, "100 shown, more follow: add --all, --limit N or --after '100'\n");
    }

    #[tokio::test]
    async fn a_limit_is_met_exactly() {
        let args = PageArgs { limit: Some(1200), after: Some("100".into()), ..PageArgs::default() };
        let (got, asked, _) = run(args, Format::Json).await;
        assert_eq!(got, (101..=1300).collect::<Vec<_>>());
        assert_eq!(asked, [("100".into(), 1000), ("1100".into(), 200)]);
    }
}
