//! The look-up tables' rows (`docs/formats/metadata.md`, version 1). They are built from the journal at
//! each checkpoint, and could be rebuilt from it.

use crate::jobs::Job;
use crate::keys::RepoUid;
use crate::record::{
    ImportRule, decode_completed, decode_import_end, decode_part, decode_progress,
    decode_upload as decode_upload_info, encode_completed, encode_import_end, encode_part, encode_progress,
    encode_upload as encode_upload_info,
};
use crate::settings::Settings;
use crate::state::{Branch, BranchState, ImportState, RepoState, UploadState, new_repo_state};
use crate::{Error, Kind, PullRequest, RefMove, RepositoryInfo, Result};
use bytes::Bytes;
use millpond_types::{
    BranchName, CommitId, DecodeError, NodeId, Reader, RepositoryName, TagName, Timestamp, TreeId, Writer,
};
use std::sync::Arc;

const VERSION: u8 = 1;

fn read<T>(
    what: &str,
    bytes: Bytes,
    read: impl FnOnce(&mut Reader) -> std::result::Result<T, DecodeError>,
) -> Result<T> {
    let mut r = Reader::new(bytes);
    let version = r
        .u8()
        .and_then(|v| if v == VERSION { Ok(()) } else { Err(DecodeError("row is of an unknown version")) });
    version
        .and_then(|()| read(&mut r))
        .map_err(|e| Error::new(Kind::Damaged, format!("stored {what} cannot be read: {e}")))
}

fn row() -> Writer {
    let mut w = Writer::new();
    w.u8(VERSION);
    w
}

fn put_tree(w: &mut Writer, tree: &TreeId) {
    match tree.0 {
        None => w.u8(0),
        Some(id) => w.u8(1).raw(&id.0),
    };
}

fn take_tree(r: &mut Reader) -> std::result::Result<TreeId, DecodeError> {
    Ok(TreeId(if r.u8()? == 0 { None } else { Some(NodeId(r.digest()?)) }))
}

/// A repository.
pub fn encode_repository(uid: RepoUid, info: &RepositoryInfo) -> Bytes {
    let mut w = row();
    w.uint(uid).text(info.name.as_str()).text(&info.storage_namespace).text(info.default_branch.as_str());
    w.int(info.created.millis()).u8(u8::from(info.read_only)).map(info.metadata.iter());
    w.finish().into()
}

/// The inverse of [`encode_repository`], without refs.
pub fn decode_repository(bytes: Bytes) -> Result<(RepoUid, RepoState)> {
    read("repository", bytes, |r| {
        let uid = r.uint()?;
        let name =
            RepositoryName::parse(&r.text()?).map_err(|_| DecodeError("repository name is not valid"))?;
        let namespace = r.text()?;
        let default_branch =
            BranchName::parse(&r.text()?).map_err(|_| DecodeError("branch name is not valid"))?;
        let created = Timestamp(r.int()?);
        let read_only = r.u8()? != 0;
        let mut state = new_repo_state(&name, &namespace, &default_branch, read_only, created);
        let mut info = (*state.info).clone();
        info.metadata = r.map()?;
        state.info = Arc::new(info);
        Ok((uid, state))
    })
}

/// A branch without its memtable, which is in the journal.
pub fn encode_branch(hidden: bool, state: &BranchState) -> Bytes {
    let mut w = row();
    w.u8(u8::from(hidden)).raw(&state.head.0);
    put_tree(&mut w, &state.head_tree);
    put_tree(&mut w, &state.working);
    w.uint(state.folded_seq);
    w.finish().into()
}

/// The inverse of [`encode_branch`].
pub fn decode_branch(name: &[u8], bytes: Bytes) -> Result<Arc<Branch>> {
    read("branch", bytes, |r| {
        let name = std::str::from_utf8(name).ok().and_then(|n| BranchName::parse(n).ok());
        let name = name.ok_or(DecodeError("branch name is not valid"))?;
        let hidden = r.u8()? != 0;
        let mut state = BranchState::new(CommitId(r.digest()?), take_tree(r)?);
        state.working = take_tree(r)?;
        state.folded_seq = r.uint()?;
        state.next_seq = state.folded_seq + 1;
        Ok(Branch::new(name, hidden, state))
    })
}

/// The inverse of writing a tag's commit id as the value.
pub fn decode_tag(name: &[u8], value: &[u8]) -> Result<(TagName, CommitId)> {
    let name = std::str::from_utf8(name).ok().and_then(|n| TagName::parse(n).ok());
    match (name, value.try_into()) {
        (Some(name), Ok(id)) => Ok((name, CommitId(id))),
        _ => Err(Error::new(Kind::Damaged, "stored tag cannot be read")),
    }
}

/// The inverse of writing the commit's id as the value of an alias: both.
pub fn decode_alias(alias: &[u8], value: &[u8]) -> Result<(CommitId, CommitId)> {
    match (alias.try_into(), value.try_into()) {
        (Ok(alias), Ok(id)) => Ok((CommitId(alias), CommitId(id))),
        _ => Err(Error::new(Kind::Damaged, "stored alias of a commit cannot be read")),
    }
}

