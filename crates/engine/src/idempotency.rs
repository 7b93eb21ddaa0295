//! Remembers the answers to requests that carried an `Idempotency-Key`, for 24 h (design.md 3.2).
//!
//! The answer is part of the journal row that made it durable, so a client that lost the reply gets the
//! same answer after a crash too, and never a second effect.
//!
//! In memory are only requests that run and answers that the table lacks, which are as many as fit between two
//! checkpoints. A key that is not among them is looked up in the table.

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
    /// When the table was last freed of old answers.
    pruned: Option<Timestamp>,
}

/// How often the table is freed of old answers, in milliseconds.
const PRUNE_MILLIS: i64 = 3600 * 1000;

/// All remembered answers.
#[derive(Default)]
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
    pub async fn begin(
        &self,
        kv: &dyn Kv,
        actor: &Actor,
        verb: &str,
        repo: &RepositoryName,
        request: impl FnOnce() -> Vec<u8>,
        now: Timestamp,
    ) -> Result<Begin> {
        let Some(scope) = scope(actor, verb, repo) else { return Ok(Begin::Go(Keyed::none())) };
        let fingerprint: [u8; 32] = Sha256::digest(request()).into();
        let other =
            || Error::new(Kind::IdempotencyMismatch, "this idempotency key was used with another request");
        let again = |done: &Idempotency| match done.fingerprint == fingerprint {
            true => Ok(Begin::Again(done.result.clone())),
            false => Err(other()),
        };
        {
            let mut state = self.0.lock();
            match state.known.get(&scope) {
                Some(Known::Done(done, time)) if is_kept(*time, now) => return again(done),
                Some(Known::Running(running)) if *running != fingerprint => return Err(other()),
                Some(Known::Running(_)) => {
                    return Err(Error::new(
                        Kind::IdempotencyRunning,
                        "the request with this idempotency key is still running",
                    ));
                }
                _ => state.known.insert(scope, Known::Running(fingerprint)),
            };
        }
        let claim = Claim { state: self.0.clone(), scope, fingerprint, answered: false };
        // Answers leave the memory only when they are in the table, so one that was in neither is in none.
        if let Some(row) = kv.get(&keys::idempotency(&scope)).await.map_err(crate::engine::kv_error)? {
            let (done, time) = decode(row)?;
            if is_kept(time, now) {
                return again(&done);
            }
        }
        Ok(Begin::Go(Keyed(Some(claim))))
    }

    /// What a request was answered, if it has had an effect. One that runs has not yet.
    pub async fn answer(
        &self,
        kv: &dyn Kv,
        actor: &Actor,
        verb: &str,
        repo: &RepositoryName,
    ) -> Result<Option<Bytes>> {
        let Some(scope) = scope(actor, verb, repo) else { return Ok(None) };
        if let Some(Known::Done(done, _)) = self.0.lock().known.get(&scope) {
            return Ok(Some(done.result.clone()));
        }
        let row = kv.get(&keys::idempotency(&scope)).await.map_err(crate::engine::kv_error)?;
        row.map(|row| Ok(decode(row)?.0.result)).transpose()
    }

    /// Answers that the table lacks.
    pub fn drain_unsaved(&self) -> Vec<(Idempotency, Timestamp)> {
        let mut state = self.0.lock();
        let scopes = std::mem::take(&mut state.unsaved);
        let find = |scope| match state.known.get(scope) {
            Some(Known::Done(done, time)) => Some((done.clone(), *time)),
            _ => None,
        };
        scopes.iter().filter_map(find).collect()
    }

    /// The table has them.
    pub fn saved(&self, answers: &[(Idempotency, Timestamp)]) {
        let mut state = self.0.lock();
        for (saved, saved_at) in answers {
            // A key may have been used again a day later.
            if matches!(state.known.get(&saved.scope), Some(Known::Done(_, time)) if time == saved_at) {
                state.known.remove(&saved.scope);
            }
        }
    }

    /// Rows of the table that are too old, once an hour.
    pub async fn outdated(&self, kv: &dyn Kv, now: Timestamp) -> Result<Vec<Bytes>> {
        {
            let mut state = self.0.lock();
            if state.pruned.is_some_and(|last| now.millis() < last.millis() + PRUNE_MILLIS) {
                return Ok(Vec::new());
            }
            state.pruned = Some(now);
        }
        let end = millpond_kv::prefix_end(keys::IDEMPOTENCY).expect("the prefix is not all 0xff");
        let (mut from, mut old) = (Bytes::from_static(keys::IDEMPOTENCY), Vec::new());
        loop {
            let page = kv.scan(&from, &end, 1024).await.map_err(crate::engine::kv_error)?;
            let Some((last, _)) = page.last() else { return Ok(old) };
            from = millpond_kv::key_after(last);
            for (key, value) in page {
                if !is_kept(decode(value)?.1, now) {
                    old.push(key);
                }
            }
        }
    }

    /// The table lacks them still.
    pub fn give_back(&self, scopes: impl Iterator<Item = [u8; 32]>) {
        self.0.lock().unsaved.extend(scopes);
    }
}

