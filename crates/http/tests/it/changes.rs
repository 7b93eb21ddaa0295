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
