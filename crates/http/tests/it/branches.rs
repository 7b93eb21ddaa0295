//! Branches and tags.

use crate::server::Server;
use serde_json::Value;

fn ids(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn creating_a_branch_answers_with_the_commit_in_plain_text() {
    let server = Server::with_repository().await;
    let body = r#"{"name":"dev","source":"main"}"#;
    let created = server.post("/repositories/repo/branches", body).await.expect(201);
    assert!(created.header("content-type").starts_with("text/plain"));
    let main = server.get("/repositories/repo/branches/main").await.expect(200).json();
    assert_eq!(created.text(), main["commit_id"].as_str().unwrap());
    server.post("/repositories/repo/branches", body).await.expect(409);
    let from_nowhere = r#"{"name":"dev2","source":"nowhere"}"#;
    server.post("/repositories/repo/branches", from_nowhere).await.expect(404);
    server.post("/repositories/repo/branches", r#"{"name":"a.b","source":"main"}"#).await.expect(400);
    server.post("/repositories/none/branches", body).await.expect(404);
}

#[tokio::test]
async fn hidden_branches_are_listed_only_on_demand() {
    let server = Server::with_repository().await;
    let body = r#"{"name":"tx-1","source":"main","hidden":true}"#;
    server.post("/repositories/repo/branches", body).await.expect(201);
    server.branch("dev", "main").await;
    let shown = server.get("/repositories/repo/branches").await.expect(200).json();
    assert_eq!(ids(&shown), ["dev", "main"]);
    let all = server.get("/repositories/repo/branches?show_hidden=True").await.expect(200).json();
    assert_eq!(ids(&all), ["dev", "main", "tx-1"]);
    let page = server.get("/repositories/repo/branches?amount=1").await.json();
    assert_eq!(page["pagination"]["next_offset"], "dev");
}

#[tokio::test]
async fn deleting_branches() {
    let server = Server::with_repository().await;
    server.branch("dev", "main").await;
    server.delete("/repositories/repo/branches/dev").await.expect(204);
    server.delete("/repositories/repo/branches/dev").await.expect(404);
    server.delete("/repositories/repo/branches/main").await.expect(403);
}

#[tokio::test]
async fn tags_come_and_go() {
    let server = Server::with_repository().await;
    let tags = "/repositories/repo/tags";
    let created = server.post(tags, r#"{"id":"v1.0+b","ref":"main"}"#).await.expect(201).json();
    assert_eq!(created["id"], "v1.0+b");
    server.post(tags, r#"{"id":"v1.0+b","ref":"main"}"#).await.expect(409);
    server.post(tags, r#"{"id":"main","ref":"main"}"#).await.expect(409);
    server.post(tags, r#"{"id":"a b","ref":"main"}"#).await.expect(400);
    server.post(tags, r#"{"id":"v2","ref":"main$"}"#).await.expect(400);
    server.post(tags, r#"{"id":"v2","ref":"none"}"#).await.expect(404);
    // A plus in a path is a plus (API-7.14).
    assert_eq!(server.get("/repositories/repo/tags/v1.0+b").await.expect(200).json(), created);
    assert_eq!(ids(&server.get(tags).await.json()), ["v1.0+b"]);
    server.delete("/repositories/repo/tags/v1.0+b").await.expect(204);
    server.delete("/repositories/repo/tags/v1.0+b").await.expect(404);
}

#[tokio::test]
async fn resets_drop_what_they_name() {
    let server = Server::with_repository().await;
    let staged = async || {
        let diff = server.get("/repositories/repo/branches/main/diff").await.expect(200).json();
        let results = diff["results"].as_array().unwrap().clone();
        results.iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for path in ["a/1", "a/2", "b", "c"] {
        server.upload("main", path, path).await;
    }
    let main = "/repositories/repo/branches/main";
    server.put(main, r#"{"type":"object","path":"b"}"#).await.expect(204);
    assert_eq!(staged().await, ["a/1", "a/2", "c"]);
    server.put(main, r#"{"type":"common_prefix","path":"a/"}"#).await.expect(204);
    assert_eq!(staged().await, ["c"]);
    server.put(main, r#"{"type":"object","path":""}"#).await.expect(400);
    server.put(main, r#"{"type":"everything"}"#).await.expect(400);
    server.put(main, r#"{"type":"reset"}"#).await.expect(204);
    assert_eq!(staged().await, Vec::<String>::new());
    server.put("/repositories/repo/branches/none", r#"{"type":"reset"}"#).await.expect(404);
}
