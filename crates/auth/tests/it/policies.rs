//! What may be saved as a policy, and what its author is told otherwise.

use millpond_auth::{Document, Statement};
use millpond_types::limits::POLICY_BYTES_MAX;
use serde_json::{Value, json};

fn check(statement: Value) -> Result<(), String> {
    let statement: Statement = serde_json::from_value(statement).map_err(|error| error.to_string())?;
    Document { statement: vec![statement], acl: None }.check().map_err(|error| error.to_string())
}

fn with(member: &str, value: Value) -> Value {
    let mut statement = json!({"effect": "allow", "action": ["fs:ReadObject"], "resource": "*"});
    statement[member] = value;
    statement
}

#[test]
fn good_policies_are_saved() {
    for statement in [
        with("effect", json!("deny")),
        with("action", json!(["fs:*", "auth:ListUsers", "ci:Read*", "millpond:BackUp", "fs:?eadObject"])),
        with("resource", json!("arn:lakefs:fs:::repository/a")),
        with("resource", json!("arn:lakefs:fs:eu::repository/a:b:c*")),
        with("resource", json!("arn:lakefs:auth:::user/${user}")),
        with("resource", json!(r#"["arn:lakefs:fs:::a", "*"]"#)),
        with("condition", json!({})),
        with("condition", json!({"IpAddress": {}})),
        with("condition", json!({"IpAddress": {"SourceIp": ["10.0.0.1", "10.1.2.3/8", "::1", "fe80::/10"]}})),
        with("condition", json!({"StringNotLike": {"SourceIp": ["10.*"]}})),
    ] {
        assert_eq!(check(statement.clone()), Ok(()), "{statement}");
    }
}

/// API-4.3, and what lakeFS takes and nobody can mean.
#[test]
fn each_mistake_is_named() {
    for (statement, told) in [
        (with("effect", json!("Allow")), "statement 1: the effect is `allow` or `deny`, not `Allow`"),
        (with("action", json!([])), "statement 1: it names no action"),
        (
            with("action", json!(["*"])),
            "statement 1: the action `*` is not <service>:<name> with a service of fs, auth, ci, retention, \
             branches, pr, catalog, millpond",
        ),
        (
            with("action", json!(["fs:a:b"])),
            "statement 1: the action `fs:a:b` is not <service>:<name> with a service of fs, auth, ci, retention, \
             branches, pr, catalog, millpond",
        ),
        (
            with("action", json!(["fs:readobject"])),
            "statement 1: `fs:readobject` is no action; there is `fs:ReadObject`",
        ),
        (
            with("action", json!(["auth:ReadObject"])),
            "statement 1: `auth:ReadObject` is no action; there is `fs:ReadObject`",
        ),
        (with("action", json!(["fs:Raed*"])), "statement 1: `fs:Raed*` matches no action"),
        (
            with("resource", json!("repository/a")),
            "statement 1: the resource `repository/a`: a resource is `*` or has the form arn:lakefs:<service>:::<name>",
        ),
        (
            with("resource", json!("")),
            "statement 1: the resource ``: a resource is `*` or has the form arn:lakefs:<service>:::<name>",
        ),
        (
            with("resource", json!("arn:aws:s3:::a")),
            "statement 1: the resource `arn:aws:s3:::a`: an ARN begins with arn:lakefs:",
        ),
        (
            with("resource", json!("arn:lakefs:fs::7:a")),
            "statement 1: the resource `arn:lakefs:fs::7:a`: an ARN has no account here: its fifth field is empty",
        ),
        (
            with("resource", json!("arn:lakefs:fs:::${team}/a")),
            "statement 1: the resource `arn:lakefs:fs:::${team}/a`: the only variable is ${user}",
        ),
        (
            with("resource", json!("[\"arn:lakefs:fs:::a\", 7]")),
            "statement 1: the resource begins as a JSON array but is no array of texts",
        ),
        (with("resource", json!("[]")), "statement 1: it names no resource"),
        (
            with("condition", json!({"DateLessThan": {"SourceIp": ["x"]}})),
            "statement 1: the condition `DateLessThan` is not one of IpAddress, NotIpAddress, StringLike, StringNotLike",
        ),
        (
            with("condition", json!({"StringLike": {"millpond:RunId": ["x"]}})),
            "statement 1: conditions speak of `SourceIp`, not of `millpond:RunId`",
        ),
        (
            with("condition", json!({"IpAddress": {"SourceIp": []}})),
            "statement 1: the condition `IpAddress` has no value for `SourceIp`",
        ),
        (
            with("condition", json!({"IpAddress": {"SourceIp": ["10.0.0.0/33"]}})),
            "statement 1: `10.0.0.0/33` is no address and no range of addresses",
        ),
    ] {
        assert_eq!(check(statement.clone()), Err(told.to_owned()), "{statement}");
    }
    let unknown = check(with("Condition", json!({}))).expect_err("a member in capitals would be passed over");
    assert!(unknown.contains("unknown field `Condition`"), "{unknown}");
    let none = Document::default().check().expect_err("a policy that says nothing");
    assert_eq!(none.to_string(), "a policy needs a statement");
}

#[test]
fn the_size_of_a_policy_is_bounded() {
    let of_bytes = |bytes: usize| {
        let resource = format!("arn:lakefs:fs:::{}", "a".repeat(bytes));
        let statement = with("resource", json!(resource));
        let document: Document =
            serde_json::from_value(json!({"statement": [statement]})).expect("a document");
        (serde_json::to_string(&document).expect("JSON").len(), document.check())
    };
    let (frame, _) = of_bytes(0);
    let (bytes, result) = of_bytes(POLICY_BYTES_MAX - frame);
    assert_eq!(bytes, POLICY_BYTES_MAX);
    assert!(result.is_ok(), "{result:?}");
    assert!(of_bytes(POLICY_BYTES_MAX - frame + 1).1.is_err());
}
