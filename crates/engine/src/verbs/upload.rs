//! Multipart uploads. Parts are blobs; completing writes a list of them and moves no bytes.

use super::put::{DataWriter, check_attributes, check_size, describe, entry_answer};
use super::repositories::page_of;
use crate::address;
use crate::checkpoint::REMEMBER_MILLIS;
use crate::engine::Engine;
use crate::idempotency::Begin;
use crate::journal::Submission;
use crate::manifest::{Manifest, Part};
use crate::record::{CompletedUpload, Record, StoredPart, decode_upload, encode_upload};
use crate::state::{Repo, UploadState};
use crate::{
    Actor, CompleteRequest, Digests, Error, Kind, ObjectInfo, Page, PageRequest, PartInfo, Result, Thing,
    UploadInfo,
};
use bytes::Bytes;
use md5::{Digest, Md5};
use millpond_types::limits::{PART_BYTES_MIN, PART_NUMBER_MAX};
use millpond_types::{
    Address, Attributes, BranchName, Checksum, Content, Entry, ObjectPath, RepositoryName, Timestamp, Writer,
    entry::parts_hash,
};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// A part being written. Dropping it discards it.
pub struct PartWriter {
    engine: Arc<Engine>,
    actor: Actor,
    repo: Arc<Repo>,
    upload: String,
    number: u32,
    data: DataWriter,
}

fn no_upload(id: &str) -> Error {
    Error::new(
        Kind::NotFound(Thing::Upload),
        format!("upload '{id}' not found: it was completed, aborted or never begun"),
    )
}

impl Engine {
    /// Starts a multipart upload.
    #[allow(clippy::too_many_arguments)]
    pub async fn create_upload(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        attributes: Attributes,
        checksum_algorithm: &str,
        checksum_type: &str,
    ) -> Result<UploadInfo> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.text(branch.as_str()).bytes(path.as_bytes()).bytes(&attributes.encode());
        request.text(checksum_algorithm).text(checksum_type);
        let mut keyed = match self.begin(actor, "create-upload", repository, || request.finish()).await? {
            Begin::Again(answer) => return self.same(answer, decode_upload).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.branch(&repo, branch)?;
        self.changeable(&repo, branch, "create-upload", false)?;
        check_attributes(&attributes)?;
        let mut context = self.context(actor, "create-upload");
        let upload = Arc::new(UploadInfo {
            id: format!("{}{}", self.random_id(), self.random_id()),
            branch: branch.clone(),
            path: path.clone(),
            created: context.time,
            attributes,
            checksum_algorithm: checksum_algorithm.to_owned(),
            checksum_type: checksum_type.to_owned(),
        });
        let decided = repo.decide().and_then(|mut state| {
            // Completed ones are remembered for a while, which is not for the caller to end.
            if state.uploads.len() >= self.options.uploads_open_max
                && state.uploads.values().filter(|u| u.completed.is_none()).count()
                    >= self.options.uploads_open_max
            {
                return Err(Error::new(
                    Kind::Busy,
                    format!(
                        "{} uploads of this repository are open; complete or abort some first",
                        self.options.uploads_open_max
                    ),
                ));
            }
            let record = Record::UploadCreated { uid: repo.uid, upload: upload.clone() };
            state.apply(&record, None);
            keyed.answer(&mut context, || {
                let mut w = Writer::new();
                encode_upload(&mut w, &upload);
                w.finish().into()
            });
            Ok(self.submit(Submission { context, records: vec![record], nodes: None, created: None }))
        });
        self.settle(decided).await?;
        Ok((*upload).clone())
    }

    fn upload_state(
        &self,
        repo: &Repo,
        branch: &BranchName,
        path: &ObjectPath,
        id: &str,
    ) -> Result<UploadState> {
        let state = repo.state.read();
        let upload = state.uploads.get(id).ok_or_else(|| no_upload(id))?;
        if upload.info.branch != *branch || upload.info.path != *path {
            return Err(no_upload(id));
        }
        Ok(upload.clone())
    }

    fn open_upload(
        &self,
        repo: &Repo,
        branch: &BranchName,
        path: &ObjectPath,
        id: &str,
    ) -> Result<UploadState> {
        let upload = self.upload_state(repo, branch, path, id)?;
        if upload.completed.is_some() { Err(no_upload(id)) } else { Ok(upload) }
    }

