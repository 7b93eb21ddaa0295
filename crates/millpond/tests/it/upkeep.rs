//! The life of data: written, checked running and stopped, backed up running, damaged, found, restored.
#![allow(clippy::disallowed_methods, reason = "the test plays the failing disk")]

use crate::process::Machine;
use std::path::{Path, PathBuf};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The first number of this name in JSON text.
fn number(json: &str, name: &str) -> u64 {
    let mark = format!("\"{name}\": ");
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    let mut numbers = json.split(&mark).skip(1).filter_map(|rest| digits(rest).parse().ok());
    numbers.next().unwrap_or_else(|| panic!("{name} in {json}"))
}

#[test]
fn checked_backed_up_damaged_and_restored() {
    let machine = Machine::new();
    let (data, backups) = (machine.path("data"), machine.path("backups"));
    std::fs::create_dir(&backups).expect("made");
    let backup = backups.join("one");
    let serve = format!("up --data data --backup-directory {}", backups.display());
    let server = machine.start(&serve, &[]);
    std::fs::write(machine.path("precious.csv"), "the only copy of a precious line\n").expect("written");
    machine.ok("cp precious.csv mp://quickstart/main/precious.csv");
    machine.ok("commit quickstart/main -m precious");

    let report = machine.ok("fsck --json");
    assert_eq!((number(&report, "defects"), number(&report, "repositories")), (0, 1));
    assert!(number(&report, "objects") > 0);
    let refused = machine.run(&format!("backup {}", machine.path("elsewhere").display()));
    assert_eq!(refused.status.code(), Some(4), "not allowed, and known before anything is streamed");
    let refused = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.contains("--backup-directory"), "{refused}");
    assert!(!machine.path("elsewhere").exists());
    let made = machine.ok(&format!("backup {} -o json", backup.display()));
    assert_eq!(number(&made, "number"), 1);
    let again = machine.ok(&format!("backup {} -o json", backup.display()));
    assert_eq!((number(&again, "number"), number(&again, "copied")), (2, 0));
    // A running server holds its directory.
    let busy = machine.fails("fsck --data data");
    assert!(busy.contains("another millpond"), "{busy}");
    server.stop();

    machine.ok("fsck --data data");
    machine.ok(&format!("backup {} --data data", backup.display()));
    machine.ok(&format!("backup verify {}", backup.display()));
    let key = std::fs::read(machine.path(".config/millpond/master.key")).expect("the key");
    let key = key.trim_ascii();
    for file in files(&backups) {
        let bytes = std::fs::read(&file).expect("read");
        assert!(!bytes.windows(key.len()).any(|w| w == key), "the master key is in {}", file.display());
    }

    // A bit flips.
    let line = b"the only copy of a precious line";
    let segment = data.join("blobs/segments/00000001.seg");
    let mut bytes = std::fs::read(&segment).expect("read");
    let at = bytes.windows(line.len()).position(|w| w == line).expect("in the segment");
    bytes[at + 9] ^= 1;
    std::fs::write(&segment, &bytes).expect("written");
    let output = machine.run("fsck --data data");
    assert_eq!(output.status.code(), Some(1));
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["quickstart", "branch main", "precious.csv", "blob r", "damaged", "same bytes"] {
        assert!(found.contains(part), "'{part}' is not in {found}");
    }

    let full = machine.fails(&format!("restore {} data", backup.display()));
    assert!(full.contains("not empty"), "{full}");
    let restored = machine.ok(&format!("restore {} new", backup.display()));
    assert!(restored.contains("defects\t0"), "{restored}");
    machine.ok("fsck --data new");
    let server = machine.start("up --data new", &[]);
    let read = machine.ok("cat mp://quickstart/main/precious.csv");
    assert_eq!(read.as_bytes(), [&line[..], b"\n"].concat());
    server.stop();

    // The same bit flips in the backup: all the rest comes back, and a server waits for a decision.
    let segment = backup.join("blobs/segments/00000001.seg");
    let mut bytes = std::fs::read(&segment).expect("read");
    let at = bytes.windows(line.len()).position(|w| w == line).expect("in the segment");
    bytes[at + 9] ^= 1;
    std::fs::write(&segment, &bytes).expect("written");
    let output = machine.run(&format!("restore {} partly", backup.display()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(found.contains("precious.csv") && found.contains("restored.unreadable\t1"), "{found}");
    let undecided = machine.fails("serve --data partly --listen 127.0.0.1:0");
    assert!(undecided.contains("--accept-damaged"), "{undecided}");
    let named = machine.run("fsck --data partly");
    assert!(String::from_utf8_lossy(&named.stdout).contains("precious.csv"), "{named:?}");
    assert!(!machine.path("partly/format").exists(), "neither restore nor fsck opens it as a server does");
    machine.ok(&format!("restore --accept-damaged {} partly", backup.display()));
    let server = machine.start("up --data partly", &[]);
    let lost = machine.run("cat mp://quickstart/main/precious.csv");
    let said = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert!(!lost.status.success() && said.contains("precious.csv"), "{said}");
    assert!(lost.stdout.is_empty() && said.contains("410"), "{said}");
    assert!(machine.ok("ls mp://quickstart/main/").contains("precious.csv"));
    server.stop();
    assert!(machine.path("partly/format").exists());
    // A verification tells the next backup, which heals it.
    machine.fails(&format!("backup verify {}", backup.display()));

    // A newer format is left alone.
    std::fs::write(machine.path("new/format"), "3\n").expect("written");
    let before: Vec<_> =
        files(&machine.path("new")).iter().map(|f| std::fs::read(f).expect("read")).collect();
    let newer = machine.fails("serve --data new --listen 127.0.0.1:0");
    assert!(newer.contains("a newer Millpond"), "{newer}");
    let after: Vec<_> = files(&machine.path("new")).iter().map(|f| std::fs::read(f).expect("read")).collect();
    assert!(before == after, "something was changed");
}
