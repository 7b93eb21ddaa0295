//! Put, get and head.

use crate::server::{EMPTY_MD5, NOW, SECRET, Server, sha256_base64, sha256_hex};

const MD5_OF_HELLO: &str = "\"5d41402abc4b2a76b9719d911017c592\"";

#[tokio::test]
async fn what_is_put_is_got() {
    let server = Server::with_repository().await;
    let put = server
        .call("PUT", "/repo/main/dir//a%20b")
        .header("content-type", "text/csv")
        .header("cache-control", "no-cache")
        .header("x-amz-meta-colour", "blue")
        .body("hello")
        .send()
        .await
        .expect(200);
    assert_eq!(put.header("etag"), MD5_OF_HELLO);
    let get = server.get("/repo/main/dir//a%20b").await.expect(200);
    assert_eq!(get.text(), "hello");
    for (name, value) in [
        ("etag", MD5_OF_HELLO),
        ("content-type", "text/csv"),
        ("cache-control", "no-cache"),
        ("x-amz-meta-colour", "blue"),
        ("content-length", "5"),
        ("accept-ranges", "bytes"),
        ("last-modified", "Mon, 21 Sep 2026 14:13:20 GMT"),
    ] {
        assert_eq!(get.header(name), value, "{name}");
    }
    let head = server.head("/repo/main/dir//a%20b").await.expect(200);
    assert_eq!((head.header("content-length"), head.body.len()), ("5", 0));
    let overridden = server.get("/repo/main/dir//a%20b?response-content-type=a%2Fb&response-expires=x").await;
    assert_eq!((overridden.header("content-type"), overridden.header("expires")), ("a/b", "x"));
}

#[tokio::test]
async fn every_payload_mode_stores_the_same() {
    let server = Server::with_repository().await;
    let put = |mode: &str| server.call("PUT", "/repo/main/a").mode(mode);
    put("UNSIGNED-PAYLOAD").body("hello").send().await.expect(200);
    assert_eq!(server.get("/repo/main/a").await.text(), "hello");
    put("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("x-amz-decoded-content-length", "5")
        .header("x-amz-trailer", "x-amz-checksum-sha256")
        .header("content-encoding", "aws-chunked")
        .body(format!("5\r\nworld\r\n0\r\nx-amz-checksum-sha256:{}\r\n\r\n", sha256_base64(b"world")))
        .send()
        .await
        .expect(200);
    let get = server.call("GET", "/repo/main/a").header("x-amz-checksum-mode", "ENABLED").send().await;
    assert_eq!((get.text().as_str(), get.header("content-encoding")), ("world", ""));
    assert_eq!(get.header("x-amz-checksum-sha256"), sha256_base64(b"world"));
    assert_eq!(get.header("x-amz-checksum-type"), "FULL_OBJECT");
    let part = server
        .call("GET", "/repo/main/a")
        .header("x-amz-checksum-mode", "ENABLED")
        .header("range", "bytes=0-1")
        .send()
        .await
        .expect(206);
    assert_eq!(part.header("x-amz-checksum-sha256"), "", "a range has no checksum of the whole");
}

#[tokio::test]
async fn bad_bodies_store_nothing() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "old").await.expect(200);
    let put = || server.call("PUT", "/repo/main/a").body("hello");
    put().mode(&sha256_hex(b"other")).send().await.refused(400, "XAmzContentSHA256Mismatch");
    put().header("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==").send().await.refused(400, "BadDigest");
    put().header("content-md5", "nonsense").send().await.refused(400, "InvalidDigest");
    put().header("x-amz-checksum-crc32", "y/Q5Jg==").send().await.refused(400, "BadDigest");
    put().header("x-amz-checksum-sha256", &sha256_base64(b"x")).send().await.refused(400, "BadDigest");
    put().header("x-amz-checksum-crc32", "zzz").send().await.refused(400, "InvalidRequest");
    let chunked = |length: &str, body: &str| {
        server
            .call("PUT", "/repo/main/a")
            .mode("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .header("x-amz-decoded-content-length", length)
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .body(body)
            .send()
    };
    let right = "9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n";
    chunked("10", right).await.refused(400, "IncompleteBody");
    chunked("8", right).await.refused(400, "IncompleteBody");
    chunked("9", &right[..8]).await.refused(400, "IncompleteBody");
    chunked("9", &right.replace("y/Q5", "z/Q5")).await.refused(400, "BadDigest");
    chunked("9", &right.replace("x-amz-checksum-crc32:y/Q5Jg==\r\n", ""))
        .await
        .refused(400, "MalformedTrailerError");
    let mut short = put().mode("UNSIGNED-PAYLOAD").signed(NOW, SECRET);
    short.headers_mut().insert("content-length", "6".parse().unwrap());
    server.send(short).await.refused(400, "IncompleteBody");
    let mut unknown = put().mode("UNSIGNED-PAYLOAD").signed(NOW, SECRET);
    unknown.headers_mut().remove("content-length");
    server.send(unknown).await.refused(411, "MissingContentLength");
    let big = "x".repeat(2048);
    put().header("x-amz-meta-a", &big).send().await.refused(400, "MetadataTooLarge");
    assert_eq!(server.get("/repo/main/a").await.text(), "old");
    chunked("9", right).await.expect(200);
}

