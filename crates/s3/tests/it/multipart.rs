//! Multipart uploads.

use crate::server::{Answer, Server, sha256_base64};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

const MIB: usize = 1024 * 1024;

async fn create(server: &Server, headers: &[(&str, &str)]) -> String {
    let mut call = server.call("POST", "/repo/main/big?uploads");
    for (name, value) in headers {
        call = call.header(name, value);
    }
    let answer = call.send().await.expect(200);
    assert_eq!((answer.element("Bucket"), answer.element("Key")), ("repo".into(), "main/big".into()));
    answer.element("UploadId")
}

async fn part(server: &Server, id: &str, number: u32, body: &[u8]) -> String {
    let path = format!("/repo/main/big?partNumber={number}&uploadId={id}");
    server.put(&path, body).await.expect(200).header("etag").to_owned()
}

async fn complete(server: &Server, id: &str, parts: &[(u32, &str)], headers: &[(&str, &str)]) -> Answer {
    let list: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    let mut call = server.call("POST", &format!("/repo/main/big?uploadId={id}"));
    for (name, value) in headers {
        call = call.header(name, value);
    }
    call.body(format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>")).send().await
}

#[tokio::test]
async fn an_upload_lives() {
    let server = Server::with_repository().await;
    let id = create(&server, &[("content-type", "text/csv"), ("x-amz-meta-colour", "blue")]).await;
    let (one, two) = (vec![b'a'; 5 * MIB], b"end".to_vec());
    let (first, second) = (part(&server, &id, 1, &one).await, part(&server, &id, 3, &two).await);
    let parts = server.get(&format!("/repo/main/big?uploadId={id}")).await.expect(200);
    assert_eq!(parts.elements("PartNumber"), ["1", "3"]);
    assert_eq!(parts.elements("Size"), ["5242880", "3"]);
    let page = server.get(&format!("/repo/main/big?uploadId={id}&max-parts=1")).await.expect(200);
    assert_eq!(
        (page.element("IsTruncated"), page.element("NextPartNumberMarker")),
        ("true".into(), "1".into())
    );
    let uploads = server.get("/repo?uploads").await.expect(200);
    assert_eq!(
        (uploads.elements("Key"), uploads.elements("UploadId")),
        (vec!["main/big".into()], vec![id.clone()])
    );

    let list = [(1, first.as_str()), (3, second.as_str())];
    let done = complete(&server, &id, &list, &[]).await.expect(200);
    assert!(done.element("ETag").ends_with("-2\""));
    assert_eq!(done.element("Location"), format!("http://localhost/repo/main/big"));
    let again = complete(&server, &id, &list, &[]).await.expect(200);
    assert_eq!(again.element("ETag"), done.element("ETag"), "the same call has the same answer");
    let head = server.head("/repo/main/big").await.expect(200);
    assert_eq!(head.header("etag"), done.element("ETag"));
    assert_eq!((head.header("content-length"), head.header("content-type")), ("5242883", "text/csv"));
    assert_eq!(head.header("x-amz-meta-colour"), "blue");
    let second = server.get("/repo/main/big?partNumber=2").await.expect(206);
    assert_eq!((second.text().as_str(), second.header("x-amz-mp-parts-count")), ("end", "2"));
    let whole = server.get("/repo/main/big").await.expect(200);
    assert!(whole.body[..5 * MIB].iter().all(|b| *b == b'a') && whole.body.ends_with(b"end"));
    assert!(server.get("/repo?uploads").await.expect(200).elements("Upload").is_empty());
}

#[tokio::test]
async fn a_tiny_upload_of_one_part_is_fine() {
    let server = Server::with_repository().await;
    let id = create(&server, &[]).await;
    let etag = part(&server, &id, 1, b"tiny").await;
    assert!(complete(&server, &id, &[(1, &etag)], &[]).await.expect(200).element("ETag").ends_with("-1\""));
    assert_eq!(server.get("/repo/main/big").await.expect(200).text(), "tiny");
}

#[tokio::test]
async fn wrong_lists_are_refused_and_the_upload_stays() {
    let server = Server::with_repository().await;
    let id = create(&server, &[]).await;
    let (one, two) = (part(&server, &id, 1, b"small").await, part(&server, &id, 2, b"end").await);
    complete(&server, &id, &[(1, "\"00000000000000000000000000000000\"")], &[])
        .await
        .refused(400, "InvalidPart");
    complete(&server, &id, &[(9, &two)], &[]).await.refused(400, "InvalidPart");
    complete(&server, &id, &[(2, &two), (1, &one)], &[]).await.refused(400, "InvalidPartOrder");
    complete(&server, &id, &[(1, &one), (2, &two)], &[]).await.refused(400, "EntityTooSmall");
    complete(&server, &id, &[], &[]).await.refused(400, "MalformedXML");
    let nonsense = server.call("POST", &format!("/repo/main/big?uploadId={id}")).body("nonsense");
    nonsense.send().await.refused(400, "MalformedXML");
    complete(&server, &id, &[(2, &two)], &[]).await.expect(200);
}

#[tokio::test]
async fn unknown_and_aborted_uploads() {
    let server = Server::with_repository().await;
    let id = create(&server, &[]).await;
    let etag = part(&server, &id, 1, b"x").await;
    server.delete(&format!("/repo/main/other?uploadId={id}")).await.refused(404, "NoSuchUpload");
    server.delete(&format!("/repo/main/big?uploadId={id}")).await.expect(204);
    server.delete(&format!("/repo/main/big?uploadId={id}")).await.refused(404, "NoSuchUpload");
    complete(&server, &id, &[(1, &etag)], &[]).await.refused(404, "NoSuchUpload");
    server.put(&format!("/repo/main/big?partNumber=1&uploadId={id}"), "x").await.refused(404, "NoSuchUpload");
    server.get(&format!("/repo/main/big?uploadId={id}")).await.refused(404, "NoSuchUpload");
    for number in ["0", "10001", "x", ""] {
        let path = format!("/repo/main/big?partNumber={number}&uploadId={id}");
        server.put(&path, "x").await.refused(400, "InvalidArgument");
    }
    server.call("POST", "/repo/none/big?uploads").send().await.refused(404, "NoSuchBucket");
}

#[tokio::test]
async fn composite_checksums() {
    let server = Server::with_repository().await;
    let id = create(&server, &[("x-amz-checksum-algorithm", "SHA256")]).await;
    let big = vec![b'a'; 5 * MIB];
    // The client names a checksum of the first part only; that of the second is computed.
    let first = server
        .call("PUT", &format!("/repo/main/big?partNumber=1&uploadId={id}"))
        .header("x-amz-checksum-sha256", &sha256_base64(&big))
        .body(big.clone())
        .send()
        .await
        .expect(200);
    assert_eq!(first.header("x-amz-checksum-sha256"), sha256_base64(&big));
    let second = part(&server, &id, 2, b"end").await;
    let other = server.call("PUT", &format!("/repo/main/big?partNumber=3&uploadId={id}"));
    other
        .header("x-amz-checksum-crc32", "y/Q5Jg==")
        .body("123456789")
        .send()
        .await
        .refused(400, "InvalidRequest");
    let raw = |bytes: &[u8]| BASE64.decode(sha256_base64(bytes)).unwrap();
    let expected = format!("{}-2", sha256_base64(&[raw(&big), raw(b"end")].concat()));
    let list = [(1, first.header("etag")), (2, second.as_str())];
    complete(&server, &id, &list, &[("x-amz-checksum-sha256", &format!("{}-2", sha256_base64(b"")))])
        .await
        .refused(400, "BadDigest");
    let done = complete(&server, &id, &list, &[]).await.expect(200);
    assert_eq!(
        (done.element("ChecksumSHA256"), done.element("ChecksumType")),
        (expected.clone(), "COMPOSITE".into())
    );
    let head = server.call("HEAD", "/repo/main/big").header("x-amz-checksum-mode", "ENABLED").send().await;
    assert_eq!(
        (head.header("x-amz-checksum-sha256"), head.header("x-amz-checksum-type")),
        (expected.as_str(), "COMPOSITE")
    );
}

#[tokio::test]
async fn full_object_checksums() {
    let server = Server::with_repository().await;
    let headers = [("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT")];
    let id = create(&server, &headers).await;
    let big = vec![b'a'; 5 * MIB];
    let list = [part(&server, &id, 1, &big).await, part(&server, &id, 2, b"123456789").await];
    let list: Vec<(u32, &str)> = (1..).zip(list.iter().map(String::as_str)).collect();
    let whole = [big, b"123456789".to_vec()].concat();
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32IsoHdlc);
    digest.update(&whole);
    let expected = BASE64.encode((digest.finalize() as u32).to_be_bytes());
    complete(&server, &id, &list, &[("x-amz-checksum-crc32", "y/Q5Jg==")]).await.refused(400, "BadDigest");
    let done = complete(&server, &id, &list, &[("x-amz-checksum-crc32", &expected)]).await.expect(200);
    assert_eq!(
        (done.element("ChecksumCRC32"), done.element("ChecksumType")),
        (expected, "FULL_OBJECT".into())
    );
}

