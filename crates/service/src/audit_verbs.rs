//! The audit trail: who did what; and noting what was refused.

use crate::gate::{Caller, Service};
use millpond_auth::{Action, Resource};
use millpond_engine::record::Refusal;
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

    /// Notes that a known principal may not do something.
    pub(crate) fn note_denied(&self, caller: &Caller, action: Action, resource: Resource<'_>) {
        let actor = Actor {
            name: caller.principal.as_ref().map(|principal| principal.name().to_owned()).unwrap_or_default(),
            request_id: caller.request_id.clone(),
            address: caller.address,
            ..Actor::default()
        };
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

    /// Notes that somebody could not show who he is: `key` is the id that he named, if any.
    pub(crate) fn note_unknown(&self, key: &str, address: Option<IpAddr>) {
        let actor = Actor { address, ..Actor::default() };
        // Ids are chosen by whoever asks.
        let key: String = key.chars().take(128).collect();
        self.engine.note_refusal(&actor, "authenticate", Refusal { resource: key, ..Refusal::default() });
    }
}
