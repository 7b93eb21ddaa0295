//! What the claims about a person mean here.

use crate::error::{Error, Result};
use crate::id_token::{Claims, subject};
use crate::settings::Settings;
use serde_json::Value;
use std::collections::BTreeSet;

/// Somebody, as the provider knows him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `issuer#sub`: the one thing by which he is known again.
    pub principal: String,
    /// What he would be called here.
    pub name: String,
    /// For people; may be empty.
    pub friendly_name: String,
    /// For people; may be empty, and proves nothing.
    pub email: String,
    /// Names of groups here, whether or not they exist.
    pub groups: BTreeSet<String>,
}

/// Whether the settings name a claim that is not there.
pub fn lacks(claims: &Claims, settings: &Settings) -> bool {
    let required = settings.required_claims.iter().map(|(name, _)| name);
    let mut named = required.chain(&settings.groups_claim).chain([&settings.username_claim]);
    named.any(|name| !claims.contains_key(name))
}

/// Adds what is said elsewhere about the same person; what the token says stands.
///
/// # Errors
/// [`Error::Misfit`] when it is about somebody else.
pub fn add(claims: &mut Claims, more: Claims) -> Result<()> {
    if subject(&more).is_none() || subject(&more) != subject(claims) {
        return Err(Error::Misfit("its userinfo is about another person".into()));
    }
    for (name, value) in more {
        claims.entry(name).or_insert(value);
    }
    Ok(())
}

/// Who it is.
///
/// # Errors
/// [`Error::NotAllowed`] when a required claim is not as it must be, or there is no name.
pub fn identity(claims: &Claims, settings: &Settings) -> Result<Identity> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    for (name, value) in &settings.required_claims {
        if !texts(claims.get(name)).contains(value) {
            let message = format!("only people whose claim '{name}' is '{value}' may sign in here");
            return Err(Error::NotAllowed(message));
        }
    }
    let name = text(&settings.username_claim);
    if name.is_empty() {
        let message = format!(
            "the provider does not say the claim '{}', by which users are named",
            settings.username_claim
        );
        return Err(Error::NotAllowed(message));
    }
    let theirs = match settings.groups_claim.as_ref().and_then(|name| claims.get(name)) {
        // A text is a list with commas (API-2.21).
        Some(Value::String(list)) => list.split(',').map(|name| name.trim().to_owned()).collect(),
        list => texts(list),
    };
    let mapped =
        settings.groups.iter().filter(|(there, _)| theirs.contains(there)).map(|(_, here)| here.clone());
    let mut groups: BTreeSet<String> =
        if settings.groups.is_empty() { theirs.clone().into_iter().collect() } else { mapped.collect() };
    groups.extend(settings.default_groups.iter().cloned());
    Ok(Identity {
        principal: format!("{}#{}", settings.issuer, text("sub")),
        name: name.to_owned(),
        friendly_name: visible_text(text("name")),
        email: visible_text(text("email")),
        groups,
    })
}

/// What a claim says: one thing, or each of several.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => vec![value.to_string()],
        _ => Vec::new(),
    }
}

/// For people to read: one line, not without end.
fn visible_text(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings() -> Settings {
        let pairs =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        Settings {
            groups_claim: Some("groups".into()),
            groups: pairs(&[("ops", "Admins"), ("data", "Developers"), ("ops", "Viewers")]),
            default_groups: vec!["Everybody".into()],
            ..Settings::plain()
        }
    }

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    fn groups(value: Value, settings: &Settings) -> Vec<String> {
        let claims = claims(json!({"sub": "7", "groups": value}));
        identity(&claims, settings).unwrap().groups.into_iter().collect()
    }

    #[test]
    fn groups_are_mapped_and_the_rest_is_passed_over() {
        let with = settings();
        assert_eq!(groups(json!(["ops", "Admins", "x"]), &with), ["Admins", "Everybody", "Viewers"]);
        assert_eq!(groups(json!("data, x"), &with), ["Developers", "Everybody"]);
        for nothing in [Value::Null, json!([]), json!(""), json!([7, {"name": "ops"}]), json!({"ops": true})]
        {
            assert_eq!(groups(nothing, &with), ["Everybody"]);
        }
        let plain = Settings { groups: vec![], default_groups: vec![], ..settings() };
        assert_eq!(groups(json!(["b", "a"]), &plain), ["a", "b"]);
        let unasked = Settings { groups_claim: None, ..plain };
        assert!(groups(json!(["a"]), &unasked).is_empty());
    }

    #[test]
    fn a_person_is_known_by_issuer_and_subject() {
        let said =
            claims(json!({"sub": "7", "email": "eve@x\n", "name": "Eve", "preferred_username": "eve"}));
        let who = identity(&said, &settings()).unwrap();
        assert_eq!(
            (&*who.principal, &*who.name, &*who.friendly_name, &*who.email),
            ("https://id#7", "7", "Eve", "eve@x")
        );
        let named = Settings { username_claim: "preferred_username".into(), ..settings() };
        assert_eq!(identity(&said, &named).unwrap().name, "eve");
        let without = claims(json!({"sub": "7"}));
        assert!(matches!(identity(&without, &named), Err(Error::NotAllowed(_))));
        assert!(lacks(&without, &named) && lacks(&without, &settings()));
    }

    #[test]
    fn required_claims_are_required() {
        let asked =
            |value: &str| Settings { required_claims: vec![("hd".into(), value.into())], ..settings() };
        let table = [
            (json!({"sub": "7", "hd": "x.org"}), "x.org", true),
            (json!({"sub": "7", "hd": ["y.org", "x.org"]}), "x.org", true),
            (json!({"sub": "7", "hd": true}), "true", true),
            (json!({"sub": "7", "hd": "x.org.evil"}), "x.org", false),
            (json!({"sub": "7", "hd": "y.org"}), "x.org", false),
            (json!({"sub": "7", "hd": null}), "null", false),
            (json!({"sub": "7"}), "", false),
        ];
        for (said, value, allowed) in table {
            assert_eq!(identity(&claims(said.clone()), &asked(value)).is_ok(), allowed, "{said}");
        }
    }

    #[test]
    fn userinfo_adds_and_never_replaces() {
        let mut said = claims(json!({"sub": "7", "groups": ["a"]}));
        add(&mut said, claims(json!({"sub": "7", "groups": ["Admins"], "name": "Eve"}))).unwrap();
        assert_eq!(said, claims(json!({"sub": "7", "groups": ["a"], "name": "Eve"})));
        for other in [json!({"sub": "8"}), json!({"name": "Eve"}), json!({"sub": ""})] {
            assert!(matches!(add(&mut said, claims(other)), Err(Error::Misfit(_))));
        }
    }
}
