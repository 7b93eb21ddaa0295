//! Reading, listing, copying and deleting objects.

use crate::server::{NOW, Server};
use serde_json::{Value, json};

const OBJECT: &str = "/repositories/repo/refs/main/objects?path=dir/digits";

async fn with_digits() -> Server {
    let server = Server::with_repository().await;
    server.upload("main", "dir/digits", "0123456789").await;
    server
}

#[tokio::test]
async fn an_object_as_it_is_read() {
    let server = with_digits().await;
    let answer = server.get(OBJECT).await.expect(200);
    assert_eq!(answer.text(), "0123456789");
    for (name, value) in [
        ("etag", "\"781e5e245d69b566979b86e28d23f2c7\""),
        ("content-type", "text/plain"),
        ("content-length", "10"),
        ("cache-control", "no-store, must-revalidate"),
        ("expires", "0"),
        ("content-disposition", "inline"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "SAMEORIGIN"),
        ("content-security-policy", "default-src 'none'; form-action 'none'; base-uri 'none'"),
        ("last-modified", "Mon, 21 Sep 2026 14:13:20 GMT"),
        ("accept-ranges", ""),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let etag = answer.header("etag").to_owned();
    let unchanged = server.call("GET", OBJECT, &[("if-none-match", &etag)], "").await.expect(304);
    assert!(unchanged.body.is_empty());
    server.call("GET", OBJECT, &[("if-none-match", "\"other\"")], "").await.expect(200);
    server.get(&format!("{OBJECT}&presign=true")).await.expect(400);
    server.get("/repositories/repo/refs/main/objects?path=dir").await.expect(404);
    server.get("/repositories/repo/refs/none/objects?path=dir/digits").await.expect(404);
    server.get("/repositories/repo/refs/main@/objects?path=dir/digits").await.expect(404);
}

#[tokio::test]
async fn ranges_of_an_object() {
    let server = with_digits().await;
    let range = async |range: &str| {
        let answer = server.call("GET", OBJECT, &[("range", range)], "").await;
        (answer.status, answer.header("content-range").to_owned(), answer.text())
    };
    assert_eq!(range("bytes=2-4").await, (206, "bytes 2-4/10".into(), "234".into()));
    assert_eq!(range("bytes=-99").await, (206, "bytes 0-9/10".into(), "0123456789".into()));
    let (status, content_range, body) = range("bytes=10-").await;
    assert_eq!((status, content_range.as_str()), (416, "bytes */10"));
    assert!(body.contains("message"));
    let (status, content_range, _) = range("bytes=4-2").await;
    assert_eq!((status, content_range.as_str()), (416, ""));
    assert_eq!(range("lines=1-2").await.0, 400);
}

#[tokio::test]
async fn an_object_as_its_head_tells() {
    let server = with_digits().await;
    let head = async |path: &str, range: &str| {
        let headers: &[(&str, &str)] = if range.is_empty() { &[] } else { &[("range", range)] };
        let answer = server.call("HEAD", path, headers, "").await;
        assert!(answer.body.is_empty());
        answer
    };
    let answer = head(OBJECT, "").await.expect(200);
    assert_eq!(answer.header("content-length"), "10");
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert_eq!(answer.header("content-disposition"), "");
    let answer = head(OBJECT, "bytes=1-3").await.expect(206);
    assert_eq!(answer.header("content-length"), "3");
    assert_eq!(answer.header("content-range"), "bytes 1-3/10");
    let answer = head(OBJECT, "bytes=99-").await.expect(416);
    assert_eq!(answer.header("content-range"), "");
    assert_eq!(answer.header("content-type"), "text/plain");
    assert!(!answer.header("etag").is_empty());
    let missing = head("/repositories/repo/refs/main/objects?path=none", "").await.expect(404);
    assert_eq!(missing.header("content-type"), "");
    head("/repositories/repo/refs/main/objects", "").await.expect(400);
}

#[tokio::test]
async fn an_empty_object_can_be_read_but_has_no_range() {
    let server = Server::with_repository().await;
    server.upload("main", "empty/", "").await;
    let path = "/repositories/repo/refs/main/objects?path=empty/";
    assert!(server.get(path).await.expect(200).body.is_empty());
    for range in ["bytes=0-", "bytes=-5"] {
        let answer = server.call("GET", path, &[("range", range)], "").await.expect(416);
        assert_eq!(answer.header("content-range"), "bytes */0");
    }
}

#[tokio::test]
async fn stat_and_metadata() {
    let server = with_digits().await;
    let stat = "/repositories/repo/refs/main/objects/stat?path=dir/digits";
    let before = server.get(stat).await.expect(200).json();
    assert_eq!(before["path"], "dir/digits");
    assert_eq!(before["path_type"], "object");
    assert_eq!(before["size_bytes"], 10);
    assert_eq!(before["mtime"], NOW);
    assert_eq!(before["metadata"], json!({}));
    assert_eq!(before["checksum"], "781e5e245d69b566979b86e28d23f2c7");
    assert!(before["physical_address"].as_str().unwrap().starts_with("local://repo/data/"));
    let set = "/repositories/repo/branches/main/objects/stat/user_metadata?path=dir/digits";
    server.put(set, r#"{"set":{"Owner":"ann"}}"#).await.expect(204);
    assert_eq!(server.get(stat).await.json()["metadata"], json!({"Owner": "ann"}));
    assert_eq!(server.get(&format!("{stat}&user_metadata=False")).await.json()["metadata"], json!({}));
    server.get(&format!("{stat}&presign=true")).await.expect(400);
    let missing = "/repositories/repo/branches/main/objects/stat/user_metadata?path=none";
    server.put(missing, r#"{"set":{}}"#).await.expect(404);
}

#[tokio::test]
async fn listings_fold_and_page() {
    let server = Server::with_repository().await;
    for path in ["a/1", "a/2", "b", "c/1"] {
        server.upload("main", path, path).await;
    }
    let list = async |query: &str| -> Value {
        server.get(&format!("/repositories/repo/refs/main/objects/ls?{query}")).await.expect(200).json()
    };
    let names = |page: &Value| -> Vec<String> {
        let results = page["results"].as_array().unwrap();
        results.iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&list("").await), ["a/1", "a/2", "b", "c/1"]);
    let folded = list("delimiter=/").await;
    assert_eq!(names(&folded), ["a/", "b", "c/"]);
    let group = json!({"path": "a/", "path_type": "common_prefix", "physical_address": "", "checksum": "", "mtime": 0});
    assert_eq!(folded["results"][0], group);
    let page = list("delimiter=/&amount=1").await;
    assert_eq!(page["pagination"]["next_offset"], "a/");
    assert_eq!(names(&list("delimiter=/&after=a/").await), ["b", "c/"]);
    assert_eq!(names(&list("prefix=a/&amount=1").await), ["a/1"]);
    assert_eq!(names(&list("prefix=zzz").await), Vec::<String>::new());
    assert!(list("user_metadata=false").await["results"][0].get("metadata").is_none());
    server.get("/repositories/repo/refs/main/objects/ls?presign=true").await.expect(400);
    server.get("/repositories/repo/refs/main/objects/ls?presign=true&prefix=zzz").await.expect(200);
    server.get("/repositories/repo/refs/none/objects/ls").await.expect(404);
}

#[tokio::test]
async fn copies_within_a_repository() {
    let server = with_digits().await;
    let copy = "/repositories/repo/branches/main/objects/copy?dest_path=copy";
    let copied = server.post(copy, r#"{"src_path":"dir/digits"}"#).await.expect(201).json();
    assert_eq!(copied["path"], "copy");
    assert_eq!(server.content("main", "copy").await.as_deref(), Some("0123456789"));
    server.post(copy, r#"{"src_path":"none"}"#).await.expect(404);
    server.post(copy, r#"{"src_path":""}"#).await.expect(400);
    server.post(copy, r#"{"src_path":"dir/digits","shallow":true}"#).await.expect(501);
    server.post(copy, r#"{"src_path":"dir/digits","src_ref":"none"}"#).await.expect(404);
}

#[tokio::test]
async fn deleting_one_and_many() {
    let server = Server::with_repository().await;
    for path in ["a", "b", "c"] {
        server.upload("main", path, path).await;
    }
    server.delete("/repositories/repo/branches/main/objects?path=a").await.expect(204);
    server.delete("/repositories/repo/branches/main/objects?path=a").await.expect(204);
    server.delete("/repositories/repo/branches/none/objects?path=a").await.expect(404);
    let many = "/repositories/repo/branches/main/objects/delete";
    let refused = server.post(many, r#"{"paths":["b",""]}"#).await.expect(200).json();
    assert_eq!(refused["errors"].as_array().unwrap().len(), 2, "all or nothing");
    assert_eq!(refused["errors"][1]["status_code"], 400);
    assert!(server.content("main", "b").await.is_some());
    let done = server.post(many, r#"{"paths":["b","none"]}"#).await.expect(200).json();
    assert_eq!(done, json!({"errors": []}));
    assert!(server.content("main", "b").await.is_none());
    let paths = |count: usize| json!({"paths": vec!["x"; count]}).to_string();
    server.post(many, &paths(1000)).await.expect(200);
    server.post(many, &paths(1001)).await.expect(400);
}

#[tokio::test]
async fn addresses_that_were_not_issued_cannot_be_linked() {
    let server = Server::with_repository().await;
    let backing = "/repositories/repo/branches/main/staging/backing?path=p";
    let issued = server.get(backing).await.expect(200).json();
    assert_eq!(issued["presigned_url"], Value::Null);
    assert!(issued["physical_address"].as_str().unwrap().starts_with("local://repo/data/"));
    server.get(&format!("{backing}&presign=true")).await.expect(500);
    let link = |address: &str, checksum: &str| {
        json!({"staging": {"physical_address": address, "presigned_url": null}, "checksum": checksum, "size_bytes": 1})
            .to_string()
    };
    server.put(backing, &link("local://repo/data/other", "abc")).await.expect(400);
    server.put(backing, &link("s3://bucket/key", "abc")).await.expect(400);
    server.put(backing, &link(issued["physical_address"].as_str().unwrap(), " \"\"")).await.expect(400);
    let stage = "/repositories/repo/branches/main/objects?path=p";
    let foreign = r#"{"physical_address":"s3://bucket/key","checksum":"","size_bytes":1}"#;
    server.put(stage, foreign).await.expect(400);
    assert!(server.content("main", "p").await.is_none());
}
