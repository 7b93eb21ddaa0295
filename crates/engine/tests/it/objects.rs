//! Objects: conditions, copies, deletes, listing, large and small bodies.

use crate::support::*;
use bytes::Bytes;
use millpond_engine::*;
use millpond_types::*;
use std::collections::BTreeMap;

fn only_if_absent() -> WriteCondition {
    WriteCondition { if_match: None, if_none_match: Some(EtagMatch::Any) }
}

#[tokio::test]
async fn of_many_that_create_the_same_path_exactly_one_wins() {
    let world = World::new(1);
    let engine = with_repo(&world).await;
    for round in 0..20 {
        let key = format!("k{round}");
        let tries = (0..8).map(|n| {
            let (engine, key) = (engine.clone(), key.clone());
            tokio::spawn(async move {
                let request = PutRequest { condition: only_if_absent(), ..put_request("") };
                put_with(&engine, "main", key.as_bytes(), format!("{n}").as_bytes(), request).await
            })
        });
        let mut won = Vec::new();
        for attempt in tries.collect::<Vec<_>>() {
            match attempt.await.unwrap() {
                Ok(info) => won.push(info.entry.checksum.to_text()),
                Err(e) => assert_eq!(e.kind, Kind::PreconditionFailed),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        let stat = engine.stat_object(&repo(), &at("main"), &path(key.as_bytes())).await.unwrap();
        assert_eq!(stat.entry.checksum.to_text(), won[0]);
    }
}

#[tokio::test]
async fn if_match_guards_an_update() {
    let world = World::new(2);
    let engine = with_repo(&world).await;
    let first = put(&engine, "main", b"k", b"1").await.entry.checksum.to_text();
    let when = |etag: &str| WriteCondition {
        if_match: Some(EtagMatch::OneOf(vec![etag.to_owned()])),
        if_none_match: None,
    };
    let write = async |etag: &str, body: &[u8]| {
        put_with(&engine, "main", b"k", body, PutRequest { condition: when(etag), ..put_request("") }).await
    };
    write(&first, b"2").await.unwrap();
    assert_eq!(write(&first, b"3").await.unwrap_err().kind, Kind::PreconditionFailed);
    assert_eq!(get(&engine, "main", b"k").await.unwrap(), b"2");
    let absent =
        put_with(&engine, "main", b"no", b"3", PutRequest { condition: when(&first), ..put_request("") })
            .await;
    assert_eq!(absent.unwrap_err().kind, Kind::NotFound(Thing::Object));
    let stale = engine.delete_object(&me(), &repo(), &branch("main"), &path(b"k"), when(&first), false).await;
    assert_eq!(stale.unwrap_err().kind, Kind::PreconditionFailed);
    assert!(get(&engine, "main", b"k").await.is_some());
}

#[tokio::test]
async fn bodies_of_all_sizes_come_back_byte_for_byte() {
    let world = World::new(3);
    let engine = with_repo(&world).await;
    for size in [0usize, 1, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
        let mut writer =
            engine.put_object(&me(), &repo(), &branch("main"), &path(b"f"), put_request("")).await.unwrap();
        for piece in body.chunks(100_000) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let info = writer.finish(BTreeMap::new()).await.unwrap();
        assert_eq!(info.entry.content, Content::Whole(ContentHash::of(&body)));
        assert_eq!(get(&engine, "main", b"f").await.unwrap(), body, "{size} bytes");
        let address = info.physical_address.strip_prefix("local://lake/data/").unwrap();
        let digits =
            |s: &str| s.len() == 20 && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'v').contains(&b));
        let (a, b) = address.split_once('/').unwrap();
        assert!(digits(a) && digits(b), "{address}");
    }
}

#[tokio::test]
async fn ranges_of_a_large_body() {
    use futures::StreamExt;
    let world = World::new(4);
    let engine = with_repo(&world).await;
    let body: Vec<u8> = (0..2_500_000usize).map(|i| (i % 253) as u8).collect();
    put(&engine, "main", b"f", &body).await;
    let open = engine.open_object(&repo(), &at("main"), &path(b"f")).await.unwrap();
    for range in [0..0, 0..1, 5..10, 65_530..65_545, 1_048_570..1_048_580, 2_499_999..2_500_000, 3..2_400_001]
    {
        let mut bytes = Vec::new();
        let mut stream = open.read(range.clone());
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(bytes, &body[range.start as usize..range.end as usize], "{range:?}");
    }
}

#[tokio::test]
async fn the_same_bytes_are_no_change() {
    let world = World::new(5);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"k", b"1").await;
    commit(&engine, "main", "one").await.unwrap();
    world.clock.advance(5_000);
    put(&engine, "main", b"k", b"1").await;
    assert!(uncommitted(&engine, "main").await.is_empty());
    assert_eq!(commit(&engine, "main", "two").await.unwrap_err().kind, Kind::NoChanges);
    put_with(&engine, "main", b"k", b"1", put_request("image/png")).await.unwrap();
    assert_eq!(uncommitted(&engine, "main").await, ["~ k"], "another content type is a change (API-16.17)");
}

