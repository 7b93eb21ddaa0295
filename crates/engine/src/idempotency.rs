//! Remembers the answers to requests that carried an `Idempotency-Key`, for 24 h (design.md 3.2).
//!
//! The answer is part of the journal row that made it durable, so a client that lost the reply gets the
//! same answer after a crash too, and never a second effect.

use crate::record::{Context, Idempotency};
use crate::{Actor, Error, Kind, Result, keys};
use bytes::Bytes;
use millpond_kv::Kv;
use millpond_types::{Reader, RepositoryName, Timestamp, Writer};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

enum Known {
    Running([u8; 32]),
    Done(Idempotency, Timestamp),
}

#[derive(Default)]
struct State {
    known: HashMap<[u8; 32], Known>,
    unsaved: Vec<[u8; 32]>,
}

/// All remembered answers.
pub struct Remembered(Arc<Mutex<State>>);

/// What to do with a request.
pub enum Begin {
    /// Do it, and remember the answer with the change.
    Go(Keyed),
    /// Seen before with the same request: give this answer again.
    Again(Bytes),
}

/// The right to do one request, which may have carried a key.
pub struct Keyed(Option<Claim>);

impl Keyed {
    /// Work of the server's own.
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether nothing has to be remembered.
    pub fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// Adds the answer to the context of the change. The change must then happen: call it under the lock
    /// under which the request was decided, when nothing can refuse it any more.
    pub fn answer(&mut self, context: &mut Context, result: impl FnOnce() -> Bytes) {
        context.idempotency = self.0.as_mut().map(|claim| claim.answer(context.time, result()));
    }
}

/// A key in use. Dropped without an answer, the key is free again.
struct Claim {
    state: Arc<Mutex<State>>,
    scope: [u8; 32],
    fingerprint: [u8; 32],
    answered: bool,
}

impl Claim {
    fn answer(&mut self, time: Timestamp, result: Bytes) -> Idempotency {
        let done = Idempotency { scope: self.scope, fingerprint: self.fingerprint, result };
        self.answered = true;
        let mut state = self.state.lock();
        state.known.insert(self.scope, Known::Done(done.clone(), time));
        done
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.answered {
            self.state.lock().known.remove(&self.scope);
        }
    }
}

