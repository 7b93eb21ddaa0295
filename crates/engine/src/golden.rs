//! What version 1 stored must stay readable for ever, and be written the same: one golden file for each
//! stored format (`docs/formats/`). Files are hexadecimal text, `name: bytes` a line, so that a change can be
//! reviewed. `MILLPOND_GOLDEN_WRITE=1` writes files and lines that are missing; those that exist are never replaced.

use crate::address::{DataName, explicit, foreign, imported};
use crate::dump;
use crate::jobs::{Job, JobEnd, JobKind, Made};
use crate::manifest::{Manifest, Part};
use crate::nodes::{Location, PackIndex};
use crate::record::{
    Beside, BesideChange, CompletedUpload, Context, Idempotency, ImportEnd, ImportOrder, ImportProgress,
    ImportRule, Record, Refusal, RestoredBranch, Row, StoredPart,
};
use crate::settings::{Protection, Settings};
use crate::state::{Branch, BranchState, ImportState, RepoState, UploadState};
use crate::{
    CollectionRules, DumpIds, ImportPath, ImportRequest, Kind, PartInfo, PullRequest, PullRequestId,
    PullRequestStatus, RefMove, RepositoryInfo, SourceKind, UploadInfo, checkpoint, idempotency, keys,
    tables,
};
use bytes::Bytes;
use millpond_origin::Mark;
use millpond_types::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Compares lines with the golden file of this name and gives back the stored bytes of each.
#[allow(clippy::disallowed_methods, reason = "a test reads its golden files")]
fn golden(name: &str, lines: &[(&str, Bytes)]) -> BTreeMap<String, Bytes> {
    let file = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text: String =
        lines.iter().map(|(what, bytes)| format!("{what}: {}\n", hex::encode(bytes))).collect();
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    if std::env::var_os("MILLPOND_GOLDEN_WRITE").is_some() && text.starts_with(&stored) {
        std::fs::write(&file, &text).expect("golden file written");
    }
    let stored = std::fs::read_to_string(&file).expect("golden file");
    for (now, then) in text.lines().zip(stored.lines()) {
        assert_eq!(now, then, "{name}: the encoder no longer writes what that version wrote");
    }
    assert_eq!(text.len(), stored.len(), "{name}: a line is missing here or there");
    let decode = |line: &str| {
        let (what, bytes) = line.split_once(": ").expect("name: bytes");
        (what.to_owned(), Bytes::from(hex::decode(bytes).expect("hexadecimal")))
    };
    stored.lines().map(decode).collect()
}

fn branch_name() -> BranchName {
    BranchName::parse("main").expect("a branch name")
}

fn object_path() -> ObjectPath {
    ObjectPath::new(Bytes::from_static(b"a//b\xff")).expect("a path")
}

fn metadata() -> Metadata {
    Metadata::from([("k".into(), "v".into()), ("\u{e4}".into(), "".into())])
}

fn tree(byte: u8) -> TreeId {
    TreeId(Some(NodeId([byte; 32])))
}

fn a_commit() -> Commit {
    Commit {
        committer: "ada".into(),
        message: "one\ntwo".into(),
        tree: tree(7),
        creation_date: -1_700_000_000,
        metadata: metadata(),
        parents: vec![CommitId([1; 32]), CommitId([2; 32])],
        generation: 300,
    }
}

fn attributes() -> Attributes {
    Attributes { content_type: "text/plain".into(), metadata: metadata() }
}

fn entries() -> Vec<Entry> {
    let whole = Entry {
        content: Content::Whole(ContentHash([3; 32])),
        size: 1 << 40,
        mtime: Timestamp(1_700_000_000_123),
        checksum: Checksum::Md5([4; 16]),
        address: Address::Cas,
        attributes: Arc::new(attributes()),
        extra: BTreeMap::from([("crc32".to_owned(), Bytes::from_static(b"AAAAAA=="))]),
    };
    let parts = Entry {
        content: Content::Parts(ContentHash([5; 32])),
        checksum: Checksum::Md5Parts([6; 16], 10_000),
        address: explicit(&DataName([8; 25])),
        extra: BTreeMap::new(),
        ..whole.clone()
    };
    let declared = Entry {
        content: Content::Declared,
        mtime: Timestamp(-1),
        checksum: Checksum::Declared("etag-5".into()),
        address: foreign("s3://bucket/key"),
        attributes: Arc::default(),
        ..parts.clone()
    };
    let rule = Entry { address: Address::Rule(9), ..declared.clone() };
    vec![whole, parts, declared, rule]
}

