//! The audit trail: who did what; noting what was refused, and what was done to users, groups, policies and keys.

use crate::gate::{Caller, Principal, Service, auth_error};
use millpond_auth::{Action, Batch, Change, Resource, Told};
use millpond_engine::record::{Beside, BesideChange, Refusal};
use millpond_engine::{Actor, AuditPage, AuditProof, AuditQuery, Result};
use std::net::IpAddr;

impl Service {
    /// Some of the trail, newest first.
    pub async fn audit(&self, caller: &Caller, query: AuditQuery) -> Result<AuditPage> {
        let p = self.permit(caller, &[(Action::ReadAudit, Resource::Any)])?;
        p.engine.audit(query).await
    }

    /// Makes sure that the trail may be looked at, and gives the walk along all of it. See
    /// [`millpond_engine::Engine::verify_audit`].
    ///
    /// # Errors
    /// At once: the caller may not. Of the walk: the stores fail.
    pub fn verify_audit(
        &self,
        caller: &Caller,
        known: Option<(u64, [u8; 32])>,
    ) -> Result<impl Future<Output = Result<AuditProof>> + Send + use<>> {
        let p = self.permit(caller, &[(Action::ReadAudit, Resource::Any)])?;
        Ok(async move { p.engine.verify_audit(known).await })
    }

    /// Commits a change of users, groups, policies, keys or sessions together with what the trail tells of it.
    pub(crate) async fn commit_noted(&self, actor: &Actor, verb: &str, change: Change) -> Result<()> {
        let note = change.told().map(|told| audit_note(told, actor, verb)).unwrap_or_default();
        change.commit(note).await.map_err(auth_error)?;
        self.engine.take_in_notes_soon();
        Ok(())
    }

    /// Notes that a known principal may not do something.
    pub(crate) fn note_denied(&self, caller: &Caller, action: Action, resource: Resource<'_>) {
        let actor = caller.actor(caller.principal.as_ref().map_or("", Principal::name));
        let mut refusal = Refusal { resource: resource.to_string(), ..Refusal::default() };
        match resource {
            Resource::Repository(repo) => refusal.repository = repo.to_string(),
            Resource::Branch(repo, name) | Resource::Tag(repo, name) => {
                (refusal.repository, refusal.reference) = (repo.to_string(), name.to_owned());
            }
            Resource::Object(repo, path) => {
                (refusal.repository, refusal.path) = (repo.to_string(), path.to_bytes());
            }
            _ => {}
        }
        self.engine.note_refusal(&actor, action.name(), refusal);
    }

    /// Notes that somebody could not show who he is: `given` is what stood in the place of the id or name, if anything
    /// did. People put secrets and passwords there, so only what is known, or looks like a key id, is told.
    pub fn note_unknown(&self, given: &str, address: Option<IpAddr>) {
        let is_known = self.auth.lookup(given).is_some() || self.auth.user(given).is_ok();
        let told =
            if given.is_empty() || is_known || looks_like_a_key_id(given) { given } else { "(unknown)" };
        self.note_stranger(told, address);
    }

    /// Notes that somebody of this name, which is no secret, may not come in.
    pub(crate) fn note_stranger(&self, name: &str, address: Option<IpAddr>) {
        let actor = Actor { address, ..Actor::default() };
        // Names are chosen by whoever asks.
        let resource = name.chars().take(128).collect();
        self.engine.note_refusal(&actor, "authenticate", Refusal { resource, ..Refusal::default() });
    }
}

/// As generated ones look, here and elsewhere; secrets have small letters.
fn looks_like_a_key_id(given: &str) -> bool {
    ["AKIA", "ASIA"].iter().any(|start| given.starts_with(start))
        && (16..=32).contains(&given.len())
        && given.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// What belongs into the batch of a change, so that the trail tells of it.
pub fn audit_note(told: Told, actor: &Actor, verb: &str) -> Batch {
    let changes = told.changes.into_iter();
    let changes = changes.map(|it| BesideChange { is_deletion: it.is_deletion, on: it.on, new: it.new });
    let beside = Beside { number: told.number, changes: changes.collect() };
    Batch {
        preconditions: Vec::new(),
        writes: vec![millpond_engine::audit_note(actor, verb, told.time, beside)],
    }
}
