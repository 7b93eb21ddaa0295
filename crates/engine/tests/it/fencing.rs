//! A server that was thought dead and is not must not harm what its successor writes.

use crate::support::*;
use millpond_engine::*;

#[tokio::test]
async fn a_fenced_servers_checkpoint_changes_nothing() {
    let world = World::new(1);
    let old = with_repo(&world).await;
    put(&old, "main", b"a", b"1").await;
    commit(&old, "main", "one").await.unwrap();
    let new = world.open().await;
    put(&new, "main", b"b", b"1").await;
    let head = commit(&new, "main", "two").await.unwrap().id;
    new.checkpoint().await.unwrap();
    assert_eq!(old.checkpoint().await.unwrap_err().kind, Kind::Internal);
    let third = world.open().await;
    assert_eq!(third.get_branch(&repo(), &branch("main")).unwrap().commit, head);
    assert_eq!(list(&third, "main", 10).await.len(), 2);
}

#[tokio::test]
async fn a_fenced_servers_tree_nodes_do_not_replace_its_successors() {
    for old_first in [false, true] {
        let world = World::new(2);
        let old = with_repo(&world).await;
        put(&old, "main", b"0", b"1").await;
        commit(&old, "main", "the old one knows its packs").await.unwrap();
        put(&old, "main", b"a", b"1").await;
        let new = world.open().await;
        put(&new, "main", b"b", b"1").await;
        if old_first {
            commit(&old, "main", "old").await.unwrap_err();
        }
        commit(&new, "main", "new").await.unwrap();
        if !old_first {
            commit(&old, "main", "old").await.unwrap_err();
        }
        let third = world.open().await;
        let names: Vec<_> = list(&third, "main", 10).await.into_iter().map(|(k, _)| k).collect();
        assert_eq!(names, [b"0".to_vec(), b"a".to_vec(), b"b".to_vec()]);
    }
}
