//! Every key of the metadata store and every blob name, each spelled by one function
//! (`docs/formats/metadata.md`).

use crate::pulls::PullRequestId;
use bytes::Bytes;
use millpond_blob::BlobKey;
use millpond_types::{BranchName, CommitId, ContentHash, RepositoryName, TagName};

/// Internal number of a repository. Never used again after the repository is deleted.
pub type RepoUid = u64;

/// Version of everything this engine stores.
pub const FORMAT: &[u8] = b"m/format";
/// How often this store was opened for writing: fences off a writer that was thought dead.
pub const EPOCH: &[u8] = b"m/epoch";
/// Up to where the tables hold what the journal says.
pub const CHECKPOINT: &[u8] = b"m/checkpoint";
/// Names the line of history that backups of this store continue; a restored store begins another.
pub const BACKUP_LINE: &[u8] = b"m/backup-line";
/// Where the audit trail begins, if not with row 1.
pub const AUDIT: &[u8] = b"m/audit";
/// The rows about the audit trail's segments, newest first.
pub const AUDIT_SEGMENTS: &[u8] = b"h/";
/// The names of repositories that are or were.
pub const AUDIT_REPOSITORIES: &[u8] = b"g/";
/// Notes of changes beside the engine's that are not in the journal yet.
pub const NOTES: &[u8] = b"e/";
/// All journal rows.
pub const JOURNAL: &[u8] = b"j/";
/// All repositories.
pub const REPOSITORIES: &[u8] = b"r/";
/// All remembered results of requests with an idempotency key.
pub const IDEMPOTENCY: &[u8] = b"i/";

/// One journal row.
pub fn journal(sequence: u64) -> Bytes {
    join(JOURNAL, &[&sequence.to_be_bytes()])
}

/// One repository.
pub fn repository(name: &RepositoryName) -> Bytes {
    join(REPOSITORIES, &[name.as_str().as_bytes()])
}

/// All branches of a repository.
pub fn branches(uid: RepoUid) -> Bytes {
    join(b"b/", &[&uid.to_be_bytes()])
}

/// One branch.
pub fn branch(uid: RepoUid, name: &BranchName) -> Bytes {
    join(&branches(uid), &[name.as_str().as_bytes()])
}

/// All tags of a repository.
pub fn tags(uid: RepoUid) -> Bytes {
    join(b"t/", &[&uid.to_be_bytes()])
}

/// One tag.
pub fn tag(uid: RepoUid, name: &TagName) -> Bytes {
    join(&tags(uid), &[name.as_str().as_bytes()])
}

/// All commits of a repository whose id begins with these bytes.
pub fn commits(uid: RepoUid, id_prefix: &[u8]) -> Bytes {
    join(b"c/", &[&uid.to_be_bytes(), id_prefix])
}

/// One commit.
pub fn commit(uid: RepoUid, id: &CommitId) -> Bytes {
    commits(uid, &id.0)
}

/// All aliases of a repository's commits.
pub fn aliases(uid: RepoUid) -> Bytes {
    join(b"o/", &[&uid.to_be_bytes()])
}

/// One alias.
pub fn alias(uid: RepoUid, alias: &CommitId) -> Bytes {
    join(&aliases(uid), &[&alias.0])
}

/// All ref moves of a repository, newest first.
pub fn moves(uid: RepoUid) -> Bytes {
    join(b"l/", &[&uid.to_be_bytes()])
}

/// One ref move. The sequence is complemented so that an ascending scan gives the newest first.
pub fn ref_move(uid: RepoUid, sequence: u64) -> Bytes {
    join(&moves(uid), &[&(!sequence).to_be_bytes()])
}

/// All ref moves of a repository by ref.
pub fn moves_of_all(uid: RepoUid) -> Bytes {
    join(b"n/", &[&uid.to_be_bytes()])
}

/// All ref moves of one branch or tag, newest first.
pub fn moves_of(uid: RepoUid, name: &str) -> Bytes {
    join(&moves_of_all(uid), &[name.as_bytes(), b"\0"])
}

/// One ref move, under its ref.
pub fn ref_move_of(uid: RepoUid, name: &str, sequence: u64) -> Bytes {
    join(&moves_of(uid, name), &[&(!sequence).to_be_bytes()])
}

/// All uploads of a repository.
pub fn uploads(uid: RepoUid) -> Bytes {
    join(b"u/", &[&uid.to_be_bytes()])
}

/// One upload.
pub fn upload(uid: RepoUid, id: &str) -> Bytes {
    join(&uploads(uid), &[id.as_bytes()])
}

/// All imports of a repository.
pub fn imports(uid: RepoUid) -> Bytes {
    join(b"w/", &[&uid.to_be_bytes()])
}

/// One import.
pub fn import(uid: RepoUid, id: &str) -> Bytes {
    join(&imports(uid), &[id.as_bytes()])
}

/// All jobs of a repository.
pub fn jobs(uid: RepoUid) -> Bytes {
    join(b"q/", &[&uid.to_be_bytes()])
}

/// One job.
pub fn job(uid: RepoUid, id: &str) -> Bytes {
    join(&jobs(uid), &[id.as_bytes()])
}

