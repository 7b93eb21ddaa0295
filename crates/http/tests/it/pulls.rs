//! Pull requests.

use crate::server::Server;
use serde_json::json;

const PULLS: &str = "/repositories/repo/pulls";

/// `dev` has one commit that `main` has not.
async fn prepared() -> Server {
    let server = Server::with_repository().await;
    server.branch("dev", "main").await;
    server.upload("dev", "a", "1").await;
    server.commit("dev", "one").await;
    server
}

async fn open(server: &Server, title: &str) -> String {
    let body = json!({"title": title, "source_branch": "dev", "destination_branch": "main"});
    let made = server.post(PULLS, &body.to_string()).await.expect(201).json();
    made["id"].as_str().unwrap().to_owned()
}

async fn patch(server: &Server, id: &str, body: &str) -> crate::server::Answer {
    let headers = [("content-type", "application/json")];
    server.call("PATCH", &format!("{PULLS}/{id}"), &headers, body.to_owned()).await
}

#[tokio::test]
async fn a_pull_request_from_opening_to_merging() {
    let server = prepared().await;
    let id = open(&server, "labels").await;
    let path = format!("{PULLS}/{id}");
    let opened = server.get(&path).await.expect(200).json();
    let wanted = json!({
        "id": id, "status": "open", "title": "labels", "description": "", "author": "admin",
        "creation_date": "2026-09-21T14:13:20Z", "source_branch": "dev", "destination_branch": "main",
    });
    assert_eq!(opened, wanted);
    assert!(patch(&server, &id, r#"{"description":"why"}"#).await.expect(204).text().is_empty());
    patch(&server, &id, r#"{"status":"closed"}"#).await.expect(204);
    let refused = server.put(&format!("{path}/merge"), "").await.expect(400);
    assert!(refused.text().contains("bad pull request status"));
    patch(&server, &id, r#"{"status":"open"}"#).await.expect(204);
    let merged = server.put(&format!("{path}/merge"), "").await.expect(200).json();
    let now = server.get(&path).await.json();
    assert_eq!((&now["status"], &now["merged_commit_id"]), (&json!("merged"), &merged["reference"]));
    assert_eq!(now["description"], "why");
    let main = server.get("/repositories/repo/branches/main").await.json();
    assert_eq!(main["commit_id"], merged["reference"]);
    let listed = server.get(PULLS).await.expect(200).json();
    assert_eq!(listed["results"][0], now);
}

#[tokio::test]
async fn pull_requests_are_listed_by_status_and_in_pages() {
    let server = prepared().await;
    let mut ids = Vec::new();
    for title in ["one", "two", "three"] {
        ids.push(open(&server, title).await);
    }
    patch(&server, &ids[0], r#"{"status":"merged"}"#).await.expect(204);
    patch(&server, &ids[1], r#"{"status":"closed"}"#).await.expect(204);
    let list = async |query: &str| {
        let page = server.get(&format!("{PULLS}?{query}")).await.expect(200).json();
        let titles = page["results"].as_array().unwrap().iter().map(|pull| pull["title"].clone());
        (titles.collect::<Vec<_>>(), page["pagination"]["next_offset"].as_str().unwrap().to_owned())
    };
    assert_eq!(list("").await.0, ["three", "two", "one"]);
    assert_eq!(list("status=all").await.0, ["three", "two", "one"]);
    assert_eq!(list("status=open").await.0, ["three"]);
    assert_eq!(list("status=closed").await.0, ["two", "one"]);
    let (page, next) = list("amount=2").await;
    assert_eq!((page, next.as_str()), (vec![json!("three"), json!("two")], ids[1].as_str()));
    assert_eq!(list(&format!("amount=2&after={next}")).await, (vec![json!("one")], String::new()));
    assert_eq!(list(&format!("prefix={next}")).await.0, ["two"]);
    server.get(&format!("{PULLS}?status=merged")).await.expect(400);
}

#[tokio::test]
async fn pull_requests_that_are_refused() {
    let server = prepared().await;
    let create = async |source: &str, destination: &str| {
        let body = json!({"title": "t", "source_branch": source, "destination_branch": destination});
        server.post(PULLS, &body.to_string()).await
    };
    create("a.b", "main").await.expect(400);
    create("main", "main").await.expect(400);
    create("none", "main").await.expect(404);
    create("dev", "none").await.expect(404);
    server.post(PULLS, r#"{"title":"t","source_branch":"dev"}"#).await.expect(400);
    // A malformed name is noticed before the repository is looked for.
    let other = PULLS.replace("repo/", "none/");
    let body = |source: &str| {
        json!({"title": "t", "source_branch": source, "destination_branch": "main"}).to_string()
    };
    server.post(&other, &body("main")).await.expect(400);
    server.post(&other, &body("dev")).await.expect(404);
    server.get(&other).await.expect(404);
    for (id, status) in [("x", 400), ("00000000000000000001", 400), ("00000000000000000000", 404)] {
        server.get(&format!("{PULLS}/{id}")).await.expect(status);
        patch(&server, id, "{}").await.expect(status);
        server.put(&format!("{PULLS}/{id}/merge"), "").await.expect(status);
    }
    let id = open(&server, "t").await;
    patch(&server, &id, r#"{"status":"Open"}"#).await.expect(400);
    server.upload("main", "a", "another").await;
    let merge = format!("{PULLS}/{id}/merge");
    assert!(server.put(&merge, "").await.expect(400).text().contains("dirty"));
    server.commit("main", "in the way").await;
    let conflict = server.put(&merge, "").await.expect(409);
    assert!(conflict.json()["message"].as_str().unwrap().starts_with("conflict found"));
    assert_eq!(server.get(&format!("{PULLS}/{id}")).await.json()["status"], "open");
}
