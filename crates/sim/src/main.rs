//! `millpond-sim 0..5000` runs these seeds; `millpond-sim 1234` runs one and draws its picture.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a development tool")]

use millpond_sim::{Plan, Report, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_else(|| "0..1000".to_owned());
    let range = match argument.split_once("..") {
        Some((first, last)) => first.parse().ok().zip(last.parse().ok()),
        None => argument.parse().ok().map(|seed: u64| (seed, seed + 1)),
    };
    let Some((first, last)): Option<(u64, u64)> = range else {
        println!("usage: millpond-sim FIRST..LAST | SEED");
        return ExitCode::from(2);
    };
    // A panic is part of a history and is told with it.
    std::panic::set_hook(Box::new(|_| {}));
    let started = std::time::Instant::now();
    let mut total = Report::default();
    let mut failed = Vec::new();
    for seed in first..last {
        match run(seed, &Plan::of(seed)) {
            Ok(report) => {
                if std::env::var_os("MILLPOND_SIM_TRACE").is_some() {
                    println!("seed {seed}: trace {:016x}", report.trace);
                }
                total.steps += report.steps;
                total.nanos += report.nanos;
                total.calls += report.calls;
                total.acknowledged += report.acknowledged;
                total.mutations += report.mutations;
                total.crashes += report.crashes;
                total.takeovers += report.takeovers;
                total.dropped += report.dropped;
                total.stores.calls += report.stores.calls;
                total.stores.faults += report.stores.faults;
                total.stores.flying_at_crashes += report.stores.flying_at_crashes;
            }
            Err(failure) => {
                if last - first == 1 {
                    println!("{failure}");
                } else {
                    println!("seed {seed}: {}", failure.what);
                }
                failed.push(seed);
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} seeds in {seconds:.1} s ({:.1}/s), {} failed: {failed:?}",
        last - first,
        (last - first) as f64 / seconds,
        failed.len()
    );
    println!(
        "{} steps, {} simulated s, {} requests, {} changes acknowledged, {} mutations in journals",
        total.steps,
        total.nanos / 1_000_000_000,
        total.calls,
        total.acknowledged,
        total.mutations
    );
    println!(
        "{} crashes, {} writes on their way in them, {} takeovers, {} dropped connections, {} faults in {} store calls",
        total.crashes,
        total.stores.flying_at_crashes,
        total.takeovers,
        total.dropped,
        total.stores.faults,
        total.stores.calls
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
