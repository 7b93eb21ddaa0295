//! What a client knows must be on the server: a model simple enough to be obviously right.
//!
//! Each client owns its branches, tags and keys, so its model is exact. It knows nothing of requests.

use std::collections::BTreeMap;
use std::rc::Rc;

/// What an object must read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its length.
    pub bytes: u64,
    /// Its ETag without quotes.
    pub etag: String,
    /// The hash of its bytes.
    pub sha256: [u8; 32],
}

/// Objects by key.
pub type Tree = BTreeMap<String, Rc<Content>>;

/// A branch: its head, the tree of the head, and what reading the branch shows.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The commit id.
    pub head: String,
    /// The head's objects.
    pub committed: Tree,
    /// The head's objects with what is staged.
    pub view: Tree,
}

/// A part that the server acknowledged.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its bytes, which the completed object is made of.
    pub body: Rc<Vec<u8>>,
    /// Its ETag without quotes.
    pub etag: String,
}

/// A multipart upload that is open.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The server's id.
    pub id: String,
    /// The key on the work branch.
    pub key: String,
    /// The parts so far, from number 1.
    pub parts: Vec<Part>,
}

/// Everything one client owns.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The work branch and side branches.
    pub branches: BTreeMap<String, Branch>,
    /// Tags and the commits they name.
    pub tags: BTreeMap<String, String>,
    /// The client's objects on `main`.
    pub merged: Tree,
    /// The open upload.
    pub upload: Option<Upload>,
}

/// One request that changes something.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields say what they are")]
pub enum Operation {
    /// PUT of a whole object.
    Put {
        branch: String,
        key: String,
        content: Rc<Content>,
        body: Rc<Vec<u8>>,
        signed: bool,
    },
    /// CopyObject within a branch.
    Copy {
        branch: String,
        from: String,
        to: String,
    },
    /// DELETE of a key, which may be absent.
    Delete {
        branch: String,
        key: String,
    },
    /// DeleteObjects: all or nothing.
    DeleteMany {
        branch: String,
        keys: Vec<String>,
    },
    /// A commit of everything staged.
    Commit {
        branch: String,
        message: String,
    },
    /// The work branch into `main`.
    Merge {
        branch: String,
        message: String,
    },
    /// A side branch from the head of the work branch.
    CreateBranch {
        name: String,
        source: String,
    },
    DeleteBranch {
        name: String,
    },
    /// A tag at a commit.
    CreateTag {
        name: String,
        commit: String,
    },
    DeleteTag {
        name: String,
    },
    /// Everything staged is dropped.
    Reset {
        branch: String,
    },
    StartUpload {
        key: String,
    },
    UploadPart {
        upload: String,
        key: String,
        number: usize,
        part: Part,
    },
    CompleteUpload {
        upload: String,
        key: String,
        branch: String,
        parts: Vec<String>,
        content: Rc<Content>,
    },
}

