//! Commit and merge in the background (API-30.1 to 30.3).

use crate::server::{Answer, Server};
use serde_json::{Value, json};

/// Asks until it has ended.
pub async fn ended(server: &Server, path: &str, done: &str) -> Value {
    loop {
        let status = server.get(path).await.expect(200).json();
        if status[done] == true {
            return status;
        }
        tokio::task::yield_now().await;
    }
}

fn id(submitted: Answer) -> String {
    submitted.expect(202).json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_commit_in_the_background() {
    let server = Server::with_repository().await;
    let config = server.get("/config").await.expect(200).json();
    assert_eq!(config["capabilities_config"], json!({"async_ops": true}));
    let path = "/repositories/repo/branches/main/commits/async";
    server.upload("main", "a", "1").await;
    let job = id(server.post(path, r#"{"message":"m","metadata":{"k":"v"}}"#).await);
    let status = ended(&server, &format!("{path}/{job}/status"), "completed").await;
    assert_eq!((&status["task_id"], &status["status_code"]), (&json!(job), &json!(201)));
    let head = server.get("/repositories/repo/commits/main").await.expect(200).json();
    assert_eq!(status["result"], head);
    let job = id(server.post(path, r#"{"message":"again"}"#).await);
    let status = ended(&server, &format!("{path}/{job}/status"), "completed").await;
    assert_eq!(status["status_code"], 400);
    assert!(status["error"]["message"].as_str().unwrap().contains("no changes"), "{status}");
    server.get(&format!("{path}/none/status")).await.expect(404);
    server.branch("dev", "main").await;
    let elsewhere = format!("/repositories/repo/branches/dev/commits/async/{job}/status");
    server.get(&elsewhere).await.expect(404);
    server.post("/repositories/repo/branches/none/commits/async", r#"{"message":"m"}"#).await.expect(404);
    server.post("/repositories/none/branches/main/commits/async", r#"{"message":"m"}"#).await.expect(404);
    server.post(path, "{}").await.expect(400);
}

#[tokio::test]
async fn a_merge_in_the_background() {
    let server = Server::with_repository().await;
    server.upload("main", "a", "1").await;
    server.commit("main", "one").await;
    server.branch("dev", "main").await;
    server.upload("dev", "a", "2").await;
    server.commit("dev", "two").await;
    let path = "/repositories/repo/refs/dev/merge/main/async";
    let job = id(server.post(path, "").await);
    let status = ended(&server, &format!("{path}/{job}/status"), "completed").await;
    let head = server.get("/repositories/repo/commits/main").await.expect(200).json();
    assert_eq!(status["result"], json!({"reference": head["id"]}));
    assert_eq!(status["status_code"], 200);
    for (branch, content) in [("dev", "3"), ("main", "4")] {
        server.upload(branch, "a", content).await;
        server.commit(branch, content).await;
    }
    let job = id(server.post(path, "").await);
    let status = ended(&server, &format!("{path}/{job}/status"), "completed").await;
    assert_eq!(status["status_code"], 409);
    server.post(path, r#"{"strategy":"wrong"}"#).await.expect(400);
}
