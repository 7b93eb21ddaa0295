//! What somebody with policies sees through this door, as opposed to the administrator.

use crate::server::{NOW, Server};
use http::Request;
use millpond_auth::{Auth, Document, NewKey, NewUser, Sealer};
use millpond_kv::{Batch, MemoryKv};
use millpond_testkit::{ManualClock, Seeded};
use serde_json::json;
use std::sync::Arc;

/// `eve:secret-of-eve`
const EVE: &str = "Basic ZXZlOnNlY3JldC1vZi1ldmU=";

/// A server with the repositories `aa` to `cc` and `eve`, who has this policy.
async fn with_eve(statements: serde_json::Value) -> Server {
    let kv = Arc::new(MemoryKv::new());
    let (random, clock) = (Arc::new(Seeded::new(8)), Arc::new(ManualClock::at(NOW * 1000)));
    let auth = Auth::open(kv.clone(), Sealer::new(&[3; 32]), random, clock).await.unwrap();
    let policy: Document = serde_json::from_value(json!({"statement": statements})).unwrap();
    let mut change = auth.change().await;
    change.create_user(&NewUser { name: "eve", ..NewUser::default() }).unwrap();
    change.create_key("eve", &NewKey { given: Some(("eve", "secret-of-eve")), ..NewKey::default() }).unwrap();
    change.create_policy("P", &policy).unwrap();
    change.attach_to_user("P", "eve").unwrap();
    change.commit(Batch::default()).await.unwrap();
    let server = Server::over(kv).await;
    for name in ["aa1", "aa2", "bb1", "cc1", "cc2", "cc3"] {
        let body = json!({"name": name, "storage_namespace": format!("local://{name}")}).to_string();
        server.post("/repositories", &body).await.expect(201);
    }
    server
}

async fn as_eve(server: &Server, method: &str, path: &str, body: &str) -> crate::server::Answer {
    let request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    let request = request.header("authorization", EVE).header("content-type", "application/json");
    server.send(request.body(body.to_owned().into()).unwrap()).await
}

