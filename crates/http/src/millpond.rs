//! Our own API: what the lakeFS API has no words for.

use crate::call::Call;
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{List, OplogEntry, Undone, Version};
use millpond_service::{RefExpr, RefMove, RepositoryName, Timestamp};

/// `GET /version`
pub async fn version(call: Call) -> Handled {
    json::ok(&Version { version: &call.options.version, api: "v1" })
}

/// `GET /repositories/{repository}/oplog`: moves of refs, newest first; `after` is the id of the last one
/// seen.
pub async fn oplog(call: Call) -> Handled {
    let repo = call.repository()?;
    let name = Some(call.text("ref")).filter(|name| !name.is_empty());
    let before = match call.text("after") {
        "" => None,
        text => Some(text.parse::<u64>().map_err(|_| Refusal::invalid("after must be the id of a move"))?),
    };
    let page = call.service.ref_log(&call.caller, &repo, name, before, call.amount()).await?;
    let mut entries = Vec::with_capacity(page.items.len());
    for item in &page.items {
        entries.push(entry(&call, &repo, item).await);
    }
    let last = page.items.last().map(|item| item.sequence.to_string()).unwrap_or_default();
    json::ok(&List::new(entries, page.has_more, &last))
}

/// `POST /repositories/{repository}/branches/{branch}/undo`
pub async fn undo(call: Call) -> Handled {
    let (repo, branch, force) = (call.repository()?, call.branch()?, call.force());
    let target = repo.clone();
    let (done, undone) = call
        .change(|service, caller| async move { service.undo(&caller, &target, &branch, force).await })
        .await?;
    let undone = entry(&call, &repo, &undone).await;
    json::ok(&Undone { r#ref: &done.name, old: hex(&done, Side::Old), new: hex(&done, Side::New), undone })
}

enum Side {
    Old,
    New,
}

fn hex(item: &RefMove, side: Side) -> String {
    let commit = match side {
        Side::Old => item.old,
        Side::New => item.new,
    };
    commit.map(|id| id.to_hex()).unwrap_or_default()
}

/// A move with the message of the commit that it went to; empty where there is none to read.
async fn entry<'a>(call: &Call, repo: &RepositoryName, item: &'a RefMove) -> OplogEntry<'a> {
    let new = hex(item, Side::New);
    let message = match RefExpr::parse(&new) {
        Err(_) => String::new(),
        Ok(at) => {
            let commit = call.service.get_commit(&call.caller, repo, &at).await;
            commit.map(|info| info.commit.message).unwrap_or_default()
        }
    };
    OplogEntry {
        id: item.sequence.to_string(),
        time: rfc3339(item.time),
        actor: &item.actor,
        verb: &item.cause,
        r#ref: &item.name,
        kind: if item.is_tag { "tag" } else { "branch" },
        old: hex(item, Side::Old),
        new,
        message,
    }
}

/// A time as our messages spell it.
pub fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.millis()).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(rfc3339(Timestamp(784_111_777_125)), "1994-11-06T08:49:37.125Z");
    }
}
