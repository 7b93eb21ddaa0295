//! Listing branches and objects.

use crate::server::{Answer, Server};

async fn filled() -> Server {
    let server = Server::with_repository().await;
    for key in ["a", "d/1", "d/2", "d/e/3", "z%20%0D"] {
        server.put(&format!("/repo/main/{key}"), "12345").await.expect(200);
    }
    server
}

fn prefixes(answer: &Answer) -> Vec<String> {
    answer
        .elements("CommonPrefixes")
        .iter()
        .map(|p| p.replace("<Prefix>", "").replace("</Prefix>", ""))
        .collect()
}

#[tokio::test]
async fn a_prefix_without_a_slash_lists_branches() {
    let server = filled().await;
    server.branch("dev", "main").await;
    server.branch("mainly", "main").await;
    for path in ["/repo", "/repo/", "/repo?list-type=2", "/repo?list-type=2&delimiter=/"] {
        assert_eq!(prefixes(&server.get(path).await.expect(200)), ["dev/", "main/", "mainly/"], "{path}");
    }
    assert_eq!(prefixes(&server.get("/repo?prefix=ma").await), ["main/", "mainly/"]);
    assert_eq!(prefixes(&server.get("/repo?prefix=ma&marker=main/").await), ["mainly/"]);
    let page = server.get("/repo?list-type=2&max-keys=1").await.expect(200);
    assert_eq!((prefixes(&page), page.element("IsTruncated")), (vec!["dev/".to_owned()], "true".to_owned()));
    let token = page.element("NextContinuationToken");
    let page =
        server.get(&format!("/repo?list-type=2&max-keys=5&continuation-token={token}")).await.expect(200);
    assert_eq!(
        (prefixes(&page), page.element("IsTruncated")),
        (vec!["main/".into(), "mainly/".into()], "false".into())
    );
}

#[tokio::test]
async fn objects_are_listed_under_their_ref() {
    let server = filled().await;
    let all = server.get("/repo?list-type=2&prefix=main/").await.expect(200);
    assert_eq!(all.elements("Key"), ["main/a", "main/d/1", "main/d/2", "main/d/e/3", "main/z &#13;"]);
    assert_eq!((all.element("KeyCount"), all.element("MaxKeys")), ("5".into(), "1000".into()));
    assert_eq!((all.element("Size"), all.element("StorageClass")), ("5".into(), "STANDARD".into()));
    assert_eq!(all.element("ETag"), "\"827ccb0eea8a706c4c34a16891f84e7b\"");
    assert!(all.elements("Owner").is_empty());
    let encoded = server.get("/repo?prefix=main/z&encoding-type=url").await.expect(200);
    assert_eq!(encoded.elements("Key"), ["main/z%20%0D"]);
    assert_eq!(encoded.elements("Owner").len(), 1);
    let folded = server.get("/repo?prefix=main/&delimiter=/").await.expect(200);
    assert_eq!(folded.elements("Key"), ["main/a", "main/z &#13;"]);
    assert_eq!(prefixes(&folded), ["main/d/"]);
    let deeper = server.get("/repo?prefix=main/d/&delimiter=/").await.expect(200);
    assert_eq!((deeper.elements("Key").len(), prefixes(&deeper)), (2, vec!["main/d/e/".to_owned()]));
    let commit = server.commit("main").await;
    assert_eq!(
        server.get(&format!("/repo?prefix={commit}/a")).await.expect(200).element("Key"),
        format!("{commit}/a")
    );
}

#[tokio::test]
async fn pages_of_both_versions_have_every_key_once() {
    let server = filled().await;
    let all = ["main/a", "main/d/1", "main/d/2", "main/d/e/3", "main/z%20%0D"];
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let mut path = "/repo?list-type=2&prefix=main/&max-keys=2&encoding-type=url".to_owned();
        if !token.is_empty() {
            path += &format!("&continuation-token={token}");
        }
        let page = server.get(&path).await.expect(200);
        if !token.is_empty() {
            assert_eq!(page.element("ContinuationToken"), token);
        }
        seen.extend(page.elements("Key"));
        // The state is that of the first page.
        server.delete("/repo/main/d/2").await.expect(204);
        server.put("/repo/main/d/0", "new").await.expect(200);
        token = page.element("NextContinuationToken");
        if page.element("IsTruncated") == "false" {
            assert!(token.is_empty());
            break;
        }
    }
    assert_eq!(seen, all);

    let server = filled().await;
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let path = format!("/repo?prefix=main/&max-keys=2&encoding-type=url&marker={marker}");
        let page = server.get(&path).await.expect(200);
        seen.extend(page.elements("Key"));
        assert!(page.elements("NextMarker").is_empty(), "only with a delimiter");
        marker = seen.last().unwrap().clone();
        if page.element("IsTruncated") == "false" {
            break;
        }
    }
    assert_eq!(seen, all);
}

#[tokio::test]
async fn markers_and_folding_go_together() {
    let server = filled().await;
    let page = server.get("/repo?prefix=main/&delimiter=/&max-keys=2").await.expect(200);
    assert_eq!(
        (page.elements("Key"), prefixes(&page)),
        (vec!["main/a".to_owned()], vec!["main/d/".to_owned()])
    );
    assert_eq!(page.element("NextMarker"), "main/d/");
    let page = server.get("/repo?prefix=main/&delimiter=/&max-keys=2&marker=main/d/").await.expect(200);
    assert_eq!((page.elements("Key").len(), prefixes(&page).len()), (1, 0));
    let after = server.get("/repo?list-type=2&prefix=main/&start-after=main/d/1").await.expect(200);
    assert_eq!((after.element("Key"), after.element("StartAfter")), ("main/d/2".into(), "main/d/1".into()));
    assert!(server.get("/repo?prefix=main/&marker=zeta/x").await.expect(200).elements("Key").is_empty());
    assert_eq!(server.get("/repo?prefix=main/&marker=alpha/x").await.expect(200).elements("Key").len(), 5);
}

#[tokio::test]
async fn odd_parameters() {
    let server = filled().await;
    let none = server.get("/repo?list-type=2&prefix=main/&max-keys=0").await.expect(200);
    assert_eq!((none.element("KeyCount"), none.element("IsTruncated")), ("0".into(), "false".into()));
    assert_eq!(server.get("/repo?prefix=main/&max-keys=5000").await.expect(200).element("MaxKeys"), "1000");
    for query in
        ["max-keys=-1", "max-keys=x", "max-keys=99999999999", "encoding-type=x", "prefix=/", "list-type=3"]
    {
        server.get(&format!("/repo?{query}")).await.refused(400, "InvalidArgument");
    }
    server
        .get("/repo?list-type=2&prefix=main/&continuation-token=nonsense")
        .await
        .refused(400, "InvalidArgument");
    server
        .get("/repo?list-type=2&prefix=main/&continuation-token=o.nonsense")
        .await
        .refused(400, "InvalidArgument");
}
