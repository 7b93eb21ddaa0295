//! `cp` and `rm`: what arrives, and what is said about what does not.

#![allow(clippy::disallowed_methods, reason = "the tests make and read local files")]

use super::run;
use super::server::Server;
use millpond_cli::Exit;
use std::collections::BTreeMap;
use std::path::Path;

/// Names that are special to URLs, shells or terminals, and sizes around the limits of one piece.
fn write_tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = [
        "a",
        "a.csv",
        "dir/b b.txt",
        "dir/c+d.txt",
        "dir/100%.txt",
        "dir/é/日本.png",
        "dir/#1?x=2&y",
        "e'f\"g",
        "tab\there",
        "esc\u{1b}[31m",
        "deep/1/2/3/4/5",
        "-dash",
        ".hidden/.x",
    ];
    let mut tree: BTreeMap<String, Vec<u8>> =
        names.iter().map(|name| ((*name).to_owned(), name.as_bytes().repeat(3))).collect();
    tree.insert("empty".into(), Vec::new());
    for (name, size) in [("exact.bin", 1 << 20), ("over.bin", (1 << 20) + 1), ("large.bin", 5 << 20)] {
        tree.insert(
            name.into(),
            (0..size).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect(),
        );
    }
    for (name, bytes) in &tree {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
    tree
}

fn read_tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut tree = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").to_str().expect("UTF-8").to_owned();
                tree.insert(name, std::fs::read(&path).expect("read"));
            }
        }
    }
    tree
}

#[tokio::test]
async fn a_folder_goes_up_across_and_down_unchanged() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let tree = write_tree(&folder.path().join("in"));
    let (from, to) = (folder.path().join("in"), folder.path().join("out"));
    let (from, to) = (from.to_str().expect("UTF-8"), to.to_str().expect("UTF-8"));

    let up = run(&server.variables(), &["cp", "-r", from, "mp://demo/main/data", "-o", "json"]).await;
    assert_eq!(up.exit, Exit::Ok, "{}", up.stderr.text());
    let report: serde_json::Value = serde_json::from_str(&up.stdout.text()).expect("JSON");
    assert_eq!(report["files"], tree.len());
    assert_eq!(report["bytes"], tree.values().map(Vec::len).sum::<usize>());
    assert_eq!(report["failed"], serde_json::json!([]));
    let stored: Vec<String> = tree.keys().map(|name| format!("data/{name}")).collect();
    assert_eq!(server.paths(), stored);
    assert_eq!(server.lock().objects["data/a"].content_type, "application/octet-stream");

    let across =
        run(&server.variables(), &["cp", "-r", "mp://demo/main/data/", "lakefs://demo/main/copy/"]).await;
    assert_eq!(across.exit, Exit::Ok, "{}", across.stderr.text());
    assert_eq!(server.paths().len(), 2 * tree.len());

    let down = run(&server.variables(), &["cp", "-r", "--jobs", "3", "mp://demo/main/copy", to]).await;
    assert_eq!(down.exit, Exit::Ok, "{}", down.stderr.text());
    assert!(read_tree(Path::new(to)) == tree, "what came back is not what went up");
    assert_eq!(down.stdout.text(), "");
    assert!(
        down.stderr.text().starts_with(&format!("copied {} files, ", tree.len())),
        "{}",
        down.stderr.text()
    );
}

#[tokio::test]
async fn a_folder_sent_again_sends_only_what_changed() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let tree = write_tree(folder.path());
    let from = folder.path().to_str().expect("UTF-8");
    // Neighbours that are not of this folder, so that the listing has to jump.
    for number in 0..50 {
        server.put(&format!("data/dir/a{number}"), "1");
        server.put(&format!("data0/{number}"), "1");
    }
    let cp = async |more: &[&str]| {
        let before = server.lock().uploads;
        let arguments = [&["cp", "-r", from, "mp://demo/main/data"], more].concat();
        let ran = run(&server.variables(), &arguments).await;
        assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr.text());
        (server.lock().uploads - before, ran.stderr.text())
    };
    assert_eq!(cp(&[]).await.0, tree.len());
    let (sent, said) = cp(&[]).await;
    assert_eq!(sent, 0, "{said}");
    assert!(said.contains("copied 0 files, 0 B in "), "{said}");
    assert!(said.contains(&format!("; {} files already there", tree.len())), "{said}");

    // A checksum that somebody declared is no proof.
    server.lock().declared.push("data/a.csv".to_owned());
    assert_eq!(cp(&[]).await.0, 1);
    server.lock().declared.clear();

    // The same length, another byte; another length; gone from the branch.
    std::fs::write(folder.path().join("a.csv"), "A.CSVa.csva.csv").expect("written");
    std::fs::write(folder.path().join("empty"), "no more").expect("written");
    server.lock().objects.remove("data/deep/1/2/3/4/5");
    assert_eq!(cp(&["-n"]).await.0, 0);
    assert_eq!(cp(&[]).await.0, 3);
    assert_eq!(server.lock().objects["data/a.csv"].bytes, "A.CSVa.csva.csv");
    assert_eq!(cp(&["--content-type", "text/plain"]).await.0, tree.len(), "another content type");
    assert_eq!(cp(&["--content-type", "text/plain", "--meta", "K=1"]).await.0, tree.len(), "other metadata");
    assert_eq!(
        cp(&["--content-type", "text/plain", "--meta", "K=1"]).await.0,
        0,
        "keys are kept in lower case"
    );
    assert_eq!(cp(&[]).await.0, tree.len());
    assert_eq!(cp(&["--rewrite"]).await.0, tree.len());
}

