//! What stands beside the API.

use crate::server::Server;
use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use millpond_kv::{Batch, Kv, KvError, MemoryKv};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

async fn send(server: &Server, method: &str, path: &str) -> crate::server::Answer {
    server.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_page_says_how_to_connect_and_nothing_secret() {
    let server = Server::empty().await;
    let page = send(&server, "GET", "/").await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(page.text().contains("1.2.3"));
    assert!(!page.text().contains(crate::server::KEY) && !page.text().contains(crate::server::SECRET));
    send(&server, "GET", "/millpond.css").await.expect(200);
}

#[tokio::test]
async fn a_key_read_without_signature_is_not_a_page_with_status_200() {
    let server = Server::empty().await;
    send(&server, "GET", "/repo/main/key").await.expect(404);
    send(&server, "GET", "/api/v2/repositories").await.expect(404);
}

#[tokio::test]
async fn unsigned_writes_are_denied_in_the_words_of_s3() {
    let server = Server::empty().await;
    for method in ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
        let answer = send(&server, method, "/repo/main/key").await.expect(403);
        assert!(answer.text().contains("<Code>AccessDenied</Code>"), "{method}");
        assert_eq!(answer.header("content-type"), "application/xml");
    }
}

#[tokio::test]
async fn health_names_the_installation() {
    let server = Server::empty().await;
    assert!(send(&server, "GET", "/_health").await.expect(200).text().contains("test-installation"));
}

/// A metadata store that fails when told to.
struct Sick(MemoryKv, AtomicBool);

#[async_trait]
impl Kv for Sick {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.0.get(key).await
    }
    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.0.scan(from, to, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), KvError> {
        if self.1.load(Ordering::SeqCst) {
            return Err(KvError::Failed("fsync failed".into()));
        }
        self.0.commit(batch).await
    }
}

#[tokio::test]
async fn health_is_red_after_a_failed_disk_and_reads_go_on() {
    let kv = Arc::new(Sick(MemoryKv::new(), AtomicBool::new(false)));
    let server = Server::over(kv.clone()).await;
    let new = |name: &str| format!(r#"{{"name":"{name}","storage_namespace":"local://{name}"}}"#);
    server.post("/repositories", &new("before")).await.expect(201);
    kv.1.store(true, Ordering::SeqCst);
    server.post("/repositories", &new("lost")).await.expect(500);
    kv.1.store(false, Ordering::SeqCst);
    // The disk seems well again; what it did with the row nobody knows.
    let refused = server.post("/repositories", &new("later")).await.expect(500);
    assert!(refused.text().contains("restart") && refused.text().contains("fsync failed"), "{refused:?}");
    assert!(send(&server, "GET", "/_health").await.expect(503).text().contains("restart"));
    server.get("/healthcheck").await.expect(503);
    server.get("/repositories/before").await.expect(200);
    server.get("/repositories/lost").await.expect(404);
}

#[tokio::test]
async fn the_description_is_served() {
    let server = Server::empty().await;
    let answer = send(&server, "GET", "/openapi.json").await.expect(200);
    assert_eq!(answer.json()["openapi"], "3.0.3");
    assert_eq!(answer.text(), millpond_http::openapi_document());
}

#[tokio::test]
async fn logout_takes_the_cookie_away() {
    let server = Server::empty().await;
    let answer = send(&server, "POST", "/logout").await.expect(307);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
}