#[tokio::test]
async fn a_copy_keeps_bytes_and_attributes_and_moves_nothing() {
    let world = World::new(6);
    let engine = with_repo(&world).await;
    let source = put(&engine, "main", b"a", b"1").await;
    commit(&engine, "main", "one").await.unwrap();
    put(&engine, "main", b"a", b"2").await;
    let request = CopyRequest {
        source: &at("main@"),
        source_path: &path(b"a"),
        attributes: None,
        source_condition: WriteCondition::default(),
        condition: WriteCondition::default(),
        force: false,
    };
    let copy = engine.copy_object(&me(), &repo(), &branch("main"), &path(b"b"), request).await.unwrap();
    assert_eq!(copy.physical_address, source.physical_address);
    assert_eq!(get(&engine, "main", b"b").await.unwrap(), b"1");
    assert_eq!(copy.entry.attributes.content_type, "text/plain");
}

#[tokio::test]
async fn a_delimiter_folds_and_pages() {
    let world = World::new(7);
    let engine = with_repo(&world).await;
    for key in ["a", "a/1", "a/2", "b//x", "c", "dir/x", "dir2/y"] {
        put(&engine, "main", key.as_bytes(), b"1").await;
    }
    commit(&engine, "main", "one").await.unwrap();
    put(&engine, "main", b"new/z", b"1").await;
    delete(&engine, "main", b"dir/x").await;
    let pages = async |prefix: &str, amount: usize| {
        let mut all = Vec::new();
        let mut request = ListRequest {
            prefix: prefix.to_owned().into(),
            delimiter: "/".into(),
            amount,
            ..Default::default()
        };
        loop {
            let page = engine.snapshot(&repo(), &at("main")).await.unwrap().list(&request).await.unwrap();
            for item in page.items {
                let (text, after) = match item {
                    ListItem::Object(info) => (info.path.to_text().into_owned(), info.path.to_bytes()),
                    ListItem::CommonPrefix(p) => (format!("{}*", String::from_utf8_lossy(&p)), p),
                };
                all.push(text);
                request.after = after;
            }
            if !page.has_more {
                return all;
            }
        }
    };
    for amount in [1, 2, 3, 100] {
        assert_eq!(pages("", amount).await, ["a", "a/*", "b/*", "c", "dir2/*", "new/*"]);
        assert_eq!(pages("a/", amount).await, ["a/1", "a/2"]);
        assert_eq!(pages("b/", amount).await, ["b//*"]);
        assert_eq!(pages("nothing", amount).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn metadata_is_replaced_whole_and_headers_stay() {
    let world = World::new(8);
    let engine = with_repo(&world).await;
    let mut request = put_request("text/plain");
    let header = format!("{}cache-control", entry::HEADER_PREFIX);
    request.attributes.metadata =
        BTreeMap::from([("a".into(), "1".into()), (header.clone(), "no-store".into())]);
    put_with(&engine, "main", b"k", b"1", request).await.unwrap();
    let set = Metadata::from([("b".into(), "2".into())]);
    engine.set_object_metadata(&me(), &repo(), &branch("main"), &path(b"k"), set, false).await.unwrap();
    let stat = engine.stat_object(&repo(), &at("main"), &path(b"k")).await.unwrap();
    let expected = BTreeMap::from([("b".into(), "2".into()), (header, "no-store".into())]);
    assert_eq!(stat.entry.attributes.metadata, expected);
    let missing = engine
        .set_object_metadata(&me(), &repo(), &branch("main"), &path(b"x"), Metadata::new(), false)
        .await;
    assert_eq!(missing.unwrap_err().kind, Kind::NotFound(Thing::Object));
}

#[tokio::test]
async fn a_commit_is_one_point_in_time_while_writes_go_on() {
    let world = World::new(9);
    let engine = with_repo(&world).await;
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let (engine, done) = (engine.clone(), done.clone());
        tokio::spawn(async move {
            let mut n = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                // `left` is always written before `right`: no commit may hold a newer right than left.
                put(&engine, "main", b"left", format!("{n}").as_bytes()).await;
                put(&engine, "main", b"right", format!("{n}").as_bytes()).await;
                n += 1;
            }
        })
    };
    let mut commits = Vec::new();
    while commits.len() < 30 {
        match commit(&engine, "main", "x").await {
            Ok(info) => commits.push(info.id),
            Err(e) => assert_eq!(e.kind, Kind::NoChanges, "{e}"),
        }
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.await.unwrap();
    for id in commits {
        let number = async |key: &[u8]| match get(&engine, &id.to_hex(), key).await {
            None => -1,
            Some(body) => String::from_utf8(body).unwrap().parse::<i64>().unwrap(),
        };
        let (left, right) = (number(b"left").await, number(b"right").await);
        assert!(left == right || left == right + 1, "left {left}, right {right}");
    }
}
