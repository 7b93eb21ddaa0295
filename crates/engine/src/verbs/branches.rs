//! Create, delete, describe and list branches.

use super::repositories::{page_of, page_start};
use super::train::commit_answer;
use crate::engine::{Created, Engine};
use crate::idempotency::Begin;
use crate::journal::{Submission, Ticket};
use crate::record::Record;
use crate::state::{Branch, BranchState, RepoState};
use crate::{Actor, BranchInfo, Error, Kind, Page, PageRequest, Result, Thing};
use bytes::Bytes;
use millpond_types::{BranchName, CommitId, RefExpr, RepositoryName, TagName, Writer};

impl Engine {
    /// Creates a branch at the commit that `source` leads to, with nothing staged.
    pub async fn create_branch(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        source: &RefExpr,
        hidden: bool,
        force: bool,
    ) -> Result<CommitId> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.text(name.as_str()).text(&format!("{source:?}")).u8(u8::from(hidden));
        let mut keyed = match self.begin(actor, "create-branch", repository, || request.finish()).await? {
            Begin::Again(answer) => return self.same_commit(answer).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.writable(&repo, force)?;
        let (head, commit) = self.resolve_commit(&repo, source).await?;
        let decided = (|| {
            let mut state = repo.decide()?;
            clashes_with_tag(&state, name)?;
            if state.branches.contains_key(name) {
                return Err(Error::new(Kind::AlreadyExists, "branch already exists: not unique"));
            }
            let branch = Branch::new(name.clone(), hidden, BranchState::new(head, commit.tree));
            let record = Record::BranchCreated {
                uid: repo.uid,
                branch: name.clone(),
                head,
                tree: commit.tree,
                hidden,
            };
            state.apply(&record, Some(&branch));
            let mut context = self.context(actor, "create");
            keyed.answer(&mut context, || commit_answer(&head));
            Ok(self.submit(Submission {
                context,
                records: vec![record],
                nodes: None,
                created: Some(Created::Branch(branch)),
            }))
        })();
        self.settle(decided).await?;
        Ok(head)
    }

    /// Waits until a decision is durable; a refusal waits for what it rests on.
    pub(crate) async fn settle(&self, decided: Result<Ticket>) -> Result<()> {
        match decided {
            Ok(ticket) => ticket.durable().await,
            Err(error) => {
                self.journal.barrier().await?;
                Err(error)
            }
        }
    }

    /// Deletes a branch with what is staged on it. Its commits stay.
    pub async fn delete_branch(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        force: bool,
    ) -> Result<()> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.text(name.as_str()).u8(u8::from(force));
        let mut keyed = match self.begin(actor, "delete-branch", repository, || request.finish()).await? {
            Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.writable(&repo, force)?;
        if repo.info().default_branch == *name {
            return Err(Error::new(Kind::Protected, "cannot delete repository default branch"));
        }
        let branch = self.branch(&repo, name)?;
        // No head move of the branch is half-way when it goes.
        let _train = branch.train.lock().await;
        let decided = (|| {
            // A branch's lock comes before its repository's, here and everywhere.
            let mut of_branch = branch.state.decide();
            let mut state = repo.decide()?;
            if of_branch.deleted {
                return Err(Error::new(Kind::NotFound(Thing::Branch), format!("branch '{name}' not found")));
            }
            let record = Record::BranchDeleted { uid: repo.uid, branch: name.clone(), head: of_branch.head };
            of_branch.apply(&record);
            state.apply(&record, None);
            let mut context = self.context(actor, "delete");
            keyed.answer(&mut context, Bytes::new);
            Ok(self.submit(Submission { context, records: vec![record], nodes: None, created: None }))
        })();
        self.settle(decided).await
    }

    /// One branch.
    pub fn get_branch(&self, repository: &RepositoryName, name: &BranchName) -> Result<BranchInfo> {
        let branch = self.branch(&*self.repo(repository)?, name)?;
        let commit = branch.state.look(|s| s.head);
        Ok(BranchInfo { name: name.clone(), commit, hidden: branch.hidden })
    }

    /// Branches by name.
    pub fn list_branches(
        &self,
        repository: &RepositoryName,
        page: &PageRequest,
        show_hidden: bool,
    ) -> Result<Page<BranchInfo>> {
        let state = self.repo(repository)?.state.read();
        let all =
            state.branches.range::<_, str>(page_start(page)).map(|(name, branch)| (name.as_str(), branch));
        Ok(page_of(
            all,
            page,
            |_, branch| show_hidden || !branch.hidden,
            |_, branch| BranchInfo {
                name: branch.name.clone(),
                commit: branch.state.look(|s| s.head),
                hidden: branch.hidden,
            },
        ))
    }
}

/// Refuses a branch name that a tag has.
pub(super) fn clashes_with_tag(state: &RepoState, name: &BranchName) -> Result<()> {
    if TagName::parse(name.as_str()).is_ok_and(|tag| state.tags.contains_key(&tag)) {
        return Err(Error::new(Kind::NameClash, format!("conflict found: a tag is called '{name}'")));
    }
    Ok(())
}
