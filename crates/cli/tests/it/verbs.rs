//! The other verbs: what they send and what they print.

use super::run;
use super::server::Server;
use millpond_cli::Exit;
use serde_json::json;

#[tokio::test]
async fn ls_in_every_format() {
    let server = Server::start().await;
    for path in ["a.csv", "images/1.png", "images/2.png", "z"] {
        server.put(path, "12345");
    }
    let table = run(&server.variables(), &["ls", "demo/main", "-o", "table"]).await;
    assert_eq!(
        table.stdout.text(),
        "\
PATH     SIZE  MODIFIED
a.csv     5 B  1 hour ago
images/
z         5 B  1 hour ago
"
    );
    let tsv = run(&server.variables(), &["ls", "-r", "demo/main/images/"]).await;
    assert_eq!(
        tsv.stdout.text(),
        "images/1.png\t5\t2026-11-24T11:00:00Z\nimages/2.png\t5\t2026-11-24T11:00:00Z\n"
    );
    let ndjson = run(&server.variables(), &["ls", "demo/main", "-o", "ndjson"]).await;
    let first: serde_json::Value =
        serde_json::from_str(ndjson.stdout.text().lines().next().expect("a line")).expect("JSON");
    assert_eq!((first["path"].clone(), first["size_bytes"].clone()), (json!("a.csv"), json!(5)));
    let cut = run(&server.variables(), &["ls", "-r", "demo/main", "--limit", "2"]).await;
    assert_eq!(cut.stdout.text().lines().count(), 2);
    assert_eq!(cut.stderr.text(), "2 shown, more follow: add --all, --limit N or --after 'images/1.png'\n");
}

#[tokio::test]
async fn listings_go_over_page_ends() {
    let server = Server::start().await;
    let paths: Vec<String> = (0..50).map(|i| format!("d/{i:02}")).collect();
    paths.iter().for_each(|path| server.put(path, "1"));
    let ran = run(&server.variables(), &["ls", "demo/main/d/"]).await;
    let got: Vec<String> =
        ran.stdout.text().lines().map(|l| l.split('\t').next().expect("a path").to_owned()).collect();
    assert_eq!(got, paths);
}

#[tokio::test]
async fn commit_sends_chosen_paths_and_prints_the_id() {
    let server = Server::start().await;
    let arguments = [
        "commit",
        "demo/main",
        "-m",
        "Labels",
        "--path",
        "a",
        "--prefix",
        "b/",
        "--prefix",
        "c/",
        "--meta",
        "k=v=w",
    ];
    let ran = run(&server.variables(), &arguments).await;
    assert_eq!(ran.stdout.text(), format!("{}\n", "c1".repeat(32)));
    assert_eq!(ran.stderr.text(), "committed to demo/main: Labels\n  undo: millpond undo demo/main\n");
    assert_eq!(
        server.lock().posted,
        [json!({"message": "Labels", "metadata": {"k": "v=w"}, "allow_empty": false, "force": false,
                "paths": ["a"], "prefixes": ["b/", "c/"]})]
    );
    // A server that does not know the extension never sees it unless it was asked for.
    run(&server.variables(), &["commit", "demo/main", "-m", "All"]).await;
    let posted = server.lock().posted[1].clone();
    assert_eq!((posted.get("paths"), posted.get("prefixes")), (None, None));

    let nothing = run(&server.variables(), &["commit", "demo/main", "-m", "nothing"]).await;
    assert_eq!(nothing.exit, Exit::Failed);
    assert_eq!(
        nothing.stderr.text(),
        "error: commit to demo/main: commit: no changes (HTTP 400)\n  \
         hint: 'millpond diff demo/main' shows what is uncommitted; --allow-empty commits anyway\n  \
         request id: req-1\n"
    );
}