/// All import rules of a repository.
pub fn rules(uid: RepoUid) -> Bytes {
    join(b"a/", &[&uid.to_be_bytes()])
}

/// One import rule.
pub fn rule(uid: RepoUid, number: u32) -> Bytes {
    join(&rules(uid), &[&number.to_be_bytes()])
}

/// The settings of a repository.
pub fn settings(uid: RepoUid) -> Bytes {
    join(b"s/", &[&uid.to_be_bytes()])
}

/// All pull requests of a repository.
pub fn pulls(uid: RepoUid) -> Bytes {
    join(b"p/", &[&uid.to_be_bytes()])
}

/// One pull request.
pub fn pull(uid: RepoUid, id: &PullRequestId) -> Bytes {
    join(&pulls(uid), &[id.as_str().as_bytes()])
}

/// One remembered result.
pub fn idempotency(scope: &[u8; 32]) -> Bytes {
    join(IDEMPOTENCY, &[scope])
}

/// The row about the audit segment that begins with this journal row. The number is complemented so that an
/// ascending scan gives the newest first.
pub fn audit_segment(first: u64) -> Bytes {
    join(AUDIT_SEGMENTS, &[&(!first).to_be_bytes()])
}

/// The inverse of [`audit_segment`]; 0 for a key that is none.
pub fn audit_segment_first(key: &[u8]) -> u64 {
    let number = key.get(AUDIT_SEGMENTS.len()..).and_then(|number| number.try_into().ok());
    number.map_or(0, |number| !u64::from_be_bytes(number))
}

/// The note of the change beside the engine's with this number.
pub fn note(number: u64) -> Bytes {
    join(NOTES, &[&number.to_be_bytes()])
}

/// The name of a repository that is or was.
pub fn audit_repository(uid: RepoUid) -> Bytes {
    join(AUDIT_REPOSITORIES, &[&uid.to_be_bytes()])
}

fn join(prefix: &[u8], parts: &[&[u8]]) -> Bytes {
    let mut key = prefix.to_vec();
    for part in parts {
        key.extend_from_slice(part);
    }
    key.into()
}

/// Everything a repository owns in the object store.
pub fn blob_prefix(uid: RepoUid) -> String {
    format!("r{uid:x}/")
}

/// All packs of a repository.
pub fn packs(uid: RepoUid) -> String {
    format!("r{uid:x}/pack/")
}

/// One pack; names ascend with the number.
pub fn pack(uid: RepoUid, number: u64) -> BlobKey {
    BlobKey::new(&format!("{}{number:016x}", packs(uid)))
}

/// The number in a pack's name.
pub fn pack_number(uid: RepoUid, key: &BlobKey) -> Option<u64> {
    u64::from_str_radix(key.as_str().strip_prefix(&packs(uid))?, 16).ok()
}

/// The multi-pack index that covers every pack up to this number.
pub fn pack_index(uid: RepoUid, number: u64) -> BlobKey {
    BlobKey::new(&format!("r{uid:x}/midx/{number:016x}"))
}

/// All multi-pack indexes of a repository.
pub fn pack_indexes(uid: RepoUid) -> String {
    format!("r{uid:x}/midx/")
}

/// A file of a dump of refs. It says itself which repository it is of, so that it is found without that one's row.
pub fn dump(id: &ContentHash) -> BlobKey {
    BlobKey::new(&format!("dump/{}", id.to_hex()))
}

/// All object bytes of a repository.
pub fn data_of_all(uid: RepoUid) -> String {
    format!("r{uid:x}/data/")
}

/// Object bytes.
pub fn data(uid: RepoUid, name: &crate::address::DataName) -> BlobKey {
    BlobKey::new(&format!("r{uid:x}/data/{}", name.to_text()))
}

/// The rows of an audit segment: those from `first` on, in a blob with this SHA-256.
pub fn audit_segment_blob(first: u64, sha256: &[u8; 32]) -> BlobKey {
    BlobKey::new(&format!("audit/{first:016x}-{}", hex::encode(&sha256[..16])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tables under one prefix read each other's rows.
    #[test]
    fn no_two_tables_share_a_prefix() {
        let tables = [
            b"m/".to_vec(),
            AUDIT_SEGMENTS.to_vec(),
            AUDIT_REPOSITORIES.to_vec(),
            NOTES.to_vec(),
            JOURNAL.to_vec(),
            REPOSITORIES.to_vec(),
            IDEMPOTENCY.to_vec(),
        ];
        let of_repositories = [
            branches(0),
            tags(0),
            commits(0, &[]),
            aliases(0),
            moves(0),
            moves_of_all(0),
            uploads(0),
            imports(0),
            jobs(0),
            rules(0),
            settings(0),
            pulls(0),
        ];
        let all = tables.into_iter().chain(of_repositories.into_iter().map(|key| key[..2].to_vec()));
        let mut seen = std::collections::BTreeSet::new();
        for prefix in all {
            let text = String::from_utf8_lossy(&prefix).into_owned();
            assert!(seen.insert(prefix), "{text} is two tables");
        }
    }
}