    /// An open upload of this branch and path.
    pub fn get_upload(
        &self,
        repository: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        id: &str,
    ) -> Result<UploadInfo> {
        let repo = self.repo(repository)?;
        Ok((*self.open_upload(&repo, branch, path, id)?.info).clone())
    }

    /// Starts writing a part.
    #[allow(clippy::too_many_arguments)]
    pub async fn put_part(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        upload: &str,
        number: u32,
        verified_sha256: Option<millpond_types::ContentHash>,
    ) -> Result<PartWriter> {
        self.journal.admit()?;
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            return Err(Error::new(
                Kind::Invalid,
                format!("part number {number} is not between 1 and {PART_NUMBER_MAX}"),
            ));
        }
        let repo = self.repo(repository)?;
        self.open_upload(&repo, branch, path, upload)?;
        let data = DataWriter::new(self.owned(), repo.clone(), verified_sha256);
        let (engine, actor, upload) = (self.owned(), actor.clone(), upload.to_owned());
        Ok(PartWriter { engine, actor, repo, upload, number, data })
    }

    /// Parts by number, greater than `after`.
    #[allow(clippy::too_many_arguments)]
    pub fn list_parts(
        &self,
        repository: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        upload: &str,
        after: u32,
        amount: usize,
    ) -> Result<Page<PartInfo>> {
        let repo = self.repo(repository)?;
        let upload = self.open_upload(&repo, branch, path, upload)?;
        let mut items: Vec<PartInfo> = upload
            .parts
            .range((Bound::Excluded(after), Bound::Unbounded))
            .take(amount + 1)
            .map(|(_, p)| p.info.clone())
            .collect();
        let has_more = items.len() > amount;
        items.truncate(amount);
        Ok(Page { items, has_more })
    }

    /// Open uploads ordered by `branch/path`, then id, after the given ones.
    pub fn list_uploads(
        &self,
        repository: &RepositoryName,
        prefix: &str,
        after_key: &str,
        after_id: &str,
        amount: usize,
    ) -> Result<Page<UploadInfo>> {
        let state = self.repo(repository)?.state.read();
        let mut open: Vec<(String, &Arc<UploadInfo>)> = state
            .uploads
            .values()
            .filter(|u| u.completed.is_none())
            .map(|u| (format!("{}/{}\0{}", u.info.branch, u.info.path.to_text(), u.info.id), &u.info))
            .collect();
        open.sort_by(|a, b| a.0.cmp(&b.0));
        let after = match (after_key, after_id) {
            ("", _) => String::new(),
            // Without an id: everything of that key is passed over.
            (key, "") => format!("{key}\0\u{7f}"),
            (key, id) => format!("{key}\0{id}"),
        };
        let page = PageRequest { prefix: prefix.to_owned(), after, amount };
        let start = open.partition_point(|(key, _)| {
            key.as_str() < prefix || !page.after.is_empty() && key.as_str() <= page.after.as_str()
        });
        let all = open[start..].iter().map(|(key, info)| (key.as_str(), *info));
        Ok(page_of(all, &page, |_, _| true, |_, info| (**info).clone()))
    }

    /// Joins parts into the object. A repeated call with the same parts gets the same answer.
    pub async fn complete_upload(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        path: &ObjectPath,
        id: &str,
        request: CompleteRequest,
    ) -> Result<ObjectInfo> {
        self.journal.admit()?;
        let repo = self.repo(repository)?;
        let fingerprint = part_list_hash(&request);
        let mut wanted = Writer::new();
        wanted.text(name.as_str()).bytes(path.as_bytes()).text(id).raw(&fingerprint);
        // Not `extra`: the door computes it from the parts, which are gone when the request is repeated.
        request.condition.fingerprint(&mut wanted);
        let mut keyed = match self.begin(actor, "complete-upload", repository, || wanted.finish()).await? {
            Begin::Again(answer) => return self.same_entry(answer, &repo, path.clone()).await,
            Begin::Go(keyed) => keyed,
        };
        let upload = self.upload_state(&repo, name, path, id)?;
        if let Some(done) = &upload.completed {
            if done.fingerprint == fingerprint {
                return Ok(describe(&repo, path.clone(), &done.entry));
            }
            return Err(no_upload(id));
        }
        let branch = self.branch(&repo, name)?;
        let parts = judge_parts(&upload, &request)?;
        let size: u64 = parts.iter().map(|p| p.info.size).sum();
        if request.expected_size.is_some_and(|expected| expected != size) {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "the parts have {size} bytes, not the {} that were announced",
                    request.expected_size.unwrap_or(0)
                ),
            ));
        }
        check_size(size)?;
        let context = self.context(actor, "complete-upload");
        let md5_of_md5s: [u8; 16] = {
            let mut hasher = Md5::new();
            parts.iter().for_each(|p| hasher.update(p.info.md5));
            hasher.finalize().into()
        };
        let (content, address) = match &parts[..] {
            [one] => (Content::Whole(one.info.sha256), address::explicit(&one.name)),
            _ => {
                let hash = parts_hash(parts.iter().map(|p| (p.info.sha256, p.info.size)));
                (Content::Parts(hash), self.store_manifest(&repo, &parts).await?)
            }
        };
        let entry = Arc::new(Entry {
            content,
            size,
            mtime: context.time,
            checksum: Checksum::Md5Parts(md5_of_md5s, parts.len() as u32),
            address: address::acquire(address).address(),
            attributes: Arc::new(upload.info.attributes.clone()),
            extra: request.extra.clone(),
        });
        let done = Arc::new(CompletedUpload {
            branch: name.clone(),
            path: path.clone(),
            entry: entry.clone(),
            fingerprint,
            time: context.time,
        });
        // The object and the end of the upload are one change: both are durable or neither.
        let entry = self
            .stage_judged(context, &repo, &branch, std::slice::from_ref(path), |context, state, current| {
                match state.uploads.get(id).map(|upload| &upload.completed) {
                    Some(None) => {}
                    // The same call was decided meanwhile: nothing is left to do but to wait for it.
                    Some(Some(done)) if done.fingerprint == fingerprint => {
                        keyed.answer(context, || entry_answer(&done.entry));
                        return Ok((vec![], vec![], done.entry.clone()));
                    }
                    _ => return Err(no_upload(id)),
                }
                request.condition.judge(path, current[0].as_deref())?;
                let ended =
                    Record::UploadEnded { uid: repo.uid, upload: id.to_owned(), result: Some(done.clone()) };
                state.apply(&ended, None);
                keyed.answer(context, || entry_answer(&entry));
                Ok((vec![(path.clone(), Some(entry.clone()))], vec![ended], entry.clone()))
            })
            .await?;
        Ok(describe(&repo, path.clone(), &entry))
    }

    /// Forgets uploads that were completed so long ago that nobody repeats the call any more. What they made
    /// stays.
    pub(crate) fn forget_completed_uploads(&self, repo: &Repo, now: Timestamp) {
        let Ok(mut state) = repo.decide() else { return };
        let old = |upload: &&UploadState| {
            let since = upload.completed.as_ref().map(|done| done.time.millis());
            since.is_some_and(|since| since.saturating_add(REMEMBER_MILLIS) < now.millis())
        };
        let doomed: Vec<String> = state.uploads.values().filter(old).map(|u| u.info.id.clone()).collect();
        for upload in doomed {
            let record = Record::UploadEnded { uid: repo.uid, upload, result: None };
            state.apply(&record, None);
            let context = self.context(&Actor::default(), "forget-upload");
            // Nobody waits for it; the journal logs a failure.
            drop(self.submit(Submission { context, records: vec![record], nodes: None, created: None }));
        }
    }

    async fn store_manifest(&self, repo: &Arc<Repo>, parts: &[Arc<StoredPart>]) -> Result<Address> {
        let list =
            parts.iter().map(|p| Part { name: p.name, size: p.info.size, sha256: p.info.sha256 }).collect();
        let mut data = DataWriter::new(self.owned(), repo.clone(), None);
        data.write(Manifest { parts: list }.encode()).await?;
        Ok(address::explicit(&data.store(true).await?.name))
    }

    /// Drops an upload and its parts.
    pub async fn abort_upload(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        branch: &BranchName,
        path: &ObjectPath,
        id: &str,
    ) -> Result<()> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.text(branch.as_str()).bytes(path.as_bytes()).text(id);
        let mut keyed = match self.begin(actor, "abort-upload", repository, || request.finish()).await? {
            Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.open_upload(&repo, branch, path, id)?;
        let mut parts = imbl::OrdMap::new();
        let decided = repo.decide().and_then(|mut state| {
            match state.uploads.get(id) {
                Some(upload) if upload.completed.is_none() => parts = upload.parts.clone(),
                _ => return Err(no_upload(id)),
            }
            let record = Record::UploadEnded { uid: repo.uid, upload: id.to_owned(), result: None };
            state.apply(&record, None);
            let mut context = self.context(actor, "abort-upload");
            keyed.answer(&mut context, Bytes::new);
            Ok(self.submit(Submission { context, records: vec![record], nodes: None, created: None }))
        });
        self.settle(decided).await?;
        // Parts have names of their own, so nothing else can refer to their bytes.
        let parts = parts.values().map(|part| crate::keys::data(repo.uid, &part.name)).collect();
        self.delete_unnamed(parts).await;
        Ok(())
    }
}

