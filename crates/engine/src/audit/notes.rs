//! Changes beside the engine's: users, groups, policies and keys are rows of somebody else, written in batches of
//! their own. What the trail tells of such a change is a note in the same batch; right after, the note becomes a
//! mutation of the journal, whose batch deletes it. So the change and the record of it are one write, there is one
//! chain, and a crash in between leaves a note for the next start.

use crate::engine::{Engine, kv_error};
use crate::journal::Submission;
use crate::record::{Beside, Context, Row};
use crate::{Actor, Error, Kind, Result, keys};
use bytes::Bytes;
use millpond_kv::Write;
use millpond_types::{DecodeError, Timestamp};

/// Notes of one read.
const PAGE_ROWS: usize = 1024;

/// The note of a change, to be written in the batch that makes it. [`Engine::take_in_notes_soon`] does the rest.
pub fn audit_note(actor: &Actor, verb: &str, time: Timestamp, beside: Beside) -> Write {
    let number = beside.number;
    let context = Context {
        time,
        actor: actor.name.clone(),
        request_id: actor.request_id.clone(),
        verb: verb.to_owned(),
        address: actor.address,
        beside: Some(beside),
        ..Context::default()
    };
    // A row of a chain that is not one yet.
    Write::Put(keys::note(number), Row::encode(0, &[0; 32], &[(&context, &[])]).into())
}

/// The inverse of [`audit_note`].
pub(crate) fn decode_note(key: &[u8], value: Bytes) -> Result<Context> {
    let damaged =
        |error: DecodeError| Error::new(Kind::Damaged, format!("a note for the audit trail: {error}"));
    let row = Row::decode(value).map_err(damaged)?;
    match <[_; 1]>::try_from(row.mutations) {
        Ok([(context, _)]) if context.beside.as_ref().is_some_and(|it| keys::note(it.number) == key) => {
            Ok(context)
        }
        _ => Err(damaged(DecodeError("it is not the one of this change"))),
    }
}

impl Engine {
    /// Has the notes there are become part of the trail. Nobody waits for it.
    pub fn take_in_notes_soon(&self) {
        let engine = self.owned();
        self.options.tasks.spawn(Box::pin(async move { engine.take_in_notes().await }));
    }

    /// The same, and waits. What cannot be taken in stays a note.
    pub(crate) async fn take_in_notes(&self) {
        if let Err(error) = self.try_take_in_notes().await {
            tracing::error!(%error, "notes for the audit trail wait");
        }
    }

    async fn try_take_in_notes(&self) -> Result<()> {
        let _alone = self.notes.lock().await;
        let end = millpond_kv::prefix_end(keys::NOTES).expect("the prefix is not all 0xff");
        let mut from = Bytes::from_static(keys::NOTES);
        loop {
            let notes = self.kv.scan(&from, &end, PAGE_ROWS).await.map_err(kv_error)?;
            let Some((last, _)) = notes.last() else { return Ok(()) };
            from = millpond_kv::key_after(last);
            self.journal.alive()?;
            let mut tickets = Vec::new();
            for (key, note) in notes {
                match decode_note(&key, note) {
                    Ok(context) => tickets.push(self.submit(Submission {
                        context,
                        records: Vec::new(),
                        nodes: None,
                        created: None,
                    })),
                    Err(error) => {
                        tracing::error!(%error, "a change beside the engine's is not in the audit trail")
                    }
                }
            }
            for ticket in tickets {
                ticket.durable().await?;
            }
        }
    }
}