/// An upload with its parts.
pub fn encode_upload(upload: &UploadState) -> Bytes {
    let mut w = row();
    encode_upload_info(&mut w, &upload.info);
    w.uint(upload.parts.len() as u64);
    for part in upload.parts.values() {
        encode_part(&mut w, part);
    }
    match &upload.completed {
        None => {
            w.u8(0);
        }
        Some(done) => {
            w.u8(1);
            encode_completed(&mut w, done);
        }
    }
    w.finish().into()
}

/// The inverse of [`encode_upload`].
pub fn decode_upload(bytes: Bytes) -> Result<UploadState> {
    read("upload", bytes, |r| {
        let info = Arc::new(decode_upload_info(r)?);
        let mut parts = imbl::OrdMap::new();
        for _ in 0..r.uint()? {
            let part = decode_part(r)?;
            parts.insert(part.info.number, Arc::new(part));
        }
        let completed = if r.u8()? == 0 { None } else { Some(Arc::new(decode_completed(r)?)) };
        Ok(UploadState { info, parts, completed })
    })
}

/// A ref move.
pub fn encode_move(moved: &RefMove) -> Bytes {
    let mut w = row();
    w.uint(moved.sequence).int(moved.time.millis()).text(&moved.actor).text(&moved.cause);
    w.u8(u8::from(moved.is_tag)).text(&moved.name);
    for side in [&moved.old, &moved.new] {
        match side {
            None => w.u8(0),
            Some(id) => w.u8(1).raw(&id.0),
        };
    }
    w.finish().into()
}

/// The inverse of [`encode_move`].
pub fn decode_move(bytes: Bytes) -> Result<RefMove> {
    read("ref move", bytes, |r| {
        let id = |r: &mut Reader| Ok(if r.u8()? == 0 { None } else { Some(CommitId(r.digest()?)) });
        Ok(RefMove {
            sequence: r.uint()?,
            time: Timestamp(r.int()?),
            actor: r.text()?,
            cause: r.text()?,
            is_tag: r.u8()? != 0,
            name: r.text()?,
            old: id(r)?,
            new: id(r)?,
        })
    })
}

/// An import.
pub fn encode_import(import: &ImportState) -> Bytes {
    let mut w = row();
    crate::record::encode_import(&mut w, &import.order);
    match &import.progress {
        None => {
            w.u8(0);
        }
        Some(progress) => {
            w.u8(1);
            encode_progress(&mut w, progress);
        }
    }
    match &import.end {
        None => {
            w.u8(0);
        }
        Some(end) => {
            w.u8(1);
            encode_import_end(&mut w, end);
        }
    }
    w.finish().into()
}

/// The inverse of [`encode_import`].
pub fn decode_import(bytes: Bytes) -> Result<ImportState> {
    read("import", bytes, |r| {
        Ok(ImportState {
            order: Arc::new(crate::record::decode_import(r)?),
            progress: if r.u8()? == 0 { None } else { Some(Arc::new(decode_progress(r)?)) },
            end: if r.u8()? == 0 { None } else { Some(Arc::new(decode_import_end(r)?)) },
        })
    })
}

/// A repository's settings.
pub fn encode_settings(settings: &Settings) -> Bytes {
    let mut w = row();
    settings.encode(&mut w);
    w.finish().into()
}

/// The inverse of [`encode_settings`].
pub fn decode_settings(bytes: Bytes) -> Result<Settings> {
    read("settings", bytes, Settings::decode)
}

/// A pull request.
pub fn encode_pull(pull: &PullRequest) -> Bytes {
    let mut w = row();
    crate::pulls::encode(&mut w, pull);
    w.finish().into()
}

/// The inverse of [`encode_pull`].
pub fn decode_pull(bytes: Bytes) -> Result<Arc<PullRequest>> {
    Ok(Arc::new(read("pull request", bytes, crate::pulls::decode)?))
}

/// A job.
pub fn encode_job(job: &Job) -> Bytes {
    let mut w = row();
    crate::jobs::encode(&mut w, job);
    w.finish().into()
}

/// The inverse of [`encode_job`].
pub fn decode_job(bytes: Bytes) -> Result<Arc<Job>> {
    Ok(Arc::new(read("job", bytes, crate::jobs::decode)?))
}

/// An import rule.
pub fn encode_rule(rule: &ImportRule) -> Bytes {
    let mut w = row();
    crate::record::encode_rule(&mut w, rule);
    w.finish().into()
}

/// The inverse of [`encode_rule`], with its number from the key.
pub fn decode_rule(number: &[u8], bytes: Bytes) -> Result<(u32, Arc<ImportRule>)> {
    let number = number
        .try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| Error::new(Kind::Damaged, "the number of a stored import rule cannot be read"))?;
    Ok((number, Arc::new(read("import rule", bytes, crate::record::decode_rule)?)))
}
