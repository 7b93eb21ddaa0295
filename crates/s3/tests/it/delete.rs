//! DeleteObject and DeleteObjects.

use crate::server::{Answer, Server};

async fn delete(server: &Server, body: &str) -> Answer {
    server.call("POST", "/repo?delete").body(format!("<Delete>{body}</Delete>")).send().await
}

#[tokio::test]
async fn a_missing_object_is_deleted_already() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "1").await.expect(200);
    for _ in 0..2 {
        assert!(server.delete("/repo/main/a").await.expect(204).body.is_empty());
    }
    server.get("/repo/main/a").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn conditional_deletes() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "hello").await.expect(200);
    let delete = |etag: &'static str| server.call("DELETE", "/repo/main/a").header("if-match", etag).send();
    delete("\"x\"").await.refused(412, "PreconditionFailed");
    delete("\"5d41402abc4b2a76b9719d911017c592\"").await.expect(204);
    server
        .call("DELETE", "/repo/main/a")
        .header("x-amz-if-match-size", "1")
        .send()
        .await
        .refused(501, "NotImplemented");
}

#[tokio::test]
async fn a_batch_says_what_became_of_every_key() {
    let server = Server::with_repository().await;
    for key in ["a", "b"] {
        server.put(&format!("/repo/main/{key}"), "1").await.expect(200);
    }
    server.commit("main").await;
    server.branch("dev", "main").await;
    server.tag("v1", "main").await;
    let object = |key: &str| format!("<Object><Key>{key}</Key></Object>");
    let list: String =
        ["main/a", "dev/b", "main/none", "main/", "v1/a", "none/a", "keyless"].map(object).concat();
    let answer = delete(&server, &list).await.expect(200);
    let deleted: Vec<String> =
        answer.elements("Deleted").iter().map(|d| d.replace("<Key>", "").replace("</Key>", "")).collect();
    assert_eq!(deleted, ["main/a", "dev/b", "main/none", "main/"]);
    assert_eq!(answer.elements("Code"), ["MethodNotAllowed", "NoSuchBucket", "InvalidArgument"]);
    server.get("/repo/main/a").await.refused(404, "NoSuchKey");
    server.get("/repo/main/b").await.expect(200);
    server.get("/repo/dev/b").await.refused(404, "NoSuchKey");
    server.get("/repo/v1/a").await.expect(200);
}

#[tokio::test]
async fn a_batch_with_conditions() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "hello").await.expect(200);
    server.put("/repo/main/b", "hello").await.expect(200);
    let answer = delete(
        &server,
        "<Object><Key>main/a</Key><ETag>&quot;x&quot;</ETag></Object>\
         <Object><Key>main/b</Key><ETag>&quot;5d41402abc4b2a76b9719d911017c592&quot;</ETag></Object><Quiet>true</Quiet>",
    )
    .await
    .expect(200);
    assert_eq!(answer.elements("Key"), ["main/a"]);
    assert_eq!(answer.element("Code"), "PreconditionFailed");
    server.get("/repo/main/a").await.expect(200);
    server.get("/repo/main/b").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn bad_batches() {
    let server = Server::with_repository().await;
    delete(&server, "").await.refused(400, "MalformedXML");
    delete(&server, "<Object>").await.refused(400, "MalformedXML");
    let call = server.call("POST", "/repo?delete").header("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==");
    call.body("<Delete><Object><Key>main/a</Key></Object></Delete>").send().await.refused(400, "BadDigest");
    let body = "<Delete><Object><Key>main/a</Key></Object></Delete>";
    server.call("POST", "/none?delete").body(body).send().await.refused(404, "NoSuchBucket");
}
