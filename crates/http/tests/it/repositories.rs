//! Repositories.

use crate::server::Server;
use serde_json::json;

#[tokio::test]
async fn a_repository_from_creation_to_deletion() {
    let server = Server::empty().await;
    let body = r#"{"name":"repo","storage_namespace":"local:///repo","default_branch":"trunk"}"#;
    let created = server.post("/repositories", body).await.expect(201).json();
    assert_eq!(created["id"], "repo");
    assert_eq!(created["default_branch"], "trunk");
    assert_eq!(created["storage_namespace"], "local:///repo");
    assert_eq!(created["read_only"], false);
    assert_eq!(server.get("/repositories/repo").await.expect(200).json(), created);
    server.post("/repositories", body).await.expect(409);

    server.delete("/repositories/repo").await.expect(204);
    let gone = server.get("/repositories/repo").await.expect(404);
    assert!(gone.json()["message"].as_str().unwrap().contains("not found"));
    server.delete("/repositories/repo").await.expect(404);
}

#[tokio::test]
async fn creations_that_are_refused() {
    let server = Server::empty().await;
    let body = |more: &str| format!(r#"{{"name":"repo","storage_namespace":"local://repo"{more}}}"#);
    let refused = [
        (400, r#"{"name":"Repo","storage_namespace":"local://repo"}"#.to_owned()),
        (400, r#"{"name":"repo","storage_namespace":"s3://bucket"}"#.to_owned()),
        (400, r#"{"name":"repo"}"#.to_owned()),
        (400, body(r#","default_branch":"a.b""#)),
        (400, body(r#","storage_id":"other""#)),
        (501, body(r#","sample_data":true"#)),
    ];
    for (status, body) in refused {
        assert_eq!(server.post("/repositories", &body).await.status, status, "{body}");
    }
    server.get("/repositories/repo").await.expect(404);
}

#[tokio::test]
async fn repositories_are_listed_in_pages() {
    let server = Server::empty().await;
    for name in ["alpha", "beta", "beta2"] {
        let body = format!(r#"{{"name":"{name}","storage_namespace":"local://{name}"}}"#);
        server.post("/repositories", &body).await.expect(201);
    }
    let ids = |answer: serde_json::Value| -> Vec<String> {
        let results = answer["results"].as_array().unwrap().clone();
        results.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = server.get("/repositories?amount=2").await.expect(200).json();
    let pagination = json!({"has_more": true, "next_offset": "beta", "results": 2, "max_per_page": 1000});
    assert_eq!(first["pagination"], pagination);
    assert_eq!(ids(first), ["alpha", "beta"]);
    let second = server.get("/repositories?amount=2&after=beta").await.expect(200).json();
    assert_eq!(second["pagination"]["has_more"], false);
    assert_eq!(second["pagination"]["next_offset"], "");
    assert_eq!(ids(second), ["beta2"]);
    assert_eq!(ids(server.get("/repositories?prefix=be").await.json()), ["beta", "beta2"]);
    assert_eq!(ids(server.get("/repositories?search=ph").await.json()), ["alpha"]);
}

#[tokio::test]
async fn metadata_is_merged_and_removed_by_key() {
    let server = Server::with_repository().await;
    let path = "/repositories/repo/metadata";
    assert_eq!(server.get(path).await.expect(200).json(), json!({}));
    server.post(path, r#"{"metadata":{"a":"1","b":"2"}}"#).await.expect(204);
    server.post(path, r#"{"metadata":{"b":"3"}}"#).await.expect(204);
    assert_eq!(server.get(path).await.json(), json!({"a": "1", "b": "3"}));
    let json_type = [("content-type", "application/json")];
    server.call("DELETE", path, &json_type, r#"{"keys":["a","none"]}"#).await.expect(204);
    assert_eq!(server.get(path).await.json(), json!({"b": "3"}));
}