impl Operation {
    /// The kind, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Put { body, .. } if body.len() > 64 * 1024 => "put above 64 KiB",
            Self::Put { .. } => "put",
            Self::Copy { .. } => "copy",
            Self::Delete { .. } => "delete",
            Self::DeleteMany { .. } => "delete many",
            Self::Commit { .. } => "commit",
            Self::Merge { .. } => "merge",
            Self::CreateBranch { .. } => "create branch",
            Self::DeleteBranch { .. } => "delete branch",
            Self::CreateTag { .. } => "create tag",
            Self::DeleteTag { .. } => "delete tag",
            Self::Reset { .. } => "reset",
            Self::StartUpload { .. } => "start upload",
            Self::UploadPart { .. } => "upload part",
            Self::CompleteUpload { .. } => "complete upload",
        }
    }

    /// Branch and key of each object it writes or deletes.
    pub fn touches(&self) -> Vec<(String, String)> {
        match self {
            Self::Put { branch, key, .. }
            | Self::Delete { branch, key }
            | Self::Copy { branch, to: key, .. } => {
                vec![(branch.clone(), key.clone())]
            }
            Self::CompleteUpload { branch, key, .. } => vec![(branch.clone(), key.clone())],
            Self::DeleteMany { branch, keys } => {
                keys.iter().map(|key| (branch.clone(), key.clone())).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl State {
    /// The state after the operation took effect; `made` is the id of the commit or upload it made.
    /// An operation on something that is not there changes nothing.
    pub fn apply(&mut self, operation: &Operation, made: &str) {
        match operation {
            Operation::Put { branch, key, content, .. } => self.write(branch, key, content.clone()),
            Operation::Copy { branch, from, to } => {
                if let Some(content) =
                    self.branches.get(branch).and_then(|found| found.view.get(from)).cloned()
                {
                    self.write(branch, to, content);
                }
            }
            Operation::Delete { branch, key } => {
                self.change(branch, |found| drop(found.view.remove(key)));
            }
            Operation::DeleteMany { branch, keys } => {
                self.change(branch, |found| found.view.retain(|key, _| !keys.contains(key)));
            }
            Operation::Commit { branch, .. } => self.change(branch, |found| {
                found.committed = found.view.clone();
                found.head = made.to_owned();
            }),
            Operation::Merge { branch, .. } => {
                if let Some(found) = self.branches.get(branch) {
                    self.merged = found.committed.clone();
                }
            }
            Operation::CreateBranch { name, source } => {
                if let Some(found) = self.branches.get(source) {
                    let (head, committed) = (found.head.clone(), found.committed.clone());
                    self.branches.insert(name.clone(), Branch { head, view: committed.clone(), committed });
                }
            }
            Operation::DeleteBranch { name } => drop(self.branches.remove(name)),
            Operation::CreateTag { name, commit } => drop(self.tags.insert(name.clone(), commit.clone())),
            Operation::DeleteTag { name } => drop(self.tags.remove(name)),
            Operation::Reset { branch } => self.change(branch, |found| found.view = found.committed.clone()),
            Operation::StartUpload { key } => {
                self.upload = Some(Upload { id: made.to_owned(), key: key.clone(), parts: Vec::new() });
            }
            Operation::UploadPart { part, .. } => {
                if let Some(upload) = &mut self.upload {
                    upload.parts.push(part.clone());
                }
            }
            Operation::CompleteUpload { branch, key, content, .. } => {
                self.upload = None;
                self.write(branch, key, content.clone());
            }
        }
    }

    fn write(&mut self, branch: &str, key: &str, content: Rc<Content>) {
        self.change(branch, |found| drop(found.view.insert(key.to_owned(), content)));
    }

    fn change(&mut self, branch: &str, change: impl FnOnce(&mut Branch)) {
        if let Some(found) = self.branches.get_mut(branch) {
            change(found);
        }
    }

    /// The state as single facts that a server can be asked about.
    pub fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        for (name, branch) in &self.branches {
            facts.insert(format!("branch {name}"), branch.head.clone());
            for (key, content) in &branch.view {
                facts.insert(format!("object {key} of {name}"), shown(content.bytes, &content.etag));
            }
        }
        for (name, commit) in &self.tags {
            facts.insert(format!("tag {name}"), commit.clone());
        }
        for (key, content) in &self.merged {
            facts.insert(format!("object {key} of main"), shown(content.bytes, &content.etag));
        }
        if let Some(upload) = &self.upload {
            facts.insert(format!("upload {}", upload.id), "open".into());
            for (index, part) in upload.parts.iter().enumerate() {
                facts.insert(format!("part {} of upload {}", index + 1, upload.id), part.etag.clone());
            }
        }
        facts
    }
}

/// Single facts: what, and its value.
pub type Facts = BTreeMap<String, String>;

/// An object as a fact's value.
pub fn shown(bytes: u64, etag: &str) -> String {
    format!("{bytes} bytes, ETag {etag}")
}
