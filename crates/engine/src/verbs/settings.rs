//! Branch protection and garbage collection rules: kept here, judged where changes are decided.

use crate::engine::Engine;
use crate::idempotency::Begin;
use crate::journal::Submission;
use crate::record::Record;
use crate::settings::{Protection, Settings};
use crate::state::RepoState;
use crate::{Actor, BranchProtection, CollectionRules, Error, Kind, ProtectionChange, Result, Thing};
use bytes::Bytes;
use millpond_types::RepositoryName;
use millpond_types::limits::REPOSITORY_SETTINGS_BYTES_MAX;
use std::sync::Arc;

impl Engine {
    /// Which branches are protected.
    pub fn branch_protection(&self, repository: &RepositoryName) -> Result<BranchProtection> {
        let protection = self.repo(repository)?.state.read().settings.protection.clone();
        Ok(BranchProtection {
            patterns: protection.patterns().iter().cloned().collect(),
            etag: protection.etag(),
        })
    }

    /// Changes which branches are protected. From the answer on, nothing that the new rules forbid happens.
    pub async fn change_branch_protection(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        change: ProtectionChange,
    ) -> Result<()> {
        let request = format!("{change:?}");
        self.change_settings(actor, "branch-protection", repository, request.as_bytes(), |state| {
            let old = &state.settings.protection;
            let mut patterns = old.patterns().clone();
            match change {
                ProtectionChange::Replace { patterns: new, if_match } => {
                    if if_match.is_some_and(|wanted| wanted != old.etag()) {
                        return Err(Error::new(
                            Kind::PreconditionFailed,
                            "Precondition failed: the rules have changed since; read them again",
                        ));
                    }
                    patterns = new.into_iter().collect();
                }
                ProtectionChange::Add(pattern) => {
                    patterns.insert(pattern);
                }
                ProtectionChange::Remove(pattern) => {
                    if !patterns.remove(&pattern) {
                        let message = format!("no branch protection rule has the pattern '{pattern}'");
                        return Err(Error::new(Kind::NotFound(Thing::Other), message));
                    }
                }
            }
            let protection = Arc::new(Protection::new(patterns)?);
            Ok(Settings { protection, ..state.settings.clone() })
        })
        .await
    }

    /// For how long what nothing refers to any more is to be kept; `None` where nobody has said.
    pub fn collection_rules(&self, repository: &RepositoryName) -> Result<Option<CollectionRules>> {
        let state = self.repo(repository)?.state.read();
        Ok(state.settings.collection.as_deref().cloned())
    }

    /// Sets these rules, or takes them away.
    pub async fn set_collection_rules(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        rules: Option<CollectionRules>,
    ) -> Result<()> {
        let request = format!("{rules:?}");
        self.change_settings(actor, "collection-rules", repository, request.as_bytes(), |state| {
            let bytes: usize = rules.iter().flat_map(|rules| rules.branches.keys()).map(String::len).sum();
            if bytes > REPOSITORY_SETTINGS_BYTES_MAX {
                return Err(Error::new(
                    Kind::TooLarge,
                    format!(
                        "the branch names have {bytes} bytes; the limit is {REPOSITORY_SETTINGS_BYTES_MAX}"
                    ),
                ));
            }
            Ok(Settings { collection: rules.map(Arc::new), ..state.settings.clone() })
        })
        .await
    }

    /// Makes the settings what `decide` says. There is no force: a read-only repository refuses (API-9.23).
    async fn change_settings(
        &self,
        actor: &Actor,
        verb: &str,
        repository: &RepositoryName,
        request: &[u8],
        decide: impl FnOnce(&RepoState) -> Result<Settings>,
    ) -> Result<()> {
        self.journal.admit()?;
        let mut keyed = match self.begin(actor, verb, repository, || request.to_vec()).await? {
            Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.writable(&repo, false)?;
        let decided = repo.decide().and_then(|mut state| {
            let record = Record::SettingsChanged { uid: repo.uid, settings: decide(&state)? };
            state.apply(&record, None);
            let mut context = self.context(actor, verb);
            keyed.answer(&mut context, Bytes::new);
            Ok(self.submit(Submission { context, records: vec![record], nodes: None, created: None }))
        });
        self.settle(decided).await
    }
}
