//! Puts the sample repository into the binary, so that a first start needs no other file and no network.
#![allow(clippy::disallowed_methods, reason = "a build script reads the source tree")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    let manifest_folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let samples = manifest_folder.join("../../samples").canonicalize().expect("the folder samples/ is there");
    println!("cargo::rerun-if-changed={}", samples.display());
    let mut code = String::from("&[\n");
    for path in files(&samples) {
        let name = path.strip_prefix(&samples).expect("below").to_str().expect("sample names are UTF-8");
        writeln!(code, "    ({name:?}, include_bytes!({:?})),", path.display().to_string())
            .expect("a string grows");
    }
    code.push_str("]\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    std::fs::write(out.join("samples.rs"), code).expect("the output folder can be written");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of samples can be read");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