fn an_upload() -> UploadInfo {
    UploadInfo {
        id: "0123456789abcdefghij".into(),
        branch: branch_name(),
        path: object_path(),
        created: Timestamp(1_700_000_000_001),
        attributes: attributes(),
        checksum_algorithm: "CRC32".into(),
        checksum_type: "COMPOSITE".into(),
    }
}

fn a_part() -> StoredPart {
    let info = PartInfo {
        number: 10_000,
        size: 5 << 20,
        md5: [10; 16],
        sha256: ContentHash([11; 32]),
        modified: Timestamp(1_700_000_000_002),
        checksums: BTreeMap::from([("sha1".to_owned(), Bytes::from_static(b"x"))]),
    };
    StoredPart { info, name: DataName([12; 25]) }
}

fn a_completed_upload() -> CompletedUpload {
    CompletedUpload {
        branch: branch_name(),
        path: object_path(),
        entry: Arc::new(entries().swap_remove(1)),
        fingerprint: [13; 32],
        time: Timestamp(1_700_000_000_003),
    }
}

fn records() -> Vec<(&'static str, Record)> {
    let (uid, branch) = (300, branch_name());
    let name = RepositoryName::parse("lake").expect("a repository name");
    let tag = TagName::parse("v1.0").expect("a tag name");
    let (old, new, commit) = (CommitId([1; 32]), CommitId([2; 32]), CommitId([3; 32]));
    let staged = [None, Some(0), Some(1), Some(2), Some(3)]
        .map(|which| (object_path(), which.map(|at: usize| Arc::new(entries().swap_remove(at)))));
    vec![
        (
            "1 repository created",
            Record::RepositoryCreated {
                uid,
                name,
                namespace: "local://lake".into(),
                default_branch: branch.clone(),
                read_only: true,
                commit: Some(Arc::new(Commit { tree: TreeId::EMPTY, parents: vec![], ..a_commit() })),
            },
        ),
        ("2 repository deleted", Record::RepositoryDeleted { uid }),
        ("3 repository metadata", Record::RepositoryMetadata { uid, metadata: metadata() }),
        (
            "4 branch created",
            Record::BranchCreated { uid, branch: branch.clone(), head: new, tree: tree(1), hidden: true },
        ),
        ("5 branch deleted", Record::BranchDeleted { uid, branch: branch.clone(), head: new }),
        ("6 tag created", Record::TagCreated { uid, tag: tag.clone(), commit }),
        ("7 tag deleted", Record::TagDeleted { uid, tag, commit }),
        ("8 staged", Record::Staged { uid, branch: branch.clone(), first_seq: 200, ops: staged.to_vec() }),
        (
            "9 head moved by a commit",
            Record::HeadMoved {
                uid,
                branch: branch.clone(),
                old,
                new,
                tree: tree(7),
                commit: Some(Arc::new(a_commit())),
                upto_seq: 205,
                working: tree(8),
            },
        ),
        (
            "9 head moved",
            Record::HeadMoved {
                uid,
                branch: branch.clone(),
                old,
                new,
                tree: TreeId::EMPTY,
                commit: None,
                upto_seq: 0,
                working: TreeId::EMPTY,
            },
        ),
        ("10 folded", Record::Folded { uid, branch, upto_seq: 205, working: tree(8) }),
        ("11 upload created", Record::UploadCreated { uid, upload: Arc::new(an_upload()) }),
        ("12 part stored", Record::PartStored { uid, upload: an_upload().id, part: Arc::new(a_part()) }),
        (
            "13 upload completed",
            Record::UploadEnded { uid, upload: an_upload().id, result: Some(Arc::new(a_completed_upload())) },
        ),
        ("13 upload dropped", Record::UploadEnded { uid, upload: an_upload().id, result: None }),
    ]
}

