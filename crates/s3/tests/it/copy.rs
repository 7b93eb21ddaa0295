//! CopyObject.

use crate::server::{Call, Server, sha256_base64};

fn copy<'a>(server: &'a Server, source: &str, to: &str) -> Call<'a> {
    server.call("PUT", to).header("x-amz-copy-source", source)
}

async fn filled() -> Server {
    let server = Server::with_repository().await;
    server
        .call("PUT", "/repo/main/a%20b")
        .header("content-type", "text/csv")
        .header("x-amz-meta-colour", "blue")
        .header("x-amz-checksum-sha256", &sha256_base64(b"hello"))
        .body("hello")
        .send()
        .await
        .expect(200);
    server
}

#[tokio::test]
async fn a_copy_has_bytes_and_metadata_of_its_source() {
    let server = filled().await;
    server.put("/other", "").await.expect(200);
    for to in ["/repo/main/copy", "/other/main/copy"] {
        let answer = copy(&server, "/repo/main/a%20b", to).send().await.expect(200);
        assert_eq!(answer.element("ETag"), "\"5d41402abc4b2a76b9719d911017c592\"");
        assert_eq!(answer.element("ChecksumSHA256"), sha256_base64(b"hello"));
        let got = server.get(to).await.expect(200);
        assert_eq!((got.text().as_str(), got.header("content-type")), ("hello", "text/csv"));
        assert_eq!(got.header("x-amz-meta-colour"), "blue");
    }
}

#[tokio::test]
async fn a_copy_may_replace_the_metadata() {
    let server = filled().await;
    for to in ["/repo/main/copy", "/repo/main/a%20b"] {
        copy(&server, "repo/main/a%20b", to)
            .header("x-amz-metadata-directive", "REPLACE")
            .header("content-type", "x/y")
            .send()
            .await
            .expect(200);
        let got = server.get(to).await.expect(200);
        assert_eq!((got.header("content-type"), got.header("x-amz-meta-colour")), ("x/y", ""));
    }
    copy(&server, "repo/main/a%20b", "/repo/main/a%20b").send().await.refused(400, "InvalidRequest");
    let odd = copy(&server, "repo/main/a%20b", "/repo/main/x").header("x-amz-metadata-directive", "replace");
    odd.send().await.refused(400, "InvalidArgument");
}

#[tokio::test]
async fn conditions_of_a_copy() {
    let server = filled().await;
    let to = |name: &'static str, value: &'static str| {
        copy(&server, "repo/main/a%20b", "/repo/main/copy").header(name, value).send()
    };
    to("x-amz-copy-source-if-match", "\"x\"").await.refused(412, "PreconditionFailed");
    to("x-amz-copy-source-if-none-match", "\"5d41402abc4b2a76b9719d911017c592\"")
        .await
        .refused(412, "PreconditionFailed");
    to("x-amz-copy-source-if-modified-since", "Mon, 21 Sep 2026 14:13:20 GMT")
        .await
        .refused(412, "PreconditionFailed");
    server.get("/repo/main/copy").await.refused(404, "NoSuchKey");
    to("x-amz-copy-source-if-match", "\"5d41402abc4b2a76b9719d911017c592\"").await.expect(200);
    to("if-none-match", "*").await.refused(412, "PreconditionFailed");
}

#[tokio::test]
async fn bad_sources_and_targets() {
    let server = filled().await;
    copy(&server, "repo/main/none", "/repo/main/x").send().await.refused(404, "NoSuchKey");
    copy(&server, "none/main/a", "/repo/main/x").send().await.refused(404, "NoSuchBucket");
    copy(&server, "repo", "/repo/main/x").send().await.refused(400, "InvalidArgument");
    copy(&server, "repo/main/a%20b", "/repo/none/x").send().await.refused(404, "NoSuchBucket");
    server.commit("main").await;
    server.tag("v1", "main").await;
    copy(&server, "repo/main/a%20b", "/repo/v1/x").send().await.refused(405, "MethodNotAllowed");
    copy(&server, "repo/v1/a%20b", "/repo/main/x").send().await.expect(200);
}
