//! Multipart uploads.

use crate::support::*;
use bytes::Bytes;
use millpond_engine::*;
use millpond_types::limits::PART_BYTES_MIN;
use millpond_types::*;
use std::collections::BTreeMap;

const KEY: &[u8] = b"big";

pub async fn begin(engine: &Engine) -> String {
    let attributes = Attributes { content_type: "x/y".into(), metadata: BTreeMap::new() };
    engine.create_upload(&me(), &repo(), &branch("main"), &path(KEY), attributes, "", "").await.unwrap().id
}

pub async fn part(engine: &Engine, id: &str, number: u32, body: &[u8]) -> CompletedPart {
    let (b, p) = (branch("main"), path(KEY));
    let mut writer = engine.put_part(&me(), &repo(), &b, &p, id, number, None).await.unwrap();
    writer.write(Bytes::copy_from_slice(body)).await.unwrap();
    let info = writer.finish(BTreeMap::new()).await.unwrap();
    CompletedPart { number, etag: hex::encode(info.md5), checksums: BTreeMap::new() }
}

pub async fn abort(engine: &Engine, id: &str) {
    engine.abort_upload(&me(), &repo(), &branch("main"), &path(KEY), id).await.unwrap();
}

pub async fn complete(engine: &Engine, id: &str, parts: Vec<CompletedPart>) -> Result<ObjectInfo> {
    let request = CompleteRequest { parts, ..Default::default() };
    engine.complete_upload(&me(), &repo(), &branch("main"), &path(KEY), id, request).await
}

fn body(len: u64, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(seed)).collect()
}

#[tokio::test]
async fn parts_become_one_object_and_a_repeated_complete_gives_the_same_answer() {
    let world = World::new(1);
    let engine = with_repo(&world).await;
    let id = begin(&engine).await;
    let (one, two) = (body(PART_BYTES_MIN, 3), body(100, 5));
    let parts = vec![part(&engine, &id, 1, &one).await, part(&engine, &id, 7, &two).await];
    let engine = world.open().await;
    let info = complete(&engine, &id, parts.clone()).await.unwrap();
    assert!(info.entry.checksum.to_text().ends_with("-2"));
    assert!(matches!(info.entry.content, Content::Parts(_)));
    assert_eq!(get(&engine, "main", KEY).await.unwrap(), [one, two].concat());
    assert_eq!(complete(&engine, &id, parts.clone()).await.unwrap().entry, info.entry);
    let engine = world.open().await;
    assert_eq!(complete(&engine, &id, parts.clone()).await.unwrap().entry, info.entry);
    let other = complete(&engine, &id, parts[..1].to_vec()).await;
    assert_eq!(other.unwrap_err().kind, Kind::NotFound(Thing::Upload));
}

#[tokio::test]
async fn an_upload_of_one_part_is_whole() {
    let world = World::new(2);
    let engine = with_repo(&world).await;
    let id = begin(&engine).await;
    let parts = vec![part(&engine, &id, 1, b"small").await];
    let info = complete(&engine, &id, parts).await.unwrap();
    assert_eq!(info.entry.content, Content::Whole(ContentHash::of(b"small")));
    assert_eq!(get(&engine, "main", KEY).await.unwrap(), b"small");
}

#[tokio::test]
async fn wrong_part_lists_are_refused_and_change_nothing() {
    let world = World::new(3);
    let engine = with_repo(&world).await;
    let id = begin(&engine).await;
    let (a, b) = (part(&engine, &id, 1, b"small").await, part(&engine, &id, 2, b"other").await);
    let kind = async |parts: Vec<CompletedPart>| complete(&engine, &id, parts).await.unwrap_err().kind;
    assert_eq!(kind(vec![]).await, Kind::InvalidPart);
    assert_eq!(kind(vec![a.clone(), b.clone()]).await, Kind::PartTooSmall);
    assert_eq!(kind(vec![b.clone(), a.clone()]).await, Kind::InvalidPartOrder);
    assert_eq!(kind(vec![a.clone(), a.clone()]).await, Kind::InvalidPartOrder);
    let wrong = CompletedPart { etag: b.etag.clone(), ..a.clone() };
    assert_eq!(kind(vec![wrong]).await, Kind::InvalidPart);
    assert_eq!(kind(vec![CompletedPart { number: 9, ..a.clone() }]).await, Kind::InvalidPart);
    assert_eq!(get(&engine, "main", KEY).await, None);
    complete(&engine, &id, vec![a]).await.unwrap();
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let world = World::new(4);
    let engine = with_repo(&world).await;
    let id = begin(&engine).await;
    let one = part(&engine, &id, 1, b"small").await;
    let listed = engine.list_uploads(&repo(), "main/", "", "", 10).unwrap();
    assert_eq!(listed.items.len(), 1);
    engine.abort_upload(&me(), &repo(), &branch("main"), &path(KEY), &id).await.unwrap();
    let gone = Kind::NotFound(Thing::Upload);
    let again = engine.abort_upload(&me(), &repo(), &branch("main"), &path(KEY), &id).await;
    assert_eq!(again.unwrap_err().kind, gone);
    assert_eq!(complete(&engine, &id, vec![one]).await.unwrap_err().kind, gone);
    let late = engine.put_part(&me(), &repo(), &branch("main"), &path(KEY), &id, 2, None).await;
    assert_eq!(late.err().unwrap().kind, gone);
    assert!(engine.list_uploads(&repo(), "", "", "", 10).unwrap().items.is_empty());
}

#[tokio::test]
async fn uploads_are_listed_in_pages_by_key_and_id() {
    let world = World::new(41);
    let engine = with_repo(&world).await;
    let mut ids = Vec::new();
    for key in ["b", "a", "a", "c/x"] {
        let attributes = Attributes::default();
        let made = engine
            .create_upload(&me(), &repo(), &branch("main"), &path(key.as_bytes()), attributes, "", "")
            .await;
        ids.push((format!("main/{key}"), made.unwrap().id));
    }
    ids.sort();
    let mut seen = Vec::new();
    let (mut key, mut id) = (String::new(), String::new());
    loop {
        let page = engine.list_uploads(&repo(), "main/", &key, &id, 1).unwrap();
        for info in &page.items {
            (key, id) = (format!("main/{}", info.path.to_text()), info.id.clone());
            seen.push((key.clone(), id.clone()));
        }
        if !page.has_more {
            break;
        }
    }
    assert_eq!(seen, ids);
    let after_a = engine.list_uploads(&repo(), "main/", "main/a", "", 10).unwrap();
    assert_eq!(after_a.items.len(), 2, "a key without an id passes over all uploads of that key");
    assert_eq!(engine.list_uploads(&repo(), "main/c", "", "", 10).unwrap().items.len(), 1);
    assert!(engine.list_uploads(&repo(), "dev/", "", "", 10).unwrap().items.is_empty());
}

#[tokio::test]
async fn an_abort_that_cannot_delete_a_part_is_an_abort_all_the_same() {
    let mut world = World::new(9);
    let busy = std::sync::Arc::new(crate::gate::BusyBlobs { inner: world.blobs.clone(), refusals: 0.into() });
    world.blobs = busy.clone();
    let engine = with_repo(&world).await;
    let id = begin(&engine).await;
    part(&engine, &id, 1, b"small").await;
    busy.refusals.store(1, std::sync::atomic::Ordering::SeqCst);
    engine.abort_upload(&me(), &repo(), &branch("main"), &path(KEY), &id).await.expect("it is gone");
}