impl Remembered {
    /// What the table holds.
    pub async fn load(kv: &dyn Kv) -> Result<Self> {
        let mut state = State::default();
        for (_, value) in crate::checkpoint::scan_all(kv, keys::IDEMPOTENCY).await? {
            let (idempotency, time) = decode(value)?;
            state.known.insert(idempotency.scope, Known::Done(idempotency, time));
        }
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// Takes in what a durable journal row says, live or at recovery. Only from here on does the table lack
    /// the answer: a checkpoint that wrote one whose change a power cut takes back would lose the change.
    pub fn restore(&self, context: &Context) {
        if let Some(idempotency) = &context.idempotency {
            let mut state = self.0.lock();
            state.unsaved.push(idempotency.scope);
            state.known.insert(idempotency.scope, Known::Done(idempotency.clone(), context.time));
        }
    }

    /// Looks a request up. `request` gives all its parameters, in any fixed encoding; most requests have no key and
    /// need none.
    pub fn begin(
        &self,
        actor: &Actor,
        verb: &str,
        repo: &RepositoryName,
        request: impl FnOnce() -> Vec<u8>,
        now: Timestamp,
    ) -> Result<Begin> {
        let Some(key) = &actor.idempotency_key else { return Ok(Begin::Go(Keyed::none())) };
        let mut scope = Writer::new();
        scope.text(&actor.name).text(verb).text(repo.as_str()).text(key);
        let scope: [u8; 32] = Sha256::digest(scope.finish()).into();
        let fingerprint: [u8; 32] = Sha256::digest(request()).into();
        let mut state = self.0.lock();
        let other =
            || Error::new(Kind::IdempotencyMismatch, "this idempotency key was used with another request");
        match state.known.get(&scope) {
            Some(Known::Done(done, time))
                if time.millis() + crate::checkpoint::REMEMBER_MILLIS >= now.millis() =>
            {
                if done.fingerprint == fingerprint {
                    Ok(Begin::Again(done.result.clone()))
                } else {
                    Err(other())
                }
            }
            Some(Known::Running(running)) if *running != fingerprint => Err(other()),
            Some(Known::Running(_)) => Err(Error::new(
                Kind::IdempotencyRunning,
                "the request with this idempotency key is still running",
            )),
            _ => {
                state.known.insert(scope, Known::Running(fingerprint));
                let claim = Claim { state: self.0.clone(), scope, fingerprint, answered: false };
                Ok(Begin::Go(Keyed(Some(claim))))
            }
        }
    }

    /// Answers that the table lacks; old ones are forgotten on the way.
    pub fn drain_unsaved(&self, now: Timestamp) -> Vec<(Idempotency, Timestamp)> {
        let mut state = self.0.lock();
        let keep = |time: &Timestamp| time.millis() + crate::checkpoint::REMEMBER_MILLIS >= now.millis();
        state.known.retain(|_, known| !matches!(known, Known::Done(_, time) if !keep(time)));
        let scopes = std::mem::take(&mut state.unsaved);
        let find = |scope| match state.known.get(scope) {
            Some(Known::Done(done, time)) => Some((done.clone(), *time)),
            _ => None,
        };
        scopes.iter().filter_map(find).collect()
    }

    /// The table lacks them still.
    pub fn give_back(&self, scopes: impl Iterator<Item = [u8; 32]>) {
        self.0.lock().unsaved.extend(scopes);
    }
}

/// A row of the table.
pub fn encode(idempotency: &Idempotency, time: Timestamp) -> Bytes {
    let mut w = Writer::new();
    w.u8(1)
        .raw(&idempotency.scope)
        .raw(&idempotency.fingerprint)
        .int(time.millis())
        .bytes(&idempotency.result);
    w.finish().into()
}

/// The inverse of [`encode`].
pub fn decode(bytes: Bytes) -> Result<(Idempotency, Timestamp)> {
    let mut r = Reader::new(bytes);
    let mut parse = || {
        if r.u8()? != 1 {
            return Err(millpond_types::DecodeError("unknown version"));
        }
        let (scope, fingerprint) = (r.digest()?, r.digest()?);
        let time = Timestamp(r.int()?);
        Ok((Idempotency { scope, fingerprint, result: r.bytes()? }, time))
    };
    parse().map_err(|e| Error::new(Kind::Damaged, format!("a remembered answer cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(table: &Remembered, name: &str, request: &[u8]) -> Result<Begin> {
        let actor = Actor { name: name.into(), idempotency_key: Some("k".into()), ..Actor::default() };
        let repo = RepositoryName::parse("repo").expect("a repository name");
        table.begin(&actor, "commit", &repo, || request.to_vec(), Timestamp(0))
    }

    #[test]
    fn a_key_is_refused_while_its_request_runs_and_free_when_that_was_refused() {
        let table = Remembered(Default::default());
        let first = begin(&table, "ada", b"1").expect("the first");
        assert_eq!(begin(&table, "ada", b"1").err().map(|e| e.kind), Some(Kind::IdempotencyRunning));
        assert_eq!(begin(&table, "ada", b"2").err().map(|e| e.kind), Some(Kind::IdempotencyMismatch));
        assert!(matches!(begin(&table, "eve", b"2"), Ok(Begin::Go(_))), "another principal, another key");
        drop(first);
        assert!(matches!(begin(&table, "ada", b"2"), Ok(Begin::Go(_))));
    }

    #[test]
    fn an_answered_key_gives_the_answer_and_nothing_to_another_request() {
        let table = Remembered(Default::default());
        let Ok(Begin::Go(mut keyed)) = begin(&table, "ada", b"1") else { panic!("the first goes") };
        let mut context = Context::default();
        keyed.answer(&mut context, || Bytes::from_static(b"done"));
        drop(keyed);
        assert!(context.idempotency.is_some());
        assert!(matches!(begin(&table, "ada", b"1"), Ok(Begin::Again(answer)) if answer == "done"));
        assert_eq!(begin(&table, "ada", b"2").err().map(|e| e.kind), Some(Kind::IdempotencyMismatch));
    }
}
