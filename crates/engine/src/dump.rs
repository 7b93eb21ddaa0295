//! The files of a dump of refs (`docs/formats/dump.md`): all commits of a repository, its branches, its tags.
//!
//! Each names the repository it is of, and is named by the SHA-256 of its bytes. A commit is stored by its fields, so
//! its id cannot be another than theirs.

use crate::keys::RepoUid;
use crate::record::{ImportRule, decode_rule, encode_rule, take_branch, take_flag, take_tag};
use bytes::Bytes;
use millpond_types::{BranchName, Commit, CommitId, DecodeError, Reader, TagName, Writer};
use std::sync::Arc;

const MAGIC: &[u8; 4] = b"MPDR";
const VERSION: u8 = 1;

/// What a dump is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The repository whose packs and data blobs hold what the commits refer to.
    pub uid: RepoUid,
    /// Its storage namespace.
    pub namespace: String,
}

/// The first file: commits, and what they need to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// Import rules by number.
    pub rules: Vec<(u32, Arc<ImportRule>)>,
    /// Other ids of commits.
    pub aliases: Vec<(CommitId, CommitId)>,
    /// Parents before children.
    pub commits: Vec<Arc<Commit>>,
}

/// A branch: name, commit, whether listings leave it out.
pub type Branch = (BranchName, CommitId, bool);
/// A tag and its commit.
pub type Tag = (TagName, CommitId);

fn file(kind: u8, origin: &Origin) -> Writer {
    let mut w = Writer::new();
    w.raw(MAGIC).u8(VERSION).u8(kind).uint(origin.uid).text(&origin.namespace);
    w
}

fn read<T>(
    kind: u8,
    bytes: Bytes,
    read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<(Origin, T), DecodeError> {
    let mut r = Reader::new(bytes);
    let (found, origin) = head(&mut r)?;
    if found != kind {
        return Err(DecodeError("it is another file of a dump"));
    }
    let content = read(&mut r)?;
    r.end()?;
    Ok((origin, content))
}

/// What any of the files is of.
pub fn origin(bytes: Bytes) -> Result<Origin, DecodeError> {
    head(&mut Reader::new(bytes)).map(|(_, origin)| origin)
}

fn head(r: &mut Reader) -> Result<(u8, Origin), DecodeError> {
    if r.raw(4)? != MAGIC[..] || r.u8()? != VERSION {
        return Err(DecodeError("it is no file of a dump that this version reads"));
    }
    Ok((r.u8()?, Origin { uid: r.uint()?, namespace: r.text()? }))
}

pub fn encode_commits(origin: &Origin, content: &Commits) -> Bytes {
    let mut w = file(0, origin);
    w.uint(content.rules.len() as u64);
    for (number, rule) in &content.rules {
        w.uint(u64::from(*number));
        encode_rule(&mut w, rule);
    }
    w.uint(content.aliases.len() as u64);
    for (alias, commit) in &content.aliases {
        w.raw(&alias.0).raw(&commit.0);
    }
    w.uint(content.commits.len() as u64);
    content.commits.iter().for_each(|commit| commit.encode(&mut w));
    w.finish().into()
}

pub fn decode_commits(bytes: Bytes) -> Result<(Origin, Commits), DecodeError> {
    read(0, bytes, |r| {
        let mut content = Commits::default();
        for _ in 0..r.uint()? {
            let number = u32::try_from(r.uint()?).map_err(|_| DecodeError("rule number does not fit"))?;
            content.rules.push((number, Arc::new(decode_rule(r)?)));
        }
        for _ in 0..r.uint()? {
            content.aliases.push((CommitId(r.digest()?), CommitId(r.digest()?)));
        }
        for _ in 0..r.uint()? {
            content.commits.push(Arc::new(Commit::decode(r)?));
        }
        Ok(content)
    })
}

pub fn encode_branches(origin: &Origin, branches: &[Branch]) -> Bytes {
    let mut w = file(1, origin);
    w.uint(branches.len() as u64);
    for (name, head, hidden) in branches {
        w.text(name.as_str()).raw(&head.0).u8(u8::from(*hidden));
    }
    w.finish().into()
}

pub fn decode_branches(bytes: Bytes) -> Result<(Origin, Vec<Branch>), DecodeError> {
    read(1, bytes, |r| {
        let mut branches = Vec::new();
        for _ in 0..r.uint()? {
            branches.push((take_branch(r)?, CommitId(r.digest()?), take_flag(r)?));
        }
        Ok(branches)
    })
}

pub fn encode_tags(origin: &Origin, tags: &[Tag]) -> Bytes {
    let mut w = file(2, origin);
    w.uint(tags.len() as u64);
    for (name, commit) in tags {
        w.text(name.as_str()).raw(&commit.0);
    }
    w.finish().into()
}

pub fn decode_tags(bytes: Bytes) -> Result<(Origin, Vec<Tag>), DecodeError> {
    read(2, bytes, |r| {
        let mut tags = Vec::new();
        for _ in 0..r.uint()? {
            tags.push((take_tag(r)?, CommitId(r.digest()?)));
        }
        Ok(tags)
    })
}
