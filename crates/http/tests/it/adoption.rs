//! Adoption (ours): what a migration brings.

use crate::server::{Answer, BASIC, Server};
use http::Request;
use serde_json::{Value, json};

async fn send(server: &Server, path: &str, body: impl Into<axum::body::Body>) -> Answer {
    let request = Request::builder()
        .method("POST")
        .uri(format!("/api/millpond/v1/repositories/{path}"))
        .header("authorization", BASIC)
        .header("content-type", "application/json")
        .body(body.into());
    server.send(request.unwrap()).await
}

async fn receipt(server: &Server, repo: &str, bytes: &'static str) -> Value {
    send(server, &format!("{repo}/adoption/contents"), bytes).await.expect(201).json()
}

fn change(receipt: &Value) -> Value {
    let content = "97d986e2afa2c72986972e6433fbeaf9"; // MD5 of `lake`
    json!({"path": "a/ä.csv", "object": {
        "receipt": receipt["receipt"], "size_bytes": 4, "checksum": content, "mtime": 1_500_000_000,
        "content_type": "text/csv", "metadata": {"k": "v"}
    }})
}

#[tokio::test]
async fn bytes_trees_and_commits_are_taken_over() {
    let server = Server::with_repository().await;
    let sent = receipt(&server, "repo", "lake").await;
    assert_eq!((&sent["size_bytes"], &sent["checksum"]), (&json!(4), &change(&sent)["object"]["checksum"]));
    let mut unsent = change(&json!({}));
    unsent["object"].as_object_mut().unwrap().remove("receipt");
    let asked = json!({"base": "", "changes": [unsent, {"path": "b"}]}).to_string();
    let answer = send(&server, "repo/adoption/trees", asked).await.expect(201).json();
    assert_eq!(answer, json!({"tree": "", "linked": 0, "missing": ["a/ä.csv"]}));
    let asked = json!({"base": answer["tree"], "changes": [change(&sent)]}).to_string();
    let answer = send(&server, "repo/adoption/trees", asked).await.expect(201).json();
    assert_eq!(answer["missing"], json!([]));

    let mut commit = json!({
        "source_id": "ab".repeat(32), "tree": answer["tree"], "parents": [], "committer": "grace",
        "message": "taken over", "creation_date": 1_500_000_001, "metadata": {"run": "7"}
    });
    let made = send(&server, "repo/adoption/commits", commit.to_string()).await.expect(201).json();
    let again = send(&server, "repo/adoption/commits", commit.to_string()).await.expect(201).json();
    assert_eq!(made, again);
    let shown = server.get("/repositories/repo/commits/abab").await.expect(200).json();
    assert_eq!(shown, made);
    assert_eq!((&shown["committer"], &shown["creation_date"]), (&json!("grace"), &json!(1_500_000_001)));
    let stats = server.get("/repositories/repo/refs/abab/objects/stat?path=a/%C3%A4.csv").await.json();
    assert_eq!((&stats["mtime"], &stats["content_type"]), (&json!(1_500_000_000), &json!("text/csv")));
    assert_eq!(server.content("abab", "a/%C3%A4.csv").await.unwrap(), "lake");

    commit["message"] = json!("another");
    send(&server, "repo/adoption/commits", commit.to_string()).await.expect(409);
    for (member, value) in [("source_id", "abc"), ("tree", "abc")] {
        let mut wrong = commit.clone();
        wrong[member] = json!(value);
        send(&server, "repo/adoption/commits", wrong.to_string()).await.expect(400);
    }
    send(&server, "none/adoption/commits", commit.to_string()).await.expect(404);
    send(&server, "none/adoption/contents", "x").await.expect(404);
}

#[tokio::test]
async fn a_receipt_is_good_for_its_repository_only() {
    let server = Server::with_repository().await;
    let two = r#"{"name":"two","storage_namespace":"local://two"}"#;
    server.post("/repositories", two).await.expect(201);
    let sent = receipt(&server, "repo", "lake").await;
    let asked = |sent: &Value| json!({"base": "", "changes": [change(sent)]}).to_string();
    send(&server, "two/adoption/trees", asked(&sent)).await.expect(400);
    let text = sent["receipt"].as_str().unwrap();
    for wrong in ["x".to_owned(), text.replacen('.', "..", 1), format!("A{}", &text[1..])] {
        let wrong = if wrong == text { format!("B{}", &text[1..]) } else { wrong };
        send(&server, "repo/adoption/trees", asked(&json!({"receipt": wrong}))).await.expect(400);
    }
    // Of other bytes than the object has.
    let other = receipt(&server, "repo", "laké").await;
    send(&server, "repo/adoption/trees", asked(&other)).await.expect(400);
    send(&server, "repo/adoption/trees", asked(&sent)).await.expect(201);
}
