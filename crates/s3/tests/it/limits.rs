//! Every limit of this door, one below, at, and one above. Above, the answer says so and nothing has changed.

use super::server::{Answer, NOW_SECONDS, SECRET, Server};
use millpond_service::limits::*;

/// All that a client can see.
async fn state(server: &Server) -> Vec<String> {
    let mut state = Vec::new();
    for path in ["/", "/repo", "/repo?list-type=2&prefix=main/", "/repo?uploads"] {
        state.push(server.get(path).await.expect(200).text());
    }
    state.iter().map(|text| text.split("<ID>").next().unwrap().to_owned()).collect()
}

/// Sends at the edge: `send` makes the request with a thing of that size.
async fn edge(server: &Server, max: usize, good: u16, bad: (u16, &str), send: impl AsyncFn(usize) -> Answer) {
    for size in [max - 1, max] {
        send(size).await.expect(good);
    }
    let before = state(server).await;
    send(max + 1).await.refused(bad.0, bad.1);
    assert_eq!(state(server).await, before, "{max} {bad:?}");
}

fn x(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[tokio::test]
async fn names_and_keys() {
    let server = Server::with_repository().await;
    edge(&server, REPOSITORY_NAME_BYTES_MAX, 200, (400, "InvalidBucketName"), async |n| {
        server.call("PUT", &format!("/{}", x(n))).send().await
    })
    .await;
    for (length, status) in [(REPOSITORY_NAME_BYTES_MIN - 1, 400), (REPOSITORY_NAME_BYTES_MIN, 200)] {
        server.call("PUT", &format!("/{}", "y".repeat(length))).send().await.expect(status);
    }
    edge(&server, OBJECT_PATH_BYTES_MAX, 200, (400, "KeyTooLongError"), async |n| {
        server.put(&format!("/repo/main/{}", x(n)), "a").await
    })
    .await;
    server.put("/repo/main/a", "a").await.expect(200);
    server.commit("main").await;
    edge(&server, REF_EXPRESSION_BYTES_MAX, 200, (404, "NoSuchKey"), async |n| {
        server.get(&format!("/repo/main~{}/a", "0".repeat(n - "main~".len()))).await
    })
    .await;
    edge(&server, REF_MODIFIERS_MAX, 200, (404, "NoSuchKey"), async |n| {
        server.get(&format!("/repo/main{}/a", "~0".repeat(n))).await
    })
    .await;
    edge(&server, S3_PREFIX_BYTES_MAX, 200, (400, "InvalidArgument"), async |n| {
        server.get(&format!("/repo?list-type=2&prefix={}", x(n))).await
    })
    .await;
    edge(&server, PREFIX_BYTES_MAX, 200, (400, "InvalidArgument"), async |n| {
        server.get(&format!("/repo?delimiter={}&list-type=2&prefix=main/", x(n))).await
    })
    .await;
    edge(&server, IDEMPOTENCY_KEY_BYTES_MAX, 200, (400, "InvalidArgument"), async |n| {
        server.call("PUT", "/repo/main/keyed").body("a").header("idempotency-key", &x(n)).send().await
    })
    .await;
}

#[tokio::test]
async fn objects() {
    let server = Server::with_repository().await;
    edge(&server, S3_USER_METADATA_BYTES_MAX, 200, (400, "MetadataTooLarge"), async |n| {
        server.call("PUT", "/repo/main/a").body("a").header("x-amz-meta-k", &x(n - 1)).send().await
    })
    .await;
    // Content type and metadata of a link or of the other door share one limit.
    let over = x(ATTRIBUTES_BYTES_MAX);
    let refused = server.call("PUT", "/repo/main/b").body("b").header("content-type", &over).send().await;
    refused.refused(400, "EntityTooLarge");
    for size in [SMALL_OBJECT_BYTES_MAX - 1, SMALL_OBJECT_BYTES_MAX, SMALL_OBJECT_BYTES_MAX + 1] {
        server.put("/repo/main/small", x(size)).await.expect(200);
        assert_eq!(server.get("/repo/main/small").await.expect(200).body.len(), size);
    }
    let range = async |count: usize| {
        let ranges: Vec<String> = (0..count).map(|i| format!("{i}-{i}")).collect();
        let header = format!("bytes={}", ranges.join(","));
        server.call("GET", "/repo/main/small").header("range", &header).send().await
    };
    range(RANGES_MAX).await.expect(206);
    range(RANGES_MAX + 1).await.expect(200);
    // Not a byte of it is read: what is announced is enough.
    for (size, code) in [
        (PUT_BYTES_MAX - 1, "IncompleteBody"),
        (PUT_BYTES_MAX, "IncompleteBody"),
        (PUT_BYTES_MAX + 1, "EntityTooLarge"),
    ] {
        let put = server.call("PUT", "/repo/main/huge").mode("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        put.header("x-amz-decoded-content-length", &size.to_string()).send().await.refused(400, code);
        server.get("/repo/main/huge").await.expect(404);
    }
}

/// Begins an upload to a key; gives its id.
async fn begin(server: &Server, key: &str) -> String {
    server.call("POST", &format!("/repo/main/{key}?uploads")).send().await.expect(200).element("UploadId")
}

#[tokio::test]
async fn uploads() {
    let options = millpond_engine::Options { uploads_open_max: 3, ..Default::default() };
    let server = Server::with(options).await;
    server.call("PUT", "/repo").send().await.expect(200);
    let first = begin(&server, "a").await;
    let second = begin(&server, "b").await;
    begin(&server, "c").await;
    // At the default of UPLOADS_OPEN_MAX the rule is the same.
    let before = state(&server).await;
    let refused = server.call("POST", "/repo/main/d?uploads").send().await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.refused(503, "SlowDown");
    assert_eq!(state(&server).await, before);

    edge(&server, PART_NUMBER_MAX as usize, 200, (400, "InvalidArgument"), async |n| {
        server.put(&format!("/repo/main/a?partNumber={n}&uploadId={first}"), "part").await
    })
    .await;
    server
        .put(&format!("/repo/main/a?partNumber=0&uploadId={first}"), "p")
        .await
        .refused(400, "InvalidArgument");

    let part = async |number: usize, size: usize| {
        let answer =
            server.put(&format!("/repo/main/b?partNumber={number}&uploadId={second}"), x(size)).await;
        let etag = answer.expect(200).header("etag").to_owned();
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
    };
    let complete = async |size: usize| {
        let parts = [part(1, size).await, part(2, 1).await].concat();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        server.call("POST", &format!("/repo/main/b?uploadId={second}")).body(body).send().await
    };
    complete(PART_BYTES_MIN as usize - 1).await.refused(400, "EntityTooSmall");
    server.get("/repo/main/b").await.expect(404);
    complete(PART_BYTES_MIN as usize).await.expect(200);
    // Its place is free again, although its result is remembered.
    begin(&server, "d").await;
}

#[tokio::test]
async fn documents() {
    let server = Server::with_repository().await;
    let delete = async |inner: String| {
        let body = format!("<Delete>{inner}</Delete>");
        let md5 = content_md5(body.as_bytes());
        server.call("POST", "/repo?delete").header("content-md5", &md5).body(body).send().await
    };
    let object = "<Object><Key>main/none</Key></Object>";
    edge(&server, DELETE_BATCH_MAX, 200, (400, "MalformedXML"), async |n| delete(object.repeat(n)).await)
        .await;
    // The document, the object and its key are three.
    edge(&server, XML_ELEMENTS_MAX, 200, (400, "MalformedXML"), async |n| {
        delete(format!("{object}{}", "<a/>".repeat(n - 3))).await
    })
    .await;
    edge(&server, XML_DEPTH_MAX, 200, (400, "MalformedXML"), async |n| {
        delete(format!("{object}{}{}", "<a>".repeat(n - 1), "</a>".repeat(n - 1))).await
    })
    .await;
    let fixed = "<Delete></Delete>".len() + object.len();
    edge(&server, DOCUMENT_BYTES_MAX, 200, (400, "MaxMessageLengthExceeded"), async |n| {
        delete(format!("{object}{}", " ".repeat(n - fixed))).await
    })
    .await;
    for keys in [PAGE_ITEMS_MAX - 1, PAGE_ITEMS_MAX, PAGE_ITEMS_MAX + 1] {
        let page = server.get(&format!("/repo?list-type=2&max-keys={keys}&prefix=main/")).await.expect(200);
        assert_eq!(page.element("MaxKeys"), keys.min(PAGE_ITEMS_MAX).to_string());
    }
}

#[tokio::test]
async fn pinned_listings() {
    let server = Server::with_repository().await;
    for key in ["a", "b"] {
        server.put(&format!("/repo/main/{key}"), "x").await.expect(200);
    }
    let first = async || {
        let page = server.get("/repo?list-type=2&max-keys=1&prefix=main/").await.expect(200);
        page.element("NextContinuationToken").replace('=', "%3D")
    };
    let next = async |token: &str| {
        server.get(&format!("/repo?continuation-token={token}&list-type=2&max-keys=1&prefix=main/")).await
    };
    let oldest = first().await;
    for _ in 1..PINS_MAX {
        first().await;
    }
    assert_eq!(next(&oldest).await.expect(200).element("Key"), "main/b");
    first().await;
    next(&oldest).await.refused(400, "InvalidArgument");
}

/// `Content-MD5` of a document.
fn content_md5(bytes: &[u8]) -> String {
    use md5::{Digest, Md5};
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, Md5::digest(bytes))
}

#[tokio::test]
async fn chunked_bodies() {
    let server = Server::with_repository().await;
    let put = async |names: &str, body: String| {
        let call = server.call("PUT", "/repo/main/a").mode("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        let call = call.header("x-amz-decoded-content-length", "5").header("x-amz-trailer", names);
        call.body(body).send().await
    };
    edge(&server, CHUNK_LINE_BYTES_MAX, 200, (400, "IncompleteBody"), async |n| {
        let line = format!("5;{}\r", x(n - 3));
        put("x-a", format!("{line}\nhello\r\n0\r\nx-a:1\r\n\r\n")).await
    })
    .await;
    edge(&server, TRAILERS_MAX, 200, (400, "MalformedTrailerError"), async |n| {
        let names: Vec<String> = (0..n).map(|i| format!("x-t{i}")).collect();
        let lines: String = names.iter().map(|name| format!("{name}:1\r\n")).collect();
        put(&names.join(","), format!("5\r\nhello\r\n0\r\n{lines}\r\n")).await
    })
    .await;
}

/// `20260921T141320Z` moved by seconds within its day.
fn moment(shift: i64) -> String {
    let second = NOW_SECONDS.rem_euclid(86_400) + shift;
    format!("20260921T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[tokio::test]
async fn time() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "a").await.expect(200);
    let skew = SKEW_SECONDS_MAX as i64;
    for shift in [-skew - 1, -skew, 1 - skew, skew - 1, skew, skew + 1] {
        let request = server.call("GET", "/repo/main/a").signed(&moment(shift), SECRET);
        let answer = server.send(request).await;
        if shift.abs() > skew {
            answer.refused(403, "RequestTimeTooSkewed");
        } else {
            answer.expect(200);
        }
    }
    let presigned = async |seconds: usize| {
        let request = server.call("GET", "/repo/main/a").presigned(u32::try_from(seconds).unwrap());
        server.send(request).await
    };
    edge(&server, PRESIGN_SECONDS_MAX as usize, 200, (400, "AuthorizationQueryParametersError"), presigned)
        .await;
    presigned(0).await.refused(400, "AuthorizationQueryParametersError");
}
