//! What must hold of every change: a repeated one is the same one, and none is left half done.

use crate::server::{BASIC, Server};
use axum::body::Body;
use http::Request;
use tower::ServiceExt;

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_answer() {
    let server = Server::with_repository().await;
    server.upload("main", "a", "1").await;
    let commit = async |key: &str, message: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        let body = format!(r#"{{"message":"{message}"}}"#);
        server.call("POST", "/repositories/repo/branches/main/commits", &headers, body).await
    };
    let first = commit("k1", "m").await.expect(201);
    let again = commit("k1", "m").await.expect(201);
    assert_eq!(first.body, again.body);
    commit("k1", "another").await.expect(422);
    commit("k2", "m").await.expect(400);
}

#[tokio::test]
async fn a_change_goes_on_when_its_client_goes_away() {
    let server = Server::with_repository().await;
    let request = Request::post("/api/v1/repositories/repo/branches")
        .header("authorization", BASIC)
        .header("content-type", "application/json")
        .body(Body::from(r#"{"name":"dev","source":"main"}"#))
        .unwrap();
    let mut running = Box::pin(server.router.clone().oneshot(request));
    // Far enough for the change to begin; then the connection is gone.
    let begun = futures::poll!(&mut running);
    assert!(begun.is_pending(), "the change ended at once, so this test shows nothing");
    drop(running);
    for _ in 0..100_000 {
        if server.get("/repositories/repo/branches/dev").await.status == 200 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the branch was never made");
}

/// A change, another one of the same verb and repository, and what must not be undone in between.
struct Change {
    method: &'static str,
    path: &'static str,
    body: &'static str,
    /// Path and body of a request that the key of the first does not belong to.
    other: (&'static str, &'static str),
    /// What others do before the repetition: method, path, body.
    between: Option<(&'static str, &'static str, &'static str)>,
}

const CHANGES: &[Change] = &[
    Change {
        method: "POST",
        path: "/repositories",
        body: r#"{"name":"two","storage_namespace":"local://two"}"#,
        other: ("/repositories", r#"{"name":"two","storage_namespace":"local://three"}"#),
        between: Some(("POST", "/repositories/two/metadata", r#"{"metadata":{"a":"b"}}"#)),
    },
    Change {
        method: "POST",
        path: "/repositories/two/metadata",
        body: r#"{"metadata":{"owner":"ann"}}"#,
        other: ("/repositories/two/metadata", r#"{"metadata":{"owner":"bob"}}"#),
        between: Some(("POST", "/repositories/two/metadata", r#"{"metadata":{"owner":"eve"}}"#)),
    },
    Change {
        method: "DELETE",
        path: "/repositories/two/metadata",
        body: r#"{"keys":["a"]}"#,
        other: ("/repositories/two/metadata", r#"{"keys":["owner"]}"#),
        between: Some(("POST", "/repositories/two/metadata", r#"{"metadata":{"a":"kept"}}"#)),
    },
    Change {
        method: "PUT",
        path: "/repositories/two/settings/branch_protection",
        body: r#"[{"pattern":"a"}]"#,
        other: ("/repositories/two/settings/branch_protection", "[]"),
        between: Some(("POST", "/repositories/two/branch_protection", r#"{"pattern":"b"}"#)),
    },
    Change {
        method: "PUT",
        path: "/repositories/two/settings/gc_rules",
        body: r#"{"default_retention_days":1,"branches":[]}"#,
        other: ("/repositories/two/settings/gc_rules", r#"{"default_retention_days":2,"branches":[]}"#),
        between: Some((
            "PUT",
            "/repositories/two/settings/gc_rules",
            r#"{"default_retention_days":3,"branches":[]}"#,
        )),
    },
    Change {
        method: "DELETE",
        path: "/repositories/two",
        body: "",
        other: ("/repositories/two?force=true", ""),
        between: None,
    },
    Change {
        method: "POST",
        path: "/repositories/repo/branches",
        body: r#"{"name":"dev","source":"main"}"#,
        other: ("/repositories/repo/branches", r#"{"name":"dev2","source":"main"}"#),
        between: None,
    },
    Change {
        method: "POST",
        path: "/repositories/repo/branches/dev/objects?path=k",
        body: "k1",
        other: ("/repositories/repo/branches/dev/objects?path=k2", "k1"),
        between: Some(("DELETE", "/repositories/repo/branches/dev/objects?path=k", "")),
    },
    Change {
        method: "POST",
        path: "/repositories/repo/branches/dev/objects/copy?dest_path=copy",
        body: r#"{"src_path":"a"}"#,
        other: ("/repositories/repo/branches/dev/objects/copy?dest_path=copy2", r#"{"src_path":"a"}"#),
        between: Some(("POST", "/repositories/repo/branches/dev/objects?path=a", "a changed")),
    },
    Change {
        method: "PUT",
        path: "/repositories/repo/branches/dev/objects/stat/user_metadata?path=a",
        body: r#"{"set":{"x":"1"}}"#,
        other: ("/repositories/repo/branches/dev/objects/stat/user_metadata?path=a", r#"{"set":{"x":"2"}}"#),
        between: Some((
            "PUT",
            "/repositories/repo/branches/dev/objects/stat/user_metadata?path=a",
            r#"{"set":{"x":"3"}}"#,
        )),
    },
    Change {
        method: "POST",
        path: "/repositories/repo/branches/dev/commits",
        body: r#"{"message":"m"}"#,
        other: ("/repositories/repo/branches/dev/commits", r#"{"message":"n"}"#),
        between: Some(("POST", "/repositories/repo/branches/dev/objects?path=next", "n")),
    },
    Change {
        method: "DELETE",
        path: "/repositories/repo/branches/dev/objects?path=a",
        body: "",
        other: ("/repositories/repo/branches/dev/objects?path=b", ""),
        between: Some(("POST", "/repositories/repo/branches/dev/objects?path=a", "back")),
    },
    Change {
        method: "POST",
        path: "/repositories/repo/branches/dev/objects/delete",
        body: r#"{"paths":["a","copy"]}"#,
        other: ("/repositories/repo/branches/dev/objects/delete", r#"{"paths":["a"]}"#),
        between: Some(("POST", "/repositories/repo/branches/dev/objects?path=a", "back again")),
    },
    Change {
        method: "PUT",
        path: "/repositories/repo/branches/dev",
        body: r#"{"type":"reset"}"#,
        other: ("/repositories/repo/branches/dev", r#"{"type":"object","path":"a"}"#),
        between: Some(("POST", "/repositories/repo/branches/dev/objects?path=kept", "kept")),
    },
    Change {
        method: "PUT",
        path: "/repositories/repo/branches/dev",
        body: r#"{"type":"common_prefix","path":"ke"}"#,
        other: ("/repositories/repo/branches/dev", r#"{"type":"common_prefix","path":"k"}"#),
        between: None,
    },
    Change {
        method: "POST",
        path: "/repositories/repo/refs/dev/merge/main",
        body: r#"{"message":"merged"}"#,
        other: ("/repositories/repo/refs/dev/merge/main", r#"{"message":"merged otherwise"}"#),
        between: None,
    },
    Change {
        method: "POST",
        path: "/repositories/repo/pulls",
        body: r#"{"title":"t","source_branch":"dev","destination_branch":"main"}"#,
        other: (
            "/repositories/repo/pulls",
            r#"{"title":"u","source_branch":"dev","destination_branch":"main"}"#,
        ),
        between: Some(("POST", "/repositories/repo/branches", r#"{"name":"pulled","source":"main"}"#)),
    },
    Change {
        method: "POST",
        path: "/repositories/repo/tags",
        body: r#"{"id":"v1","ref":"main"}"#,
        other: ("/repositories/repo/tags", r#"{"id":"v2","ref":"main"}"#),
        between: None,
    },
    Change {
        method: "DELETE",
        path: "/repositories/repo/tags/v1",
        body: "",
        other: ("/repositories/repo/tags/v2", ""),
        between: Some(("POST", "/repositories/repo/tags", r#"{"id":"v1","ref":"dev"}"#)),
    },
    Change {
        method: "POST",
        path: "/repositories/repo/branches/dev/revert",
        body: r#"{"ref":"dev","parent_number":0}"#,
        other: ("/repositories/repo/branches/dev/revert", r#"{"ref":"dev","parent_number":1}"#),
        between: None,
    },
    Change {
        method: "POST",
        path: "/repositories/repo/branches/dev/cherry-pick",
        body: r#"{"ref":"v1"}"#,
        other: ("/repositories/repo/branches/dev/cherry-pick", r#"{"ref":"main"}"#),
        between: None,
    },
    Change {
        method: "PUT",
        path: "/repositories/repo/branches/dev/hard_reset?ref=dev~1",
        body: "",
        other: ("/repositories/repo/branches/dev/hard_reset?ref=dev~2", ""),
        between: None,
    },
    Change {
        method: "DELETE",
        path: "/repositories/repo/branches/dev",
        body: "",
        other: ("/repositories/repo/branches/main", ""),
        between: Some(("POST", "/repositories/repo/branches", r#"{"name":"dev","source":"main"}"#)),
    },
];

#[tokio::test]
async fn every_change_repeated_with_its_key_is_made_once() {
    let server = Server::with_repository().await;
    server.upload("main", "a", "1").await;
    server.commit("main", "first").await;
    for (number, change) in CHANGES.iter().enumerate() {
        let key = format!("key-{number}");
        let call = async |path: &str, body: &str| {
            let kind = if body.starts_with(['{', '[']) { "application/json" } else { "text/plain" };
            let headers = [("content-type", kind), ("idempotency-key", key.as_str())];
            server.call(change.method, path, &headers, body.to_owned()).await
        };
        let first = call(change.path, change.body).await;
        assert!((200..300).contains(&first.status), "{} {}: {}", change.method, change.path, first.text());
        if let Some((method, path, body)) = change.between {
            let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
            let done = server.call(method, path, &[("content-type", kind)], body).await;
            assert!((200..300).contains(&done.status), "{method} {path}: {}", done.text());
        }
        let before = server.everything().await;
        let again = call(change.path, change.body).await;
        assert_eq!(
            (again.status, again.text()),
            (first.status, first.text()),
            "{} {} answers as before",
            change.method,
            change.path
        );
        assert_eq!(server.everything().await, before, "{} {} happens once", change.method, change.path);
        call(change.other.0, change.other.1).await.expect(422);
    }
}

#[tokio::test]
async fn an_undo_repeated_with_its_key_is_made_once() {
    let server = Server::with_repository().await;
    server.upload("main", "a", "1").await;
    server.commit("main", "first").await;
    let undo = async |path: &str| {
        let request = Request::post(format!("/api/millpond/v1/repositories/repo/branches/{path}"))
            .header("authorization", BASIC)
            .header("idempotency-key", "undo-1");
        server.send(request.body(Body::empty()).unwrap()).await
    };
    let first = undo("main/undo").await.expect(200);
    server.upload("main", "b", "1").await;
    server.commit("main", "second").await;
    let before = server.everything().await;
    assert_eq!(undo("main/undo").await.expect(200).text(), first.text());
    assert_eq!(server.everything().await, before);
    undo("main/undo?force=true").await.expect(422);
}
