//! Both adapters under the one contract, and what only a store on disk promises.
#![allow(clippy::disallowed_methods, reason = "these tests start processes and own their directories")]

mod damage;
mod kill;
mod local_files;

use millpond_kv::{Kv, LocalKv, MemoryKv, contract};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_the_contract() {
    contract::suite(|| Arc::new(MemoryKv::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_keeps_the_contract() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let stores = AtomicU32::new(0);
    let make = || -> Arc<dyn Kv> {
        let n = stores.fetch_add(1, Ordering::Relaxed);
        Arc::new(LocalKv::open(directory.path().join(n.to_string()).join("meta.redb")).expect("opens"))
    };
    contract::suite(make).await;
}
