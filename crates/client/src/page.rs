//! Pages of a listing (API area 8).

use crate::call::Call;
use serde::{Deserialize, Serialize};

/// The most items one page can hold.
pub const PAGE_ITEMS_MAX: usize = 1000;

/// What part of a listing to fetch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// Only items whose id or path begins with this text.
    pub prefix: String,
    /// Only items after this one; empty starts at the beginning.
    pub after: String,
    /// Items wanted, at most [`PAGE_ITEMS_MAX`]; 0 leaves it to the server.
    pub amount: usize,
}

impl PageQuery {
    /// Full pages of everything that begins with `prefix`.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), after: String::new(), amount: PAGE_ITEMS_MAX }
    }

    pub(crate) fn add_to<'a>(&self, call: Call<'a>) -> Call<'a> {
        let call = call.query_filled("prefix", &self.prefix).query_filled("after", &self.after);
        if self.amount == 0 {
            call
        } else {
            call.query("amount", &self.amount.min(PAGE_ITEMS_MAX).to_string())
        }
    }
}

/// Where a page stands in its listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pagination {
    /// Whether another page follows.
    pub has_more: bool,
    /// The `after` of the next page; empty at the end.
    #[serde(default)]
    pub next_offset: String,
    /// Items in this page.
    #[serde(default)]
    pub results: u64,
    /// The server's limit.
    #[serde(default)]
    pub max_per_page: u64,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// Where it stands.
    pub pagination: Pagination,
    /// The items, in the server's order.
    pub results: Vec<T>,
}

impl<T> Page<T> {
    /// The `after` of the next page, if there is one.
    pub fn next(&self) -> Option<&str> {
        // A server that says "more" without saying where would make the caller start over for ever.
        Some(self.pagination.next_offset.as_str())
            .filter(|offset| self.pagination.has_more && !offset.is_empty())
    }
}