#[tokio::test]
async fn ranges_and_parts() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "0123456789").await.expect(200);
    let range = |text: &'static str| server.call("GET", "/repo/main/a").header("range", text).send();
    for (text, body, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-262144", "0123456789", "bytes 0-9/10"),
    ] {
        let answer = range(text).await.expect(206);
        assert_eq!((answer.text().as_str(), answer.header("content-range")), (body, content_range));
        assert_eq!(answer.header("content-length"), body.len().to_string());
    }
    range("bytes=10-").await.refused(416, "InvalidRange");
    assert_eq!(range("bytes=0-1,3-4").await.expect(200).text(), "0123456789");
    assert_eq!(server.get("/repo/main/a?partNumber=1").await.expect(206).text(), "0123456789");
    server.get("/repo/main/a?partNumber=2").await.refused(416, "InvalidPartNumber");
    server.get("/repo/main/a?partNumber=0").await.refused(400, "InvalidArgument");
}

#[tokio::test]
async fn conditional_reads() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "hello").await.expect(200);
    let get = |name: &'static str, value: &'static str| {
        server.call("GET", "/repo/main/a").header(name, value).send()
    };
    get("if-match", MD5_OF_HELLO).await.expect(200);
    get("if-match", "\"x\"").await.refused(412, "PreconditionFailed");
    let answer = get("if-none-match", MD5_OF_HELLO).await.expect(304);
    assert_eq!((answer.header("etag"), answer.body.len()), (MD5_OF_HELLO, 0));
    get("if-modified-since", "Mon, 21 Sep 2026 14:13:20 GMT").await.expect(304);
    get("if-unmodified-since", "Mon, 21 Sep 2026 14:13:19 GMT").await.refused(412, "PreconditionFailed");
}

#[tokio::test]
async fn conditional_writes() {
    let server = Server::with_repository().await;
    let put = |name: &'static str, value: &'static str, body: &'static str| {
        server.call("PUT", "/repo/main/a").header(name, value).body(body).send()
    };
    put("if-match", "\"x\"", "1").await.refused(404, "NoSuchKey");
    put("if-none-match", "*", "hello").await.expect(200);
    put("if-none-match", "*", "2").await.refused(412, "PreconditionFailed");
    put("if-match", "\"x\"", "2").await.refused(412, "PreconditionFailed");
    assert_eq!(server.get("/repo/main/a").await.text(), "hello");
    put("if-match", MD5_OF_HELLO, "3").await.expect(200);
    assert_eq!(server.get("/repo/main/a").await.text(), "3");
}

#[tokio::test]
async fn tags_commits_and_missing_branches_do_not_change() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "1").await.expect(200);
    let commit = server.commit("main").await;
    server.tag("v1.0", "main").await;
    server.tag("plain", "main").await;
    for at in ["v1.0", "plain", &commit, &commit[..8], "main~0"] {
        assert_eq!(server.get(&format!("/repo/{at}/a")).await.expect(200).text(), "1", "{at}");
        server.put(&format!("/repo/{at}/a"), "2").await.refused(405, "MethodNotAllowed");
        server.delete(&format!("/repo/{at}/a")).await.refused(405, "MethodNotAllowed");
    }
    for at in ["none", "no.such"] {
        server.put(&format!("/repo/{at}/a"), "2").await.refused(404, "NoSuchBucket");
        server.delete(&format!("/repo/{at}/a")).await.refused(404, "NoSuchBucket");
    }
}

#[tokio::test]
async fn keys_at_their_edges() {
    let server = Server::with_repository().await;
    let (fits, over) = ("x".repeat(1024), "x".repeat(1025));
    server.put(&format!("/repo/main/{fits}"), "1").await.expect(200);
    assert_eq!(server.get(&format!("/repo/main/{fits}")).await.expect(200).text(), "1");
    server.put(&format!("/repo/main/{over}"), "1").await.refused(400, "KeyTooLongError");
    server.get(&format!("/repo/main/{over}")).await.refused(400, "KeyTooLongError");
    let empty = server.put("/repo/main/dir/", "").await.expect(200);
    assert_eq!(empty.header("etag"), format!("\"{EMPTY_MD5}\""));
    assert_eq!(server.get("/repo/main/dir/").await.expect(200).header("content-length"), "0");
}

#[tokio::test]
async fn attributes_of_an_object() {
    let server = Server::with_repository().await;
    server
        .call("PUT", "/repo/main/a")
        .header("x-amz-checksum-sha256", &sha256_base64(b"hello"))
        .body("hello")
        .send()
        .await
        .expect(200);
    let answer = server
        .call("GET", "/repo/main/a?attributes")
        .header("x-amz-object-attributes", "ETag,ObjectSize,Checksum")
        .send()
        .await
        .expect(200);
    assert_eq!(answer.element("ETag"), MD5_OF_HELLO.trim_matches('"'));
    assert_eq!(answer.element("ObjectSize"), "5");
    assert_eq!(answer.element("ChecksumSHA256"), sha256_base64(b"hello"));
}

#[tokio::test]
async fn virtual_hosts_name_the_bucket() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "1").await.expect(200);
    // The host is signed; an answer that is not about the signature shows which bucket was meant.
    let mut request = server.call("GET", "/main/a").unsigned();
    request.headers_mut().insert("host", "repo.s3.test:80".parse().unwrap());
    let answer = server.send(request).await.refused(403, "AccessDenied");
    assert_eq!((answer.element("BucketName"), answer.element("Key")), ("repo".into(), "main/a".into()));
}
