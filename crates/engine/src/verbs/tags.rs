//! Create, delete, describe and list tags.

use super::repositories::{page_of, page_start};
use super::train::commit_answer;
use crate::engine::Engine;
use crate::idempotency::Begin;
use crate::journal::Submission;
use crate::record::Record;
use crate::{Actor, Error, Kind, Page, PageRequest, Result, TagInfo, Thing};
use bytes::Bytes;
use millpond_types::{BranchName, CommitId, RefExpr, RepositoryName, TagName, Writer};

impl Engine {
    /// Creates a tag at the commit that `target` leads to. It never moves.
    pub async fn create_tag(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &TagName,
        target: &RefExpr,
        force: bool,
    ) -> Result<CommitId> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.text(name.as_str()).text(&format!("{target:?}"));
        let mut keyed = match self.begin(actor, "create-tag", repository, || request.finish()).await? {
            Begin::Again(answer) => return self.same_commit(answer).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        let (commit, _) = self.resolve_commit(&repo, target).await?;
        self.writable(&repo, force)?;
        let decided = (|| {
            let mut state = repo.decide()?;
            if BranchName::parse(name.as_str()).is_ok_and(|branch| state.branches.contains_key(&branch)) {
                return Err(Error::new(
                    Kind::NameClash,
                    format!("conflict found: a branch is called '{name}'"),
                ));
            }
            if state.tags.contains_key(name) {
                return Err(Error::new(Kind::AlreadyExists, "tag already exists: not unique"));
            }
            let record = Record::TagCreated { uid: repo.uid, tag: name.clone(), commit };
            state.apply(&record, None);
            let mut context = self.context(actor, "create");
            keyed.answer(&mut context, || commit_answer(&commit));
            Ok(self.submit(Submission { context, records: vec![record], nodes: None, created: None }))
        })();
        self.settle(decided).await?;
        Ok(commit)
    }

    /// Deletes a tag.
    pub async fn delete_tag(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &TagName,
        force: bool,
    ) -> Result<()> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.text(name.as_str()).u8(u8::from(force));
        let mut keyed = match self.begin(actor, "delete-tag", repository, || request.finish()).await? {
            Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.writable(&repo, force)?;
        let decided = (|| {
            let mut state = repo.decide()?;
            let Some(commit) = state.tags.get(name).copied() else { return Err(no_tag(name)) };
            let record = Record::TagDeleted { uid: repo.uid, tag: name.clone(), commit };
            state.apply(&record, None);
            let mut context = self.context(actor, "delete");
            keyed.answer(&mut context, Bytes::new);
            Ok(self.submit(Submission { context, records: vec![record], nodes: None, created: None }))
        })();
        self.settle(decided).await
    }

    /// One tag.
    pub fn get_tag(&self, repository: &RepositoryName, name: &TagName) -> Result<TagInfo> {
        let state = self.repo(repository)?.state.read();
        let commit = *state.tags.get(name).ok_or_else(|| no_tag(name))?;
        Ok(TagInfo { name: name.clone(), commit })
    }

    /// Tags by name.
    pub fn list_tags(&self, repository: &RepositoryName, page: &PageRequest) -> Result<Page<TagInfo>> {
        let state = self.repo(repository)?.state.read();
        let all = state
            .tags
            .range::<_, str>(page_start(page))
            .map(|(name, commit)| (name.as_str(), (name, commit)));
        Ok(page_of(
            all,
            page,
            |_, _| true,
            |_, (name, commit)| TagInfo { name: name.clone(), commit: *commit },
        ))
    }
}

fn no_tag(name: &TagName) -> Error {
    Error::new(Kind::NotFound(Thing::Tag), format!("tag '{name}' not found"))
}
