//! One client of the load: chooses operations, sends them, keeps the ledger of what was acknowledged.

use super::state::{Branch, Content, Operation, Part, State, Tree, Upload};
use crate::chance::Chance;
use crate::site::{Payload, Site, content_md5, element, encode, md5_of};
use crate::wire::{Answer, Connection, Request};
use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Instant;

/// The repository of all clients.
pub const REPOSITORY: &str = "crash";
const KEYS: u64 = 24;
const SIDE_BRANCHES_MAX: usize = 2;
const TAGS_MAX: usize = 6;
/// The least size of a part that is not the last.
const PART_BYTES: usize = 5 << 20;

/// A commit that must be there for ever.
#[derive(Debug)]
pub struct CommitRecord {
    /// Its message.
    pub message: String,
    /// How many parents it has; with two it is a merge, and other clients' objects are in it too.
    pub parents: usize,
    /// The last of its parents.
    pub last_parent: String,
    /// The client's objects in it.
    pub tree: Tree,
}

/// A client and all it knows.
#[derive(Debug)]
pub struct Worker {
    /// Its name: prefix of its branches, tags and keys.
    pub name: String,
    /// What the server must show.
    pub state: State,
    /// Every commit that was acknowledged, or found to be made.
    pub commits: BTreeMap<String, Rc<CommitRecord>>,
    /// Sent and not answered.
    pub pending: Option<Operation>,
    /// Acknowledged in this round, by kind.
    pub acknowledged: BTreeMap<&'static str, u64>,
    /// Commits and merges acknowledged in this round.
    pub new_commits: Vec<String>,
    /// Merge commits acknowledged in this round.
    pub new_merges: Vec<String>,
    /// Objects written or deleted in this round, answered or not.
    pub touched: BTreeSet<(String, String)>,
    /// Requests that were refused although nothing was wrong with them, and broken connections.
    pub unexpected: Vec<String>,
    /// Requests refused with 429 or 503, which a server under load may do.
    pub deferred: u64,
    /// Operations begun after the accident and acknowledged all the same.
    pub acknowledged_after: u64,
    chance: Chance,
    counter: u64,
}

enum Outcome {
    Done(String),
    Deferred,
    Refused(String),
}

impl Worker {
    /// A client with its work branch at the first commit of the repository.
    pub fn new(number: usize, seed: u64, first_commit: &str) -> Self {
        let name = format!("c{number:02}");
        let mut state = State::default();
        let branch = Branch { head: first_commit.to_owned(), committed: Tree::new(), view: Tree::new() };
        state.branches.insert(format!("{name}-work"), branch);
        Self {
            chance: Chance::new(crate::chance::scramble(seed ^ (number as u64) << 32)),
            name,
            state,
            commits: BTreeMap::new(),
            pending: None,
            acknowledged: BTreeMap::new(),
            new_commits: Vec::new(),
            new_merges: Vec::new(),
            touched: BTreeSet::new(),
            unexpected: Vec::new(),
            deferred: 0,
            acknowledged_after: 0,
            counter: 0,
        }
    }

    /// The branch that is merged into `main`.
    pub fn work_branch(&self) -> String {
        format!("{}-work", self.name)
    }

    /// Forgets what belongs to the last round only.
    pub fn begin_round(&mut self) {
        self.acknowledged.clear();
        self.new_commits.clear();
        self.new_merges.clear();
        self.touched.clear();
    }

    /// Sends one operation after the other until one fails after the accident, which `struck` tells the moment of.
    /// A failure before it is the server's fault and is noted. Without a failure it ends when it `is_over`.
    pub async fn work(&mut self, site: &Site, struck: &Cell<Option<Instant>>, is_over: &dyn Fn() -> bool) {
        let mut connection = Connection::new(site.address);
        while !is_over() {
            let operation = self.choose();
            self.touched.extend(operation.touches());
            self.pending = Some(operation.clone());
            let sent = Instant::now();
            let outcome = perform(site, &mut connection, &operation).await;
            // An error after the accident says nothing about what was done: the operation stays pending.
            let failed = match outcome {
                Ok(Outcome::Done(made)) => {
                    self.acknowledged_after += u64::from(struck.get().is_some_and(|at| at < sent));
                    self.record(&operation, &made);
                    self.pending = None;
                    continue;
                }
                _ if struck.get().is_some() => return,
                Ok(Outcome::Deferred) => {
                    self.deferred += 1;
                    self.pending = None;
                    continue;
                }
                Ok(Outcome::Refused(answer)) => format!("was refused: {answer}"),
                Err(error) => format!("had no answer although nothing was done to the server yet: {error:#}"),
            };
            self.unexpected.push(format!("{}: {} {failed}", self.name, describe(&operation)));
            return;
        }
    }

