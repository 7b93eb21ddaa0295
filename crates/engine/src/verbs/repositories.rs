//! Create, delete, describe and list repositories.

use super::commit::metadata_bytes;
use crate::engine::{Created, Engine, first_branch};
use crate::idempotency::{Begin, Keyed};
use crate::journal::{Submission, Ticket};
use crate::record::Record;
use crate::state::{Repo, RepoState, new_repo_state};
use crate::{Actor, Error, Kind, NewRepository, Page, PageRequest, RepositoryInfo, Result};
use bytes::Bytes;
use millpond_types::limits::{REPOSITORY_METADATA_BYTES_MAX, STORAGE_NAMESPACE_BYTES_MAX};
use millpond_types::{Commit, Metadata, Reader, RepositoryName, TreeId, Writer};
use std::ops::Bound;
use std::sync::Arc;

impl Engine {
    /// Creates a repository whose default branch is at an empty first commit (API-9.7).
    pub async fn create_repository(&self, actor: &Actor, new: NewRepository) -> Result<RepositoryInfo> {
        self.new_repository(actor, new, false).await
    }

    /// Creates a repository without any branch, for a dump to be restored into (API-9.6). Another repository may have
    /// its namespace.
    pub async fn create_bare_repository(&self, actor: &Actor, new: NewRepository) -> Result<RepositoryInfo> {
        self.new_repository(actor, new, true).await
    }

    async fn new_repository(&self, actor: &Actor, new: NewRepository, bare: bool) -> Result<RepositoryInfo> {
        self.journal.admit()?;
        if new.storage_namespace.len() > STORAGE_NAMESPACE_BYTES_MAX {
            return Err(Error::new(
                Kind::Invalid,
                format!("the storage namespace has more than {STORAGE_NAMESPACE_BYTES_MAX} bytes"),
            ));
        }
        let mut request = Writer::new();
        request.text(&new.storage_namespace).text(new.default_branch.as_str()).u8(u8::from(new.read_only));
        let verb = if bare { "create-bare-repository" } else { "create-repository" };
        let mut keyed = match self.begin(actor, verb, &new.name, || request.finish()).await? {
            Begin::Again(answer) => {
                let (_, state) = crate::tables::decode_repository(self.same(answer, Reader::bytes).await?)?;
                return Ok((*state.info).clone());
            }
            Begin::Go(keyed) => keyed,
        };
        let mut context = self.context(actor, "create");
        let commit = Arc::new(Commit {
            committer: String::new(),
            message: "Repository created".to_owned(),
            tree: TreeId::EMPTY,
            creation_date: context.time.seconds(),
            metadata: Metadata::new(),
            parents: vec![],
            generation: 1,
        });
        let decided = {
            let mut root = self.root.decide();
            let taken = root.by_name.values().find(|r| {
                let info = r.info();
                let taken = info.storage_namespace == new.storage_namespace && !new.read_only && !bare;
                info.name == new.name || taken
            });
            match taken {
                Some(other) if other.info().name == new.name => Err(Error::new(
                    Kind::AlreadyExists,
                    format!("error creating repository: not unique ('{}' exists)", new.name),
                )),
                Some(other) => Err(Error::new(
                    Kind::Invalid,
                    format!(
                        "failed to create repository: storage namespace already in use by repository '{}'",
                        other.info().name
                    ),
                )),
                None => {
                    let uid = root.next_uid;
                    let mut state = new_repo_state(
                        &new.name,
                        &new.storage_namespace,
                        &new.default_branch,
                        new.read_only,
                        context.time,
                    );
                    let commit = (!bare).then_some(commit);
                    if let Some(commit) = &commit {
                        let name = &new.default_branch;
                        state.branches.insert(name.clone(), first_branch(name, commit));
                    }
                    let info = state.info.clone();
                    let repo = self.new_repo(uid, state);
                    root.insert(&new.name, &repo);
                    let record = Record::RepositoryCreated {
                        uid,
                        name: new.name,
                        namespace: new.storage_namespace,
                        default_branch: new.default_branch,
                        read_only: new.read_only,
                        commit,
                    };
                    let created = Some(Created::Repo(repo));
                    keyed.answer(&mut context, || {
                        let mut w = Writer::new();
                        w.bytes(&crate::tables::encode_repository(uid, &info));
                        w.finish().into()
                    });
                    let ticket =
                        self.submit(Submission { context, records: vec![record], nodes: None, created });
                    Ok((info, ticket))
                }
            }
        };
        let (info, decided) = match decided {
            Ok((info, ticket)) => (Some(info), Ok(ticket)),
            Err(error) => (None, Err(error)),
        };
        self.settle(decided).await?;
        Ok((*info.expect("what was decided has its description")).clone())
    }