/// API-4.29: filtered, and pages are filled after filtering.
#[tokio::test]
async fn a_list_of_repositories_shows_what_the_caller_may_see() {
    let server = with_eve(json!([
        {"effect": "allow", "action": ["fs:ListRepositories"],
         "resource": r#"["arn:lakefs:fs:::repository/aa2", "arn:lakefs:fs:::repository/cc*"]"#},
        {"effect": "deny", "action": ["fs:*"], "resource": "arn:lakefs:fs:::repository/cc2"},
    ]))
    .await;
    let mut pages = Vec::new();
    let mut after = String::new();
    loop {
        let page = as_eve(&server, "GET", &format!("/repositories?amount=2&after={after}"), "")
            .await
            .expect(200)
            .json();
        let names =
            page["results"].as_array().unwrap().iter().map(|repo| repo["id"].as_str().unwrap().to_owned());
        pages.push(names.collect::<Vec<_>>());
        after = page["pagination"]["next_offset"].as_str().unwrap().to_owned();
        if page["pagination"]["has_more"] == false {
            break;
        }
    }
    assert_eq!(pages, [vec!["aa2", "cc1"], vec!["cc3"]]);
    let all = server.get("/repositories").await.expect(200).json();
    assert_eq!(all["results"].as_array().unwrap().len(), 6, "the administrator sees all");
}

#[tokio::test]
async fn somebody_may_do_what_a_policy_allows_and_nothing_else() {
    let server = with_eve(json!([
        {"effect": "allow", "action": ["fs:*"], "resource": "arn:lakefs:fs:::repository/aa*"},
        {"effect": "deny", "action": ["fs:DeleteRepository"], "resource": "*"},
    ]))
    .await;
    let branch = r#"{"name":"dev","source":"main"}"#;
    as_eve(&server, "POST", "/repositories/aa1/branches", branch).await.expect(201);
    as_eve(&server, "GET", "/repositories/aa1", "").await.expect(200);
    let refused = [
        as_eve(&server, "POST", "/repositories/bb1/branches", branch).await,
        as_eve(&server, "GET", "/repositories/bb1", "").await,
        as_eve(&server, "GET", "/repositories/nowhere", "").await,
        as_eve(&server, "DELETE", "/repositories/aa1", "").await,
    ];
    let statuses = refused.map(|answer| answer.status);
    assert_eq!(statuses, [401; 4], "API-1: not allowed is 401; missing and existing look the same");
}

/// A pull request of `aa1` from `dev` into the branch; gives its id.
async fn pull(server: &Server, destination: &str) -> String {
    let body = json!({"title": "t", "source_branch": "dev", "destination_branch": destination}).to_string();
    let made = server.post("/repositories/aa1/pulls", &body).await.expect(201).json();
    made["id"].as_str().unwrap().to_owned()
}

/// `aa1` with a commit on `dev` and pull requests into `main` and `other`.
async fn with_pulls(statements: serde_json::Value) -> (Server, String, String) {
    let server = with_eve(statements).await;
    for name in ["dev", "other"] {
        let body = json!({"name": name, "source": "main"}).to_string();
        server.post("/repositories/aa1/branches", &body).await.expect(201);
    }
    server.call("POST", "/repositories/aa1/branches/dev/objects?path=a", &[], "1").await.expect(201);
    server.post("/repositories/aa1/branches/dev/commits", r#"{"message":"m"}"#).await.expect(201);
    let (into_main, into_other) = (pull(&server, "main").await, pull(&server, "other").await);
    (server, into_main, into_other)
}

const NO_PULL: &str = "00000000000000000000";

/// Area 33, unlike API-4.31: who may not see pull requests cannot find out which there are by trying to merge them.
#[tokio::test]
async fn a_refused_merge_does_not_tell_whether_the_pull_request_exists() {
    let write = json!({"effect": "allow", "action": ["pr:WritePullRequest"], "resource": "arn:lakefs:fs:::repository/aa1"});
    let commit = json!({"effect": "allow", "action": ["fs:CreateCommit"], "resource": "arn:lakefs:fs:::repository/aa1/branch/other"});
    let read = json!({"effect": "allow", "action": ["pr:ReadPullRequest"], "resource": "*"});
    let merge = async |server: &Server, id: &str| {
        let answer = as_eve(server, "PUT", &format!("/repositories/aa1/pulls/{id}/merge"), "").await;
        (answer.status, answer.text())
    };
    let (server, into_main, into_other) = with_pulls(json!([write, commit])).await;
    let refused = merge(&server, &into_main).await;
    assert_eq!(refused.0, 401, "{}", refused.1);
    assert_eq!(merge(&server, NO_PULL).await, refused);
    assert_eq!(merge(&server, &into_other).await.0, 200);

    let (server, into_main, _) = with_pulls(json!([write, commit, read])).await;
    assert_eq!(merge(&server, &into_main).await.0, 401);
    assert_eq!(merge(&server, NO_PULL).await.0, 404, "who may look them up is told");

    // Somebody with all rights but that of pull requests.
    let all = json!({"effect": "allow", "action": ["fs:*"], "resource": "*"});
    let (server, into_main, _) = with_pulls(json!([all])).await;
    assert_eq!(merge(&server, &into_main).await, merge(&server, NO_PULL).await);
    for id in [&into_main, NO_PULL] {
        let path = format!("/repositories/aa1/pulls/{id}");
        assert_eq!(merge(&server, id).await.0, 401);
        as_eve(&server, "GET", &path, "").await.expect(401);
        as_eve(&server, "PATCH", &path, "{}").await.expect(401);
    }
    as_eve(&server, "GET", "/repositories/aa1/pulls", "").await.expect(401);
    let body = r#"{"title":"t","source_branch":"dev","destination_branch":"main"}"#;
    as_eve(&server, "POST", "/repositories/aa1/pulls", body).await.expect(401);
}

#[tokio::test]
async fn rules_have_rights_of_their_own() {
    let server = with_eve(json!([
        {"effect": "allow", "action": ["fs:*"], "resource": "*"},
        {"effect": "allow", "action": ["branches:*", "retention:GetGarbageCollectionRules"],
         "resource": "arn:lakefs:fs:::repository/aa1"},
    ]))
    .await;
    let gc = r#"{"default_retention_days":1,"branches":[]}"#;
    let calls = [
        ("GET", "settings/branch_protection", "", 200),
        ("GET", "branch_protection", "", 200),
        ("PUT", "settings/branch_protection", r#"[{"pattern":"x"}]"#, 204),
        ("POST", "branch_protection", r#"{"pattern":"y"}"#, 204),
        ("DELETE", "branch_protection", r#"{"pattern":"y"}"#, 204),
        ("GET", "branch_protection/set_allowed", "", 204),
        ("GET", "settings/gc_rules", "", 404),
        ("PUT", "settings/gc_rules", gc, 401),
        ("POST", "gc/rules", gc, 401),
        ("DELETE", "settings/gc_rules", "", 401),
        ("GET", "gc/rules/set_allowed", "", 401),
        ("POST", "gc/prepare_commits", "", 401),
    ];
    for (method, path, body, status) in calls {
        let answer = as_eve(&server, method, &format!("/repositories/aa1/{path}"), body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let other = as_eve(&server, method, &format!("/repositories/bb1/{path}"), body).await;
        assert_eq!(other.status, 401, "{method} {path}: {}", other.text());
    }
    // A protected branch is protected from everybody, and the right to change the rules is no way past them.
    server.post("/repositories/aa1/branch_protection", r#"{"pattern":"main"}"#).await.expect(204);
    as_eve(&server, "POST", "/repositories/aa1/branches/main/commits", r#"{"message":"m"}"#)
        .await
        .expect(403);
}

/// Only who may read the trail reads it; what eve is refused is in it within a second.
#[tokio::test(start_paused = true)]
async fn the_audit_trail_is_not_for_everybody_and_says_what_was_refused() {
    let server = with_eve(json!([{"effect": "allow", "action": ["fs:*"], "resource": "*"}])).await;
    let get = async |authorization: &str, path: &str| {
        let request = Request::builder().uri(format!("/api/millpond/v1{path}"));
        let request = request.header("authorization", authorization);
        server.send(request.body(axum::body::Body::empty()).unwrap()).await
    };
    get(EVE, "/audit").await.expect(403);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let page = get(crate::server::BASIC, "/audit?result=refused").await.expect(200).json();
    let event = &page["results"][0];
    assert_eq!((event["actor"].as_str(), event["verb"].as_str()), (Some("eve"), Some("millpond:ReadAudit")));
    assert_eq!((event["resource"].as_str(), event["count"].as_u64()), (Some("*"), Some(1)));
}

/// What is done to people is in the trail as well, and who did not get in.
#[tokio::test(start_paused = true)]
async fn the_audit_trail_tells_of_people() {
    let server = with_eve(json!([{"effect": "allow", "action": ["fs:*"], "resource": "*"}])).await;
    server.post("/auth/users", r#"{"id": "bob"}"#).await.expect(201);
    let policy = json!({"id": "Q", "statement":
        [{"effect": "allow", "action": ["fs:ReadObject"], "resource": "*"}]});
    server.post("/auth/policies", &policy.to_string()).await.expect(201);
    let wrong = Request::builder().uri("/api/v1/repositories").header("authorization", "Basic ZXZlOng=");
    server.send(wrong.body(axum::body::Body::empty()).unwrap()).await.expect(401);
    let login = r#"{"access_key_id": "eve", "secret_access_key": "secret-of-eve"}"#;
    as_eve(&server, "POST", "/auth/login", login).await.expect(200);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let request = Request::builder().uri("/api/millpond/v1/audit?amount=4");
    let request = request.header("authorization", crate::server::BASIC).body(axum::body::Body::empty());
    let page = server.send(request.unwrap()).await.expect(200).json();
    let events = page["results"].as_array().unwrap();
    let shown: Vec<_> = events
        .iter()
        .map(|event| {
            let field = |name: &str| event[name].as_str().unwrap().to_owned();
            let on = event["changes"][0]["on"].as_str().unwrap_or_default();
            let on = on.split('/').next().unwrap().to_owned();
            [field("actor"), field("verb"), field("result"), field("resource") + &on]
        })
        .collect();
    let all = [
        ["", "authenticate", "refused", "eve"],
        ["eve", "sign-in", "done", "session"],
        ["admin", "auth:CreatePolicy", "done", "policy"],
        ["admin", "auth:CreateUser", "done", "user"],
    ];
    assert_eq!(shown, all.map(|event| event.map(str::to_owned)));
    assert!(events[2]["changes"][0]["new"].as_str().unwrap().contains("fs:ReadObject"), "{events:?}");
    assert!(!page.to_string().contains("secret-of-eve"));
}