    fn record(&mut self, operation: &Operation, made: &str) {
        *self.acknowledged.entry(operation.kind()).or_default() += 1;
        self.take_effect(operation, made);
        if matches!(operation, Operation::Merge { .. }) {
            self.new_merges.push(made.to_owned());
        }
    }

    /// The operation happened: changes the model and remembers the commit it made, if its id is known.
    pub fn take_effect(&mut self, operation: &Operation, made: &str) {
        let record = match operation {
            Operation::Commit { branch, message } => {
                self.state.branches.get(branch).map(|found| CommitRecord {
                    message: message.clone(),
                    parents: 1,
                    last_parent: found.head.clone(),
                    tree: found.view.clone(),
                })
            }
            Operation::Merge { branch, message } => {
                self.state.branches.get(branch).map(|found| CommitRecord {
                    message: message.clone(),
                    parents: 2,
                    last_parent: found.head.clone(),
                    tree: found.committed.clone(),
                })
            }
            _ => None,
        };
        if let Some(record) = record
            && !made.is_empty()
        {
            self.commits.insert(made.to_owned(), Rc::new(record));
            self.new_commits.push(made.to_owned());
        }
        self.state.apply(operation, made);
    }

    fn choose(&mut self) -> Operation {
        self.counter += 1;
        let work = self.work_branch();
        let branch = self.any_branch();
        let sides: Vec<String> = self.state.branches.keys().filter(|name| **name != work).cloned().collect();
        let message = format!("{} {}", self.name, self.counter);
        match self.chance.below(100) {
            0..52 => self.put(branch),
            // A copy of an object onto itself is refused, as S3 does.
            52..57 => match (self.any_key_of(&branch), self.any_key()) {
                (Some(from), to) if from != to => Operation::Copy { branch, from, to },
                _ => self.put(branch),
            },
            57..65 => Operation::Delete { branch, key: self.any_key() },
            65..69 => {
                let keys = (0..2 + self.chance.below(8)).map(|_| self.any_key()).collect::<BTreeSet<_>>();
                Operation::DeleteMany { branch, keys: keys.into_iter().collect() }
            }
            69..80 => Operation::Commit { branch, message },
            80..86 => Operation::Merge { branch: work, message },
            86..90 if sides.len() < SIDE_BRANCHES_MAX => {
                Operation::CreateBranch { name: format!("{}-side{}", self.name, self.counter), source: work }
            }
            86..93 => match sides.first() {
                Some(name) => Operation::DeleteBranch { name: name.clone() },
                None => Operation::Commit { branch, message },
            },
            93..97 if self.state.tags.len() < TAGS_MAX => {
                let commit =
                    self.state.branches.get(&work).map(|found| found.head.clone()).unwrap_or_default();
                Operation::CreateTag { name: format!("{}-tag{}", self.name, self.counter), commit }
            }
            93..97 => match self.state.tags.keys().next() {
                Some(name) => Operation::DeleteTag { name: name.clone() },
                None => Operation::Commit { branch, message },
            },
            97 => Operation::Reset { branch },
            _ => self.advance_upload(work),
        }
    }

    fn put(&mut self, branch: String) -> Operation {
        let length = match self.chance.below(100) {
            0..3 => 0,
            3..70 => self.chance.below(4 * 1024),
            70..94 => self.chance.below(64 * 1024),
            94..97 => 64 * 1024 - 1 + self.chance.below(3),
            _ => 64 * 1024 + self.chance.below(512 * 1024),
        };
        let body = self.chance.bytes(length as usize);
        let content = content(&body, hex::encode(md5_of(&body)));
        Operation::Put {
            branch,
            key: self.any_key(),
            content,
            body: Rc::new(body),
            signed: self.chance.one_in(2),
        }
    }

