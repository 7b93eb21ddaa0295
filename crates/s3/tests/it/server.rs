//! One door in memory, and a client that signs by itself.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use millpond_auth::{Auth, Sealer};
use millpond_blob::MemoryBlobs;
use millpond_engine::Engine;
use millpond_kv::MemoryKv;
use millpond_s3::{Door, Options};
use millpond_service::{
    BranchName, Caller, CommitRequest, ProtectionChange, RefExpr, RepositoryName, Service, TagName,
};
use millpond_testkit::{ManualClock, Seeded};
use std::sync::Arc;

pub const KEY: &str = "AKIAJTESTTESTTESTQ";
pub const SECRET: &str = "secret-secret-secret-secret-secret";
/// Where the server's clock stands, in both spellings.
pub const NOW_SECONDS: i64 = 1_790_000_000;
pub const NOW: &str = "20260921T141320Z";
pub const EMPTY_MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
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
    /// The same of an error, with its code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.element("Code"), code, "{}", answer.text());
        assert_eq!(answer.element("RequestId"), answer.header("x-amz-request-id"));
        answer
    }
    /// Text of the first element of that name.
    pub fn element(&self, name: &str) -> String {
        self.elements(name).into_iter().next().unwrap_or_default()
    }
    /// Texts of all elements of that name.
    pub fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        text.split(&open)
            .skip(1)
            .map(|rest| rest.split(&close).next().unwrap().replace("&quot;", "\""))
            .collect()
    }
}

/// How a request is sent.
pub struct Call<'a> {
    server: &'a Server,
    method: &'static str,
    path: String,
    key: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    mode: Option<String>,
}

pub struct Server {
    pub door: Door,
    pub service: Arc<Service>,
    pub caller: Caller,
}

impl Server {
    /// A server with one administrator and no repository.
    pub async fn empty() -> Self {
        Self::with(millpond_engine::Options::default()).await
    }

    /// The same with an engine set up otherwise.
    pub async fn with(options: millpond_engine::Options) -> Self {
        Self::over(Arc::new(MemoryKv::new()), options).await
    }

    /// The same over a metadata store that holds something already.
    pub async fn over(kv: Arc<MemoryKv>, options: millpond_engine::Options) -> Self {
        let clock = Arc::new(ManualClock::at(NOW_SECONDS * 1000));
        let random = Arc::new(Seeded::new(7));
        let auth =
            Auth::open(kv.clone(), Sealer::new(&[3; 32]), random.clone(), clock.clone()).await.unwrap();
        auth.ensure_admin("admin", Some((KEY, SECRET))).await.unwrap();
        let blobs = Arc::new(MemoryBlobs::new());
        let engine = Engine::open(kv, blobs, clock.clone(), random.clone(), options).await.unwrap();
        let service = Arc::new(Service::new(engine, Arc::new(auth), clock, random, "test".to_owned()));
        let principal = service.authenticate_key(KEY, SECRET).await.unwrap();
        let caller = Caller {
            principal: Some(principal),
            request_id: "R".to_owned(),
            idempotency_key: None,
            address: None,
        };
        let options = Options { domains: vec!["s3.test".to_owned()], region: "us-east-1".to_owned() };
        Self { door: Door::new(service.clone(), options), service, caller }
    }

    /// A server with the repository `repo`.
    pub async fn with_repository() -> Self {
        let server = Self::empty().await;
        server.call("PUT", "/repo").send().await.expect(200);
        server
    }

