//! The audit trail. Millpond only.

use crate::connection::{Api, Client};
use crate::error::Error;
use crate::page::{Page, PageQuery};
use crate::upkeep::Lines;
use reqwest::Method;
use serde::{Deserialize, Serialize};

/// Something that somebody did, or was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Its place in the trail: row and position, with a dot between.
    pub id: String,
    /// RFC 3339.
    pub time: String,
    /// Who; empty when nobody could be told.
    pub actor: String,
    /// From where; empty when that is not known.
    pub address: String,
    /// Under which request.
    pub request_id: String,
    /// What; of a refusal the action.
    pub verb: String,
    /// `done` or `refused`.
    pub result: String,
    /// Of a refusal: what the caller may not act on.
    pub resource: String,
    /// How many alike this stands for.
    pub count: u64,
    /// In which repository; may be empty.
    pub repository: String,
    /// On which branch or tag; may be empty.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What it changed.
    pub changes: Vec<AuditChange>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditChange {
    /// `put`, `delete`, `move-branch` and so on.
    pub kind: String,
    /// A path, or the name of a ref.
    pub on: String,
    /// Before; may be empty.
    pub old: String,
    /// After; may be empty.
    pub new: String,
}

/// Which events are wanted; empty fields ask for nothing.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Who.
    pub actor: String,
    /// What.
    pub verb: String,
    /// In which repository.
    pub repository: String,
    /// On which branch or tag.
    pub reference: String,
    /// On paths that begin so.
    pub path: String,
    /// Not before, RFC 3339.
    pub since: String,
    /// Before, RFC 3339.
    pub until: String,
    /// `done` or `refused`.
    pub result: String,
}

#[derive(Serialize)]
struct Nothing {}

impl Client {
    /// A page of the audit trail, newest first.
    pub async fn audit(&self, filter: &AuditFilter, query: &PageQuery) -> Result<Page<AuditEvent>, Error> {
        let attempt = format!("read the audit trail of {}", self.server());
        let page = PageQuery { prefix: String::new(), ..query.clone() };
        page.add_to(self.call(Method::GET, Api::Own, &["audit"], attempt))
            .query_filled("actor", &filter.actor)
            .query_filled("verb", &filter.verb)
            .query_filled("repository", &filter.repository)
            .query_filled("ref", &filter.reference)
            .query_filled("path", &filter.path)
            .query_filled("since", &filter.since)
            .query_filled("until", &filter.until)
            .query_filled("result", &filter.result)
            .read_json()
            .await
    }

    /// Has the server walk along its whole audit trail. `known` are row and head of an earlier walk.
    pub async fn verify_audit(&self, known: Option<(u64, &str)>) -> Result<Lines, Error> {
        let attempt = format!("verify the audit trail of {}", self.server());
        let (row, head) = known.map_or((String::new(), ""), |(row, head)| (row.to_string(), head));
        let call = self
            .call(Method::POST, Api::Own, &["audit", "verify"], attempt.clone())
            .query_filled("row", &row)
            .query_filled("head", head)
            .json(&Nothing {});
        self.lines(call.send().await?, attempt)
    }
}
