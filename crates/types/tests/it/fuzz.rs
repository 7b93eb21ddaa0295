//! Every input: what parses, parses again to the same from what it was written as.

use bytes::Bytes;
use millpond_testkit::fuzz::Fuzz;
use millpond_types::limits::{OBJECT_PATH_BYTES_MAX, REF_EXPRESSION_BYTES_MAX, REF_MODIFIERS_MAX};
use millpond_types::*;
use std::collections::BTreeMap;
use std::sync::Arc;

#[test]
fn fuzz_references() {
    let seeds =
        ["main", "main~2^1", "v1.0@", "main@{2026-11-22T20:00:00Z}", "main@{1790000000}~3", "a$", "x~0~0"];
    let words =
        ["~", "^", "@", "$", "@{", "}", "2026-11-22", "T20:00:00.123Z", "18446744073709551616", "main"];
    Fuzz { name: "references", seeds: seeds.map(|text| text.into()).to_vec(), words: &words }.run(|input| {
        let text = String::from_utf8_lossy(input);
        match RefExpr::parse(&text) {
            Ok(parsed) => {
                assert_eq!(RefExpr::parse(&parsed.to_string()).as_ref(), Ok(&parsed));
                assert!(!parsed.base.is_empty() && parsed.text.len() <= REF_EXPRESSION_BYTES_MAX);
                assert!(parsed.modifiers.len() <= REF_MODIFIERS_MAX);
                // Written from its meaning instead of its text it means the same.
                let modifiers: String = parsed
                    .modifiers
                    .iter()
                    .map(|modifier| match modifier {
                        Modifier::Ancestor(n) => format!("~{n}"),
                        Modifier::Parent(n) => format!("^{n}"),
                        Modifier::Head => "@".to_owned(),
                        Modifier::Staging => "$".to_owned(),
                        Modifier::At(_) => String::new(),
                    })
                    .collect();
                if !parsed.modifiers.iter().any(|m| matches!(m, Modifier::At(_))) {
                    let again = RefExpr::parse(&format!("{}{modifiers}", parsed.base)).unwrap();
                    assert_eq!((again.base, again.modifiers), (parsed.base, parsed.modifiers.clone()));
                }
                format!(
                    "{} {:?}",
                    parsed.modifiers.len(),
                    parsed.modifiers.first().map(std::mem::discriminant)
                )
            }
            Err(error) => error.reason.to_owned(),
        }
    });
}

#[test]
fn fuzz_names_and_paths() {
    let seeds = ["abc", "main", "v1.0", "a/b//c"].map(|text| text.into()).to_vec();
    Fuzz { name: "names", seeds, words: &["..", ".lock", "@{", "-", "/"] }.run(|input| {
        let text = String::from_utf8_lossy(input);
        let (repository, branch, tag) =
            (RepositoryName::parse(&text), BranchName::parse(&text), TagName::parse(&text));
        assert!(branch.is_err() || tag.is_ok(), "what names a branch could name a tag");
        assert!(repository.is_err() || branch.is_ok());
        if let Ok(tag) = &tag {
            assert!(
                RefExpr::parse(tag.as_str()).is_ok()
                    || tag.as_str().contains(['~', '^', '@', '$', '\u{a0}'])
                    || tag.as_str().chars().any(char::is_whitespace)
            );
        }
        let path = ObjectPath::new(Bytes::copy_from_slice(input));
        assert_eq!(path.is_ok(), (1..=OBJECT_PATH_BYTES_MAX).contains(&input.len()));
        format!(
            "{} {:?} {:?}",
            repository.is_ok(),
            branch.map_err(|e| e.rule).err(),
            tag.map_err(|e| e.rule).err()
        )
    });
}

fn entry(address: Address, checksum: Checksum, content: Content) -> Vec<u8> {
    let attributes =
        Attributes { content_type: "a/b".into(), metadata: BTreeMap::from([("k".into(), "v".into())]) };
    let extra = BTreeMap::from([("crc32".to_owned(), Bytes::from_static(b"AAAA"))]);
    let mut writer = Writer::new();
    Entry {
        content,
        size: 300,
        mtime: Timestamp(-5),
        checksum,
        address,
        attributes: Arc::new(attributes),
        extra,
    }
    .encode(&mut writer);
    writer.finish()
}

#[test]
fn fuzz_entries() {
    let hash = ContentHash([7; 32]);
    let seeds = vec![
        entry(Address::Cas, Checksum::Md5([1; 16]), Content::Whole(hash)),
        entry(Address::Rule(3), Checksum::Md5Parts([1; 16], 70_000), Content::Parts(hash)),
        entry(Address::Explicit(Bytes::from_static(b"x")), Checksum::Declared("e".into()), Content::Declared),
    ];
    Fuzz { name: "entries", seeds, words: &[] }.run(|input| {
        match Entry::decode(&mut Reader::new(Bytes::copy_from_slice(input))) {
            Ok(entry) => {
                let mut writer = Writer::new();
                entry.encode(&mut writer);
                let again = Entry::decode(&mut Reader::new(writer.finish().into()));
                assert_eq!(again.as_ref().ok(), Some(&entry));
                format!(
                    "{:?}",
                    (std::mem::discriminant(&entry.checksum), std::mem::discriminant(&entry.address))
                )
            }
            Err(error) => error.to_string(),
        }
    });
}

#[test]
fn fuzz_commits() {
    let commit = Commit {
        committer: "ada".into(),
        message: "m".into(),
        tree: TreeId(Some(NodeId([7; 32]))),
        creation_date: -17,
        metadata: Metadata::from([("k".into(), "v".into()), ("l".into(), String::new())]),
        parents: vec![CommitId([1; 32]), CommitId([2; 32])],
        generation: 300,
    };
    let mut writer = Writer::new();
    commit.encode(&mut writer);
    Fuzz { name: "commits", seeds: vec![writer.finish()], words: &[] }.run(|input| match Commit::from_bytes(
        Bytes::copy_from_slice(input),
    ) {
        Ok(commit) => {
            let mut writer = Writer::new();
            commit.encode(&mut writer);
            let again = Commit::from_bytes(writer.finish().into()).unwrap();
            assert_eq!((&again, again.id()), (&commit, commit.id()));
            format!("{} {}", commit.parents.len(), commit.metadata.len())
        }
        Err(error) => error.to_string(),
    });
}