#[tokio::test]
async fn parts_are_copied_from_objects() {
    let server = Server::with_repository().await;
    server.put("/repo/main/source", "0123456789").await.expect(200);
    let id = create(&server, &[]).await;
    let copy = |range: Option<&'static str>| {
        let call = server.call("PUT", &format!("/repo/main/big?partNumber=1&uploadId={id}"));
        let call = call.header("x-amz-copy-source", "repo/main/source");
        match range {
            Some(range) => call.header("x-amz-copy-source-range", range),
            None => call,
        }
        .send()
    };
    copy(Some("bytes=5-10")).await.refused(416, "InvalidRange");
    copy(Some("bytes=-3")).await.refused(400, "InvalidArgument");
    copy(None).await.expect(200);
    let answer = copy(Some("bytes=2-4")).await.expect(200);
    assert!(answer.text().contains("<CopyPartResult"));
    complete(&server, &id, &[(1, &answer.element("ETag"))], &[]).await.expect(200);
    assert_eq!(server.get("/repo/main/big").await.expect(200).text(), "234");
}

#[tokio::test]
async fn a_conditional_complete_has_one_winner() {
    let server = Server::with_repository().await;
    let id = create(&server, &[]).await;
    let etag = part(&server, &id, 1, b"mine").await;
    server.put("/repo/main/big", "theirs").await.expect(200);
    complete(&server, &id, &[(1, &etag)], &[("if-none-match", "*")]).await.refused(412, "PreconditionFailed");
    assert_eq!(server.get("/repo/main/big").await.text(), "theirs");
}