    /// Unpublishes a repository. Its number is never used again.
    pub async fn delete_repository(&self, actor: &Actor, name: &RepositoryName, force: bool) -> Result<()> {
        self.journal.admit()?;
        let mut keyed = match self.begin(actor, "delete-repository", name, || vec![u8::from(force)]).await? {
            Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(name)?;
        self.writable(&repo, force)?;
        let decided = repo.decide().map(|mut state| {
            let ticket = self.unpublish(actor, &mut keyed, &repo, &mut state);
            (ticket, state.branches.clone())
        });
        let decided = decided.map(|(ticket, branches)| {
            // A branch's lock comes before its repository's, so its turn is after that one is given back. By
            // then the deletion is in the journal: a checkpoint that passes over a deleted branch relies on it.
            for branch in branches.values() {
                branch.state.decide().deleted = true;
            }
            ticket
        });
        self.settle(decided).await
    }

    /// Unpublishes a repository in which nothing ever was: its default branch at the first commit, without an
    /// object. A write that comes first makes this refuse; one that comes later finds no branch.
    pub async fn delete_empty_repository(&self, actor: &Actor, name: &RepositoryName) -> Result<()> {
        self.journal.admit()?;
        let mut keyed = match self.begin(actor, "delete-empty-repository", name, Vec::new).await? {
            Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(name)?;
        self.writable(&repo, false)?;
        let branch = self.branch(&repo, &repo.info().default_branch).map_err(|_| {
            Error::new(
                Kind::NotEmpty,
                format!("repository '{name}' is bare: delete it as one that is not empty"),
            )
        })?;
        loop {
            let before = self.decided(&branch).await?;
            let (tree, _) = self.fold_view(&repo, &before).await?;
            let untouched =
                tree == TreeId::EMPTY && self.stored_commit(&repo, &before.head).await?.parents.is_empty();
            let decided = {
                let mut of_branch = branch.state.decide();
                if of_branch.next_seq != before.next_seq || of_branch.head != before.head {
                    continue;
                }
                repo.decide().and_then(|mut state| {
                    if !untouched || state.branches.len() > 1 || !state.tags.is_empty() {
                        return Err(Error::new(
                            Kind::NotEmpty,
                            format!("repository '{name}' holds objects, branches, tags or commits"),
                        ));
                    }
                    let ticket = self.unpublish(actor, &mut keyed, &repo, &mut state);
                    of_branch.deleted = true;
                    Ok(ticket)
                })
            };
            return self.settle(decided).await;
        }
    }

    /// Takes the repository away; the caller marks its branches.
    fn unpublish(&self, actor: &Actor, keyed: &mut Keyed, repo: &Arc<Repo>, state: &mut RepoState) -> Ticket {
        let record = Record::RepositoryDeleted { uid: repo.uid };
        state.apply(&record, None);
        self.root.decide().remove(repo.uid);
        let mut context = self.context(actor, "delete");
        keyed.answer(&mut context, Bytes::new);
        self.submit(Submission { context, records: vec![record], nodes: None, created: None })
    }

    /// One repository.
    pub fn get_repository(&self, name: &RepositoryName) -> Result<RepositoryInfo> {
        Ok((*self.repo(name)?.info()).clone())
    }

    /// Repositories by name; `search` is a substring of the name.
    pub fn list_repositories(&self, page: &PageRequest, search: &str) -> Page<RepositoryInfo> {
        let root = self.root.read();
        let names = root.by_name.range::<_, str>(page_start(page)).map(|(name, repo)| (name.as_str(), repo));
        page_of(names, page, |name, _| name.contains(search), |_, repo| (*repo.info()).clone())
    }

    /// Changes a repository's metadata: `set` is merged in, `remove` is taken out.
    pub async fn change_repository_metadata(
        &self,
        actor: &Actor,
        name: &RepositoryName,
        set: Metadata,
        remove: &[String],
    ) -> Result<()> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.map(set.iter());
        remove.iter().for_each(|key| {
            request.text(key);
        });
        let mut keyed = match self.begin(actor, "repository-metadata", name, || request.finish()).await? {
            Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(name)?;
        let decided = repo.decide().and_then(|mut state| {
            let mut metadata = state.info.metadata.clone();
            metadata.extend(set);
            metadata.retain(|key, _| !remove.contains(key));
            if metadata_bytes(&metadata) > REPOSITORY_METADATA_BYTES_MAX {
                return Err(Error::new(
                    Kind::TooLarge,
                    format!(
                        "the repository's metadata would have {} bytes; the limit is {REPOSITORY_METADATA_BYTES_MAX}",
                        metadata_bytes(&metadata)
                    ),
                ));
            }
            let record = Record::RepositoryMetadata { uid: repo.uid, metadata };
            state.apply(&record, None);
            let mut context = self.context(actor, "repository-metadata");
            keyed.answer(&mut context, Bytes::new);
            Ok(self.submit(Submission { context, records: vec![record], nodes: None, created: None }))
        });
        self.settle(decided).await
    }
}

/// Where a page of names begins.
pub(super) fn page_start(page: &PageRequest) -> (Bound<&str>, Bound<&str>) {
    let start = if page.after.is_empty() || page.after < page.prefix {
        Bound::Included(page.prefix.as_str())
    } else {
        Bound::Excluded(page.after.as_str())
    };
    (start, Bound::Unbounded)
}

/// One page of things ordered by name; `all` begins at [`page_start`].
pub(super) fn page_of<'a, V: 'a, T>(
    all: impl Iterator<Item = (&'a str, V)>,
    page: &PageRequest,
    keep: impl Fn(&str, &V) -> bool,
    make: impl Fn(&str, V) -> T,
) -> Page<T> {
    let mut items = Vec::new();
    for (name, value) in all.take_while(|(name, _)| name.starts_with(&page.prefix)) {
        if !keep(name, &value) {
            continue;
        }
        if items.len() == page.amount {
            return Page { items, has_more: true };
        }
        items.push(make(name, value));
    }
    Page { items, has_more: false }
}
