//! A server in memory: objects of `demo/main`, keys `id`/`secret`, and a few fixed answers.

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use futures::StreamExt;
use md5::Digest as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// What is stored and what was asked.
#[derive(Default)]
pub struct Store {
    pub objects: BTreeMap<String, Object>,
    /// Bodies of commits, resets and merges.
    pub posted: Vec<Value>,
    /// Uploads that arrived.
    pub uploads: usize,
    /// The next uploads that are turned away with 503.
    pub busy_uploads: usize,
    /// Objects whose checksum somebody declared.
    pub declared: Vec<String>,
    /// Goes from the branch after so many listings.
    pub vanishes: Option<(usize, String)>,
    /// The next looks at an import that fail.
    pub failing_looks: usize,
    /// What they fail with.
    pub look_status: u16,
    /// The next downloads that are cut after half of the bytes.
    pub cut_downloads: usize,
}

#[derive(Clone)]
pub struct Object {
    pub bytes: Bytes,
    pub content_type: String,
    pub metadata: BTreeMap<String, String>,
}

type Shared = Arc<Mutex<Store>>;

pub struct Server {
    pub url: String,
    pub store: Shared,
}

impl Server {
    pub async fn start() -> Self {
        let store = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = routes(Arc::clone(&store));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, store }
    }

    /// Variables that sign in.
    pub fn variables(&self) -> [(&str, &str); 3] {
        [
            ("MILLPOND_SERVER", self.url.as_str()),
            ("MILLPOND_ACCESS_KEY_ID", "id"),
            ("MILLPOND_SECRET_ACCESS_KEY", "secret"),
        ]
    }

    pub fn put(&self, path: &str, bytes: impl Into<Bytes>) {
        let object = Object {
            bytes: bytes.into(),
            content_type: "text/csv".into(),
            metadata: BTreeMap::from([("source".into(), "crm".into())]),
        };
        self.lock().objects.insert(path.to_owned(), object);
    }

    pub fn paths(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    pub fn lock(&self) -> std::sync::MutexGuard<'_, Store> {
        self.store.lock().expect("not poisoned")
    }
}

fn routes(store: Shared) -> Router {
    let repository = Router::new()
        .route("/refs/{reference}/objects/ls", get(list))
        .route("/refs/{reference}/objects/stat", get(stat))
        .route("/refs/{reference}/objects", get(read))
        .route("/branches/{branch}/objects", post(upload).delete(remove))
        .route("/branches/{branch}/objects/delete", post(remove_many))
        .route("/branches/{branch}/objects/copy", post(copy))
        .route("/branches/{branch}/commits", post(commit))
        .route("/branches/{branch}/import", post(import).get(look))
        .route("/branches/{branch}", delete(|| async { StatusCode::NO_CONTENT }).get(branch).put(remember))
        .route("/refs/{source}/merge/{destination}", post(conflict))
        .route("/refs/{left}/diff/{right}", get(diff));
    Router::new()
        .route("/api/v1/user", get(|| async { Json(json!({"user": {"id": "ada", "creation_date": 1}})) }))
        .route("/api/v1/repositories", get(repositories))
        .nest("/api/v1/repositories/demo", repository)
        .route("/api/millpond/v1/repositories/demo/branches/{branch}/undo", post(undo))
        .fallback(|| async { refuse(404, "repository not found") })
        .layer(axum::middleware::from_fn(authenticate))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(store)
}

async fn authenticate(request: Request, next: Next) -> Response {
    match request.headers().get("authorization").and_then(|v| v.to_str().ok()) {
        // id:secret
        Some("Basic aWQ6c2VjcmV0") => next.run(request).await,
        _ => refuse(401, "error authenticating request"),
    }
}

fn refuse(status: u16, message: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [("x-request-id", "req-1")], Json(json!({ "message": message }))).into_response()
}

fn stats(path: &str, object: &Object) -> Value {
    json!({
        "path": path, "path_type": "object", "physical_address": "local:///demo/data/x", "checksum": checksum(&object.bytes),
        "size_bytes": object.bytes.len(), "mtime": super::NOW - 3600, "metadata": object.metadata,
        "content_type": object.content_type,
    })
}

