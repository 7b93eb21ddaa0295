//! Prints what an import costs apart from HTTP and disk: the walk of a directory alone, then the whole import into
//! an engine over memory stores, and the bytes of the packs for each object.
//!
//! `cargo run --release -p millpond-engine --example import DIRECTORY` (absolute). It changes nothing there.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)] // it measures time and prints

use millpond_blob::{Blobs, MemoryBlobs};
use millpond_engine::*;
use millpond_kv::MemoryKv;
use millpond_origin::{LocalFolders, Origin};
use millpond_testkit::{ManualClock, Seeded};
use millpond_types::{BranchName, RepositoryName};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn per_second(objects: u64, took: Duration) -> f64 {
    objects as f64 / took.as_secs_f64()
}

#[tokio::main]
async fn main() {
    let directory = std::env::args().nth(1).expect("name a directory");
    let source = format!("local://{directory}");
    for threads in [1, 2, 4] {
        let origin = LocalFolders::new(vec![directory.clone().into()], vec![], threads);
        let begun = Instant::now();
        let folder = origin.locate(&source, SourceKind::Prefix).unwrap();
        let mut listing = origin.list(&folder, b"").unwrap();
        let mut objects = 0;
        while let Some(block) = listing.next().unwrap() {
            objects += block.len() as u64;
        }
        let took = begun.elapsed();
        println!("walk alone, {threads} threads: {objects} objects, {:.0}/s", per_second(objects, took));
    }
    let blobs = Arc::new(MemoryBlobs::new());
    let options = Options {
        origin: Arc::new(LocalFolders::new(vec![directory.into()], vec![], 2)),
        ..Options::default()
    };
    let (clock, random) = (Arc::new(ManualClock::at(0)), Arc::new(Seeded::new(1)));
    let engine =
        Engine::open(Arc::new(MemoryKv::new()), blobs.clone(), clock, random, options).await.unwrap();
    let (me, repo) =
        (Actor { name: "me".into(), ..Actor::default() }, RepositoryName::parse("lake").unwrap());
    let main = BranchName::parse("main").unwrap();
    let new = NewRepository {
        name: repo.clone(),
        storage_namespace: "local://lake".into(),
        default_branch: main.clone(),
        read_only: false,
    };
    engine.create_repository(&me, new).await.unwrap();
    let begun = Instant::now();
    let path = ImportPath { kind: SourceKind::Prefix, source, destination: "data/".into() };
    let request = ImportRequest { paths: vec![path], ..ImportRequest::default() };
    let id = engine.import_start(&me, &repo, &main, request).await.unwrap();
    let objects = loop {
        let info = engine.import_status(&repo, &id).await.unwrap();
        match info.outcome {
            ImportOutcome::Running => tokio::time::sleep(Duration::from_millis(2)).await,
            ImportOutcome::Completed(_) => break info.ingested,
            ImportOutcome::Failed(why) => panic!("{why}"),
        }
    };
    let took = begun.elapsed();
    let packs = blobs.list("", "", usize::MAX).await.unwrap();
    let bytes: u64 = packs.iter().map(|(_, bytes)| bytes).sum();
    println!("import: {objects} objects, {:.0}/s", per_second(objects, took));
    println!("bytes per object: {:.1}", bytes as f64 / objects as f64);
}
