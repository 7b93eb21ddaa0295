//! `millpond migrate lakefs` with another Millpond as the server that everything comes from: broken off again and
//! again, taken up again, and compared with it to the last object.

use super::process::{Machine, Running};
use super::serve::KEYS;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The server that has everything, and the machine whose commands go to it.
struct Source {
    machine: Machine,
    server: Running,
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

impl Source {
    fn new(import: &str) -> Self {
        let machine = Machine::new();
        let line = format!("serve --data data --log-format json --local-import {import}");
        let server = machine.start(&line, KEYS);
        Self { machine, server }
    }

    fn variables(&self) -> [(String, String); 3] {
        [
            ("MILLPOND_SERVER".into(), format!("http://{}", self.server.address)),
            ("MILLPOND_ACCESS_KEY_ID".into(), KEYS[0].1.into()),
            ("MILLPOND_SECRET_ACCESS_KEY".into(), KEYS[1].1.into()),
        ]
    }

    fn ok(&self, line: &str) -> String {
        let variables = self.variables();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
        let output = self.machine.run_with(line, &variables);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "millpond {line}: {out}{err}");
        out.into_owned()
    }

    /// A file of its machine.
    fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.machine.path(name), bytes).expect("written");
    }

    fn head(&self, reference: &str) -> String {
        json(&self.ok(&format!("show {reference} -o json")))["id"].as_str().expect("an id").to_owned()
    }
}

/// A repository with what a repository can have: a merge, an import, objects that go and come back, more of them than
/// a page holds, tags, a hidden branch, uncommitted changes, protection; and people.
fn fill(source: &Source, import: &std::path::Path) {
    source.ok("repo create sales");
    source.file("a.csv", b"first\n");
    source.file("large.bin", &[7; 1_200_000]);
    source.ok("cp a.csv mp://sales/main/data/a.csv --content-type text/csv --meta origin=crm");
    source.ok("cp large.bin mp://sales/main/large.bin");
    source.ok("commit sales/main -m first --meta run=7");
    source.ok("tag create sales/v1 sales/main");
    source.ok("branch create sales/dev");
    std::fs::create_dir(source.machine.path("many")).expect("made");
    for number in 0..1100 {
        source.file(&format!("many/{number:04}.txt"), format!("number {number}\n").as_bytes());
    }
    source.ok("cp -r many mp://sales/dev/many");
    source.ok("commit sales/dev -m many");
    source.ok("rm mp://sales/main/large.bin");
    source.file("a.csv", b"second\n");
    source.ok("cp a.csv mp://sales/main/data/a.csv");
    source.ok("commit sales/main -m second");
    source.ok("merge sales/dev sales/main -m merged");
    source.ok("commit sales/main -m nothing --allow-empty");
    source.ok(&format!("import {} sales/main/imported/", import.display()));
    source.ok("tag create sales/v2 sales/main");
    source.ok("branch create sales/secret --from v1 --hidden");
    source.ok("cp large.bin mp://sales/dev/uncommitted.bin");
    source.ok("protect add sales prod-*");
    source.ok("repo create empty --default-branch trunk");
    source.ok("auth users create grace");
    source.ok("auth groups create mill");
    source.ok("auth groups add-member mill grace");
    source.ok("auth groups add-member Admins grace");
    source.ok("auth policies attach FSReadAll --group mill");
}

/// Passes so many bytes on, and breaks every connection when they are spent. So many connections
/// as it is told are answered that there is too much to do.
struct Cutter {
    address: String,
    left: Arc<AtomicI64>,
    busy: Arc<AtomicI64>,
}

impl Cutter {
    fn before(server: &Running) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (left, busy) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
        let (to, budget, is_busy) = (server.address.clone(), left.clone(), busy.clone());
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(&to)) else { continue };
                if is_busy.fetch_sub(1, Ordering::SeqCst) > 0 {
                    std::thread::spawn(move || refuse(near));
                    continue;
                }
                let both = |stream: &TcpStream| stream.try_clone().expect("a second handle");
                for (from, to) in [(both(&near), both(&far)), (far, near)] {
                    let budget = budget.clone();
                    std::thread::spawn(move || pass(from, to, &budget));
                }
            }
        });
        Self { address, left, busy }
    }
}

