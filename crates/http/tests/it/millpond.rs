//! Our own API.

use crate::server::{BASIC, Server};
use axum::body::Body;
use http::Request;
use serde_json::Value;

async fn call(server: &Server, method: &str, path: &str) -> crate::server::Answer {
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/millpond/v1{path}"))
        .header("authorization", BASIC)
        .body(Body::empty())
        .unwrap();
    server.send(request).await
}

fn verbs(page: &Value) -> Vec<String> {
    let results = page["results"].as_array().unwrap();
    results
        .iter()
        .map(|item| format!("{} {}", item["verb"].as_str().unwrap(), item["ref"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn moves_are_listed_newest_first_and_undone() {
    let server = Server::with_repository().await;
    server.upload("main", "a", "1").await;
    let commit = server.commit("main", "first").await;
    server.branch("dev", "main").await;

    let log = call(&server, "GET", "/repositories/repo/oplog").await.expect(200).json();
    assert_eq!(verbs(&log), ["create dev", "commit main", "create main"]);
    let entry = &log["results"][1];
    assert_eq!(entry["new"], *commit);
    assert_eq!(entry["old"].as_str().unwrap().len(), 64);
    assert_eq!(entry["actor"], "admin");
    assert_eq!(entry["kind"], "branch");
    assert_eq!(entry["message"], "first");
    assert!(entry["time"].as_str().unwrap().starts_with("2026-09-21T"));
    assert_eq!(log["results"][2]["old"], "");

    let page = call(&server, "GET", "/repositories/repo/oplog?amount=1").await.json();
    assert_eq!(page["pagination"]["has_more"], true);
    let after = page["pagination"]["next_offset"].as_str().unwrap();
    let rest = call(&server, "GET", &format!("/repositories/repo/oplog?after={after}&ref=main")).await.json();
    assert_eq!(verbs(&rest), ["commit main", "create main"]);
    call(&server, "GET", "/repositories/repo/oplog?after=x").await.expect(400);

    let undone = call(&server, "POST", "/repositories/repo/branches/main/undo").await.expect(200).json();
    assert_eq!(undone["ref"], "main");
    assert_eq!(undone["old"], *commit);
    assert_eq!(undone["undone"]["verb"], "commit");
    let main = server.get("/repositories/repo/branches/main").await.json();
    assert_eq!(main["commit_id"], undone["new"]);
}

#[tokio::test]
async fn errors_are_problems() {
    let server = Server::with_repository().await;
    let answer = call(&server, "GET", "/repositories/none/oplog").await.expect(404);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["status"], 404);
    assert_eq!(problem["code"], "repository-not-found");
    for member in ["type", "title", "detail", "hint"] {
        assert!(problem[member].is_string(), "{member}");
    }
    call(&server, "GET", "/nothing").await.expect(404);
    assert_eq!(call(&server, "GET", "/version").await.expect(200).json()["version"], "1.2.3");
}

#[tokio::test]
async fn a_check_streams_lines_and_ends_with_a_report() {
    let server = Server::with_repository().await;
    server.upload("main", "a", "1").await;
    server.commit("main", "first").await;
    let answer = call(&server, "POST", "/fsck?repository=repo").await.expect(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let text = answer.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = &lines.last().unwrap()["report"];
    assert_eq!(
        (&report["defects"], &report["objects"], &report["commits"]),
        (&0.into(), &1.into(), &2.into())
    );
    // What can be known before is no line of a stream.
    call(&server, "POST", "/fsck?repository=nobody").await.expect(404);
    let anonymous =
        Request::builder().method("POST").uri("/api/millpond/v1/fsck").body(Body::empty()).unwrap();
    server.send(anonymous).await.expect(401);
    let request = Request::builder()
        .method("POST")
        .uri("/api/millpond/v1/backup")
        .header("authorization", BASIC)
        .header("content-type", "application/json")
        .body(Body::from(r#"{"directory":"/tmp/x"}"#))
        .unwrap();
    let answer = server.send(request).await.expect(501).text();
    assert!(answer.contains("makes no backups"), "{answer}");
}

#[tokio::test]
async fn the_audit_trail_says_who_did_what_and_is_proved() {
    let server = Server::with_repository().await;
    server.upload("main", "data/a", "1").await;
    server.upload("main", "b", "2").await;
    server.commit("main", "first").await;

    let all = call(&server, "GET", "/audit").await.expect(200).json();
    assert_eq!(verbs(&all), ["commit main", "put-object main", "put-object main", "create "]);
    let put = &all["results"][2];
    assert_eq!((put["actor"].as_str(), put["repository"].as_str()), (Some("admin"), Some("repo")));
    assert_eq!(put["changes"][0]["on"], "data/a");
    assert_eq!(
        (put["result"].as_str(), put["time"].as_str()),
        (Some("done"), all["results"][0]["time"].as_str())
    );
    assert_eq!(put["request_id"].as_str().unwrap().len(), 16);

    let found = async |query: &str| {
        let page = call(&server, "GET", &format!("/audit?{query}")).await.expect(200).json();
        verbs(&page).len()
    };
    assert_eq!(found("path=data/").await, 1);
    assert_eq!(found("verb=put-object&actor=admin&repository=repo&ref=main&result=done").await, 2);
    assert_eq!(found("actor=eve").await, 0);
    assert_eq!(found("result=refused").await, 0);
    assert_eq!(found("since=2030-01-01T00:00:00Z").await, 0);
    assert_eq!(found("until=2030-01-01T00:00:00Z").await, 4);
    let page = call(&server, "GET", "/audit?amount=3").await.json();
    let after = page["pagination"]["next_offset"].as_str().unwrap();
    assert_eq!(found(&format!("after={after}")).await, 1);
    call(&server, "GET", "/audit?after=x").await.expect(400);
    call(&server, "GET", "/audit?result=x").await.expect(400);

    let report = |answer: crate::server::Answer| {
        let text = answer.expect(200).text();
        serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap()["report"].clone()
    };
    let proof = report(call(&server, "POST", "/audit/verify").await);
    assert_eq!((proof["defects"].as_u64(), proof["events"].as_u64()), (Some(0), Some(4)));
    assert_eq!(proof["begins_because"], "complete");
    let (row, head) = (proof["row"].as_u64().unwrap(), proof["head"].as_str().unwrap());
    server.upload("main", "c", "3").await;
    let later = report(call(&server, "POST", &format!("/audit/verify?row={row}&head={head}")).await);
    assert_eq!(later["defects"], 0);
    let wrong = report(call(&server, "POST", &format!("/audit/verify?row={}&head={head}", row - 1)).await);
    assert_eq!((wrong["defects"].as_u64(), wrong["faults"][0]["row"].as_u64()), (Some(1), Some(row - 1)));
    call(&server, "POST", "/audit/verify?row=1&head=ab").await.expect(400);
}