    /// A request with this path and query, to be signed.
    pub fn call(&self, method: &'static str, path: &str) -> Call<'_> {
        Call {
            server: self,
            method,
            path: path.to_owned(),
            key: KEY.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            mode: None,
        }
    }
    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }
    pub async fn head(&self, path: &str) -> Answer {
        self.call("HEAD", path).send().await
    }
    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path).send().await
    }
    pub async fn put(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.call("PUT", path).body(body).send().await
    }

    /// Commits what is staged; gives the commit id.
    pub async fn commit(&self, branch: &str) -> String {
        let branch = BranchName::parse(branch).unwrap();
        let request = CommitRequest { message: "m".to_owned(), ..CommitRequest::default() };
        self.service.commit(&self.caller, &repo(), &branch, request).await.unwrap().id.to_hex()
    }
    pub async fn branch(&self, name: &str, source: &str) {
        let (name, source) = (BranchName::parse(name).unwrap(), RefExpr::parse(source).unwrap());
        self.service.create_branch(&self.caller, &repo(), &name, &source, false, false).await.unwrap();
    }
    pub async fn protect(&self, pattern: &str) {
        let change = ProtectionChange::Add(pattern.to_owned());
        self.service.change_branch_protection(&self.caller, &repo(), change).await.unwrap();
    }
    pub async fn tag(&self, name: &str, target: &str) {
        let (name, target) = (TagName::parse(name).unwrap(), RefExpr::parse(target).unwrap());
        self.service.create_tag(&self.caller, &repo(), &name, &target, false).await.unwrap();
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let (parts, body) = self.door.handle(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

fn repo() -> RepositoryName {
    RepositoryName::parse("repo").unwrap()
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
    /// By another than the administrator.
    pub fn by(mut self, key: &str) -> Self {
        self.key = key.to_owned();
        self
    }
    /// `x-amz-content-sha256` other than the hash of the body.
    pub fn mode(mut self, mode: &str) -> Self {
        self.mode = Some(mode.to_owned());
        self
    }

    /// Signs in the header and sends.
    pub async fn send(self) -> Answer {
        let server = self.server;
        server.send(self.signed(NOW, SECRET)).await
    }

    /// The signed request.
    pub fn signed(mut self, time: &str, secret: &str) -> Request<Full<Bytes>> {
        let payload = self.mode.clone().unwrap_or_else(|| sha256_hex(&self.body));
        self.headers.push(("host".into(), "localhost".into()));
        self.headers.push(("x-amz-date".into(), time.into()));
        self.headers.push(("x-amz-content-sha256".into(), payload.clone()));
        let names = self.names();
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let mut pairs: Vec<String> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.replace('/', "%2F"))
            .map(|pair| if pair.contains('=') { pair } else { format!("{pair}=") })
            .collect();
        pairs.sort();
        let canonical =
            format!("{}\n{path}\n{}\n{}\n{payload}", self.method, pairs.join("&"), self.lines(&names));
        let (scope, signature) = sign(time, secret, &canonical);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            self.key,
            names.join(";")
        );
        self.header("authorization", &authorization).unsigned()
    }

    /// The request with the signature in its query.
    pub fn presigned(mut self, expires: u32) -> Request<Full<Bytes>> {
        self.headers.push(("host".into(), "localhost".into()));
        let names = self.names();
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let scope = scope(NOW).replace('/', "%2F");
        let mut query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F{scope}&X-Amz-Date={NOW}\
             &X-Amz-Expires={expires}&X-Amz-SignedHeaders={}{}{query}",
            names.join("%3B"),
            if query.is_empty() { "" } else { "&" },
        );
        let mut pairs: Vec<&str> = query.split('&').collect();
        pairs.sort_unstable();
        let canonical =
            format!("{}\n{path}\n{}\n{}\nUNSIGNED-PAYLOAD", self.method, pairs.join("&"), self.lines(&names));
        query += &format!("&X-Amz-Signature={}", sign(NOW, SECRET, &canonical).1);
        self.path = format!("{path}?{query}");
        self.unsigned()
    }

    /// The request as it is.
    pub fn unsigned(self) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        if !self.body.is_empty() || self.method == "PUT" {
            request = request.header("content-length", self.body.len());
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(self.body.into())).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.headers.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }
    /// Canonical headers and their names.
    fn lines(&self, names: &[String]) -> String {
        let value = |name: &String| &self.headers.iter().find(|(n, _)| n == name).unwrap().1;
        let lines: String = names.iter().map(|name| format!("{name}:{}\n", value(name))).collect();
        format!("{lines}\n{}", names.join(";"))
    }
}

fn scope(time: &str) -> String {
    format!("{}/us-east-1/s3/aws4_request", &time[..8])
}

/// (scope, signature).
fn sign(time: &str, secret: &str, canonical: &str) -> (String, String) {
    let scope = scope(time);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let mac = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part));
    (scope, hex::encode(mac(&key, &text)))
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// SHA-256 as checksum headers have it.
pub fn sha256_base64(bytes: &[u8]) -> String {
    BASE64.encode(digest::digest(&digest::SHA256, bytes))
}
