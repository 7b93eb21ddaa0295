//! Commits that were made elsewhere.

use crate::support::*;
use millpond_engine::*;
use millpond_types::*;

fn record(tree: TreeId, parents: Vec<CommitId>) -> CommitRecord {
    CommitRecord {
        id: None,
        committer: "grace".into(),
        message: "from elsewhere".into(),
        metadata: Metadata::from([("k".into(), "v".into())]),
        date: 1_234_567_890,
        tree,
        parents,
    }
}

/// It is found by id at once and after restarts, before and after a checkpoint, and a branch can start there.
#[tokio::test]
async fn a_commit_from_elsewhere_is_kept_as_it_was() {
    let world = World::new(1);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    let head = commit(&engine, "main", "m").await.unwrap();
    let root = record(head.commit.tree, vec![]);
    let root = engine.create_commit_record(&me(), &repo(), root, false).await.unwrap();
    let child = record(TreeId::EMPTY, vec![head.id, root.id]);
    let child = engine.create_commit_record(&me(), &repo(), child, false).await.unwrap();
    assert_eq!(root.commit.generation, 1);
    assert_eq!(child.commit.generation, head.commit.generation + 1);
    for checkpoint in [false, true] {
        drop(world.open().await);
        let engine = world.open().await;
        for made in [&root, &child] {
            let found = engine.get_commit(&repo(), &at(&made.id.to_hex())).await.unwrap();
            assert_eq!(found.commit, made.commit);
            assert_eq!(found.commit.id(), made.id);
        }
        if checkpoint {
            engine.close().await.unwrap();
        }
    }
    let engine = world.open().await;
    engine.create_branch(&me(), &repo(), &branch("old"), &at(&root.id.to_hex()), false, false).await.unwrap();
    assert_eq!(get(&engine, "old", b"a").await, Some(b"1".to_vec()));
    assert_eq!(engine.get_commit(&repo(), &at("main")).await.unwrap().id, head.id, "no branch has moved");
    engine.close().await.unwrap();
    let (_, defects) = crate::fsck::check(&world, FsckRequest::default()).await;
    assert!(defects.is_empty(), "{defects:?}");
}

#[tokio::test]
async fn a_commit_that_would_hang_in_the_air_is_refused() {
    let world = World::new(2);
    let engine = with_repo(&world).await;
    let store = async |record, force| engine.create_commit_record(&me(), &repo(), record, force).await;
    let kind = |outcome: Result<CommitInfo>| outcome.map(|info| info.id).map_err(|error| error.kind);
    let nowhere = TreeId(Some(NodeId([1; 32])));
    assert_eq!(kind(store(record(nowhere, vec![]), false).await), Err(Kind::Invalid));
    assert_eq!(kind(store(record(TreeId::EMPTY, vec![CommitId([1; 32])]), false).await), Err(Kind::Invalid));
    let wrong = CommitRecord { id: Some(CommitId([1; 32])), ..record(TreeId::EMPTY, vec![]) };
    assert_eq!(kind(store(wrong, false).await), Err(Kind::Invalid));
    let reserved = CommitRecord {
        metadata: Metadata::from([(".millpond.x".into(), String::new())]),
        ..record(TreeId::EMPTY, vec![])
    };
    assert_eq!(kind(store(reserved, false).await), Err(Kind::Invalid));
    let made = store(record(TreeId::EMPTY, vec![]), false).await.unwrap();
    let again = CommitRecord { id: Some(made.id), ..record(TreeId::EMPTY, vec![]) };
    assert_eq!(kind(store(again, false).await), Err(Kind::AlreadyExists));
    let name = RepositoryName::parse("frozen").unwrap();
    let new = NewRepository {
        name: name.clone(),
        storage_namespace: "local://frozen".into(),
        default_branch: branch("main"),
        read_only: true,
    };
    engine.create_repository(&me(), new).await.unwrap();
    let frozen =
        async |force| engine.create_commit_record(&me(), &name, record(TreeId::EMPTY, vec![]), force).await;
    assert_eq!(kind(frozen(false).await), Err(Kind::ReadOnly));
    frozen(true).await.unwrap();
}