#[tokio::test]
async fn a_large_folder_is_looked_up_by_several_listings() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..600 {
        std::fs::write(folder.path().join(number.to_string()), "1").expect("written");
        server.put(&format!("d/{number}"), "1");
    }
    let from = folder.path().to_str().expect("UTF-8");
    let labels = ["--content-type", "text/csv", "--meta", "source=crm"];
    let arguments = [&["cp", "-r", from, "mp://demo/main/d"], &labels[..]].concat();
    for gone in ["d/0", "d/333", "d/99"] {
        server.lock().objects.remove(gone);
    }
    std::fs::write(folder.path().join("200"), "2").expect("written");
    let ran = run(&server.variables(), &arguments).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr.text());
    assert!(ran.stderr.text().contains("copied 4 files, "), "{}", ran.stderr.text());
    assert!(ran.stderr.text().contains("596 files already there"), "{}", ran.stderr.text());
    assert_eq!(server.paths().len(), 600);
}

#[tokio::test]
async fn what_vanishes_from_the_branch_during_a_copy_is_sent() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a", "b", "c"] {
        std::fs::write(folder.path().join(name), name).expect("written");
    }
    let arguments = ["cp", "-r", folder.path().to_str().expect("UTF-8"), "mp://demo/main/d"];
    assert_eq!(run(&server.variables(), &arguments).await.exit, Exit::Ok);
    // All three fit into one listing; the second is that at the end.
    server.lock().vanishes = Some((1, "d/b".into()));
    let ran = run(&server.variables(), &arguments).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr.text());
    assert_eq!(server.paths(), ["d/a", "d/b", "d/c"]);
    assert!(ran.stderr.text().contains("copied 1 file, "), "{}", ran.stderr.text());
    assert!(ran.stderr.text().contains("2 files already there"), "{}", ran.stderr.text());
}

#[tokio::test]
async fn one_file_takes_its_metadata_along() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "1,2\n").expect("written");
    let path = path.to_str().expect("UTF-8");
    let arguments = [
        "cp",
        path,
        "mp://demo/main/t/",
        "--content-type",
        "text/csv",
        "--meta",
        "owner=Zoë",
        "--meta",
        "n=1",
    ];
    assert_eq!(run(&server.variables(), &arguments).await.exit, Exit::Ok);
    let object = server.lock().objects["t/a.csv"].clone();
    assert_eq!(object.content_type, "text/csv");
    assert_eq!(object.metadata, BTreeMap::from([("n".into(), "1".into()), ("owner".into(), "Zoë".into())]));

    let again = run(&server.variables(), &["cp", "--no-clobber", path, "mp://demo/main/t/"]).await;
    assert_eq!(again.exit, Exit::Precondition);
    assert!(again.stderr.text().contains("path already exists"), "{}", again.stderr.text());

    let to_stdout = run(&server.variables(), &["cp", "mp://demo/main/t/a.csv", "-"]).await;
    assert_eq!((to_stdout.exit, to_stdout.stdout.text().as_str()), (Exit::Ok, "1,2\n"));
    let cat = run(&server.variables(), &["cat", "demo/main/t/a.csv", "demo/main/t/a.csv"]).await;
    assert_eq!(cat.stdout.text(), "1,2\n1,2\n");
}

#[tokio::test]
async fn what_fails_is_named_and_the_rest_is_copied() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a", "poison", "z"] {
        std::fs::write(folder.path().join(name), name).expect("written");
    }
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).expect("linked");
    let path = folder.path().to_str().expect("UTF-8");
    let ran = run(&server.variables(), &["cp", "-r", path, "mp://demo/main/"]).await;
    assert_eq!(ran.exit, Exit::Partial);
    assert_eq!(server.paths(), ["a", "z"]);
    let stderr = ran.stderr.text();
    assert!(stderr.contains(&format!("failed: {path}/dangling: ")), "{stderr}");
    assert!(
        stderr.contains(&format!(
            "failed: {path}/poison: write demo/main/poison: this one is refused (HTTP 400)"
        )),
        "{stderr}"
    );
    assert!(stderr.contains("error: copy: 2 failed, 2 copied (2 B)"), "{stderr}");
}