fn checksum(bytes: &[u8]) -> String {
    md5::Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn list(State(store): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let get = |name: &str| query.get(name).cloned().unwrap_or_default();
    let (prefix, after, delimiter) = (get("prefix"), get("after"), get("delimiter"));
    // Small pages, so that every listing of a few files needs several.
    let amount = get("amount").parse().unwrap_or(100).min(7);
    let mut store = store.lock().expect("not poisoned");
    if let Some((listings, path)) = store.vanishes.take() {
        match listings {
            0 => drop(store.objects.remove(&path)),
            more => store.vanishes = Some((more - 1, path)),
        }
    }
    let mut items: BTreeMap<String, Value> = BTreeMap::new();
    for (path, object) in &store.objects {
        let Some(rest) = path.strip_prefix(&prefix) else { continue };
        match rest.find(&delimiter).filter(|_| !delimiter.is_empty()) {
            Some(end) => {
                let folder = format!("{prefix}{}", &rest[..end + delimiter.len()]);
                items.insert(
                    folder.clone(),
                    json!({"path": folder, "path_type": "common_prefix", "physical_address": "", "checksum": "", "mtime": 0}),
                );
            }
            None => {
                let mut item = stats(path, object);
                if get("verified") == "true" {
                    item["verified"] = json!(!store.declared.contains(path));
                }
                items.insert(path.clone(), item);
            }
        }
    }
    let mut later = items.into_iter().filter(|(path, _)| *path > after);
    let results: Vec<(String, Value)> = later.by_ref().take(amount).collect();
    let has_more = later.next().is_some();
    let next_offset =
        if has_more { results.last().map(|(p, _)| p.clone()).unwrap_or_default() } else { String::new() };
    let results: Vec<Value> = results.into_iter().map(|(_, item)| item).collect();
    let pagination = json!({"has_more": has_more, "next_offset": next_offset, "results": results.len(), "max_per_page": 7});
    Json(json!({ "pagination": pagination, "results": results })).into_response()
}

async fn stat(State(store): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let store = store.lock().expect("not poisoned");
    match store.objects.get_key_value(&query["path"]) {
        Some((path, object)) => Json(stats(path, object)).into_response(),
        None => refuse(404, "path not found"),
    }
}

async fn read(State(store): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let mut store = store.lock().expect("not poisoned");
    let Some(object) = store.objects.get(&query["path"]).cloned() else {
        return refuse(404, "path not found");
    };
    if store.cut_downloads > 0 {
        store.cut_downloads -= 1;
        let half = object.bytes.slice(..object.bytes.len() / 2);
        // The pause lets the head and the first half go out before the connection breaks.
        let pieces = futures::stream::once(async { Ok(half) }).chain(futures::stream::once(async {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("cut"))
        }));
        return Response::builder()
            .header("content-length", object.bytes.len())
            .body(Body::from_stream(pieces))
            .expect("a response");
    }
    object.bytes.into_response()
}