fn a_rule() -> ImportRule {
    ImportRule {
        source: millpond_origin::Location(Bytes::from_static(b"local:///data/\xff/")),
        destination: Bytes::from_static(b"d/"),
    }
}

/// An import that ended well, with all that is known of it.
fn an_import() -> ImportState {
    let path = |kind, source: &str| ImportPath {
        kind,
        source: source.into(),
        destination: Bytes::from_static(b"d"),
    };
    let request = ImportRequest {
        paths: vec![path(SourceKind::Prefix, "local:///data"), path(SourceKind::Object, "file:///data/x")],
        message: "taken in".into(),
        metadata: metadata(),
        force: true,
    };
    let order = ImportOrder {
        id: "0123456789abcdefghij".into(),
        branch: branch_name(),
        actor: "ada".into(),
        started: Timestamp(1_700_000_000_008),
        request,
    };
    let progress = ImportProgress {
        time: Timestamp(1_700_000_000_009),
        base: TreeId::EMPTY,
        tree: tree(9),
        upto: Bytes::from_static(b"d/\xff"),
        ingested: 500_000,
        skipped: 2,
    };
    let end = ImportEnd {
        time: Timestamp(1_700_000_000_010),
        ingested: 500_001,
        skipped: 3,
        outcome: Ok(CommitId([2; 32])),
    };
    ImportState { order: Arc::new(order), progress: Some(Arc::new(progress)), end: Some(Arc::new(end)) }
}

fn failed_import() -> ImportState {
    let mut import = an_import();
    let end = import.end.as_deref().cloned().map(|end| ImportEnd { outcome: Err("Canceled".into()), ..end });
    (import.progress, import.end) = (None, end.map(Arc::new));
    import
}

fn import_records() -> Vec<(&'static str, Record)> {
    let (uid, state) = (300, an_import());
    let import = state.order.id.clone();
    vec![
        ("14 rule added", Record::RuleAdded { uid, number: 200, rule: Arc::new(a_rule()) }),
        ("15 import started", Record::ImportStarted { uid, order: state.order }),
        (
            "16 import progressed",
            Record::ImportProgressed {
                uid,
                import: import.clone(),
                progress: state.progress.expect("it has come some way"),
            },
        ),
        ("17 import completed", Record::ImportEnded { uid, import: import.clone(), end: state.end }),
        ("17 import failed", Record::ImportEnded { uid, import: import.clone(), end: failed_import().end }),
        ("17 import forgotten", Record::ImportEnded { uid, import, end: None }),
        (
            "8 staged, imported and copied",
            Record::Staged {
                uid,
                branch: branch_name(),
                first_seq: 1,
                ops: vec![(
                    object_path(),
                    Some(Arc::new(Entry {
                        address: imported(200, Mark([18; 12]), b"x"),
                        ..entries().swap_remove(2)
                    })),
                )],
            },
        ),
    ]
}

fn settings() -> Settings {
    let patterns = ["main", "release-*", "\u{e4}"].map(str::to_owned);
    Settings {
        protection: Arc::new(Protection::new(patterns.into()).expect("patterns")),
        collection: Some(Arc::new(CollectionRules {
            default_days: 0,
            branches: BTreeMap::from([("main".into(), 30), ("old".into(), -1)]),
        })),
    }
}

fn a_pull() -> PullRequest {
    PullRequest {
        id: PullRequestId::parse("4pe0ofvqf7vvvvvvvvvg").expect("an id"),
        title: "New labels".into(),
        description: "one\ntwo".into(),
        author: "ada".into(),
        created: Timestamp(1_700_000_000_011),
        source: BranchName::parse("dev").expect("a branch name"),
        destination: branch_name(),
        status: PullRequestStatus::Open,
        closed: None,
        merged: None,
    }
}

fn a_merged_pull() -> PullRequest {
    PullRequest {
        status: PullRequestStatus::Merged,
        closed: Some(Timestamp(1_700_000_000_012)),
        merged: Some(CommitId([2; 32])),
        ..a_pull()
    }
}