#[tokio::test]
async fn a_merge_conflict_lists_its_paths() {
    let server = Server::start().await;
    let ran = run(&server.variables(), &["merge", "demo/dev", "main"]).await;
    assert_eq!(ran.exit, Exit::Conflict);
    assert_eq!(ran.stdout.text(), "conflict\t5\tb\nconflict\t5\tc\n");
    assert_eq!(
        ran.stderr.text(),
        "2 conflicts\n\
         error: merge dev into demo/main: 2 paths changed on both sides; nothing was merged\n  \
         hint: change one side so that they agree, or add --strategy source-wins or dest-wins\n"
    );
    let arguments = ["merge", "demo/dev", "main", "--strategy", "dest-wins", "--squash", "-m", "M"];
    let decided = run(&server.variables(), &arguments).await;
    assert_eq!((decided.exit, decided.stdout.text()), (Exit::Ok, format!("{}\n", "c2".repeat(32))));
    assert_eq!(
        server.lock().posted[1],
        json!({"message": "M", "metadata": {}, "strategy": "dest-wins", "squash_merge": true,
               "allow_empty": false, "force": false})
    );
}

#[tokio::test]
async fn diff_marks_kinds_and_can_be_asked_by_exit_code() {
    let server = Server::start().await;
    let three = run(&server.variables(), &["diff", "demo/main...dev", "-o", "table"]).await;
    assert_eq!(three.exit, Exit::Ok);
    assert_eq!(
        three.stdout.text(),
        "\
CHANGE      SIZE  PATH
+ added      5 B  a
! conflict   5 B  b
! conflict   5 B  c
"
    );
    assert_eq!(three.stderr.text(), "1 added, 2 conflicts\n");
    let two = run(&server.variables(), &["diff", "demo/main", "dev", "--exit-code", "-q"]).await;
    assert_eq!((two.exit, two.stdout.text().as_str()), (Exit::Differences, "changed\t5\tb\nremoved\t5\td\n"));
    assert_eq!(two.stderr.text(), "");
}

#[tokio::test]
async fn reset_asks_and_says_what_exactly() {
    let server = Server::start().await;
    let unasked = run(&server.variables(), &["reset", "demo/main", "--all"]).await;
    assert_eq!(unasked.exit, Exit::Usage);
    assert!(server.lock().posted.is_empty());
    for (flag, value) in [("--path", "a"), ("--prefix", "d/")] {
        assert_eq!(run(&server.variables(), &["reset", "demo/main", flag, value, "-y"]).await.exit, Exit::Ok);
    }
    assert_eq!(run(&server.variables(), &["reset", "demo/main", "--all", "-y"]).await.exit, Exit::Ok);
    assert_eq!(
        server.lock().posted,
        [
            json!({"type": "object", "path": "a"}),
            json!({"type": "common_prefix", "path": "d/"}),
            json!({"type": "reset"})
        ]
    );
}

#[tokio::test]
async fn undo_tells_what_it_took_back() {
    let server = Server::start().await;
    let ran = run(&server.variables(), &["undo", "demo/main"]).await;
    assert_eq!(ran.stdout.text(), format!("{}\n", "c0".repeat(32)));
    assert_eq!(
        ran.stderr.text(),
        format!(
            "took back the commit \"Bad lot\" of 2026-11-24T11:00:00Z by ada; demo/main is at c0c0c0c0c0c0 again\n  \
             undo: millpond reset demo/main --hard {}\n",
            "c1".repeat(32)
        )
    );
    let back = run(&server.variables(), &["undo", "demo/gone"]).await;
    assert!(
        back.stderr.text().ends_with("undo: millpond branch delete demo/gone\n"),
        "{}",
        back.stderr.text()
    );
    let nothing = run(&server.variables(), &["undo", "demo/fresh"]).await;
    assert_eq!(nothing.exit, Exit::Conflict);
    assert_eq!(
        nothing.stderr.text(),
        "error: undo the last operation on demo/fresh: branch 'fresh' has not moved (HTTP 409)\n  \
         hint: millpond op log demo/fresh\n"
    );
}

