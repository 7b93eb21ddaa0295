//! The client against a server that answers as told: what it makes of errors, busy servers and answers
//! that are none.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::any};
use millpond_client::{Body, Client, CommitCreation, Credentials, Error, Kind, Settings, UploadOptions};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Answers in order; remembers method, target, `Authorization` and body of each request.
struct Script {
    client: Client,
    seen: Arc<Mutex<Vec<String>>>,
}

async fn play(answers: Vec<Response>) -> Script {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let remembered = Arc::clone(&seen);
    let app = Router::new().fallback(any(move |request: Request| async move {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        let keys = head.headers.get("authorization").map(|v| v.to_str().expect("text")).unwrap_or("-");
        let line = format!("{} {} {keys} {}", head.method, head.uri, String::from_utf8_lossy(&body));
        remembered.lock().expect("not poisoned").push(line);
        answers.lock().expect("not poisoned").pop_front().expect("an answer for every request")
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let credentials = Credentials { access_key_id: "id".into(), secret_access_key: "secret".into() };
    let client = Client::new(Settings {
        server,
        credentials: Some(credentials),
        ca_pem: None,
        user_agent: "test/1".into(),
    })
    .expect("a client");
    Script { client, seen }
}

impl Script {
    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

const BRANCH: &str = r#"{"id":"main","commit_id":"c0ffee"}"#;

fn busy() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")], r#"{"message":"slow down"}"#).into_response()
}

#[tokio::test]
async fn requests_are_signed_and_escaped() {
    let script = play(vec![BRANCH.into_response()]).await;
    let branch = script.client.get_branch("demo", "main@{2026-11-22T20:00:00Z}").await.expect("a branch");
    assert_eq!(branch.commit_id, "c0ffee");
    assert_eq!(
        script.seen(),
        ["GET /api/v1/repositories/demo/branches/main%40%7B2026-11-22T20%3A00%3A00Z%7D Basic aWQ6c2VjcmV0 "]
    );
}

#[tokio::test]
async fn a_busy_server_is_asked_again_because_it_has_done_nothing() {
    let commit = r#"{"id":"c1","parents":null,"committer":"a","message":"m","creation_date":5,"meta_range_id":"t","metadata":null}"#;
    let script = play(vec![busy(), commit.into_response()]).await;
    let creation = CommitCreation { message: "m".into(), ..CommitCreation::default() };
    let made = script.client.commit("demo", "main", &creation).await.expect("a commit");
    assert_eq!((made.id.as_str(), made.parents.len(), made.metadata.len()), ("c1", 0, 0));
    let seen = script.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_stream_is_never_sent_twice() {
    let script = play(vec![busy()]).await;
    let stream = futures::stream::iter([Ok::<_, std::io::Error>("bytes")]);
    let error = script
        .client
        .upload_object("demo", "main", "a", &UploadOptions::default(), Body::wrap_stream(stream))
        .await
        .expect_err("busy");
    assert!(error.is_transient());
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn an_empty_prefix_is_left_out_and_a_full_one_escaped() {
    let page =
        r#"{"pagination":{"has_more":false,"next_offset":"","results":0,"max_per_page":1000},"results":[]}"#;
    let script = play(vec![page.into_response(), page.into_response()]).await;
    let mut query = millpond_client::ObjectQuery::default();
    script.client.list_objects("demo", "main", &query).await.expect("a page");
    query.page = millpond_client::PageQuery::prefix("a b/+%&é\n");
    query.delimiter = "/".into();
    script.client.list_objects("demo", "main", &query).await.expect("a page");
    let targets: Vec<String> =
        script.seen().iter().map(|line| line.split(' ').nth(1).expect("a target").to_owned()).collect();
    assert_eq!(
        targets,
        [
            "/api/v1/repositories/demo/refs/main/objects/ls",
            "/api/v1/repositories/demo/refs/main/objects/ls?prefix=a%20b%2F%2B%25%26%C3%A9%0A&amount=1000&delimiter=%2F",
        ]
    );
}

#[tokio::test]
async fn both_error_bodies_and_no_body_are_understood() {
    let answers = vec![
        (StatusCode::CONFLICT, [("x-request-id", "r7")], r#"{"message":"branch already exists: not unique"}"#)
            .into_response(),
        (
            StatusCode::NOT_FOUND,
            r#"{"type":"about:blank","title":"Not found","status":404,"detail":"branch 'x' not found","code":"branch_not_found","hint":"list them"}"#,
        )
            .into_response(),
        (StatusCode::CONFLICT, r#"{"reference":""}"#).into_response(),
        StatusCode::BAD_GATEWAY.into_response(),
        (StatusCode::BAD_REQUEST, "amount: bad\nmore").into_response(),
        (StatusCode::FORBIDDEN, "<html>proxy</html>").into_response(),
    ];
    let script = play(answers).await;
    let mut got = Vec::new();
    for _ in 0..6 {
        let error = script.client.undo("demo", "x").await.expect_err("refused");
        let refusal = error.refusal().expect("an answer");
        got.push((refusal.status, refusal.message.clone(), refusal.code.clone(), refusal.hint.clone()));
        if refusal.status == 409 && refusal.request_id.is_some() {
            assert_eq!(refusal.request_id.as_deref(), Some("r7"));
        }
    }
    let plain = |status, message: &str| (status, message.to_owned(), None, None);
    assert_eq!(
        got,
        [
            plain(409, "branch already exists: not unique"),
            (404, "branch 'x' not found".into(), Some("branch_not_found".into()), Some("list them".into())),
            plain(409, "conflict"),
            plain(502, "bad gateway"),
            plain(400, "amount: bad"),
            plain(403, "forbidden"),
        ]
    );
}

#[tokio::test]
async fn another_service_is_recognised() {
    let page = ([("content-type", "text/html")], "<!doctype html>").into_response();
    let script = play(vec![page]).await;
    let error = script.client.get_branch("demo", "main").await.expect_err("no JSON");
    assert_eq!(error.kind(), Kind::Unreadable);
    assert!(error.to_string().contains("text/html"), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_said_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let client = Client::new(Settings {
        server: server.clone(),
        credentials: None,
        ca_pem: None,
        user_agent: "t".into(),
    })
    .expect("a client");
    let error = client.get_branch("demo", "main").await.expect_err("nobody");
    assert!(matches!(error, Error::Unreachable { .. }));
    let text = error.to_string();
    assert!(text.starts_with("read branch demo/main: cannot connect: "), "{text}");
    assert!(text.ends_with(&format!("({server})")), "{text}");
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await.expect("a request");
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.expect("sent");
    });
    let client = Client::new(Settings { server, credentials: None, ca_pem: None, user_agent: "t".into() })
        .expect("a client");
    let object = client.get_object("demo", "main", "a", None).await.expect("a head");
    assert_eq!(object.size_bytes(), Some(10));
    let chunks: Vec<_> = futures::StreamExt::collect(object.into_stream()).await;
    assert!(chunks.last().expect("something").is_err());
}
