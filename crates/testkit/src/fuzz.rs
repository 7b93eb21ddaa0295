//! A small fuzzer that any machine with the Rust toolchain can run: mutated corpus files go into a target, which
//! checks what must hold for every input. No coverage is measured; instead a target says what came out (a label),
//! and an input with a new label becomes a parent of others.
//!
//! Inside the tests a target runs a fixed number of times from a fixed seed, so that nothing depends on chance.
//! `MILLPOND_FUZZ_SECONDS` makes it run so long instead, from a seed that `MILLPOND_FUZZ_SEED` may set. An input that
//! breaks a property is written to the temporary directory: mend the bug and keep the file in `fuzz/corpus/<target>/`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "development only: this reads corpus files, its settings and the time"
)]

use crate::Seeded;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Runs inside the tests.
const RUNS: u64 = 3000;
/// Inputs do not grow beyond this by mutation.
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Parents that are kept.
const POOL_MAX: usize = 4096;

/// One thing to be fuzzed.
pub struct Fuzz<'a> {
    /// Its name, and that of its folder of corpus files.
    pub name: &'a str,
    /// Good inputs to begin with, beside the corpus.
    pub seeds: Vec<Vec<u8>>,
    /// Words that mean something to the target.
    pub words: &'a [&'a str],
}

impl Fuzz<'_> {
    /// Feeds the target, which panics when a property does not hold and otherwise says what came out.
    pub fn run(self, target: impl Fn(&[u8]) -> String) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(self.name);
        let mut pool = files(&corpus);
        let kept = pool.len();
        pool.extend(self.seeds.iter().cloned());
        if pool.is_empty() {
            pool.push(Vec::new());
        }
        let mut labels = HashSet::new();
        let feed = |input: &[u8]| match catch_unwind(AssertUnwindSafe(|| target(input))) {
            Ok(label) => label,
            Err(panic) => {
                eprintln!("{}: {} breaks a property", self.name, save(self.name, input).display());
                resume_unwind(panic);
            }
        };
        for input in &pool {
            labels.insert(feed(input));
        }
        let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let until =
            variable("MILLPOND_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let chance = Seeded::new(variable("MILLPOND_FUZZ_SEED").unwrap_or(self.name.len() as u64));
        let mut runs = 0;
        while until.map_or(runs < RUNS, |until| Instant::now() < until) {
            runs += 1;
            let mut input = chance.pick(&pool).clone();
            for _ in 0..=chance.below(4) {
                let other = chance.pick(&pool);
                mutate(&mut input, other, self.words, &chance);
            }
            input.truncate(INPUT_BYTES_MAX.max(pool[0].len()));
            let label = feed(&input);
            if labels.len() < POOL_MAX && labels.insert(label) {
                pool.push(input);
            }
        }
        println!("fuzz {}: {runs} executions, {kept} corpus files, {} outcomes", self.name, labels.len());
    }
}

fn mutate(input: &mut Vec<u8>, other: &[u8], words: &[&str], chance: &Seeded) {
    let at = chance.below(input.len() + 1);
    let some = |len: usize| 1 + chance.below(len.clamp(1, 64));
    match chance.below(9) {
        0 if at < input.len() => input[at] ^= 1 << chance.below(8),
        1 if at < input.len() => {
            input[at] = *chance.pick(&[0, 1, 0x7f, 0x80, 0xff, b'0', b'\n', b'\r', b' '])
        }
        2 => drop(input.drain(at..(at + some(input.len())).min(input.len()))),
        3 => {
            let piece: Vec<u8> = input[at..(at + some(input.len())).min(input.len())].to_vec();
            input.splice(at..at, piece);
        }
        4 => {
            let from = chance.below(other.len() + 1);
            let piece = &other[from..(from + some(other.len())).min(other.len())];
            input.splice(at..at, piece.iter().copied());
        }
        5 if !other.is_empty() => {
            input.truncate(at);
            input.extend_from_slice(&other[chance.below(other.len())..]);
        }
        6 if !words.is_empty() => {
            let word = chance.pick(words).as_bytes();
            let end = if chance.below(2) == 0 { at } else { (at + word.len()).min(input.len()) };
            input.splice(at..end, word.iter().copied());
        }
        7 => input.truncate(at),
        _ => input.insert(at, chance.draw() as u8),
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|f| f.path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a corpus file")).collect()
}

fn save(name: &str, input: &[u8]) -> PathBuf {
    let sum = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let folder = std::env::temp_dir().join("millpond-fuzz").join(name);
    let file = folder.join(format!("{sum:016x}"));
    if std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, input)).is_err() {
        eprintln!("{input:?}");
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "planted")]
    fn a_planted_bug_is_found() {
        Fuzz { name: "planted", seeds: vec![b"size=1".to_vec()], words: &["size=", "99"] }.run(|input| {
            let text = String::from_utf8_lossy(input).into_owned();
            let digits =
                text.strip_prefix("size=").map(|rest| rest.bytes().take_while(u8::is_ascii_digit).count());
            assert!(digits != Some(5), "planted");
            format!("{digits:?}")
        });
    }
}
