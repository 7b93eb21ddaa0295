//! A user whose every request is decided by policies, as most users' are.

use super::{send, text};
use crate::sigv4::Keys;
use crate::site::Site;
use crate::wire::Connection;
use anyhow::Result;
use serde_json::{Value, json};

const USER: &str = "bench";
const GROUP: &str = "benches";

/// Makes the user and returns its key. What the scenarios do is permitted by the third policy that is looked at; the
/// two of the user's own deny, and speak of each of its requests. `site` is the administrator's.
pub(super) async fn with_five_policies(site: &Site) -> Result<Keys> {
    let of_group = [
        ("bench-other-teams", allow(&["fs:*"], "arn:lakefs:fs:::repository/team-*")),
        ("bench-reads", allow(&["fs:Read*", "fs:List*"], "*")),
        (
            "bench-writes",
            json!([
                statement("allow", &["fs:*"], "arn:lakefs:fs:::repository/*"),
                statement("allow", &["fs:*"], "arn:lakefs:fs:::namespace/*"),
            ]),
        ),
    ];
    let mut outside = statement("deny", &["fs:*"], "*");
    outside["condition"] =
        json!({"NotIpAddress": {"SourceIp": ["127.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16"]}});
    let of_user = [
        ("bench-from-inside", json!([outside])),
        (
            "bench-nothing-private",
            json!([statement(
                "deny",
                &["fs:ReadObject", "fs:WriteObject", "fs:DeleteObject"],
                "arn:lakefs:fs:::repository/*/object/private/*",
            )]),
        ),
    ];
    let mut connection = Connection::new(site.address);
    let mut ask = async |method: &str, target: &str, body: Option<Value>| {
        send(&mut connection, &site.api(method, target, body.as_ref())).await
    };
    ask("POST", "/auth/users", Some(json!({"id": USER}))).await?;
    ask("POST", "/auth/groups", Some(json!({"id": GROUP}))).await?;
    ask("PUT", &format!("/auth/groups/{GROUP}/members/{USER}"), None).await?;
    let of_group = of_group.map(|policy| (format!("/auth/groups/{GROUP}"), policy));
    let of_user = of_user.map(|policy| (format!("/auth/users/{USER}"), policy));
    for (holder, (name, statement)) in of_group.into_iter().chain(of_user) {
        ask("POST", "/auth/policies", Some(json!({"id": name, "statement": statement}))).await?;
        ask("PUT", &format!("{holder}/policies/{name}"), None).await?;
    }
    let key = ask("POST", &format!("/auth/users/{USER}/credentials"), None).await?.json()?;
    Ok(Keys { id: text(&key, "access_key_id")?, secret: text(&key, "secret_access_key")? })
}

fn allow(actions: &[&str], resource: &str) -> Value {
    json!([statement("allow", actions, resource)])
}

fn statement(effect: &str, actions: &[&str], resource: &str) -> Value {
    json!({"effect": effect, "action": actions, "resource": resource})
}
