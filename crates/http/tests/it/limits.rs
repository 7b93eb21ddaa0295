//! Every limit of this door, one below, at, and one above. Above, the answer says so and nothing has changed.

use super::server::{Answer, KEY, SECRET, Server};
use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use http::Request;
use millpond_kv::{Batch, Kv, KvError, MemoryKv};
use millpond_service::limits::*;
use millpond_service::{Attributes, Metadata};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore};

const MAIN: &str = "/repositories/repo/branches/main";

/// All that a client can see.
async fn state(server: &Server) -> Vec<Value> {
    let mut state = vec![server.get("/repositories").await.json()];
    for part in ["branches", "tags", "metadata", "refs/main/objects/ls?amount=1000", "refs/main/commits"] {
        state.push(server.get(&format!("/repositories/repo/{part}")).await.json());
    }
    state
}

/// Sends at the edge: `send` makes the request with a thing of that size.
async fn edge(server: &Server, max: usize, statuses: (u16, u16), send: impl AsyncFn(usize) -> Answer) {
    for size in [max - 1, max] {
        send(size).await.expect(statuses.0);
    }
    let before = state(server).await;
    let refused = send(max + 1).await.expect(statuses.1);
    let message = refused.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.len() > 10, "a refusal says why: {message}");
    assert_eq!(state(server).await, before, "{message}");
}