    fn advance_upload(&mut self, branch: String) -> Operation {
        let Some(upload) = self.state.upload.clone() else {
            return Operation::StartUpload { key: format!("{}/big", self.name) };
        };
        let Upload { id, key, parts } = upload;
        if parts.len() == 2 {
            let (mut whole, mut digests) = (Vec::new(), Vec::new());
            for part in &parts {
                whole.extend_from_slice(&part.body);
                digests.extend_from_slice(&md5_of(&part.body));
            }
            let content = content(&whole, format!("{}-{}", hex::encode(md5_of(&digests)), parts.len()));
            let parts = parts.iter().map(|part| part.etag.clone()).collect();
            return Operation::CompleteUpload { upload: id, key, branch, parts, content };
        }
        let length = if parts.is_empty() { PART_BYTES } else { 1 + self.chance.below(100_000) as usize };
        let body = self.chance.bytes(length);
        let part = Part { etag: hex::encode(md5_of(&body)), body: Rc::new(body) };
        Operation::UploadPart { upload: id, key, number: parts.len() + 1, part }
    }

    fn any_branch(&mut self) -> String {
        let index = self.chance.below(self.state.branches.len() as u64 + 2) as usize;
        self.state.branches.keys().nth(index).cloned().unwrap_or_else(|| self.work_branch())
    }

    fn any_key(&mut self) -> String {
        match self.chance.below(KEYS) {
            0 => format!("{}/with a space/ü+é", self.name),
            1 => format!("{}//empty/segment", self.name),
            2 => format!("{}/{}", self.name, "long".repeat(200)),
            number => format!("{}/k{number:02}", self.name),
        }
    }

    fn any_key_of(&mut self, branch: &str) -> Option<String> {
        let view = &self.state.branches.get(branch)?.view;
        let index = self.chance.below(view.len().max(1) as u64) as usize;
        view.keys().nth(index).cloned()
    }
}

fn content(body: &[u8], etag: String) -> Rc<Content> {
    Rc::new(Content { bytes: body.len() as u64, etag, sha256: Sha256::digest(body).into() })
}

/// The operation in one line, without bodies.
pub fn describe(operation: &Operation) -> String {
    match operation {
        Operation::Put { branch, key, body, .. } => format!("put {branch}/{key} ({} bytes)", body.len()),
        Operation::UploadPart { upload, key, number, .. } => {
            format!("part {number} of upload {upload} of {key}")
        }
        Operation::CompleteUpload { upload, key, .. } => format!("completion of upload {upload} of {key}"),
        Operation::DeleteMany { branch, keys } => format!("delete many of {branch}: {keys:?}"),
        other => format!("{other:?}"),
    }
}

async fn perform(site: &Site, connection: &mut Connection, operation: &Operation) -> Result<Outcome> {
    let answer = connection.exchange(&request(site, operation)).await?;
    Ok(match (answer.status, answer.is_success()) {
        (429 | 503, _) => Outcome::Deferred,
        (_, false) => Outcome::Refused(format!("status {}: {}", answer.status, answer.excerpt())),
        _ => match made(operation, &answer) {
            Ok(made) => Outcome::Done(made),
            Err(error) => Outcome::Refused(format!("{error:#}: {}", answer.excerpt())),
        },
    })
}

/// The id that the answer gives, and what else a success must say.
fn made(operation: &Operation, answer: &Answer) -> Result<String> {
    let body = String::from_utf8_lossy(&answer.body);
    match operation {
        Operation::Commit { .. } => Ok(answer.json()?["id"].as_str().context("no commit id")?.to_owned()),
        Operation::Merge { .. } => {
            Ok(answer.json()?["reference"].as_str().context("no reference")?.to_owned())
        }
        Operation::StartUpload { .. } => Ok(element(&body, "UploadId").context("no upload id")?.to_owned()),
        Operation::DeleteMany { .. } if body.contains("<Error>") => anyhow::bail!("keys were not deleted"),
        Operation::CompleteUpload { .. } if !body.contains("<CompleteMultipartUploadResult") => {
            anyhow::bail!("the upload was not completed")
        }
        Operation::Put { content, .. } => {
            let etag = answer.header("etag").unwrap_or_default().trim_matches('"');
            anyhow::ensure!(etag == content.etag, "ETag {etag} instead of {}", content.etag);
            Ok(String::new())
        }
        _ => Ok(String::new()),
    }
}

