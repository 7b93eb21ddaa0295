//! The tool against the real server. Every scenario of `run` must work and report. A short run of the crash
//! harness must be clean, and one whose last round is undone behind the server's back must not be.
//!
//! Builds nothing: the server is MILLPOND_BIN, or the debug or release build of this workspace.
#![allow(clippy::disallowed_methods, reason = "the test runs programs")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn server() -> PathBuf {
    if let Some(path) = std::env::var_os("MILLPOND_BIN") {
        return path.into();
    }
    let target = Path::new(env!("CARGO_BIN_EXE_millpond-bench")).parent().expect("a program is in a folder");
    let built = target.join("millpond");
    assert!(
        built.is_file(),
        "there is no server at {}: run `cargo build -p millpond` first, or set MILLPOND_BIN",
        built.display()
    );
    built
}

fn bench(arguments: &[&str]) -> Output {
    let data = tempfile::tempdir().expect("temporary folder");
    Command::new(env!("CARGO_BIN_EXE_millpond-bench"))
        .args(arguments)
        .arg("--data")
        .arg(data.path())
        .env("MILLPOND_BIN", server())
        .output()
        .expect("run the harness")
}

#[test]
fn every_scenario_ends_and_reports() {
    let data = tempfile::tempdir().expect("temporary folder");
    let json = data.path().join("figures.json");
    let bench = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_millpond-bench"))
            .args(arguments)
            .env("MILLPOND_BIN", server())
            .output()
            .expect("run the tool")
    };
    let listed = String::from_utf8(bench(&["list"]).stdout).expect("UTF-8");
    let listed: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    let output = bench(&[
        "run",
        "--tiny",
        "--size",
        "1000",
        "--seconds",
        "0.1",
        "--json",
        json.to_str().expect("UTF-8"),
    ]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&json).expect("the report")).expect("JSON");
    assert_eq!(report["scenarios"], serde_json::json!(listed), "{out}");
    for row in report["rows"].as_array().expect("rows") {
        assert!(row["operations"].as_u64() > Some(0), "{row}");
        assert!(row["what"].as_str().is_some_and(|what| !what.is_empty()), "{row}");
    }
    for name in listed.iter().filter(|name| **name != "restart") {
        let is_reported = out.lines().any(|line| line.starts_with(&format!("{name} ")))
            || out.contains(&format!("note: {name}: not run"));
        assert!(is_reported, "{name} has no row:\n{out}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_five_kills() {
    let output = bench(&["crash", "--rounds", "5"]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("SIGKILL"), "the report says what it does not test:\n{out}");
}

#[test]
fn a_disk_that_forgets_is_found_out() {
    let output = bench(&["crash", "--rounds", "2", "--forget-last-round"]);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("LOST"), "{out}");
}

/// Whether the harness said that it cannot work here; the reason is printed.
fn skipped(output: &Output) -> bool {
    let err = String::from_utf8_lossy(&output.stderr);
    let reason = err.lines().find(|line| line.starts_with("skipped"));
    if let Some(reason) = reason {
        eprintln!("{reason}");
    }
    reason.is_some()
}

#[test]
fn nothing_acknowledged_is_lost_in_four_power_cuts() {
    let output = bench(&["powercut", "--rounds", "4"]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(skipped(&output) || out.contains("power cut"), "{out}\n{err}");
}

/// Whether system calls of the server can be made to fail.
fn can_trace() -> bool {
    let traced = Command::new("strace").args(["--seccomp-bpf", "--follow-forks", "true"]).output();
    let can = traced.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("skipped: strace is not installed or not allowed here");
    }
    can
}

#[test]
fn a_server_that_does_not_sync_loses_in_a_power_cut() {
    if !can_trace() {
        return;
    }
    let output = bench(&["powercut", "--rounds", "6", "--without", "fsync,fdatasync,syncfs"]);
    if skipped(&output) {
        return;
    }
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("LOST"), "{out}");
}

#[test]
fn a_disk_that_fails_once_and_one_that_fills_up_make_no_answer_untrue() {
    let output = bench(&["sickdisk", "--rounds", "1"]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(skipped(&output) || out.contains("full disk"), "{out}\n{err}");
}