fn x(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// White space behind a text, to so many bytes.
fn padded(text: &str, bytes: usize) -> String {
    text.to_owned() + &" ".repeat(bytes - text.len())
}

#[tokio::test]
async fn names() {
    let server = Server::with_repository().await;
    let repository = async |name: String, namespace: String| {
        server.post("/repositories", &json!({"name": name, "storage_namespace": namespace}).to_string()).await
    };
    edge(&server, REPOSITORY_NAME_BYTES_MAX, (201, 400), async |n| {
        repository(x(n), format!("local://n{n}")).await
    })
    .await;
    for (length, status) in [(REPOSITORY_NAME_BYTES_MIN - 1, 400), (REPOSITORY_NAME_BYTES_MIN, 201)] {
        repository(x(length), format!("local://short{length}")).await.expect(status);
    }
    edge(&server, STORAGE_NAMESPACE_BYTES_MAX, (201, 400), async |n| {
        repository(format!("namespace-{n}"), format!("local://{}", x(n - "local://".len()))).await
    })
    .await;
    edge(&server, REF_NAME_BYTES_MAX, (201, 400), async |n| {
        server.post("/repositories/repo/branches", &json!({"name": x(n), "source": "main"}).to_string()).await
    })
    .await;
    edge(&server, REF_NAME_BYTES_MAX, (201, 400), async |n| {
        let name = format!("v{}", x(n - 1));
        server.post("/repositories/repo/tags", &json!({"id": name, "ref": "main"}).to_string()).await
    })
    .await;
    let branch_with_key = async |n: usize| {
        let body = json!({"name": format!("k{n}"), "source": "main"}).to_string();
        let headers = [("content-type", "application/json"), ("idempotency-key", &x(n))];
        server.call("POST", "/repositories/repo/branches", &headers, body).await
    };
    edge(&server, IDEMPOTENCY_KEY_BYTES_MAX, (201, 400), branch_with_key).await;
}

#[tokio::test]
async fn references() {
    let server = Server::with_repository().await;
    let listed = async |at: String| server.get(&format!("/repositories/repo/refs/{at}/objects/ls")).await;
    edge(&server, REF_EXPRESSION_BYTES_MAX, (200, 400), async |n| {
        listed(format!("main~{}", "0".repeat(n - "main~".len()))).await
    })
    .await;
    edge(&server, REF_MODIFIERS_MAX, (200, 400), async |n| listed(format!("main{}", "~0".repeat(n))).await)
        .await;
}

#[tokio::test]
async fn paths_and_listings() {
    let server = Server::with_repository().await;
    edge(&server, OBJECT_PATH_BYTES_MAX, (201, 400), async |n| {
        server.call("POST", &format!("{MAIN}/objects?path={}", x(n)), &[], "a").await
    })
    .await;
    for parameter in ["prefix", "delimiter"] {
        edge(&server, PREFIX_BYTES_MAX, (200, 400), async |n| {
            server.get(&format!("/repositories/repo/refs/main/objects/ls?{parameter}={}", x(n))).await
        })
        .await;
    }
    edge(&server, PAGE_ITEMS_MAX, (200, 400), async |n| {
        server.get(&format!("/repositories/repo/refs/main/objects/ls?amount={n}")).await
    })
    .await;
    for number in 0..=PAGE_ITEMS_DEFAULT {
        server.branch(&format!("b{number}"), "main").await;
    }
    let page = server.get("/repositories/repo/branches").await.json();
    assert_eq!(page["results"].as_array().unwrap().len(), PAGE_ITEMS_DEFAULT);
    edge(&server, DELETE_BATCH_MAX, (200, 400), async |n| {
        let paths: Vec<String> = (0..n).map(|i| format!("none/{i}")).collect();
        server.post(&format!("{MAIN}/objects/delete"), &json!({"paths": paths}).to_string()).await
    })
    .await;
    let range = async |count: usize| {
        let ranges: Vec<String> = (0..count).map(|i| format!("{i}-{i}")).collect();
        let range = format!("bytes={}", ranges.join(","));
        let uri = format!("/repositories/repo/refs/main/objects?path={}", x(OBJECT_PATH_BYTES_MAX));
        server.call("GET", &uri, &[("range", &range)], "").await
    };
    range(RANGES_MAX).await.expect(206);
    range(RANGES_MAX + 1).await.expect(416);
}

/// User metadata of one key that makes the attributes exactly so large.
fn metadata_of(content_type: &str, bytes: usize) -> Metadata {
    let encoded = |length: usize| {
        let metadata = Metadata::from([("k".to_owned(), x(length))]);
        (
            Attributes { content_type: content_type.to_owned(), metadata: metadata.clone() }.encode().len(),
            metadata,
        )
    };
    (bytes - 64..bytes).map(encoded).find(|(size, _)| *size == bytes).unwrap().1
}

#[tokio::test]
async fn what_is_said_of_things() {
    let server = Server::with_repository().await;
    server.upload("main", "p", "content").await;
    edge(&server, ATTRIBUTES_BYTES_MAX, (204, 413), async |n| {
        let uri = format!("{MAIN}/objects/stat/user_metadata?path=p");
        server.put(&uri, &json!({"set": metadata_of("text/plain", n)}).to_string()).await
    })
    .await;
    let link = async |checksum: String, size: u64| {
        let backing = format!("{MAIN}/staging/backing?path=linked");
        let issued = server.get(&backing).await.expect(200).json();
        let body = json!({"staging": {"physical_address": issued["physical_address"]},
            "checksum": checksum, "size_bytes": size});
        server.put(&backing, &body.to_string()).await
    };
    edge(&server, DECLARED_CHECKSUM_BYTES_MAX, (200, 413), async |n| link(x(n), 1).await).await;
    edge(&server, OBJECT_BYTES_MAX as usize, (200, 413), async |n| link("c".to_owned(), n as u64).await)
        .await;

    let commit = async |message: String, metadata: Metadata| {
        let body = json!({"message": message, "metadata": metadata, "allow_empty": true});
        server.post(&format!("{MAIN}/commits"), &body.to_string()).await
    };
    edge(&server, COMMIT_MESSAGE_BYTES_MAX, (201, 413), async |n| commit(x(n), Metadata::new()).await).await;
    let one_key = |n: usize| Metadata::from([("k".to_owned(), x(n - 1))]);
    edge(&server, COMMIT_METADATA_BYTES_MAX, (201, 413), async |n| commit("m".to_owned(), one_key(n)).await)
        .await;
    let keys = |n: usize| (0..n).map(|i| (i.to_string(), String::new())).collect::<Metadata>();
    edge(&server, COMMIT_METADATA_KEYS_MAX, (201, 413), async |n| commit("m".to_owned(), keys(n)).await)
        .await;
    edge(&server, REPOSITORY_METADATA_BYTES_MAX, (204, 413), async |n| {
        server.post("/repositories/repo/metadata", &json!({"metadata": one_key(n)}).to_string()).await
    })
    .await;
    // A merge is a commit, too.
    server.branch("side", "main").await;
    server.upload("side", "q", "content").await;
    server.commit("side", "m").await;
    edge(&server, COMMIT_MESSAGE_BYTES_MAX, (200, 413), async |n| {
        let body = json!({"message": x(n), "allow_empty": true}).to_string();
        server.post("/repositories/repo/refs/side/merge/main", &body).await
    })
    .await;
}

#[tokio::test]
async fn documents() {
    let server = Server::with_repository().await;
    let commit = async |body: String| server.post(&format!("{MAIN}/commits"), &body).await;
    let with = |value: String| format!(r#"{{"message":"m","allow_empty":true,"unknown":{value}}}"#);
    edge(&server, DOCUMENT_BYTES_MAX, (201, 413), async |n| commit(padded(&with("1".to_owned()), n)).await)
        .await;
    edge(&server, JSON_CONTAINERS_MAX, (201, 400), async |n| {
        commit(with(format!("[{}{{}}]", "{},".repeat(n - 3)))).await
    })
    .await;
    edge(&server, JSON_DEPTH_MAX, (201, 400), async |n| {
        commit(with(format!("{}{}", "[".repeat(n - 1), "]".repeat(n - 1)))).await
    })
    .await;
    let anonymous = async |uri: &str, n: usize| {
        let body = padded(r#"{"access_key_id":"a","secret_access_key":"b"}"#, n);
        let request = Request::post(format!("/api/v1{uri}")).header("content-type", "application/json");
        server.send(request.body(Body::from(body)).unwrap()).await
    };
    for (uri, beyond) in [("/auth/login", 413), ("/repositories/repo/branches/main/commits", 401)] {
        let at = anonymous(uri, DOCUMENT_BYTES_ANONYMOUS_MAX).await.status;
        assert!(matches!(at, 400 | 401), "{uri}: {at}");
        anonymous(uri, DOCUMENT_BYTES_ANONYMOUS_MAX + 1).await.expect(beyond);
    }
    edge(&server, FORM_HEADERS_BYTES_MAX, (201, 400), async |n| {
        let fixed = "Content-Disposition: form-data; name=content\r\nX: ";
        let body = format!("--b\r\n{fixed}{}\r\n\r\ncontent\r\n--b--", x(n - fixed.len() - 2));
        let headers = [("content-type", "multipart/form-data; boundary=b")];
        server.call("POST", &format!("{MAIN}/objects?path=form"), &headers, body).await
    })
    .await;
}

#[tokio::test]
async fn wrong_secrets() {
    let server = Server::with_repository().await;
    let user = async |secret: &str| {
        let basic =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{}:{secret}", KEY));
        let request = Request::get("/api/v1/user").header("authorization", format!("Basic {basic}"));
        server.send(request.body(Body::empty()).unwrap()).await
    };
    for _ in 1..WRONG_SECRETS_FREE {
        user("wrong").await.expect(401);
    }
    user(SECRET).await.expect(200);
    for _ in 0..WRONG_SECRETS_FREE {
        user("wrong").await.expect(401);
    }
    let refused = user(SECRET).await.expect(503);
    assert_eq!(refused.header("retry-after"), "1");
}

/// A metadata store whose writes can be held up.
struct Stalling {
    inner: MemoryKv,
    go: Semaphore,
    stalled: Mutex<bool>,
}

#[async_trait]
impl Kv for Stalling {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.inner.get(key).await
    }
    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        self.inner.scan(from, to, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), KvError> {
        if *self.stalled.lock().await {
            drop(self.go.acquire().await);
        }
        self.inner.commit(batch).await
    }
}

#[tokio::test]
async fn bytes_that_wait_for_the_disk() {
    let kv = Arc::new(Stalling { inner: MemoryKv::new(), go: Semaphore::new(0), stalled: Mutex::new(false) });
    let server = Server::over(kv.clone()).await;
    server.post("/repositories", r#"{"name":"repo","storage_namespace":"local://repo"}"#).await.expect(201);
    *kv.stalled.lock().await = true;
    let commit = async |message: String| {
        let body = json!({"message": message, "allow_empty": true}).to_string();
        server.call("POST", &format!("{MAIN}/commits"), &[("content-type", "application/json")], body).await
    };
    // One mutation is about as large as its message.
    let enough = JOURNAL_QUEUE_BYTES_MAX as usize / COMMIT_MESSAGE_BYTES_MAX;
    let accepted = join_all((0..enough).map(|_| commit(x(COMMIT_MESSAGE_BYTES_MAX))));
    let meanwhile = async {
        // While the store stands still nothing is answered but refusals.
        let mut probes = FuturesUnordered::new();
        let refused = loop {
            probes.push(commit(String::new()));
            let others = async {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                Some(answer) = probes.next() => break answer.expect(503),
                () = others => {}
            }
        };
        assert_eq!(refused.header("retry-after"), "1");
        assert!(refused.text().contains("waiting for the disk"), "{}", refused.text());
        server.get("/healthcheck").await.expect(204);
        server.get(MAIN).await.expect(200);
        *kv.stalled.lock().await = false;
        kv.go.close();
        probes.map(|answer| drop(answer.expect(201))).count().await
    };
    let (accepted, probes) = futures::join!(accepted, meanwhile);
    assert!(accepted.iter().all(|answer| answer.status == 201));
    commit(String::new()).await.expect(201);
    let log = server.get("/repositories/repo/refs/main/commits?amount=1000").await.json();
    assert_eq!(
        log["results"].as_array().unwrap().len(),
        1 + enough + probes + 1,
        "no refused one is among them"
    );
}