fn part_list_hash(request: &CompleteRequest) -> [u8; 32] {
    let mut w = Writer::new();
    for part in &request.parts {
        w.uint(u64::from(part.number)).text(&part.etag);
    }
    Sha256::digest(w.finish()).into()
}

fn judge_parts(upload: &UploadState, request: &CompleteRequest) -> Result<Vec<Arc<StoredPart>>> {
    let mut parts: Vec<Arc<StoredPart>> = Vec::new();
    if request.parts.is_empty() {
        return Err(Error::new(Kind::InvalidPart, "the list of parts is empty"));
    }
    if !request.parts.is_sorted_by(|a, b| a.number < b.number) {
        return Err(Error::new(Kind::InvalidPartOrder, "part numbers must ascend"));
    }
    for named in &request.parts {
        let wrong = || {
            Error::new(
                Kind::InvalidPart,
                format!("part {} was not uploaded or has another ETag", named.number),
            )
        };
        let part = upload.parts.get(&named.number).ok_or_else(wrong)?;
        if hex::encode(part.info.md5) != named.etag.to_ascii_lowercase() {
            return Err(wrong());
        }
        for (algorithm, value) in &named.checksums {
            if part.info.checksums.get(algorithm).is_some_and(|stored| stored != value) {
                return Err(Error::new(
                    Kind::InvalidPart,
                    format!("part {}: the {algorithm} checksum differs from the stored one", named.number),
                ));
            }
        }
        parts.push(part.clone());
    }
    let all_but_last = &parts[..parts.len() - 1];
    match all_but_last.iter().find(|part| part.info.size < PART_BYTES_MIN) {
        None => Ok(parts),
        Some(small) => Err(Error::new(
            Kind::PartTooSmall,
            format!(
                "part {} has {} bytes; all parts but the last need 5 MiB",
                small.info.number, small.info.size
            ),
        )),
    }
}

impl PartWriter {
    /// Appends bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.data.write(bytes).await
    }

    /// Digests of the bytes so far.
    pub fn digests(&self) -> Digests {
        self.data.digests()
    }

    /// Makes the part durable; it replaces an earlier one of the same number.
    pub async fn finish(self, checksums: BTreeMap<String, Bytes>) -> Result<PartInfo> {
        let Self { engine, actor, repo, upload, number, data } = self;
        let stored = data.store(true).await?;
        let context = engine.context(&actor, "put-part");
        let info = PartInfo {
            number,
            size: stored.digests.size,
            md5: stored.digests.md5,
            sha256: stored.digests.sha256,
            modified: context.time,
            checksums,
        };
        let part = Arc::new(StoredPart { info: info.clone(), name: stored.name });
        let decided = repo.decide().and_then(|mut state| {
            match state.uploads.get(&upload) {
                Some(open) if open.completed.is_none() => {}
                _ => return Err(no_upload(&upload)),
            }
            let record = Record::PartStored { uid: repo.uid, upload, part };
            state.apply(&record, None);
            Ok(engine.submit(Submission { context, records: vec![record], nodes: None, created: None }))
        });
        engine.settle(decided).await?;
        Ok(info)
    }
}