#[tokio::test]
async fn errors_have_their_exit_codes_and_say_what_next() {
    let server = Server::start().await;
    let missing = run(&server.variables(), &["stat", "nowhere/main/a"]).await;
    assert_eq!(missing.exit, Exit::NotFound);
    assert_eq!(
        missing.stderr.text(),
        "error: look up nowhere/main/a: repository not found (HTTP 404)\n  \
         hint: 'millpond repo list' shows the repositories\n  request id: req-1\n"
    );
    let denied = run(&server.variables(), &["repo", "list", "--secret-access-key", "wrong"]).await;
    assert_eq!(denied.exit, Exit::Denied);
    assert!(denied.stderr.text().contains("millpond login"), "{}", denied.stderr.text());
    let down = run(&server.variables(), &["repo", "list", "--server", "http://127.0.0.1:1"]).await;
    assert_eq!(down.exit, Exit::Failed);
    assert!(
        down.stderr.text().contains("error: list the repositories: cannot connect: "),
        "{}",
        down.stderr.text()
    );
    assert!(down.stderr.text().contains("hint: start a server here with 'millpond up'"));
}

#[tokio::test]
async fn a_repository_is_not_deleted_without_its_name() {
    let server = Server::start().await;
    let ran = run(&server.variables(), &["branch", "delete", "demo/old"]).await;
    assert_eq!(ran.exit, Exit::Usage);
    let ran = run(&server.variables(), &["branch", "delete", "demo/old", "--yes"]).await;
    assert_eq!(ran.exit, Exit::Ok);
    assert!(
        ran.stderr
            .text()
            .contains(&format!("undo: millpond branch create demo/old --from {}", "c0".repeat(32)))
    );
}

#[tokio::test]
async fn login_saves_only_what_works() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let home = [("HOME", folder.path().to_str().expect("UTF-8"))];
    let file = folder.path().join(".config/millpond/config.toml");

    let wrong = ["login", &server.url, "--access-key-id", "id", "--secret-access-key", "wrong"];
    let refused = run(&home, &wrong).await;
    assert_eq!(refused.exit, Exit::Denied);
    assert!(!file.exists());
    let unknown = run(&home, &["repo", "list"]).await;
    assert_eq!(unknown.exit, Exit::Usage);

    let right =
        ["login", &server.url, "--access-key-id", "id", "--secret-access-key", "secret", "-o", "json"];
    let ran = run(&home, &right).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr.text());
    assert!(!ran.stdout.text().contains("\"secret\""), "{}", ran.stdout.text());
    let listed = run(&home, &["repo", "list"]).await;
    assert_eq!(listed.stdout.text(), "demo\tmain\t2026-11-23T12:00:00Z\tlocal:///demo\n");

    let elsewhere = run(&home, &["repo", "list", "--server", "http://127.0.0.1:1"]).await;
    assert_eq!(elsewhere.exit, Exit::Denied);
    let other = run(&home, &["repo", "list", "--profile", "other"]).await;
    assert_eq!(other.exit, Exit::Usage);
    assert!(other.stderr.text().contains("millpond login --profile other"), "{}", other.stderr.text());
}

#[tokio::test]
async fn an_import_is_looked_at_again_when_a_look_fails() {
    let server = Server::start().await;
    let arguments = ["import", "/srv/d", "demo/main/d/"];
    (server.lock().failing_looks, server.lock().look_status) = (2, 500);
    let ran = run(&server.variables(), &arguments).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr.text());
    let said = ran.stderr.text();
    assert_eq!(said.matches("looking again").count(), 1, "{said}");
    assert!(said.contains("imported 3 objects"), "{said}");
    // What will not change is told at once.
    (server.lock().failing_looks, server.lock().look_status) = (1, 404);
    let ran = run(&server.variables(), &arguments).await;
    assert_eq!(ran.exit, Exit::NotFound, "{}", ran.stderr.text());
}
