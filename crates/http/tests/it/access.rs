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
