//! Buckets are repositories.

use crate::server::{EMPTY_MD5, Server};

#[tokio::test]
async fn a_bucket_lives() {
    let server = Server::empty().await;
    server.head("/lake").await.expect(404);
    let configuration = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                         <LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(server.put("/lake", configuration).await.expect(200).header("location"), "/lake");
    server.put("/lake", "").await.refused(409, "BucketAlreadyOwnedByYou");
    server.put("/UPPER", "").await.refused(400, "InvalidBucketName");
    server.put("/lake2", "<Nonsense/>").await.refused(400, "MalformedXML");
    assert_eq!(server.head("/lake").await.expect(200).header("x-amz-bucket-region"), "us-east-1");
    let location = server.get("/lake?location").await.expect(200);
    assert!(location.text().ends_with("doc/2006-03-01/\"></LocationConstraint>"), "{}", location.text());
    server.put("/lake/main/a", "1").await.expect(200);
    server.delete("/lake").await.refused(409, "BucketNotEmpty");
    server.delete("/lake/main/a").await.expect(204);
    server.delete("/lake").await.expect(204);
    server.head("/lake").await.expect(404);
}

#[tokio::test]
async fn committed_history_is_not_deleted_by_a_bucket_call() {
    let server = Server::with_repository().await;
    server.put("/repo/main/a", "1").await.expect(200);
    server.commit("main").await;
    server.delete("/repo/main/a").await.expect(204);
    server.delete("/repo").await.refused(409, "BucketNotEmpty");
}

#[tokio::test]
async fn buckets_are_listed() {
    let server = Server::empty().await;
    for name in ["aaa", "bbb", "bbc"] {
        server.put(&format!("/{name}"), "").await.expect(200);
    }
    let all = server.get("/").await.expect(200);
    assert_eq!(all.elements("Name"), ["aaa", "bbb", "bbc"]);
    assert_eq!(all.element("CreationDate"), "2026-09-21T14:13:20.000Z");
    let page = server.get("/?max-buckets=1&prefix=bb").await.expect(200);
    assert_eq!(page.elements("Name"), ["bbb"]);
    let token = page.element("ContinuationToken");
    let page = server.get(&format!("/?max-buckets=1&prefix=bb&continuation-token={token}")).await.expect(200);
    assert_eq!(
        (page.elements("Name"), page.element("ContinuationToken")),
        (vec!["bbc".to_owned()], String::new())
    );
}

#[tokio::test]
async fn the_directory_marker_of_a_branch_is_accepted_and_makes_nothing() {
    let server = Server::with_repository().await;
    let answer = server.put("/repo/main/", "").await.expect(200);
    assert_eq!(answer.header("etag"), format!("\"{EMPTY_MD5}\""));
    assert!(server.get("/repo?prefix=main/").await.expect(200).elements("Key").is_empty());
    server.put("/repo/main/", "data").await.refused(400, "InvalidArgument");
    server.put("/repo/none/", "").await.refused(404, "NoSuchBucket");
    server.put("/repo/main", "data").await.refused(400, "InvalidArgument");
    server.delete("/repo/main/").await.expect(204);
    server.head("/repo/main/").await.expect(404);
}
