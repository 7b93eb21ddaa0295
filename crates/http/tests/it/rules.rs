//! Branch protection and garbage collection rules.

use crate::server::Server;
use serde_json::json;

const SETTINGS: &str = "/repositories/repo/settings/branch_protection";
const OLDER: &str = "/repositories/repo/branch_protection";
const JSON: (&str, &str) = ("content-type", "application/json");

async fn protect(server: &Server, pattern: &str) {
    server.put(SETTINGS, &json!([{ "pattern": pattern }]).to_string()).await.expect(204);
}

#[tokio::test]
async fn rules_are_read_and_replaced_on_condition() {
    let server = Server::with_repository().await;
    let none = server.get(SETTINGS).await.expect(200);
    assert_eq!(none.json(), json!([]));
    let put = async |etag: &str, body: &str| {
        server.call("PUT", SETTINGS, &[JSON, ("if-match", etag)], body.to_owned()).await
    };
    put(none.header("etag"), r#"[{"pattern":"main"},{"pattern":"rel-*"}]"#).await.expect(204);
    let set = server.get(SETTINGS).await.expect(200);
    assert_eq!(set.json(), json!([{"pattern": "main"}, {"pattern": "rel-*"}]));
    assert_eq!(server.get(OLDER).await.expect(200).header("etag"), set.header("etag"));
    put(none.header("etag"), "[]").await.expect(412);
    put(&format!("\"{}\"", set.header("etag")), "[]").await.expect(204);
    // Nothing set, and the next change can be conditional all the same (unlike API-21.7).
    let empty = server.get(SETTINGS).await.expect(200);
    assert_eq!((empty.json(), empty.header("etag")), (json!([]), none.header("etag")));
    put(empty.header("etag"), r#"[{"pattern":"x"}]"#).await.expect(204);
    let plain = put("", "[]").await.expect(400);
    assert!(plain.header("content-type").starts_with("text/plain"));
}

#[tokio::test]
async fn rules_that_are_refused() {
    let server = Server::with_repository().await;
    server.put(SETTINGS, r#"[{"pattern":"[a"}]"#).await.expect(400);
    server.put(SETTINGS, r#"[{"pattern":""}]"#).await.expect(400);
    server.put(SETTINGS, r#"{}"#).await.expect(400);
    server.post(OLDER, r#"{"pattern":"{a"}"#).await.expect(400);
    assert_eq!(server.get(SETTINGS).await.json(), json!([]));
    let none = SETTINGS.replace("repo/", "none/");
    server.get(&none).await.expect(404);
    server.put(&none, "[]").await.expect(404);
}

#[tokio::test]
async fn rules_one_by_one_under_their_older_name() {
    let server = Server::with_repository().await;
    let remove = async || server.call("DELETE", OLDER, &[JSON], r#"{"pattern":"main"}"#).await;
    for _ in 0..2 {
        server.post(OLDER, r#"{"pattern":"main"}"#).await.expect(204);
    }
    assert_eq!(server.get(OLDER).await.json(), json!([{"pattern": "main"}]));
    remove().await.expect(204);
    assert_eq!(remove().await.expect(404).text(), "");
    server.get(&format!("{OLDER}/set_allowed")).await.expect(204);
}

#[tokio::test]
async fn writes_to_a_protected_branch_are_403() {
    let server = Server::with_repository().await;
    server.upload("main", "a", "1").await;
    server.commit("main", "first").await;
    server.branch("dev", "main").await;
    server.upload("dev", "b", "1").await;
    server.commit("dev", "second").await;
    protect(&server, "ma{in,ster}").await;
    let at = "/repositories/repo/branches/main";
    let calls = [
        ("POST", "/objects?path=b&force=true", "x"),
        ("DELETE", "/objects?path=a&force=true", ""),
        ("POST", "/objects/copy?dest_path=b", r#"{"src_path":"a","force":true}"#),
        ("PUT", "/objects/stat/user_metadata?path=a", r#"{"set":{"x":"1"}}"#),
        ("POST", "/commits", r#"{"message":"m","allow_empty":true,"force":true}"#),
        ("PUT", "", r#"{"type":"reset","force":true}"#),
        ("PUT", "/hard_reset?ref=main~1&force=true", ""),
        ("POST", "/revert", r#"{"ref":"main","parent_number":0,"force":true}"#),
        ("POST", "/cherry-pick", r#"{"ref":"dev","force":true}"#),
    ];
    for (method, path, body) in calls {
        let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
        let answer = server.call(method, &format!("{at}{path}"), &[("content-type", kind)], body).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        assert!(answer.text().contains("protected branch"), "{method} {path}: {}", answer.text());
    }
    let batch = format!("{at}/objects/delete?force=true");
    let batch = server.post(&batch, r#"{"paths":["a"]}"#).await.expect(200);
    assert_eq!(batch.json()["errors"][0]["status_code"], 403);
    server.get("/repositories/repo/refs/main/objects/stat?path=a").await.expect(200);
    // An address is issued all the same (API-21.4); linking it is refused.
    let issued = server.get(&format!("{at}/staging/backing?path=b")).await.expect(200).json();
    let link = json!({"staging": issued, "checksum": "c", "size_bytes": 1}).to_string();
    server.put(&format!("{at}/staging/backing?path=b"), &link).await.expect(403);
    let stage = json!({"physical_address": issued["physical_address"], "checksum": "c", "size_bytes": 1});
    server.put(&format!("{at}/objects?path=b"), &stage.to_string()).await.expect(403);
    // Merging is the way in.
    server.post("/repositories/repo/refs/dev/merge/main", "{}").await.expect(200);
    server.get("/repositories/repo/refs/main/objects/stat?path=b").await.expect(200);
}

#[tokio::test]
async fn collection_rules_under_both_names() {
    let server = Server::with_repository().await;
    for (path, method) in [("settings/gc_rules", "PUT"), ("gc/rules", "POST")] {
        let path = format!("/repositories/repo/{path}");
        let set = async |body: &str| server.call(method, &path, &[JSON], body.to_owned()).await;
        server.get(&path).await.expect(404);
        server.delete(&path).await.expect(204);
        server.post("/repositories/repo/gc/prepare_commits", "").await.expect(404);
        // No days and no branches are rules all the same (unlike API-22.3), and a list is a list (API-22.4).
        let zero = r#"{"default_retention_days":0,"branches":[]}"#;
        set(zero).await.expect(204);
        assert_eq!(server.get(&path).await.expect(200).text(), format!("{zero}\n"));
        let rule = |days: i64| json!({"branch_id": "main", "retention_days": days});
        let twice = json!({"default_retention_days": -1, "branches": [rule(1), rule(2)]});
        set(&twice.to_string()).await.expect(204);
        let kept = json!({"default_retention_days": -1, "branches": [rule(2)]});
        assert_eq!(server.get(&path).await.expect(200).json(), kept);
        set(r#"{"default_retention_days":1}"#).await.expect(400);
        server.post("/repositories/repo/gc/prepare_commits", "").await.expect(501);
        server.delete(&path).await.expect(204);
        server.get(&path).await.expect(404);
    }
    server.get("/repositories/repo/gc/rules/set_allowed").await.expect(204);
    let rules = r#"{"default_retention_days":1,"branches":[]}"#;
    server.put("/repositories/none/settings/gc_rules", rules).await.expect(404);
}

#[tokio::test]
async fn a_read_only_repository_keeps_its_rules() {
    let server = Server::empty().await;
    let body = r#"{"name":"repo","storage_namespace":"local://repo","read_only":true}"#;
    server.post("/repositories", body).await.expect(201);
    server.put(SETTINGS, "[]").await.expect(403);
    let rules = r#"{"default_retention_days":1,"branches":[]}"#;
    server.put("/repositories/repo/settings/gc_rules", rules).await.expect(403);
    server.delete("/repositories/repo/gc/rules").await.expect(403);
}
