//! One server in memory, and requests to it.

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use millpond_auth::{Auth, Sealer};
use millpond_blob::MemoryBlobs;
use millpond_engine::Engine;
use millpond_http::{Options, router};
use millpond_kv::{Kv, MemoryKv};
use millpond_service::Service;
use millpond_testkit::{ManualClock, Seeded};
use serde_json::Value;
use std::sync::Arc;
use tower::ServiceExt;

/// `key:secret`, as every request of [`Server::call`] sends it.
pub const BASIC: &str = "Basic QUtJQUpURVNUVEVTVFRFU1RROnNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZXQ=";
pub const KEY: &str = "AKIAJTESTTESTTESTQ";
pub const SECRET: &str = "secret-secret-secret-secret-secret";
/// Seconds since the epoch at which the server's clock stands.
pub const NOW: i64 = 1_790_000_000;

pub struct Server {
    pub router: Router,
    pub clock: Arc<ManualClock>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    /// The answer itself, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} {:?}", self.text(), self.headers);
        self
    }
}

impl Server {
    /// A server with one administrator and no repository.
    pub async fn empty() -> Self {
        Self::over(Arc::new(MemoryKv::new())).await
    }

    /// The same over a metadata store that the test has a hand in.
    pub async fn over(kv: Arc<dyn Kv>) -> Self {
        Self::made(kv, |service, _| service).await
    }

    /// The same with more set up than usual.
    pub async fn with(more: impl FnOnce(Service, Arc<ManualClock>) -> Service) -> Self {
        Self::made(Arc::new(MemoryKv::new()), more).await
    }

    async fn made(kv: Arc<dyn Kv>, more: impl FnOnce(Service, Arc<ManualClock>) -> Service) -> Self {
        let clock = Arc::new(ManualClock::at(NOW * 1000));
        let random = Arc::new(Seeded::new(7));
        let auth =
            Auth::open(kv.clone(), Sealer::new(&[3; 32]), random.clone(), clock.clone()).await.unwrap();
        auth.ensure_admin("admin", Some((KEY, SECRET))).await.unwrap();
        let engine = Engine::open(
            kv,
            Arc::new(MemoryBlobs::new()),
            clock.clone(),
            random.clone(),
            millpond_engine::Options::default(),
        )
        .await
        .unwrap();
        let service =
            Service::new(engine, Arc::new(auth), clock.clone(), random, "test-installation".to_owned());
        let service = more(service, clock.clone());
        let options = Options { version: "1.2.3".to_owned(), ..Options::default() };
        Self { router: router(Arc::new(service), options), clock }
    }

    /// A server with the repository `repo`.
    pub async fn with_repository() -> Self {
        let server = Self::empty().await;
        let body = r#"{"name":"repo","storage_namespace":"local://repo"}"#;
        server.post("/repositories", body).await.expect(201);
        server
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let status: StatusCode = parts.status;
        Answer { status: status.as_u16(), headers: parts.headers, body: body.to_vec() }
    }

    /// A request to `/api/v1`, signed in.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request =
            Request::builder().method(method).uri(format!("/api/v1{path}")).header("authorization", BASIC);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }
    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], "").await
    }
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.call("POST", path, &[("content-type", "application/json")], body.to_owned()).await
    }
    pub async fn put(&self, path: &str, body: &str) -> Answer {
        self.call("PUT", path, &[("content-type", "application/json")], body.to_owned()).await
    }

    /// Writes an object on a branch of `repo`.
    pub async fn upload(&self, branch: &str, path: &str, content: &str) -> Answer {
        let uri = format!("/repositories/repo/branches/{branch}/objects?path={path}");
        self.call("POST", &uri, &[("content-type", "text/plain")], content.to_owned()).await.expect(201)
    }
    /// Commits what is staged on a branch of `repo`; gives the commit id.
    pub async fn commit(&self, branch: &str, message: &str) -> String {
        let body = format!(r#"{{"message":"{message}"}}"#);
        let path = format!("/repositories/repo/branches/{branch}/commits");
        self.post(&path, &body).await.expect(201).json()["id"].as_str().unwrap().to_owned()
    }
    /// Creates a branch of `repo`.
    pub async fn branch(&self, name: &str, source: &str) {
        let body = format!(r#"{{"name":"{name}","source":"{source}"}}"#);
        self.post("/repositories/repo/branches", &body).await.expect(201);
    }
    /// All that repetitions could change: repositories, refs, ref logs and what each branch shows.
    pub async fn everything(&self) -> Vec<String> {
        let mut all = vec![self.get("/repositories").await.text()];
        for path in [
            "metadata",
            "branch_protection",
            "gc/rules",
            "pulls",
            "branches",
            "tags",
            "refs/main/objects/ls",
            "refs/dev/objects/ls",
        ] {
            all.push(self.get(&format!("/repositories/repo/{path}")).await.text());
            all.push(self.get(&format!("/repositories/two/{path}")).await.text());
        }
        let oplog = Request::get("/api/millpond/v1/repositories/repo/oplog?amount=1000")
            .header("authorization", BASIC)
            .body(Body::empty());
        all.push(self.send(oplog.unwrap()).await.text());
        all
    }
    /// What a path of `repo` holds; `None` where there is nothing.
    pub async fn content(&self, at: &str, path: &str) -> Option<String> {
        let answer = self.get(&format!("/repositories/repo/refs/{at}/objects?path={path}")).await;
        (answer.status == 200).then(|| answer.text())
    }
}