#[tokio::test]
async fn objects_that_cannot_be_files_are_named() {
    let server = Server::start().await;
    for path in ["d/ok", "d/../../evil", "d//x", "d/marker/"] {
        server.put(path, "1");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("out");
    let ran = run(&server.variables(), &["cp", "-r", "mp://demo/main/d/", to.to_str().expect("UTF-8")]).await;
    assert_eq!(ran.exit, Exit::Partial);
    assert_eq!(read_tree(folder.path()).into_keys().collect::<Vec<_>>(), ["out/ok"]);
    assert_eq!(ran.stderr.text().matches("failed: mp://demo/main/d/").count(), 3);
}

#[tokio::test]
async fn a_busy_server_gets_the_file_again() {
    let server = Server::start().await;
    server.lock().busy_uploads = 2;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.bin");
    std::fs::write(&path, vec![7; 3 << 20]).expect("written");
    let ran = run(&server.variables(), &["cp", path.to_str().expect("UTF-8"), "mp://demo/main/"]).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr.text());
    assert_eq!(server.lock().objects["large.bin"].bytes.len(), 3 << 20);
}

#[tokio::test]
async fn a_download_cut_short_leaves_nothing() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    for size in [100, 3 << 20] {
        server.put("a", vec![1; size]);
        server.lock().cut_downloads = 1;
        let to = folder.path().join("a");
        let ran = run(&server.variables(), &["cp", "mp://demo/main/a", to.to_str().expect("UTF-8")]).await;
        assert_eq!(ran.exit, Exit::Failed, "{}", ran.stderr.text());
        assert!(ran.stderr.text().contains("error: read demo/main/a: "), "{}", ran.stderr.text());
        assert!(read_tree(folder.path()).is_empty());
    }
}

#[tokio::test]
async fn a_missing_branch_is_not_a_partial_success() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a"), "1").expect("written");
    std::fs::write(folder.path().join("b"), "1").expect("written");
    let path = folder.path().to_str().expect("UTF-8");
    let ran = run(&server.variables(), &["cp", "-r", path, "mp://demo/mian/"]).await;
    assert_eq!(ran.exit, Exit::NotFound);
    let stderr = ran.stderr.text();
    assert!(stderr.contains("millpond branch list demo"), "{stderr}");
    assert_eq!(stderr.matches("failed: ").count(), 1, "the rest is not tried: {stderr}");
}

#[tokio::test]
async fn without_keys_a_folder_fails_once() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a"), "1").expect("written");
    std::fs::write(folder.path().join("b"), "1").expect("written");
    let path = folder.path().to_str().expect("UTF-8");
    let ran = run(&[("MILLPOND_SERVER", "http://127.0.0.1:1")], &["cp", "-r", path, "mp://demo/main/"]).await;
    assert_eq!(ran.exit, Exit::Denied);
    assert!(ran.stderr.text().starts_with("error: there are no keys"), "{}", ran.stderr.text());
}

#[tokio::test]
async fn a_dry_run_copies_nothing() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a"), "1").expect("written");
    let path = folder.path().to_str().expect("UTF-8");
    let ran = run(&server.variables(), &["cp", "-rn", path, "mp://demo/main/x"]).await;
    assert_eq!(ran.stdout.text(), format!("{path}/a\tmp://demo/main/x/a\n"));
    assert!(server.paths().is_empty());
}

#[tokio::test]
async fn rm_deletes_what_it_says_and_asks_first() {
    let server = Server::start().await;
    for i in 0..20 {
        server.put(&format!("d/{i:02}"), "1");
    }
    server.put("dx", "1");
    server.put("d/stuck", "1");
    let unasked = run(&server.variables(), &["rm", "-r", "demo/main/d"]).await;
    assert_eq!(unasked.exit, Exit::Usage);
    assert!(unasked.stderr.text().contains("hint: add --yes"), "{}", unasked.stderr.text());

    let dry = run(&server.variables(), &["rm", "-rn", "demo/main/d"]).await;
    assert_eq!((dry.exit, dry.stdout.text().lines().count()), (Exit::Ok, 21));
    assert_eq!(server.paths().len(), 22);

    let ran = run(&server.variables(), &["rm", "-r", "--yes", "demo/main/d"]).await;
    assert_eq!(ran.exit, Exit::Partial);
    assert_eq!(server.paths(), ["d/stuck", "dx"]);
    let stderr = ran.stderr.text();
    assert!(
        stderr.contains("failed: delete mp://demo/main/d/stuck: cannot write to protected branch (HTTP 403)"),
        "{stderr}"
    );

    assert_eq!(run(&server.variables(), &["rm", "demo/main/dx"]).await.exit, Exit::Ok);
    assert_eq!(server.paths(), ["d/stuck"]);
    assert_eq!(run(&server.variables(), &["rm", "demo/main/dx"]).await.exit, Exit::NotFound);
    assert_eq!(run(&server.variables(), &["rm", "-ry", "demo/main/no"]).await.exit, Exit::NotFound);
}