fn a_dump() -> DumpIds {
    DumpIds { commits: ContentHash([19; 32]), branches: ContentHash([20; 32]), tags: ContentHash([21; 32]) }
}

fn a_job(outcome: Option<Result<Made, (Kind, String)>>) -> Job {
    Job {
        id: "4pe0ofvqf7vvvvvvvvvg".into(),
        kind: JobKind::Merge,
        branch: "main".into(),
        actor: "ada".into(),
        started: Timestamp(1_700_000_000_013),
        epoch: 300,
        end: outcome.map(|outcome| JobEnd { time: Timestamp(1_700_000_000_014), outcome }),
    }
}

/// Records that came after the first golden files, in the order they came.
fn later_records() -> Vec<(&'static str, Record)> {
    let uid = 300;
    vec![
        ("18 settings changed", Record::SettingsChanged { uid, settings: settings() }),
        ("18 settings without any", Record::SettingsChanged { uid, settings: Settings::default() }),
        ("19 pull request", Record::PullRequestChanged { uid, pull: Arc::new(a_pull()) }),
        ("19 pull request merged", Record::PullRequestChanged { uid, pull: Arc::new(a_merged_pull()) }),
        (
            "20 commits stored",
            Record::CommitsStored {
                uid,
                commits: vec![
                    Arc::new(Commit { parents: vec![], generation: 1, ..a_commit() }),
                    Arc::new(a_commit()),
                ],
            },
        ),
        ("21 alias", Record::AliasAdded { uid, alias: CommitId([18; 32]), commit: CommitId([1; 32]) }),
    ]
}

/// Records that came with version 2, in the order they came.
fn records_of_version_2() -> Vec<(&'static str, Record)> {
    let uid = 300;
    let job = |outcome: Option<Result<Made, (Kind, String)>>| {
        let what = match &outcome {
            None => "22 job started",
            Some(Ok(_)) => "22 job completed",
            Some(Err(_)) => "22 job failed",
        };
        let job = a_job(outcome);
        (what, Record::JobChanged { uid, id: job.id.clone(), job: Some(Arc::new(job)) })
    };
    vec![
        job(None),
        job(Some(Ok(Made::Commit(CommitId([2; 32]))))),
        job(Some(Err((Kind::Conflict, "both sides changed a".into())))),
        ("22 job forgotten", Record::JobChanged { uid, id: a_job(None).id, job: None }),
    ]
}

/// Records that came with bare repositories.
fn records_of_dumps() -> Vec<(&'static str, Record)> {
    let uid = 300;
    let job = |what, kind, made| {
        let job = Job { kind, ..a_job(Some(Ok(made))) };
        (what, Record::JobChanged { uid, id: job.id.clone(), job: Some(Arc::new(job)) })
    };
    vec![
        (
            "23 bare repository created",
            Record::RepositoryCreated {
                uid,
                name: RepositoryName::parse("lake").expect("a repository name"),
                namespace: "local://lake".into(),
                default_branch: branch_name(),
                read_only: false,
                commit: None,
            },
        ),
        (
            "24 refs restored",
            Record::RefsRestored {
                uid,
                branches: vec![RestoredBranch {
                    name: branch_name(),
                    head: CommitId([2; 32]),
                    tree: tree(7),
                    hidden: true,
                }],
                tags: vec![(TagName::parse("v1.0").expect("a tag name"), CommitId([1; 32]))],
            },
        ),
        job("22 job dumped", JobKind::Dump, Made::Dump(a_dump())),
        job("22 job restored", JobKind::Restore, Made::Nothing),
    ]
}

fn context(idempotency: Option<Idempotency>) -> Context {
    Context {
        time: Timestamp(1_700_000_000_004),
        actor: "ada".into(),
        request_id: "0123456789ABCDEF".into(),
        verb: "commit".into(),
        idempotency,
        ..Context::default()
    }
}

fn an_answer() -> Idempotency {
    Idempotency { scope: [14; 32], fingerprint: [15; 32], result: Bytes::from_static(b"answer") }
}

