//! Stored bytes of every kind, damaged: refused, or read as something that is written and read again the same.

use crate::manifest::Manifest;
use crate::nodes::PackIndex;
use crate::record::{Context, Record, Row};
use crate::{checkpoint, idempotency, tables};
use bytes::Bytes;
use millpond_testkit::fuzz::Fuzz;
use std::fmt::Display;

/// The stored bytes in a golden file.
#[allow(clippy::disallowed_methods, reason = "a test reads its golden files")]
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let file = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(file).expect("golden file");
    text.lines().filter_map(|line| hex::decode(line.split_once(": ")?.1).ok()).collect()
}

/// What was read is written; that is read and written again; both writings are the same.
fn settles<T, E: Display>(
    input: &[u8],
    decode: impl Fn(Bytes) -> Result<T, E>,
    encode: impl Fn(&T) -> Bytes,
) -> String {
    match decode(Bytes::copy_from_slice(input)) {
        Ok(value) => {
            let written = encode(&value);
            let Ok(again) = decode(written.clone()) else { panic!("what was written cannot be read") };
            assert_eq!(encode(&again), written);
            format!("{}", written.len().ilog2())
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn fuzz_journal_rows() {
    Fuzz { name: "journal-rows", seeds: [seeds("journal-v1"), seeds("journal-v2")].concat(), words: &[] }
        .run(|input| {
            settles(input, Row::decode, |row| {
                let mutations: Vec<(&Context, &[Record])> =
                    row.mutations.iter().map(|(c, r)| (c, r.as_slice())).collect();
                Row::encode(row.epoch, &row.previous, &mutations).into()
            })
        });
}

#[test]
fn fuzz_manifests() {
    Fuzz { name: "manifests", seeds: seeds("manifest-v1"), words: &[] }.run(|input| {
        if let Ok(manifest) = Manifest::decode(Bytes::copy_from_slice(input)) {
            assert!(manifest.parts.len() <= input.len());
            let covered = manifest.cover(0..u64::MAX);
            assert!(covered.len() <= manifest.parts.len());
        }
        settles(input, Manifest::decode, Manifest::encode)
    });
}

#[test]
fn fuzz_tables() {
    Fuzz { name: "tables", seeds: seeds("tables-v1"), words: &["main"] }.run(|input| {
        let bytes = || Bytes::copy_from_slice(input);
        let repository = tables::decode_repository(bytes()).map(|(_, state)| state.branches.len());
        let branch = tables::decode_branch(b"main", bytes()).is_ok();
        let tag = tables::decode_tag(b"v1", input).is_ok();
        let upload = settles(input, tables::decode_upload, tables::encode_upload);
        let moved = settles(input, tables::decode_move, tables::encode_move);
        let key = settles(input, idempotency::decode, |(idempotency, time)| {
            idempotency::encode(idempotency, *time)
        });
        let point = settles(input, checkpoint::decode, |(first, previous, uid)| {
            checkpoint::encode(*first, previous, *uid)
        });
        let all = (repository.map_err(|e| e.message).err(), branch, tag, upload, moved, key, point);
        format!("{all:?}")
    });
}

#[test]
fn fuzz_pack_indexes() {
    Fuzz { name: "pack-indexes", seeds: seeds("midx-v1"), words: &[] }
        .run(|input| settles(input, PackIndex::decode, |index| index.clone().encode()));
}
