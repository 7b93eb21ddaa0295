//! Damaged bytes on disk: told, never sent, and healed by writing the object again.

use crate::support::*;
use millpond_blob::LocalBlobs;
use millpond_engine::Kind;
use std::path::{Path, PathBuf};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Flips one bit in the middle of these bytes, wherever the store keeps them.
#[allow(clippy::disallowed_methods)] // the test plays the failing disk
fn damage(folder: &Path, body: &[u8]) {
    let start = &body[..64];
    for file in files(folder) {
        let mut bytes = std::fs::read(&file).unwrap();
        if let Some(at) = bytes.windows(start.len()).position(|w| w == start) {
            bytes[at + body.len() / 2] ^= 1;
            // In place: the store may have the file open.
            let open = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&open, &bytes, 0).unwrap();
            return;
        }
    }
    panic!("the body is nowhere under {}", folder.display());
}

#[tokio::test]
async fn writing_an_object_again_heals_its_damaged_copy() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(50);
    world.blobs = LocalBlobs::open(folder.path().to_owned()).unwrap();
    let engine = with_repo(&world).await;
    for size in [1_000usize, 64 * 1024, 64 * 1024 + 1, 300_000] {
        let mut body = vec![0; size];
        millpond_types::Random::fill(&*world.random, &mut body);
        put(&engine, "main", b"k", &body).await;
        assert_eq!(get(&engine, "main", b"k").await.unwrap(), body);
        damage(folder.path(), &body);
        let open = engine.open_object(&repo(), &at("main"), &path(b"k")).await;
        let read = match open {
            Ok(open) => {
                use futures::StreamExt;
                open.read(0..size as u64).collect::<Vec<_>>().await.into_iter().find_map(Result::err)
            }
            Err(error) => Some(error),
        };
        assert_eq!(read.map(|e| e.kind), Some(Kind::Damaged), "{size} bytes");
        put(&engine, "main", b"other", &body).await;
        assert_eq!(get(&engine, "main", b"other").await.unwrap(), body, "{size} bytes, written again");
        assert_eq!(get(&engine, "main", b"k").await.unwrap(), body, "{size} bytes, the same content");
    }
}