#[test]
fn journal_rows_of_version_2() {
    let encode = |record: &Record| {
        let context = context(matches!(record, Record::HeadMoved { .. }).then(an_answer));
        Bytes::from(Row::encode(3, &[16; 32], &[(&context, std::slice::from_ref(record))]))
    };
    let records = records();
    let mut lines: Vec<_> = records.iter().map(|(what, record)| (*what, encode(record))).collect();
    let (one, two) = (context(None), context(Some(an_answer())));
    let group: [(&Context, &[Record]); 2] =
        [(&one, &[records[7].1.clone(), records[13].1.clone()]), (&two, &[records[8].1.clone()])];
    lines.push(("a group of two", Bytes::from(Row::encode(u64::MAX, &[0; 32], &group))));
    let imports = import_records();
    let later = later_records();
    lines.extend(imports.iter().chain(&later).map(|(what, record)| (*what, encode(record))));
    let v4 = Context { address: Some("192.0.2.7".parse().expect("an address")), ..context(None) };
    let refusal = Refusal {
        resource: "arn:lakefs:fs:::repository/lake/object/a".into(),
        repository: "lake".into(),
        reference: "main".into(),
        path: Bytes::from_static(b"a\xff"),
        count: 300,
    };
    let refused = Context {
        address: Some("2001:db8::1".parse().expect("an address")),
        refusal: Some(refusal),
        time: Timestamp(-5),
        ..context(None)
    };
    let group: [(&Context, &[Record]); 2] = [(&v4, &[]), (&refused, &[])];
    lines.push(("an address and a refusal", Bytes::from(Row::encode(3, &[16; 32], &group))));
    let newest = records_of_version_2();
    lines.extend(newest.iter().map(|(what, record)| (*what, encode(record))));
    let change =
        |is_deletion, on: &str, new: &str| BesideChange { is_deletion, on: on.into(), new: new.into() };
    let changes = vec![change(false, "policy/p", "{}"), change(true, "user/eve", "")];
    let beside = Context { beside: Some(Beside { number: 300, changes }), ..context(None) };
    lines.push(("changes beside the engine's", Bytes::from(Row::encode(3, &[16; 32], &[(&beside, &[])]))));
    let dumps = records_of_dumps();
    lines.extend(dumps.iter().map(|(what, record)| (*what, encode(record))));
    let records: Vec<_> = records.iter().chain(&imports).chain(&later).chain(&newest).chain(&dumps).collect();
    for (what, bytes) in golden("journal-v2", &lines) {
        let row = Row::decode(bytes.clone()).unwrap_or_else(|e| panic!("{what}: {e}"));
        let mutations: Vec<_> = row.mutations.iter().map(|(c, r)| (c, r.as_slice())).collect();
        assert_eq!(Row::encode(row.epoch, &row.previous, &mutations), bytes, "{what}");
        if let Some((_, record)) = records.iter().find(|(name, _)| *name == what) {
            // By text, since uploads and parts compare by id only.
            assert_eq!(format!("{:?}", row.mutations[0].1), format!("{:?}", [record]), "{what}");
        }
    }
}