async fn upload(
    State(store): State<Shared>,
    Path(branch): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut store = store.lock().expect("not poisoned");
    store.uploads += 1;
    let path = query["path"].clone();
    if branch != "main" {
        return refuse(404, "branch not found");
    }
    if path.contains("poison") {
        return refuse(400, "this one is refused");
    }
    if store.busy_uploads > 0 {
        store.busy_uploads -= 1;
        return refuse(503, "slow down");
    }
    if headers.contains_key("if-none-match") && store.objects.contains_key(&path) {
        return refuse(412, "path already exists");
    }
    let text = |v: &axum::http::HeaderValue| String::from_utf8(v.as_bytes().to_vec()).expect("UTF-8");
    let metadata = headers
        .iter()
        .filter_map(|(k, v)| Some((k.as_str().strip_prefix("x-lakefs-meta-")?.to_owned(), text(v))))
        .collect();
    let object = Object { bytes: body, content_type: text(&headers["content-type"]), metadata };
    let answer = stats(&path, &object);
    store.objects.insert(path, object);
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn remove(State(store): State<Shared>, Query(query): Query<HashMap<String, String>>) -> StatusCode {
    store.lock().expect("not poisoned").objects.remove(&query["path"]);
    StatusCode::NO_CONTENT
}

async fn remove_many(State(store): State<Shared>, Json(body): Json<Value>) -> Json<Value> {
    let mut store = store.lock().expect("not poisoned");
    let mut errors = Vec::new();
    for path in body["paths"].as_array().expect("paths") {
        let path = path.as_str().expect("text");
        if path.contains("stuck") {
            errors.push(
                json!({"status_code": 403, "message": "cannot write to protected branch", "path": path}),
            );
        } else {
            store.objects.remove(path);
        }
    }
    Json(json!({ "errors": errors }))
}

async fn copy(
    State(store): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    Json(body): Json<Value>,
) -> Response {
    let mut store = store.lock().expect("not poisoned");
    let source = body["src_path"].as_str().expect("text");
    let Some(object) = store.objects.get(source).cloned() else { return refuse(404, "path not found") };
    let answer = stats(&query["dest_path"], &object);
    store.objects.insert(query["dest_path"].clone(), object);
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn commit(State(store): State<Shared>, Json(body): Json<Value>) -> Response {
    if body["message"] == "nothing" {
        return refuse(400, "commit: no changes");
    }
    let answer = json!({
        "id": "c1".repeat(32), "parents": ["c0".repeat(32)], "committer": "ada", "message": body["message"],
        "creation_date": super::NOW, "meta_range_id": "t", "metadata": body["metadata"],
    });
    store.lock().expect("not poisoned").posted.push(body);
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn import() -> Response {
    (StatusCode::ACCEPTED, Json(json!({"id": "i1"}))).into_response()
}

async fn look(State(store): State<Shared>) -> Response {
    let mut store = store.lock().expect("not poisoned");
    if store.failing_looks > 0 {
        store.failing_looks -= 1;
        return refuse(store.look_status, "not now");
    }
    Json(json!({"completed": true, "update_time": "2026-11-24T11:00:00Z", "ingested_objects": 3}))
        .into_response()
}

async fn remember(State(store): State<Shared>, Json(body): Json<Value>) -> StatusCode {
    store.lock().expect("not poisoned").posted.push(body);
    StatusCode::NO_CONTENT
}

async fn branch(Path(name): Path<String>) -> Json<Value> {
    Json(json!({"id": name, "commit_id": "c0".repeat(32)}))
}

async fn conflict(State(store): State<Shared>, Json(body): Json<Value>) -> Response {
    let is_decided = body.get("strategy").is_some();
    store.lock().expect("not poisoned").posted.push(body);
    if is_decided {
        Json(json!({"reference": "c2".repeat(32)})).into_response()
    } else {
        (StatusCode::CONFLICT, Json(json!({"reference": ""}))).into_response()
    }
}

async fn diff(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let item =
        |kind: &str, path: &str| json!({"type": kind, "path": path, "path_type": "object", "size_bytes": 5});
    let results = match query["type"].as_str() {
        "three_dot" => vec![item("added", "a"), item("conflict", "b"), item("conflict", "c")],
        _ => vec![item("changed", "b"), item("removed", "d")],
    };
    Json(json!({
        "pagination": {"has_more": false, "next_offset": "", "results": results.len(), "max_per_page": 1000},
        "results": results,
    }))
}

async fn repositories() -> Json<Value> {
    Json(json!({
        "pagination": {"has_more": false, "next_offset": "", "results": 1, "max_per_page": 1000},
        "results": [{"id": "demo", "creation_date": super::NOW - 86400, "default_branch": "main",
                     "storage_namespace": "local:///demo", "read_only": false}],
    }))
}

async fn undo(Path(branch): Path<String>) -> Response {
    if branch == "fresh" {
        let problem = json!({
            "type": "about:blank", "title": "Nothing to undo", "status": 409, "code": "nothing_to_undo",
            "detail": "branch 'fresh' has not moved", "hint": "millpond op log demo/fresh",
        });
        return (StatusCode::CONFLICT, [("content-type", "application/problem+json")], problem.to_string())
            .into_response();
    }
    // The branch `gone` was deleted.
    let old = if branch == "gone" { String::new() } else { "c1".repeat(32) };
    Json(json!({
        "ref": branch, "old": old, "new": "c0".repeat(32),
        "undone": {"id": "7", "time": "2026-11-24T11:00:00Z", "actor": "ada", "verb": "commit", "ref": branch,
                   "kind": "branch", "old": "c0".repeat(32), "new": "c1".repeat(32), "message": "Bad lot"},
    }))
    .into_response()
}