fn request(site: &Site, operation: &Operation) -> Request {
    let object = |branch: &str, key: &str| format!("{REPOSITORY}/{branch}/{key}");
    let branches = format!("/repositories/{REPOSITORY}/branches");
    // Uploads are always on the work branch, whose name follows from the key's first segment.
    let upload_path = |key: &str| object(&format!("{}-work", key.split('/').next().unwrap_or_default()), key);
    match operation {
        Operation::Put { branch, key, body, signed, .. } => {
            let payload = if *signed { Payload::Signed } else { Payload::Unsigned };
            site.s3_with("PUT", &object(branch, key), &[], &[], payload, Bytes::from(body.as_ref().clone()))
        }
        Operation::Copy { branch, from, to } => {
            let source = encode(&format!("/{}", object(branch, from)), true);
            site.s3("PUT", &object(branch, to), &[], &[("x-amz-copy-source", &source)])
        }
        Operation::Delete { branch, key } => site.s3("DELETE", &object(branch, key), &[], &[]),
        Operation::DeleteMany { branch, keys } => {
            let listed: String =
                keys.iter().map(|key| format!("<Object><Key>{branch}/{key}</Key></Object>")).collect();
            let body = Bytes::from(format!("<Delete>{listed}</Delete>"));
            let digest = content_md5(&body);
            site.s3_with(
                "POST",
                REPOSITORY,
                &[("delete", "")],
                &[("content-md5", &digest)],
                Payload::Unsigned,
                body,
            )
        }
        Operation::Commit { branch, message } => site.api(
            "POST",
            &format!("{branches}/{branch}/commits"),
            Some(&json!({"message": message, "allow_empty": true})),
        ),
        Operation::Merge { branch, message } => site.api(
            "POST",
            &format!("/repositories/{REPOSITORY}/refs/{branch}/merge/main"),
            Some(&json!({"message": message, "allow_empty": true})),
        ),
        Operation::CreateBranch { name, source } => {
            site.api("POST", &branches, Some(&json!({"name": name, "source": source})))
        }
        Operation::DeleteBranch { name } => site.api("DELETE", &format!("{branches}/{name}"), None),
        Operation::CreateTag { name, commit } => site.api(
            "POST",
            &format!("/repositories/{REPOSITORY}/tags"),
            Some(&json!({"id": name, "ref": commit})),
        ),
        Operation::DeleteTag { name } => {
            site.api("DELETE", &format!("/repositories/{REPOSITORY}/tags/{name}"), None)
        }
        Operation::Reset { branch } => {
            site.api("PUT", &format!("{branches}/{branch}"), Some(&json!({"type": "reset"})))
        }
        Operation::StartUpload { key } => site.s3("POST", &upload_path(key), &[("uploads", "")], &[]),
        Operation::UploadPart { upload, key, number, part } => {
            let query = [("partNumber", &*number.to_string()), ("uploadId", &**upload)];
            site.s3_with(
                "PUT",
                &upload_path(key),
                &query,
                &[],
                Payload::Unsigned,
                Bytes::from(part.body.as_ref().clone()),
            )
        }
        Operation::CompleteUpload { upload, key, parts, .. } => {
            let listed: String = parts
                .iter()
                .enumerate()
                .map(|(index, etag)| {
                    format!("<Part><PartNumber>{}</PartNumber><ETag>\"{etag}\"</ETag></Part>", index + 1)
                })
                .collect();
            let body = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
            site.s3_with(
                "POST",
                &upload_path(key),
                &[("uploadId", upload)],
                &[],
                Payload::Unsigned,
                body.into(),
            )
        }
    }
}
