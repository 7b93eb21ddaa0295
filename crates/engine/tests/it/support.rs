//! An engine over memory stores, and short ways to use it.

use bytes::Bytes;
use millpond_blob::{Blobs, MemoryBlobs};
use millpond_engine::*;
use millpond_kv::{Kv, MemoryKv};
use millpond_testkit::{ManualClock, Seeded};
use millpond_types::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Stores that outlive an engine.
pub struct World {
    pub kv: Arc<dyn Kv>,
    pub blobs: Arc<dyn Blobs>,
    pub clock: Arc<ManualClock>,
    pub random: Arc<Seeded>,
    pub options: Options,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            kv: Arc::new(MemoryKv::new()),
            blobs: Arc::new(MemoryBlobs::new()),
            clock: Arc::new(ManualClock::at(1_700_000_000_000)),
            random: Arc::new(Seeded::new(seed)),
            options: Options::default(),
        }
    }

    /// A (re)started engine.
    pub async fn open(&self) -> Arc<Engine> {
        let (kv, blobs) = (self.kv.clone(), self.blobs.clone());
        Engine::open(kv, blobs, self.clock.clone(), self.random.clone(), self.options.clone()).await.unwrap()
    }
}

pub fn me() -> Actor {
    Actor { name: "ada".into(), request_id: "r1".into(), ..Actor::default() }
}
pub fn repo() -> RepositoryName {
    RepositoryName::parse("lake").unwrap()
}
pub fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}
pub fn tag(name: &str) -> TagName {
    TagName::parse(name).unwrap()
}
pub fn at(text: &str) -> RefExpr {
    RefExpr::parse(text).unwrap()
}
pub fn path(bytes: &[u8]) -> ObjectPath {
    ObjectPath::new(Bytes::copy_from_slice(bytes)).unwrap()
}

pub async fn with_repo(world: &World) -> Arc<Engine> {
    let engine = world.open().await;
    create_repo(&engine).await;
    engine
}

pub async fn create_repo(engine: &Engine) {
    let new = NewRepository {
        name: repo(),
        storage_namespace: "local://lake".into(),
        default_branch: branch("main"),
        read_only: false,
    };
    engine.create_repository(&me(), new).await.unwrap();
}

pub fn put_request(content_type: &str) -> PutRequest {
    PutRequest {
        attributes: Attributes { content_type: content_type.into(), metadata: BTreeMap::new() },
        condition: WriteCondition::default(),
        force: false,
        verified_sha256: None,
        size_hint: None,
    }
}

pub async fn put_with(
    engine: &Engine,
    name: &str,
    key: &[u8],
    body: &[u8],
    request: PutRequest,
) -> Result<ObjectInfo> {
    let mut writer = engine.put_object(&me(), &repo(), &branch(name), &path(key), request).await?;
    writer.write(Bytes::copy_from_slice(body)).await?;
    writer.finish(BTreeMap::new()).await
}

pub async fn put(engine: &Engine, name: &str, key: &[u8], body: &[u8]) -> ObjectInfo {
    put_with(engine, name, key, body, put_request("text/plain")).await.unwrap()
}

pub async fn get(engine: &Engine, expr: &str, key: &[u8]) -> Option<Vec<u8>> {
    use futures::StreamExt;
    let open = match engine.open_object(&repo(), &at(expr), &path(key)).await {
        Ok(open) => open,
        Err(e) if e.kind == Kind::NotFound(Thing::Object) => return None,
        Err(e) => panic!("{e}"),
    };
    let mut stream = open.read(0..open.info.entry.size);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    Some(bytes)
}

pub async fn delete(engine: &Engine, name: &str, key: &[u8]) {
    let condition = WriteCondition::default();
    engine.delete_object(&me(), &repo(), &branch(name), &path(key), condition, false).await.unwrap();
}

pub async fn commit(engine: &Engine, name: &str, message: &str) -> Result<CommitInfo> {
    let request = CommitRequest { message: message.into(), ..Default::default() };
    engine.commit(&me(), &repo(), &branch(name), request).await
}

/// All paths of a ref with their bodies' ETags, in pages of `amount`.
pub async fn list(engine: &Engine, expr: &str, amount: usize) -> Vec<(Vec<u8>, String)> {
    let mut all = Vec::new();
    let mut request = ListRequest { amount, ..Default::default() };
    loop {
        let page = engine.snapshot(&repo(), &at(expr)).await.unwrap().list(&request).await.unwrap();
        for item in &page.items {
            let ListItem::Object(info) = item else { panic!("no delimiter was given") };
            all.push((info.path.as_bytes().to_vec(), info.entry.checksum.to_text()));
            request.after = info.path.to_bytes();
        }
        if !page.has_more {
            return all;
        }
    }
}

/// A diff as `+ path`, `- path`, `~ path`, `! path` lines.
pub fn picture(items: &[DiffItem]) -> Vec<String> {
    items
        .iter()
        .map(|item| match item {
            DiffItem::CommonPrefix(prefix) => format!("/ {}", String::from_utf8_lossy(prefix)),
            DiffItem::Object { path, kind, .. } => {
                let sign = match kind {
                    DiffType::Added => '+',
                    DiffType::Removed => '-',
                    DiffType::Changed => '~',
                    DiffType::Conflict => '!',
                };
                format!("{sign} {}", path.to_text())
            }
        })
        .collect()
}

pub async fn uncommitted(engine: &Engine, name: &str) -> Vec<String> {
    let request = DiffRequest { amount: 10_000, ..Default::default() };
    picture(&engine.diff_branch(&repo(), &branch(name), request).await.unwrap().items)
}

pub async fn diff(engine: &Engine, left: &str, right: &str, kind: DiffKind) -> Vec<String> {
    let request = DiffRequest { amount: 10_000, ..Default::default() };
    picture(&engine.diff_refs(&repo(), &at(left), &at(right), kind, request).await.unwrap().items)
}
