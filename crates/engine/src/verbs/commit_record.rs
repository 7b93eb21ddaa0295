//! A commit as somebody else made it: with its author, date, parents and tree given, and no branch that moves.
//!
//! The accident this prevents: a history that is brought in from elsewhere loses who committed what and when, or
//! holds commits whose tree or parents are not there, which nobody notices before they are read.

use super::commit::check_words;
use super::train::commit_answer;
use crate::engine::Engine;
use crate::idempotency::Begin;
use crate::journal::Submission;
use crate::record::Record;
use crate::state::Repo;
use crate::{Actor, CommitInfo, CommitRecord, Error, Kind, Result};
use millpond_types::{Commit, RepositoryName, Writer};
use std::sync::Arc;

impl Engine {
    /// Stores a commit (API-12.12). Its tree and its parents must be in the repository. Its generation follows from
    /// its parents, whatever another server says (API-14.4): merges look for their base by it.
    ///
    /// # Errors
    /// `Invalid`: the id is not the commit's, or tree or a parent is not there. `AlreadyExists`: it is stored.
    pub async fn create_commit_record(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        record: CommitRecord,
        force: bool,
    ) -> Result<CommitInfo> {
        self.journal.admit()?;
        check_words(&record.message, &record.metadata)?;
        let mut fingerprint = Writer::new();
        fingerprint.text(&format!("{record:?}{force}"));
        let mut keyed = match self.begin(actor, "commit-record", repository, || fingerprint.finish()).await? {
            Begin::Again(answer) => return self.same_commit_info(repository, answer).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        let claimed = record.id;
        let commit = Arc::new(self.brought_in(&repo, record).await?);
        let id = commit.id();
        if let Some(claimed) = claimed.filter(|claimed| *claimed != id) {
            return Err(Error::new(
                Kind::Invalid,
                format!("commit id {claimed} is not that of the given fields, which is {id}"),
            ));
        }
        if self.commit_by_id(&repo, &id).await?.is_some() {
            self.journal.barrier().await?;
            return Err(Error::new(Kind::AlreadyExists, format!("commit {id} already exists: not unique")));
        }
        self.writable(&repo, force)?;
        let decided = repo.decide().map(|_held| {
            repo.unsaved.write().commits.insert(id, commit.clone());
            let mut context = self.context(actor, "commit-record");
            keyed.answer(&mut context, || commit_answer(&id));
            let record = Record::CommitsStored { uid: repo.uid, commits: vec![commit.clone()] };
            self.submit(Submission { context, records: vec![record], nodes: None, created: None })
        });
        self.settle(decided).await?;
        Ok(CommitInfo { id, commit: (*commit).clone() })
    }

    /// The commit with its generation.
    pub(super) async fn brought_in(&self, repo: &Repo, record: CommitRecord) -> Result<Commit> {
        self.check_tree(repo, record.tree).await?;
        let mut generation = 1;
        for parent in &record.parents {
            let found = self.commit_by_id(repo, parent).await?.ok_or_else(|| {
                Error::new(Kind::Invalid, format!("parent {parent} is not a commit of this repository"))
            })?;
            generation = generation.max(found.generation + 1);
        }
        Ok(Commit {
            committer: record.committer,
            message: record.message,
            tree: record.tree,
            creation_date: record.date,
            metadata: record.metadata,
            parents: record.parents,
            generation,
        })
    }
}
