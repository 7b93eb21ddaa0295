//! Commits, log, diff, merge, revert, cherry-pick.

use crate::server::{NOW, Server};
use serde_json::{Value, json};

/// `main`: one commit with `a` and `b`; `dev` changed `a` and added `c`.
async fn two_branches() -> (Server, String, String) {
    let server = Server::with_repository().await;
    server.upload("main", "a", "a1").await;
    server.upload("main", "b", "b1").await;
    let first = server.commit("main", "first").await;
    server.branch("dev", "main").await;
    server.upload("dev", "a", "a2").await;
    server.upload("dev", "c", "c1").await;
    let second = server.commit("dev", "second").await;
    (server, first, second)
}

fn lines(diff: &Value) -> Vec<String> {
    let results = diff["results"].as_array().unwrap();
    results
        .iter()
        .map(|item| format!("{} {}", item["type"].as_str().unwrap(), item["path"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_commit_as_clients_see_it() {
    let server = Server::with_repository().await;
    server.upload("main", "a", "a1").await;
    let body = r#"{"message":"m","metadata":{"k":"v"},"date":1600000000}"#;
    let commit = server.post("/repositories/repo/branches/main/commits", body).await.expect(201).json();
    assert_eq!(commit["message"], "m");
    assert_eq!(commit["committer"], "admin");
    assert_eq!(commit["metadata"], json!({"k": "v"}));
    assert_eq!(commit["creation_date"], 1_600_000_000);
    assert_eq!(commit["generation"], 2);
    assert_eq!(commit["version"], 1);
    assert_eq!(commit["parents"].as_array().unwrap().len(), 1);
    assert_eq!(commit["meta_range_id"].as_str().unwrap().len(), 64);
    for at in [commit["id"].as_str().unwrap(), "main", "main@"] {
        assert_eq!(server.get(&format!("/repositories/repo/commits/{at}")).await.expect(200).json(), commit);
    }
    let root = server.get("/repositories/repo/commits/main~1").await.expect(200).json();
    assert_eq!(root["parents"], json!([]), "clients need a list, never null");
    assert_eq!(root["creation_date"], NOW);
    assert_eq!(root["meta_range_id"], "");
    server.post("/repositories/repo/branches/main/commits", r#"{"message":"m"}"#).await.expect(400);
    let empty = r#"{"message":"m","allow_empty":true}"#;
    server.post("/repositories/repo/branches/main/commits", empty).await.expect(201);
}

#[tokio::test]
async fn a_commit_of_chosen_paths_leaves_the_rest_staged() {
    let server = Server::with_repository().await;
    for path in ["a", "d/1", "d/2", "e"] {
        server.upload("main", path, path).await;
    }
    let body = r#"{"message":"part","paths":["a"],"prefixes":["d/"]}"#;
    server.post("/repositories/repo/branches/main/commits", body).await.expect(201);
    let diff = server.get("/repositories/repo/branches/main/diff").await.json();
    assert_eq!(lines(&diff), ["added e"]);
    assert_eq!(server.content("main@", "d/2").await.as_deref(), Some("d/2"));
}

#[tokio::test]
async fn log_has_filters_and_pages() {
    let (server, first, second) = two_branches().await;
    let log = async |query: &str| {
        let answer =
            server.get(&format!("/repositories/repo/refs/dev/commits{query}")).await.expect(200).json();
        let results = answer["results"].as_array().unwrap().clone();
        let ids: Vec<String> = results.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
        (ids, answer["pagination"].clone())
    };
    let (all, _) = log("").await;
    assert_eq!(all.len(), 3);
    assert!(all.contains(&first) && all.contains(&second));
    let (page, pagination) = log("?amount=1").await;
    assert_eq!(pagination["has_more"], true);
    assert_eq!(pagination["next_offset"], *page[0]);
    let (_, pagination) = log("?amount=1&limit=true").await;
    assert_eq!(pagination["has_more"], false);
    assert_eq!(log("?objects=b").await.0, [first.as_str()]);
    assert_eq!(log("?prefixes=c&prefixes=zz").await.0, [second]);
    assert_eq!(log("?since=2099-01-01T00:00:00Z").await.0, Vec::<String>::new());
    server.get("/repositories/repo/refs/none/commits").await.expect(404);
    server.get("/repositories/repo/refs/dev$/commits").await.expect(400);
}

#[tokio::test]
async fn diffs_of_both_kinds() {
    let (server, _, _) = two_branches().await;
    server.delete("/repositories/repo/branches/dev/objects?path=b").await.expect(204);
    server.upload("dev", "a", "a3").await;
    let diff = async |query: &str| {
        lines(&server.get(&format!("/repositories/repo/refs/main/diff/{query}")).await.expect(200).json())
    };
    assert_eq!(diff("dev").await, ["changed a", "added c"]);
    assert_eq!(diff("dev$?type=two_dot").await, ["changed a", "removed b", "added c"]);
    server.get("/repositories/repo/refs/main/diff/dev$").await.expect(400);
    let staged = server.get("/repositories/repo/branches/dev/diff").await.expect(200).json();
    assert_eq!(lines(&staged), ["changed a", "removed b"]);
    assert_eq!(staged["results"][1]["size_bytes"], 0);
    let stats = "/repositories/repo/refs/dev@/diff/dev$?type=two_dot&include_right_stats=true";
    let stats = server.get(stats).await.expect(200).json();
    assert_eq!(stats["results"][1]["size_bytes"], 2, "of a removed path the left value is described");
    assert_eq!(stats["results"][0]["right"]["content_type"], "text/plain");
    assert!(staged["results"][0].get("right").is_none());
}

#[tokio::test]
async fn a_conflict_is_409_with_an_empty_reference() {
    let (server, _, _) = two_branches().await;
    server.upload("main", "a", "other").await;
    server.commit("main", "third").await;
    let path = "/repositories/repo/refs/dev/merge/main";
    let conflict = server.call("POST", path, &[], "").await.expect(409);
    assert_eq!(conflict.json(), json!({"reference": ""}));
    let three_dot = server.get("/repositories/repo/refs/main/diff/dev").await.json();
    assert_eq!(lines(&three_dot), ["conflict a", "added c"]);
    server.post(path, r#"{"strategy":"mine"}"#).await.expect(400);
    let merged = server.post(path, r#"{"strategy":"dest-wins"}"#).await.expect(200).json();
    assert_eq!(merged["reference"].as_str().unwrap().len(), 64);
    assert_eq!(server.content("main", "a").await.as_deref(), Some("other"));
    assert_eq!(server.content("main", "c").await.as_deref(), Some("c1"));
    server.call("POST", path, &[], "").await.expect(400);
}

#[tokio::test]
async fn a_dirty_destination_refuses_a_merge() {
    let (server, _, _) = two_branches().await;
    server.upload("main", "x", "x").await;
    server.call("POST", "/repositories/repo/refs/dev/merge/main", &[], "").await.expect(400);
}

#[tokio::test]
async fn the_merge_base_is_named_right() {
    let (server, first, second) = two_branches().await;
    let base = server.get("/repositories/repo/refs/dev/merge/main").await.expect(200).json();
    let expected =
        json!({"source_commit_id": second, "destination_commit_id": first, "base_commit_id": first});
    assert_eq!(base, expected);
}

#[tokio::test]
async fn a_merge_commit_needs_its_parent_named_409_in_revert_400_in_cherry_pick() {
    let (server, _, _) = two_branches().await;
    let merge = server.call("POST", "/repositories/repo/refs/dev/merge/main", &[], "").await.expect(200);
    let merge = merge.json()["reference"].as_str().unwrap().to_owned();
    let body = |number: &str| format!(r#"{{"ref":"{merge}"{number}}}"#);
    let revert = "/repositories/repo/branches/main/revert";
    server.post(revert, &body(r#","parent_number":0"#)).await.expect(409);
    server.post(revert, &body(r#","parent_number":-1"#)).await.expect(400);
    server.post(revert, &body(r#","parent_number":9"#)).await.expect(400);
    server.post(revert, &body(r#","parent_number":1"#)).await.expect(204);
    assert_eq!(server.content("main", "a").await.as_deref(), Some("a1"));
    assert_eq!(server.content("main", "c").await, None);
    let pick = "/repositories/repo/branches/main/cherry-pick";
    server.post(pick, &body("")).await.expect(400);
    server.post(pick, &body(r#","parent_number":0"#)).await.expect(400);
    let picked = server.post(pick, &body(r#","parent_number":1"#)).await.expect(201).json();
    assert_eq!(picked["metadata"]["cherry-pick-origin"], merge);
    assert_eq!(server.content("main", "c").await.as_deref(), Some("c1"));
}

#[tokio::test]
async fn hard_reset_goes_anywhere() {
    let (server, first, _) = two_branches().await;
    server.put(&format!("/repositories/repo/branches/dev/hard_reset?ref={first}"), "").await.expect(204);
    assert_eq!(server.content("dev", "a").await.as_deref(), Some("a1"));
    server.put("/repositories/repo/branches/dev/hard_reset", "").await.expect(400);
    server.put("/repositories/repo/branches/dev/hard_reset?ref=none", "").await.expect(404);
}

/// API-12.12: a commit as another server had it, of which only the generation is worked out here.
#[tokio::test]
async fn a_commit_record_is_stored_under_the_id_of_its_fields() {
    let (server, first, _) = two_branches().await;
    let known = server.get(&format!("/repositories/repo/commits/{first}")).await.expect(200).json();
    let mut record = json!({
        "commit_id": first, "version": 1, "committer": known["committer"], "message": known["message"],
        "metarange_id": known["meta_range_id"], "creation_date": known["creation_date"],
        "parents": known["parents"], "metadata": known["metadata"], "generation": 7
    });
    let path = "/repositories/repo/commits";
    server.post(path, &record.to_string()).await.expect(409);
    record["message"] = json!("another");
    let refused = server.post(path, &record.to_string()).await.expect(400).text();
    let id = refused.rsplit_once("which is ").unwrap().1.get(..64).unwrap().to_owned();
    record["commit_id"] = json!(id);
    server.post(path, &record.to_string()).await.expect(204);
    let made = server.get(&format!("/repositories/repo/commits/{id}")).await.expect(200).json();
    assert_eq!((&made["message"], &made["generation"]), (&json!("another"), &json!(2)));
    for (member, value) in [
        ("commit_id", json!("abc")),
        ("metarange_id", json!("abc")),
        ("metarange_id", json!("1".repeat(64))),
        ("parents", json!(["1".repeat(64)])),
        ("version", json!(2)),
        ("generation", json!(0)),
    ] {
        let mut wrong = record.clone();
        wrong[member] = value;
        server.post(path, &wrong.to_string()).await.expect(400);
    }
    record.as_object_mut().unwrap().remove("metadata");
    server.post(path, &record.to_string()).await.expect(409);
    server.post("/repositories/none/commits", &record.to_string()).await.expect(404);
}
