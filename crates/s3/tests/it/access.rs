//! Who gets in, and what errors look like.

use crate::server::{KEY, NOW, SECRET, Server};

#[tokio::test]
async fn nothing_is_served_without_a_right_signature() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "1").await.expect(200);
    let get = || server.call("GET", "/repo/main/a");
    server.send(get().unsigned()).await.refused(403, "AccessDenied");
    server.send(get().signed(NOW, "wrong")).await.refused(403, "SignatureDoesNotMatch");
    server.send(get().signed("20260921T135800Z", SECRET)).await.refused(403, "RequestTimeTooSkewed");
    let mut unknown = get().signed(NOW, SECRET);
    let text = unknown.headers()["authorization"].to_str().unwrap().replace(KEY, "AKIAUNKNOWN");
    unknown.headers_mut().insert("authorization", text.parse().unwrap());
    server.send(unknown).await.refused(403, "InvalidAccessKeyId");
    let mut put = server.call("PUT", "/repo/main/b").body("x").signed(NOW, SECRET);
    put.headers_mut().insert("x-amz-copy-source", "/repo/main/a".parse().unwrap());
    server.send(put).await.refused(403, "AccessDenied");
    server.get("/repo/main/b").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn presigned_links_read_and_write() {
    let server = Server::with_repository().await;
    server.send(server.call("PUT", "/repo/main/a").body("hello").presigned(60)).await.expect(200);
    let answer = server.send(server.call("GET", "/repo/main/a").presigned(604_800)).await.expect(200);
    assert_eq!(answer.text(), "hello");
    server
        .send(server.call("GET", "/repo/main/a").presigned(604_801))
        .await
        .refused(400, "AuthorizationQueryParametersError");
    let mut bent = server.call("PUT", "/repo/main/b").presigned(60);
    bent.headers_mut().insert("x-amz-meta-a", "1".parse().unwrap());
    server.send(bent).await.refused(403, "AccessDenied");
    let hoisted = server.call("PUT", "/repo/main/c?x-amz-meta-colour=blue").body("x").presigned(60);
    server.send(hoisted).await.expect(200);
    assert_eq!(server.head("/repo/main/c").await.expect(200).header("x-amz-meta-colour"), "blue");
}

#[tokio::test]
async fn errors_name_their_subject() {
    let server = Server::with_repository().await;
    let answer = server.get("/repo/main/no%20such").await.refused(404, "NoSuchKey");
    assert_eq!(answer.element("BucketName"), "repo");
    assert_eq!(answer.element("Key"), "main/no such");
    assert_eq!(answer.element("Resource"), "/repo/main/no%20such");
    assert_eq!(answer.header("content-type"), "application/xml");
    let head = server.head("/repo/main/none").await.expect(404);
    assert!(head.body.is_empty() && !head.header("x-amz-request-id").is_empty());
}

#[tokio::test]
async fn a_missing_repository_or_ref() {
    let server = Server::with_repository().await;
    for path in ["/none/main/a", "/none", "/none?list-type=2&prefix=main/"] {
        server.get(path).await.refused(404, "NoSuchBucket");
    }
    server.get("/repo/none/a").await.refused(404, "NoSuchKey");
    server.get("/repo/main~~x/a").await.refused(404, "NoSuchKey");
    server.get("/repo?list-type=2&prefix=none/").await.refused(404, "NoSuchBucket");
    server.get("/repo?prefix=none/").await.refused(404, "NoSuchBucket");
    server.get("/Bad_Name/main/a").await.refused(400, "InvalidBucketName");
    server.get("/repo/main/%ff").await.refused(400, "InvalidURI");
}

#[tokio::test]
async fn what_is_not_offered() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "1").await.expect(200);
    server.put("/repo?policy", "{}").await.refused(501, "NotImplemented");
    server.put("/repo/main/a?tagging", "<Tagging/>").await.refused(501, "NotImplemented");
    server.get("/repo?policy").await.refused(404, "NoSuchBucketPolicy");
    server.get("/repo?versioning").await.expect(200);
    server.get("/repo/main/a?tagging").await.expect(200);
    server.get("/repo/main/a?versionId=3").await.refused(400, "InvalidArgument");
    server.get("/repo/main/a?versionId=null").await.expect(200);
}

#[tokio::test]
async fn an_idempotency_key_has_a_length() {
    let server = Server::with_repository().await;
    for (length, fits) in [(0, false), (1, true), (255, true), (256, false)] {
        let key = "k".repeat(length);
        let put =
            server.call("PUT", &format!("/repo/main/{length}")).header("idempotency-key", &key).body("x");
        let answer = put.send().await;
        if fits {
            answer.expect(200);
        } else {
            answer.refused(400, "InvalidArgument");
        }
    }
}

#[tokio::test]
async fn a_protected_branch_refuses_every_write_with_a_code_of_its_own() {
    const CODE: &str = "ErrWriteToProtectedBranch";
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "1").await.expect(200);
    server.commit("main").await;
    server.branch("dev", "main").await;
    let id = server.call("POST", "/repo/main/big?uploads").send().await.expect(200).element("UploadId");
    let part = server.put(&format!("/repo/main/big?partNumber=1&uploadId={id}"), "part").await.expect(200);
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        part.header("etag")
    );
    server.protect("m*").await;
    server.put("/repo/main/b", "1").await.refused(403, CODE);
    server.delete("/repo/main/a").await.refused(403, CODE);
    let copy = server.call("PUT", "/repo/main/b").header("x-amz-copy-source", "/repo/dev/a");
    copy.send().await.refused(403, CODE);
    server.call("POST", "/repo/main/big2?uploads").send().await.refused(403, CODE);
    let complete = server.call("POST", &format!("/repo/main/big?uploadId={id}")).body(list);
    complete.send().await.refused(403, CODE);
    let batch = "<Delete><Object><Key>main/a</Key></Object><Object><Key>dev/a</Key></Object></Delete>";
    let batch = server.call("POST", "/repo?delete").body(batch).send().await.expect(200);
    assert_eq!(batch.elements("Code"), [CODE]);
    server.get("/repo/main/a").await.expect(200);
    server.get("/repo/dev/a").await.refused(404, "NoSuchKey");
}
