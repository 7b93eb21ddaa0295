//! Uploads: raw, in a form, conditional, cut off.

use crate::server::Server;
use axum::body::Body;
use bytes::Bytes;
use serde_json::json;
use std::io;

const UPLOAD: &str = "/repositories/repo/branches/main/objects?path=up";
const FORM: &str = "multipart/form-data; boundary=xyz";

fn form(name: &str) -> String {
    format!(
        "--xyz\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nskipped\r\n\
         --xyz\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\
         Content-Type: image/png\r\n\r\n\r\npixels\r\n\r\n--xyz--\r\n"
    )
}

#[tokio::test]
async fn a_raw_body_is_the_object() {
    let server = Server::with_repository().await;
    let headers = [("content-type", "text/csv; x=1"), ("x-lakefs-meta-Owner", "ann")];
    let stats = server.call("POST", UPLOAD, &headers, "a,b\n").await.expect(201).json();
    assert_eq!(stats["content_type"], "text/csv; x=1");
    assert_eq!(stats["metadata"], json!({"owner": "ann"}));
    assert_eq!(stats["size_bytes"], 4);
    assert_eq!(server.content("main", "up").await.as_deref(), Some("a,b\n"));
    let untyped = server.call("POST", UPLOAD, &[], "x").await.expect(201).json();
    assert_eq!(untyped["content_type"], "application/octet-stream");
    assert_eq!(untyped["metadata"], json!({}));
}

#[tokio::test]
async fn the_part_called_content_is_the_object() {
    let server = Server::with_repository().await;
    let stats = server.call("POST", UPLOAD, &[("content-type", FORM)], form("content")).await.expect(201);
    assert_eq!(stats.json()["content_type"], "image/png");
    assert_eq!(server.content("main", "up").await.as_deref(), Some("\r\npixels\r\n"));
}

#[tokio::test]
async fn a_bad_form_makes_no_object() {
    let server = Server::with_repository().await;
    let whole = form("content");
    let bodies = [form("other"), String::new(), whole[..whole.len() - 6].to_owned(), whole[..90].to_owned()];
    for body in bodies {
        let answer = server.call("POST", UPLOAD, &[("content-type", FORM)], body.clone()).await;
        assert_eq!(answer.status, 400, "{body:?}");
    }
    let unbounded = [("content-type", "multipart/form-data")];
    server.call("POST", UPLOAD, &unbounded, form("content")).await.expect(400);
    assert!(server.content("main", "up").await.is_none());
}

#[tokio::test]
async fn a_body_that_breaks_off_makes_no_object() {
    let server = Server::with_repository().await;
    for content_type in ["application/octet-stream", FORM] {
        let begun = Bytes::from(form("content")[..150].to_owned());
        let pieces = [Ok(begun), Err(io::Error::other("the client went away"))];
        let body = Body::from_stream(futures::stream::iter(pieces));
        server.call("POST", UPLOAD, &[("content-type", content_type)], body).await.expect(400);
        assert!(server.content("main", "up").await.is_none());
    }
}

#[tokio::test]
async fn conditions_of_uploads() {
    let server = Server::with_repository().await;
    let create = [("if-none-match", "*")];
    server.call("POST", UPLOAD, &create, "1").await.expect(201);
    server.call("POST", UPLOAD, &create, "2").await.expect(412);
    server.call("POST", UPLOAD, &[("if-none-match", "\"etag\"")], "2").await.expect(501);
    server.call("POST", UPLOAD, &[("if-match", "\"etag\"")], "2").await.expect(501);
    server.call("POST", UPLOAD, &[("if-match", "")], "2").await.expect(400);
    assert_eq!(server.content("main", "up").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn uploads_to_nowhere() {
    let server = Server::with_repository().await;
    server.call("POST", "/repositories/none/branches/main/objects?path=p", &[], "1").await.expect(404);
    server.call("POST", "/repositories/repo/branches/none/objects?path=p", &[], "1").await.expect(404);
    server.call("POST", "/repositories/repo/branches/main~1/objects?path=p", &[], "1").await.expect(400);
    server.call("POST", "/repositories/repo/branches/main/objects", &[], "1").await.expect(400);
}
