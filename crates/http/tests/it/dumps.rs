//! Dump of refs, and their restoring into a bare repository (area 23).

use crate::jobs::ended;
use crate::server::Server;
use serde_json::{Value, json};

/// `repo` with two branches and a tag, and a bare repository over the same namespace.
async fn prepared() -> Server {
    let server = Server::with_repository().await;
    server.upload("main", "a", "1").await;
    server.commit("main", "one").await;
    server.post("/repositories/repo/tags", r#"{"id":"v1","ref":"main"}"#).await.expect(201);
    server.branch("dev", "main").await;
    server.upload("dev", "a", "2").await;
    server.commit("dev", "two").await;
    let bare = r#"{"name":"copy","storage_namespace":"local://repo"}"#;
    server.post("/repositories", bare).await.expect(400);
    server.post("/repositories?bare=true", bare).await.expect(201);
    assert_eq!(server.get("/repositories/copy/branches").await.expect(200).json()["results"], json!([]));
    server
}

/// Branches, tags and log of a repository.
async fn refs(server: &Server, repo: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["branches", "tags", "refs/dev/commits", "refs/v1/commits"] {
        all.push(server.get(&format!("/repositories/{repo}/{path}")).await.expect(200).json());
    }
    all
}

#[tokio::test]
async fn a_dump_is_restored_with_its_ids() {
    let server = prepared().await;
    let dump = server.call("PUT", "/repositories/repo/refs/dump", &[], "").await.expect(201).json();
    let again = server.call("PUT", "/repositories/repo/refs/dump", &[], "").await.expect(201).json();
    assert_eq!(dump, again, "the same refs have the same dump");
    let restored = server.put("/repositories/copy/refs/restore", &dump.to_string()).await.expect(200);
    assert!(restored.body.is_empty());
    assert_eq!(refs(&server, "copy").await, refs(&server, "repo").await);
    server.delete("/repositories/repo?force=true").await.expect(204);
    let object = server.get("/repositories/copy/refs/dev/objects?path=a").await.expect(200);
    assert_eq!(object.text(), "2", "it owns its bytes");
    server.put("/repositories/copy/refs/restore", &dump.to_string()).await.expect(400);
}

#[tokio::test]
async fn dump_and_restore_in_the_background() {
    let server = prepared().await;
    let id = server.post("/repositories/repo/dump", "").await.expect(202).json()["id"].take();
    let status = format!("/repositories/repo/dump?task_id={}", id.as_str().unwrap());
    let dump = ended(&server, &status, "done").await["refs"].take();
    let submit = "/repositories/copy/restore";
    let id = server.post(submit, &dump.to_string()).await.expect(202).json()["id"].take();
    let status = ended(&server, &format!("{submit}?task_id={}", id.as_str().unwrap()), "done").await;
    assert_eq!(status.get("error"), None, "{status}");
    assert_eq!(refs(&server, "copy").await, refs(&server, "repo").await);
    server.post(submit, &dump.to_string()).await.expect(400);
    let other_kind = format!("/repositories/copy/dump?task_id={}", id.as_str().unwrap());
    server.get(&other_kind).await.expect(404);
    server.get("/repositories/repo/restore?task_id=none").await.expect(404);
    server.get("/repositories/repo/dump").await.expect(400);
}

#[tokio::test]
async fn what_cannot_be_restored_says_why() {
    let server = prepared().await;
    let dump = server.call("PUT", "/repositories/repo/refs/dump", &[], "").await.expect(201).json();
    let restore = async |repo: &str, body: &Value| {
        server.put(&format!("/repositories/{repo}/refs/restore"), &body.to_string()).await.status
    };
    assert_eq!(restore("repo", &dump).await, 400, "not bare");
    assert_eq!(restore("none", &dump).await, 404);
    for wrong in ["", "abc", &"1".repeat(64)] {
        let mut body = dump.clone();
        body["tags_meta_range_id"] = json!(wrong);
        assert_eq!(restore("copy", &body).await, 410, "'{wrong}'");
    }
    let mut swapped = dump.clone();
    swapped["tags_meta_range_id"] = dump["branches_meta_range_id"].clone();
    assert_eq!(restore("copy", &swapped).await, 400);
    let elsewhere = r#"{"name":"elsewhere","storage_namespace":"local://elsewhere"}"#;
    server.post("/repositories?bare=true", elsewhere).await.expect(201);
    assert_eq!(restore("elsewhere", &dump).await, 410, "another namespace");
    let frozen = r#"{"name":"frozen","storage_namespace":"local://repo","read_only":true}"#;
    server.post("/repositories?bare=true", frozen).await.expect(201);
    assert_eq!(restore("frozen", &dump).await, 403);
    let mut forced = dump.clone();
    forced["force"] = json!(true);
    assert_eq!(restore("frozen", &forced).await, 200);
    server.call("PUT", "/repositories/frozen/refs/dump", &[], "").await.expect(201);
    assert_eq!(restore("copy", &json!({})).await, 400);
}

/// API-23.2: bytes by id, which is their hash; ours are nodes of trees and files of dumps.
#[tokio::test]
async fn a_metadata_object_is_what_its_id_says() {
    let server = prepared().await;
    let commit = server.get("/repositories/repo/commits/main").await.expect(200).json();
    let dump = server.call("PUT", "/repositories/repo/refs/dump", &[], "").await.expect(201).json();
    for id in [&commit["meta_range_id"], &dump["commits_meta_range_id"]] {
        let id = id.as_str().unwrap();
        let answer =
            server.get(&format!("/repositories/repo/metadata/object/meta_range/{id}")).await.expect(200);
        assert_eq!(millpond_service::ContentHash::of(&answer.body).to_hex(), id);
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let presigned = format!("/repositories/repo/metadata/object/range/{id}?presign=true");
        server.get(&presigned).await.expect(400);
        server.get(&format!("/repositories/repo/metadata/object/tree/{id}")).await.expect(400);
    }
    let elsewhere = r#"{"name":"elsewhere","storage_namespace":"local://elsewhere"}"#;
    server.post("/repositories", elsewhere).await.expect(201);
    for (repo, id) in
        [("elsewhere", &dump["tags_meta_range_id"]), ("repo", &json!("abc")), ("none", &json!("abc"))]
    {
        let path = format!("/repositories/{repo}/metadata/object/range/{}", id.as_str().unwrap());
        server.get(&path).await.expect(if repo == "none" { 404 } else { 410 });
    }
}
