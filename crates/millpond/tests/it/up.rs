//! `millpond up`.

use super::process::Machine;
use std::os::unix::fs::PermissionsExt;

#[test]
fn the_second_start_makes_nothing_again() {
    let machine = Machine::new();
    let server = machine.start("up", &[]);
    let profile = machine.path(".config/millpond/config.toml");
    let mode = std::fs::metadata(&profile).expect("the profile").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The client verbs of the same binary find the server by the profile.
    assert!(machine.ok("repo list").contains("quickstart"));
    let branches = machine.ok("branch list quickstart");
    assert!(branches.contains("main") && branches.contains("experiment"), "{branches}");
    assert!(machine.ok("tag list quickstart").contains("v1.0"));
    let log = machine.ok("log quickstart/experiment");
    assert_eq!(log.lines().count(), 4, "three commits on the first: {log}");
    let diff = machine.ok("diff quickstart/main quickstart/experiment");
    assert!(diff.contains("models/penguins.safetensors") && diff.contains("overview.jpg"), "{diff}");
    let said = server.stop();
    let secret = std::fs::read_to_string(&profile).expect("the profile");
    let secret = secret
        .split("secret_access_key = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a secret");
    assert!(!said.contains(secret), "the secret is in the profile only: {said}");
    assert!(
        said.contains("quickstart/experiment") && said.contains("boto3") && said.contains("lakefs"),
        "{said}"
    );

    let server = machine.start("up", &[]);
    assert_eq!(machine.ok("log quickstart/experiment"), log, "nothing was made again");
    let again = std::fs::read_to_string(&profile).expect("the profile");
    assert!(again.contains(secret), "the key is the same");
    machine.ok("repo delete quickstart --yes");
    server.stop();

    let server = machine.start("up", &[]);
    assert!(!machine.ok("repo list").contains("quickstart"), "what was deleted stays deleted");
    server.stop();
}

#[test]
fn a_repository_of_that_name_is_left_alone() {
    let machine = Machine::new();
    machine.start("up", &[]).stop();
    // As after a start with `serve` and some work of the user.
    std::fs::remove_file(machine.path(".local/share/millpond/sample")).expect("there");
    let server = machine.start("up", &[]);
    assert_eq!(machine.ok("log quickstart/experiment").lines().count(), 4);
    assert!(server.stop().contains("was here already"));
}

#[test]
fn an_interrupted_first_start_is_made_whole() {
    let machine = Machine::new();
    machine.start("up", &[]).stop();
    std::fs::write(machine.path(".local/share/millpond/sample"), "begun\n").expect("written");
    let server = machine.start("up", &[]);
    assert_eq!(machine.ok("log quickstart/experiment").lines().count(), 4);
    server.stop();
}
