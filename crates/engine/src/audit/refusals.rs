//! What was refused, noted in the trail within a second, without keeping anybody waiting.
//!
//! Refusals that are alike (who, from where, what, on what) and come within one interval are one event with a
//! count, and of unlike ones only so many are told apart: whoever asks a million times fills no disk.

use crate::Actor;
use crate::engine::Engine;
use crate::journal::Submission;
use crate::record::{Context, Refusal};
use parking_lot::Mutex;
use std::time::Duration;

/// How long refusals are gathered.
const INTERVAL: Duration = Duration::from_millis(500);
/// Unlike refusals of one interval; more are only counted.
const UNLIKE_MAX: usize = 128;
/// The same of those who did not show who they are: they may be anybody, and as many as they like.
const UNLIKE_NOBODY_MAX: usize = 8;

/// Refusals that are not in the journal yet.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    unlike: Vec<Context>,
    /// Refusals beyond them.
    more: u64,
    /// A task will come for them.
    awaited: bool,
}

impl Engine {
    /// Notes that somebody was refused something. It is durable within about a second, unless the journal takes
    /// nothing; then it is counted, and the count is noted when it does.
    pub fn note_refusal(&self, actor: &Actor, action: &str, mut refusal: Refusal) {
        refusal.count = 1;
        let mut waiting = self.refusals.0.lock();
        let same = |c: &&mut Context| {
            c.actor == actor.name
                && c.address == actor.address
                && c.verb == action
                && c.refusal.as_ref().is_some_and(|r| r.resource == refusal.resource)
        };
        if let Some(there) = waiting.unlike.iter_mut().find(same).and_then(|c| c.refusal.as_mut()) {
            there.count += 1;
        } else if waiting.unlike.len() >= UNLIKE_MAX
            || actor.name.is_empty()
                && waiting.unlike.iter().filter(|c| c.actor.is_empty()).count() >= UNLIKE_NOBODY_MAX
        {
            waiting.more += 1;
        } else {
            let mut context = self.context(actor, action);
            context.refusal = Some(refusal);
            waiting.unlike.push(context);
        }
        if std::mem::replace(&mut waiting.awaited, true) {
            return;
        }
        drop(waiting);
        let (this, tasks) = (self.owned(), self.options.tasks.clone());
        let this = std::sync::Arc::downgrade(&this);
        self.options.tasks.spawn(Box::pin(async move {
            tasks.pause(INTERVAL).await;
            if let Some(engine) = this.upgrade() {
                engine.write_refusals();
            }
        }));
    }

    /// Hands them to the journal.
    pub(crate) fn write_refusals(&self) {
        let mut waiting = self.refusals.0.lock();
        waiting.awaited = false;
        let mut contexts = std::mem::take(&mut waiting.unlike);
        if self.journal.admit().is_err() {
            waiting.more += contexts.drain(..).filter_map(|c| c.refusal).map(|r| r.count).sum::<u64>();
            return;
        }
        let count = std::mem::take(&mut waiting.more);
        drop(waiting);
        if count > 0 {
            let mut context = self.context(&Actor::default(), "refused");
            context.refusal = Some(Refusal { count, ..Refusal::default() });
            contexts.push(context);
        }
        for context in contexts {
            // Nobody waits for it.
            drop(self.submit(Submission { context, records: Vec::new(), nodes: None, created: None }));
        }
    }
}