/// Whose key for what, where; `None` without a key.
fn scope(actor: &Actor, verb: &str, repo: &RepositoryName) -> Option<[u8; 32]> {
    let mut scope = Writer::new();
    scope.text(&actor.name).text(verb).text(repo.as_str()).text(actor.idempotency_key.as_ref()?);
    Some(Sha256::digest(scope.finish()).into())
}

fn is_kept(time: Timestamp, now: Timestamp) -> bool {
    time.millis() + crate::checkpoint::REMEMBER_MILLIS >= now.millis()
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

    async fn begin(table: &Remembered, name: &str, request: &[u8]) -> Result<Begin> {
        let actor = Actor { name: name.into(), idempotency_key: Some("k".into()), ..Actor::default() };
        let repo = RepositoryName::parse("repo").expect("a repository name");
        let kv = millpond_kv::MemoryKv::new();
        table.begin(&kv, &actor, "commit", &repo, || request.to_vec(), Timestamp(0)).await
    }

    #[tokio::test]
    async fn a_key_is_refused_while_its_request_runs_and_free_when_that_was_refused() {
        let table = Remembered::default();
        let first = begin(&table, "ada", b"1").await.expect("the first");
        assert_eq!(begin(&table, "ada", b"1").await.err().map(|e| e.kind), Some(Kind::IdempotencyRunning));
        assert_eq!(begin(&table, "ada", b"2").await.err().map(|e| e.kind), Some(Kind::IdempotencyMismatch));
        assert!(
            matches!(begin(&table, "eve", b"2").await, Ok(Begin::Go(_))),
            "another principal, another key"
        );
        drop(first);
        assert!(matches!(begin(&table, "ada", b"2").await, Ok(Begin::Go(_))));
    }

    #[tokio::test]
    async fn an_answered_key_gives_the_answer_and_nothing_to_another_request() {
        let table = Remembered::default();
        let Ok(Begin::Go(mut keyed)) = begin(&table, "ada", b"1").await else { panic!("the first goes") };
        let mut context = Context::default();
        keyed.answer(&mut context, || Bytes::from_static(b"done"));
        drop(keyed);
        assert!(context.idempotency.is_some());
        assert!(matches!(begin(&table, "ada", b"1").await, Ok(Begin::Again(answer)) if answer == "done"));
        assert_eq!(begin(&table, "ada", b"2").await.err().map(|e| e.kind), Some(Kind::IdempotencyMismatch));
    }

    #[tokio::test]
    async fn an_answer_is_in_memory_until_the_table_has_it_and_found_there_afterwards() {
        let (table, kv) = (Remembered::default(), millpond_kv::MemoryKv::new());
        let actor = Actor { name: "ada".into(), idempotency_key: Some("k".into()), ..Actor::default() };
        let repo = RepositoryName::parse("repo").expect("a repository name");
        let begin =
            async |now| table.begin(&kv, &actor, "commit", &repo, || b"1".to_vec(), Timestamp(now)).await;
        let Ok(Begin::Go(mut keyed)) = begin(0).await else { panic!("the first goes") };
        let mut context = Context::default();
        keyed.answer(&mut context, || Bytes::from_static(b"done"));
        drop(keyed);
        table.restore(&context);
        let unsaved = table.drain_unsaved();
        let [(done, time)] = &unsaved[..] else { panic!("one answer: {}", unsaved.len()) };
        assert!(
            matches!(begin(0).await, Ok(Begin::Again(answer)) if answer == "done"),
            "it is being written"
        );
        let row = millpond_kv::Write::Put(keys::idempotency(&done.scope), encode(done, *time));
        kv.commit(millpond_kv::Batch { preconditions: vec![], writes: vec![row] }).await.expect("written");
        table.saved(&unsaved);
        assert!(table.0.lock().known.is_empty(), "nothing is in memory twice");
        assert!(matches!(begin(0).await, Ok(Begin::Again(answer)) if answer == "done"));
        assert!(table.0.lock().known.is_empty(), "the claim is given back");
        assert_eq!(table.outdated(&kv, Timestamp(0)).await.expect("read"), Vec::<Bytes>::new());
        let tomorrow = crate::checkpoint::REMEMBER_MILLIS + 1;
        assert!(matches!(begin(tomorrow).await, Ok(Begin::Go(_))), "a day later the key is free");
        let old = table.outdated(&kv, Timestamp(tomorrow)).await.expect("read");
        assert_eq!(old, [keys::idempotency(&done.scope)]);
        assert_eq!(
            table.outdated(&kv, Timestamp(tomorrow + 1)).await.expect("read").len(),
            0,
            "an hour apart"
        );
    }
}