/// What version 1 wrote says the same as what is written now.
#[test]
#[allow(clippy::disallowed_methods, reason = "a test reads its golden files")]
fn journal_rows_of_version_1() {
    let read = |version: u8| {
        let file = format!("{}/tests/golden/journal-v{version}.hex", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(file).expect("golden file");
        let rows = text.lines().map(|line| {
            let (what, bytes) = line.split_once(": ").expect("name: bytes");
            let row = Row::decode(hex::decode(bytes).expect("hexadecimal").into()).expect(what);
            (what.to_owned(), format!("{row:?}"))
        });
        rows.collect::<BTreeMap<_, _>>()
    };
    let now = read(2);
    for (what, row) in read(1) {
        assert_eq!(Some(&row), now.get(&what), "{what}");
    }
}

/// Later versions may add fields at the end of a record; this one must pass over them.
#[test]
fn fields_that_a_later_version_adds_to_a_record_are_passed_over() {
    let mut row = Writer::new();
    row.u8(1).uint(3).raw(&[0; 32]).uint(1);
    row.int(0).text("").text("").text("").u8(0).uint(1);
    row.bytes(&[2, 5, 99, 99]);
    let row = Row::decode(row.finish().into()).expect("a longer record");
    assert_eq!(row.mutations[0].1, [Record::RepositoryDeleted { uid: 5 }]);
}

#[test]
fn table_rows_of_version_1() {
    let state = {
        let mut state = BranchState::new(CommitId([1; 32]), tree(7));
        (state.working, state.folded_seq) = (tree(8), 205);
        state
    };
    let info = RepositoryInfo {
        name: RepositoryName::parse("lake").expect("a repository name"),
        storage_namespace: "local://lake".into(),
        default_branch: branch_name(),
        created: Timestamp(1_700_000_000_005),
        read_only: true,
        metadata: metadata(),
    };
    let open = UploadState {
        info: Arc::new(an_upload()),
        parts: [(10_000u32, Arc::new(a_part()))].into_iter().collect(),
        completed: None,
    };
    let completed = UploadState {
        parts: Default::default(),
        completed: Some(Arc::new(a_completed_upload())),
        ..open.clone()
    };
    let moved = RefMove {
        sequence: 5 << 20 | 3 << 4 | 1,
        time: Timestamp(1_700_000_000_006),
        actor: "ada".into(),
        cause: "merge".into(),
        is_tag: false,
        name: "main".into(),
        old: None,
        new: Some(CommitId([2; 32])),
    };
    let deleted_tag = RefMove { is_tag: true, old: moved.new, new: None, ..moved.clone() };
    let lines = [
        ("r repository", tables::encode_repository(300, &info)),
        ("b branch", tables::encode_branch(true, &state)),
        ("l move", tables::encode_move(&moved)),
        ("l move of a tag", tables::encode_move(&deleted_tag)),
        ("u open upload", tables::encode_upload(&open)),
        ("u completed upload", tables::encode_upload(&completed)),
        ("i answer", idempotency::encode(&an_answer(), Timestamp(1_700_000_000_007))),
        ("m checkpoint", checkpoint::encode(1_000, &[17; 32], 301)),
        ("w completed import", tables::encode_import(&an_import())),
        ("w failed import", tables::encode_import(&failed_import())),
        ("a rule", tables::encode_rule(&a_rule())),
        ("s settings", tables::encode_settings(&settings())),
        ("p pull request", tables::encode_pull(&a_merged_pull())),
        ("q job", tables::encode_job(&a_job(Some(Ok(Made::Commit(CommitId([2; 32]))))))),
    ];
    let stored = golden("tables-v1", &lines);
    let take = |what: &str| stored[what].clone();

    let (uid, read): (u64, RepoState) = tables::decode_repository(take("r repository")).expect("repository");
    assert_eq!((uid, &*read.info), (300, &info));
    let read: Arc<Branch> = tables::decode_branch(b"main", take("b branch")).expect("branch");
    let at = read.state.read();
    assert_eq!((read.name.as_str(), read.hidden, at.head), ("main", true, state.head));
    assert_eq!((at.head_tree, at.working, at.folded_seq, at.next_seq), (tree(7), tree(8), 205, 206));
    for what in ["l move", "l move of a tag"] {
        let read = tables::decode_move(take(what)).expect(what);
        assert_eq!(tables::encode_move(&read), take(what));
    }
    for what in ["u open upload", "u completed upload"] {
        let read = tables::decode_upload(take(what)).expect(what);
        assert_eq!(tables::encode_upload(&read), take(what));
    }
    for what in ["w completed import", "w failed import"] {
        let read = tables::decode_import(take(what)).expect(what);
        assert_eq!(tables::encode_import(&read), take(what));
    }
    let (number, rule) = tables::decode_rule(&200u32.to_be_bytes(), take("a rule")).expect("rule");
    assert_eq!((number, &*rule), (200, &a_rule()));
    assert_eq!(tables::decode_settings(take("s settings")).expect("settings"), settings());
    assert_eq!(*tables::decode_pull(take("p pull request")).expect("pull request"), a_merged_pull());
    let job = a_job(Some(Ok(Made::Commit(CommitId([2; 32])))));
    assert_eq!(*tables::decode_job(take("q job")).expect("job"), job);
    let (answer, time) = idempotency::decode(take("i answer")).expect("answer");
    assert_eq!((answer, time), (an_answer(), Timestamp(1_700_000_000_007)));
    assert_eq!(checkpoint::decode(take("m checkpoint")).expect("checkpoint"), (1_000, [17; 32], 301));
}

#[test]
fn keys_of_version_1() {
    let (name, main) = (RepositoryName::parse("lake").expect("a repository name"), branch_name());
    let tag = TagName::parse("v1.0").expect("a tag name");
    let blob = |key: millpond_blob::BlobKey| Bytes::copy_from_slice(key.as_str().as_bytes());
    let lines = [
        ("format", Bytes::from_static(keys::FORMAT)),
        ("epoch", Bytes::from_static(keys::EPOCH)),
        ("checkpoint", Bytes::from_static(keys::CHECKPOINT)),
        ("journal", keys::journal(258)),
        ("repository", keys::repository(&name)),
        ("branch", keys::branch(300, &main)),
        ("tag", keys::tag(300, &tag)),
        ("commit", keys::commit(300, &CommitId([1; 32]))),
        ("move", keys::ref_move(300, 5)),
        ("move by name", keys::ref_move_of(300, "main", 5)),
        ("upload", keys::upload(300, "0123456789abcdefghij")),
        ("answer", keys::idempotency(&[2; 32])),
        ("blob data", blob(keys::data(300, &DataName([200; 25])))),
        ("blob pack", blob(keys::pack(300, 3 << 32 | 1))),
        ("blob midx", blob(keys::pack_index(300, 3 << 32 | 1))),
        ("import", keys::import(300, "0123456789abcdefghij")),
        ("import rule", keys::rule(300, 200)),
        ("settings", keys::settings(300)),
        ("pull request", keys::pull(300, &a_pull().id)),
        ("alias", keys::alias(300, &CommitId([18; 32]))),
        ("audit", Bytes::from_static(keys::AUDIT)),
        ("audit segment", keys::audit_segment(258)),
        ("audit repository", keys::audit_repository(300)),
        ("blob audit", blob(keys::audit_segment_blob(258, &[0xab; 32]))),
        ("job", keys::job(300, "4pe0ofvqf7vvvvvvvvvg")),
        ("audit note", keys::note(300)),
    ];
    golden("keys-v1", &lines);
    // Two tables of one prefix would read, and delete, each other's rows.
    let mut tables = std::collections::HashSet::new();
    for (what, key) in lines.iter().filter(|(what, key)| !what.starts_with("blob") && !key.starts_with(b"m/"))
    {
        assert!(tables.insert(key.slice(..2)), "{what} has the prefix of another table");
    }
}

#[test]
fn part_lists_of_version_1() {
    let part = |n: u8| Part { name: DataName([n; 25]), size: 5 << 20, sha256: ContentHash([n + 1; 32]) };
    let manifest = Manifest { parts: vec![part(1), part(2), Part { size: 1, ..part(3) }] };
    let stored = golden("manifest-v1", &[("three parts", manifest.encode())]);
    let read = Manifest::decode(stored["three parts"].clone()).expect("part list");
    assert_eq!(read, manifest);
    assert_eq!(read.encode(), stored["three parts"]);
}

#[test]
fn dumps_of_version_1() {
    let origin = dump::Origin { uid: 300, namespace: "local://lake".into() };
    let commits = dump::Commits {
        rules: vec![(200, Arc::new(a_rule()))],
        aliases: vec![(CommitId([18; 32]), CommitId([1; 32]))],
        commits: vec![
            Arc::new(Commit { parents: vec![], generation: 1, ..a_commit() }),
            Arc::new(a_commit()),
        ],
    };
    let branches = vec![(branch_name(), CommitId([2; 32]), true)];
    let tags = vec![(TagName::parse("v1.0").expect("a tag name"), CommitId([1; 32]))];
    let lines = [
        ("commits", dump::encode_commits(&origin, &commits)),
        ("branches", dump::encode_branches(&origin, &branches)),
        ("tags", dump::encode_tags(&origin, &tags)),
    ];
    let stored = golden("dump-v1", &lines);
    let take = |what: &str| stored[what].clone();
    assert_eq!(dump::decode_commits(take("commits")), Ok((origin.clone(), commits)));
    assert_eq!(dump::decode_branches(take("branches")), Ok((origin.clone(), branches)));
    assert_eq!(dump::decode_tags(take("tags")), Ok((origin, tags)));
    assert!(dump::decode_tags(take("branches")).is_err(), "another file");
    for (what, bytes) in &stored {
        for end in 0..bytes.len() {
            let cut = bytes.slice(..end);
            let read = match what.as_str() {
                "commits" => dump::decode_commits(cut).is_ok(),
                "branches" => dump::decode_branches(cut).is_ok(),
                _ => dump::decode_tags(cut).is_ok(),
            };
            assert!(!read, "{what} cut at {end}");
        }
    }
}

#[test]
fn pack_indexes_of_versions_1_and_2() {
    let at = |pack, offset, len| Location { pack, offset, len, base: None };
    let edits = Location { base: Some(Box::new(NodeId([2; 32]))), ..at(3 << 32 | 1, 16, 90) };
    let whole = PackIndex {
        after: 0,
        number: 3 << 32 | 1,
        nodes: vec![
            (NodeId([1; 32]), at(3 << 32 | 1, 1 << 40, u32::MAX)),
            (NodeId([2; 32]), at(1, 16, 100)),
            (NodeId([3; 32]), edits),
        ],
    };
    let later = PackIndex { after: 3 << 32 | 1, number: 3 << 32 | 9, ..whole.clone() };
    let lines = [("three nodes", whole.clone().encode()), ("after others", later.clone().encode())];
    let stored = golden("midx-v1", &lines);
    for (name, index) in [("three nodes", whole), ("after others", later)] {
        assert_eq!(PackIndex::decode(stored[name].clone()), Ok(index), "{name}");
    }
}

/// Whatever a disk gives back, decoding ends with a value or an error, never with a panic.
#[test]
fn damaged_rows_are_refused_without_panic() {
    let context = context(Some(an_answer()));
    let all: Vec<Record> = records()
        .into_iter()
        .chain(import_records())
        .chain(later_records())
        .chain(records_of_version_2())
        .chain(records_of_dumps())
        .map(|(_, record)| record)
        .collect();
    let row = Row::encode(3, &[16; 32], &[(&context, &all)]);
    for end in 0..row.len() {
        assert!(Row::decode(Bytes::copy_from_slice(&row[..end])).is_err(), "cut at {end}");
    }
    for at in 0..row.len() {
        for bit in [1, 0x80, 0xff] {
            let mut changed = row.clone();
            changed[at] ^= bit;
            let _ = Row::decode(changed.into());
        }
    }
    let part = Part { name: DataName([1; 25]), size: u64::MAX, sha256: ContentHash([2; 32]) };
    let huge = Manifest { parts: vec![part.clone(), part] };
    assert!(Manifest::decode(huge.encode()).is_err(), "sizes that do not add up");
}

#[test]
fn rows_about_the_audit_trail_of_version_1() {
    use crate::audit::{Beginning, Reason, Segment, encode_name};
    let segment = Segment {
        first: 258,
        rows: 300,
        mutations: 1000,
        from: Timestamp(-1),
        until: Timestamp(1_700_000_000_000),
        before: [1; 32],
        after: [2; 32],
        raw_bytes: 1 << 20,
        sha256: [3; 32],
        bytes: 1 << 19,
    };
    let begin = |reason| Beginning { first: 258, before: [4; 32], reason };
    let lines = [
        ("segment", segment.encode()),
        ("complete", begin(Reason::Complete).encode()),
        ("upgrade", begin(Reason::Upgrade).encode()),
        ("retention", begin(Reason::Retention).encode()),
        ("name", encode_name("lake")),
    ];
    let stored = golden("audit-v1", &lines);
    assert_eq!(Segment::decode(stored["segment"].clone()).expect("a segment"), segment);
    for (what, reason) in
        [("complete", Reason::Complete), ("upgrade", Reason::Upgrade), ("retention", Reason::Retention)]
    {
        assert_eq!(Beginning::decode(stored[what].clone()).expect(what), begin(reason));
    }
}
