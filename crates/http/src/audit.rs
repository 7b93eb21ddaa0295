//! The audit trail: pages of events, and the proof that none was changed.

use crate::call::Call;
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{AuditChange, AuditEvent, List};
use crate::millpond::rfc3339;
use crate::upkeep::lines;
use millpond_service::Watch;
use millpond_service::audit::{self, AuditPlace, AuditProof, AuditQuery, Reason};
use serde_json::{Value, json};
use std::borrow::Cow;

/// `GET /audit`: newest first; `after` is the id of the last event seen. A page may hold less than was asked for, even
/// nothing, while more follow: what was looked through has a bound.
pub(crate) async fn list(call: Call) -> Handled {
    let given = |name: &str| Some(call.text(name).to_owned()).filter(|text| !text.is_empty());
    let query = AuditQuery {
        actor: given("actor"),
        verb: given("verb"),
        repository: given("repository"),
        reference: given("ref"),
        path_prefix: Some(call.bytes("path")).filter(|prefix| !prefix.is_empty()),
        since: call.instant("since"),
        until: call.instant("until"),
        refused: given("result").map(|result| result == "refused"),
        before: match call.text("after") {
            "" => None,
            text => Some(place(text).ok_or_else(|| Refusal::invalid("after must be the id of an event"))?),
        },
        amount: call.amount(),
    };
    let page = call.service.audit(&call.caller, query).await?;
    let next = page.next.map(id).unwrap_or_default();
    json::ok(&List::new(page.events.iter().map(event).collect(), page.next.is_some(), &next))
}

fn id(place: AuditPlace) -> String {
    format!("{}.{}", place.row, place.position)
}

fn place(text: &str) -> Option<AuditPlace> {
    let (row, position) = text.split_once('.')?;
    Some(AuditPlace { row: row.parse().ok()?, position: position.parse().ok()? })
}

fn event(event: &audit::AuditEvent) -> AuditEvent<'_> {
    AuditEvent {
        id: id(event.place),
        time: rfc3339(event.time),
        actor: &event.actor,
        address: event.address.map(|address| address.to_string()).unwrap_or_default(),
        request_id: &event.request_id,
        verb: &event.verb,
        result: if event.refused.is_some() { "refused" } else { "done" },
        resource: event.refused.as_deref().unwrap_or_default(),
        count: i64::try_from(event.count).unwrap_or(i64::MAX),
        repository: &event.repository,
        r#ref: &event.reference,
        changes: event.changes.iter().map(change).collect(),
    }
}

fn change(change: &audit::AuditChange) -> AuditChange<'_> {
    let on: Cow<'_, str> = String::from_utf8_lossy(&change.on);
    AuditChange { kind: change.kind, on, old: &change.old, new: &change.new }
}

/// `POST /audit/verify`: the answer is lines, as those of a check. `row` and `head` are what an earlier one gave.
pub(crate) async fn verify(call: Call) -> Handled {
    let known = match (call.text("row"), call.text("head")) {
        ("", "") => None,
        (row, head) => {
            let mut hash = [0; 32];
            let row = row.parse::<u64>().ok().filter(|_| hex::decode_to_slice(head, &mut hash).is_ok());
            let row = row.ok_or_else(|| {
                Refusal::invalid("row and head are a number and 64 hex digits, from an earlier proof")
            })?;
            Some((row, hash))
        }
    };
    let walking = call.service.verify_audit(&call.caller, known)?;
    Ok(lines(&call, Watch::new(), async move { walking.await.map(|found| proof(&found)) }))
}

/// What a walk found as JSON.
fn proof(proof: &AuditProof) -> Value {
    let faults: Vec<Value> =
        proof.faults.iter().map(|fault| json!({"row": fault.row, "what": fault.what})).collect();
    json!({
        "begins_at_row": proof.begun.row,
        "begins_because": match proof.begun.reason {
            Reason::Complete => "complete",
            Reason::Upgrade => "upgrade",
            Reason::Retention => "retention",
        },
        "row": proof.last, "head": hex::encode(proof.head), "rows": proof.rows, "events": proof.events,
        "segments": proof.segments, "defects": proof.faults_total, "faults": faults,
    })
}