fn refuse(mut near: TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && near.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    let text =
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // A client that has gone away needs no answer.
    let _ = near.write_all(text.as_bytes());
}

fn pass(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64) {
    let mut buffer = [0; 4096];
    while let Ok(count) = from.read(&mut buffer) {
        let spent = left.fetch_sub(count as i64, Ordering::SeqCst) <= 0;
        if count == 0 || spent || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Both directions, so that neither end waits for the other.
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Everything that the servers show of a repository, with ids of commits that both know.
fn everything(ok: &dyn Fn(&str) -> String) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for reference in ["main", "dev", "secret", "v1", "v2"] {
        let mut log = json(&ok(&format!("log sales/{reference} -o json --all")));
        for commit in log.as_array_mut().expect("a list") {
            let commit = commit.as_object_mut().expect("an object");
            let parents = commit["parents"].as_array().expect("parents").len();
            for own in ["id", "meta_range_id", "parents"] {
                commit.remove(own);
            }
            commit.insert("parents".into(), parents.into());
        }
        // Of one second, the order is that of the ids, which are not the same.
        log.as_array_mut().expect("a list").sort_by_key(ToString::to_string);
        all.push((format!("log {reference}"), log));
        let mut objects = json(&ok(&format!("ls -r sales/{reference}~0 -o json --all")));
        for object in objects.as_array_mut().expect("a list") {
            object.as_object_mut().expect("an object").remove("physical_address");
        }
        all.push((format!("objects {reference}"), objects));
    }
    for list in ["branch list sales", "tag list sales", "protect list sales", "branch list empty"] {
        let mut items = json(&ok(&format!("{list} -o json")));
        for item in items.as_array_mut().expect("a list") {
            item.as_object_mut().expect("an object").remove("commit_id");
        }
        all.push((list.to_owned(), items));
    }
    all.push(("members".into(), json(&ok("auth groups members mill -o json"))[0]["id"].clone()));
    all
}

#[test]
fn what_is_broken_off_goes_on_and_ends_the_same() {
    let imports = tempfile::tempdir().expect("a folder");
    for name in ["x.bin", "y.bin"] {
        std::fs::write(imports.path().join(name), format!("imported {name}")).expect("written");
    }
    let source = Source::new(&imports.path().display().to_string());
    fill(&source, imports.path());
    let here = Machine::new();
    let line = format!("up --data data --local-import {}", imports.path().display());
    let server = here.start(&line, &[]);
    let cutter = Cutter::before(&source.server);
    let keys = [("MILLPOND_FROM_ACCESS_KEY_ID", KEYS[0].1), ("MILLPOND_FROM_SECRET_ACCESS_KEY", KEYS[1].1)];
    let migrate = |more: &str| {
        let line = format!("migrate lakefs --from http://{} {more} -o json", cutter.address);
        let line = if line.contains("--patience") { line } else { line + " --patience 0" };
        let output = here.run_with(&line, &keys);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), out.into_owned(), err.into_owned())
    };
    let ok = |line: &str| here.ok(line);

    cutter.left.store(i64::MAX, Ordering::SeqCst);
    let (code, planned, said) = migrate("--dry-run");
    assert_eq!(code, Some(0), "{said}");
    let planned = json(&planned);
    assert_eq!((&planned[1]["commits"], &planned[1]["commits_new"]), (&7.into(), &7.into()), "{planned}");
    assert!(said.contains("uncommitted changes stay behind, on dev"), "{said}");
    assert!(!ok("repo list").contains("sales"), "only planned");

    let mut budget = 60_000;
    let (mut breaks, mut told) = (0, String::new());
    let report = loop {
        cutter.left.store(budget, Ordering::SeqCst);
        let (code, out, said) = migrate("");
        assert!(!said.contains(KEYS[1].1), "the secret is told: {said}");
        if code == Some(0) {
            break json(&out);
        }
        told.push_str(&said);
        breaks += 1;
        assert!(breaks < 30, "{budget} bytes are not enough: {said}");
        if ok("repo list").contains("sales") {
            assert_eq!(ok("branch list sales"), "", "branches come last");
        }
        budget *= 2;
    };
    assert!(breaks > 2, "it was broken off {breaks} times");
    let sales = &report[1];
    assert_eq!((&sales["state"], &sales["commits"]), (&"complete".into(), &7.into()), "{report}");
    assert!(told.contains("administrators there are administrators here: admin, grace"), "{told}");
    assert!(told.contains("users were taken over without keys"), "{told}");

    let theirs = everything(&|line| source.ok(line));
    for ((what, theirs), (_, ours)) in theirs.iter().zip(everything(&ok)) {
        assert_eq!(*theirs, ours, "{what}");
    }
    for path in ["v1/large.bin", "main/data/a.csv", "main/many/1099.txt", "main/imported/x.bin"] {
        assert_eq!(
            ok(&format!("cat mp://sales/{path}")),
            source.ok(&format!("cat mp://sales/{path}")),
            "{path}"
        );
    }
    // Old ids stay good, whole and short, and lead on.
    let old = source.head("sales/v2");
    for text in [&*old, &old[..10], &format!("{old}~2^2")] {
        let ours = json(&ok(&format!("show sales/{text} -o json")));
        let theirs = json(&source.ok(&format!("show sales/{text} -o json")));
        assert_eq!(ours["message"], theirs["message"], "{text}");
    }
    // Imported objects stay where they are.
    let stat = |ok: &dyn Fn(&str) -> String| json(&ok("stat mp://sales/main/imported/x.bin -o json"));
    assert_eq!(stat(&ok)["physical_address"], stat(&|line| source.ok(line))["physical_address"]);

    // Once more: nothing is new. Then two commits are, and a branch that has its own way here stays.
    cutter.left.store(i64::MAX, Ordering::SeqCst);
    let (code, out, said) = migrate("--verify");
    assert_eq!(code, Some(0), "{said}");
    let again = &json(&out)[1];
    assert_eq!((&again["commits_new"], &again["objects_copied"]), (&0.into(), &0.into()), "{again}");
    assert!(again["objects_compared"].as_u64().expect("a number") > 4 * 1100, "{again}");
    source.file("a.csv", b"third\n");
    source.ok("cp a.csv mp://sales/main/data/a.csv");
    source.ok("commit sales/main -m third");
    source.ok("commit sales/secret -m own --allow-empty");
    ok("commit sales/secret -m ours --allow-empty");
    let (code, out, said) = migrate("--repository sales");
    assert_eq!((code, &json(&out)[0]["commits_new"]), (Some(0), &2.into()), "{said}");
    assert!(said.contains("branch secret has commits of its own here"), "{said}");
    assert_eq!(ok("cat mp://sales/main/data/a.csv"), "third\n");
    let check = json(&ok("fsck --json"));
    assert_eq!(check["report"]["defects"], 0, "{check}");

    // Under another name, all bytes copied, from a busy server; one object is lost there.
    std::fs::write(imports.path().join("y.bin"), "changed").expect("written");
    source.ok("repo create small");
    source.ok("cp a.csv mp://small/main/a.csv");
    source.ok("commit small/main -m first");
    source.ok(&format!("import {} small/main/imported/", imports.path().display()));
    std::fs::write(imports.path().join("y.bin"), "lost").expect("written");
    cutter.busy.store(6, Ordering::SeqCst);
    let (code, out, said) = migrate("--repository small --as copied --copy --parallel 1 --patience 60");
    assert_eq!(code, Some(0), "{said}");
    let copied = &json(&out)[0];
    let counts = ["objects_linked", "objects_copied", "objects_gone"].map(|count| copied[count].as_u64());
    assert_eq!(counts, [Some(0), Some(2), Some(1)], "{copied}");
    assert!(said.contains("1 objects cannot be read"), "{said}");
    assert_eq!(ok("cat mp://copied/main/imported/x.bin"), "imported x.bin");
    assert!(ok("ls copied/main/imported/").contains("y.bin"));
    assert!(here.run("cat mp://copied/main/imported/y.bin").stdout.is_empty());
    // Never into a repository of somebody else.
    let (code, _, said) = migrate("--repository sales --as quickstart");
    assert_eq!(code, Some(6), "{said}");
    drop(server);
}
