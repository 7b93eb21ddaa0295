//! The evaluator against a reference that is slow and obviously right, and by the facts of area 4.

use millpond_auth::Statement;
use millpond_auth::{Access, Action, Because, Circumstances, Document, Effect, Error, Miss, Needs, Resource};
use millpond_testkit::Seeded;
use millpond_types::{ObjectPath, RepositoryName};
use std::collections::BTreeMap;
use std::net::IpAddr;

fn statement(effect: &str, action: &[&str], resource: &str) -> Statement {
    let action = action.iter().map(|&action| action.to_owned()).collect();
    Statement { effect: effect.to_owned(), action, resource: resource.to_owned(), condition: None }
}

fn document(statement: impl IntoIterator<Item = Statement>) -> Document {
    Document { statement: statement.into_iter().collect(), acl: None }
}

fn condition(operator: &str, values: &[&str]) -> Option<BTreeMap<String, BTreeMap<String, Vec<String>>>> {
    let values = values.iter().map(|&value| value.to_owned()).collect();
    Some([(operator.to_owned(), [("SourceIp".to_owned(), values)].into())].into())
}

fn from(address: &str) -> Circumstances {
    Circumstances { source_ip: Some(address.parse().expect("an address")) }
}

fn access(user: &str, policies: &[(&str, Document)], at: Circumstances) -> Access {
    for (name, document) in policies {
        document.check().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    Access::with_policies(user, policies.iter().map(|(name, document)| (*name, document)), at)
}

fn named(arn: &str) -> Resource<'_> {
    Resource::parse(arn).expect("an ARN")
}

/// The reference: reads every document anew, and tries all ways for each `*`.
mod reference {
    use super::*;

    fn like(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=text.len()).any(|taken| like(rest, &text[taken..])),
            (['?', rest @ ..], [_, more @ ..]) => like(rest, more),
            ([a, rest @ ..], [b, more @ ..]) => a == b && like(rest, more),
            _ => false,
        }
    }

    fn matches(pattern: &str, text: &str) -> bool {
        like(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
    }

    fn covers(pattern: &str, user: &str, resource: &str) -> bool {
        let fields = |arn: &str| arn.splitn(6, ':').map(str::to_owned).collect::<Vec<_>>();
        if pattern == "*" {
            return true;
        }
        let (pattern, resource) = (fields(&pattern.replace("${user}", user)), fields(resource));
        resource.len() == 6
            && pattern[2] == resource[2]
            && pattern[4] == resource[4]
            && matches(&pattern[5], &resource[5])
    }

    fn in_range(value: &str, address: IpAddr) -> bool {
        let (IpAddr::V4(address), (net, bits)) = (address, value.split_once('/').unwrap_or((value, "32")))
        else {
            return false;
        };
        let (Ok(IpAddr::V4(net)), bits) = (net.parse(), bits.parse::<u32>().expect("bits")) else {
            return false;
        };
        let kept = |address: u32| u64::from(address) >> (32 - bits);
        kept(net.into()) == kept(address.into())
    }

    fn holds(statement: &Statement, at: &Circumstances) -> bool {
        statement.condition.iter().flatten().all(|(operator, fields)| {
            fields.values().all(|values| {
                let Some(address) = at.source_ip else { return false };
                let text = address.to_string();
                let any_range = values.iter().any(|value| in_range(value, address));
                let any_text = values.iter().any(|value| matches(value, &text));
                match &operator[..] {
                    "IpAddress" => any_range,
                    "NotIpAddress" => !any_range,
                    "StringLike" => any_text,
                    "StringNotLike" => !any_text,
                    other => panic!("{other}"),
                }
            })
        })
    }

    /// 1: allowed, -1: denied, 0: neither.
    pub fn judge(
        user: &str,
        policies: &[(&str, Document)],
        action: Action,
        resource: &str,
        at: &Circumstances,
    ) -> i32 {
        let mut allowed = 0;
        for statement in policies.iter().flat_map(|(_, document)| &document.statement) {
            let list = serde_json::from_str(&statement.resource);
            let list: Vec<String> = list.unwrap_or_else(|_| vec![statement.resource.clone()]);
            let matching = statement.action.iter().any(|pattern| matches(pattern, action.name()))
                && list.iter().any(|pattern| covers(pattern, user, resource))
                && holds(statement, at);
            match &statement.effect[..] {
                "deny" if matching => return -1,
                "allow" if matching => allowed = 1,
                _ => {}
            }
        }
        allowed
    }
}

const PATTERNS: &[&str] = &[
    "*",
    "arn:lakefs:fs:::*",
    "arn:lakefs:fs:::repository/a*",
    "arn:lakefs:fs:::repository/aa",
    "arn:lakefs:fs:eu::repository/??/*",
    "arn:lakefs:fs:::repository/*/object/x/*",
    "arn:lakefs:fs:::repository/*/object/*é?",
    "arn:lakefs:fs:::repository/${user}/*",
    "arn:lakefs:auth:::user/${user}",
    "arn:lakefs:auth:::user/*",
    r#"["arn:lakefs:fs:::repository/bb*", "arn:lakefs:auth:::*"]"#,
    r#" ["*"]"#,
];

const RESOURCES: &[&str] = &[
    "*",
    "arn:lakefs:fs:::repository/aa",
    "arn:lakefs:fs:::repository/bb",
    "arn:lakefs:fs:::repository/aa/object/x/y",
    "arn:lakefs:fs:::repository/bb/object/x/",
    "arn:lakefs:fs:::repository/ab/object/*",
    "arn:lakefs:fs:::repository/ab/object/déjà",
    "arn:lakefs:fs:::repository/ab/object/xéé",
    "arn:lakefs:fs:::repository/bb/branch/main",
    "arn:lakefs:fs:::namespace/local://aa:1",
    "arn:lakefs:auth:::user/aa",
    "arn:lakefs:auth:::user/bb",
];

const ACTIONS: &[&str] = &[
    "fs:*",
    "fs:Read*",
    "fs:ReadObject",
    "fs:*Object",
    "fs:?eadObject",
    "auth:*",
    "auth:Read*",
    "ci:*",
    "*s:Li*",
];

const CONDITIONS: &[(&str, &[&str])] = &[
    ("IpAddress", &["10.0.0.0/8"]),
    ("IpAddress", &["10.1.2.3", "192.168.0.0/16"]),
    ("NotIpAddress", &["10.0.0.0/8", "192.168.1.0/24"]),
    ("StringLike", &["10.*", "192.168.?.*"]),
    ("StringNotLike", &["10.*"]),
];

fn random_statement(chance: &Seeded) -> Statement {
    let effect = if chance.below(4) == 0 { "deny" } else { "allow" };
    // The last pattern has no service of its own and may not be saved.
    let action =
        (0..=chance.below(2)).map(|_| *chance.pick(&ACTIONS[..ACTIONS.len() - 1])).collect::<Vec<_>>();
    let mut made = statement(effect, &action, chance.pick::<&str>(PATTERNS));
    if chance.below(3) == 0 {
        let (operator, values) = *chance.pick(CONDITIONS);
        made.condition = condition(operator, values);
    }
    made
}

#[test]
fn random_policies_are_judged_as_the_reference_says() {
    let chance = Seeded::new(5);
    let actions = [
        "fs:ReadObject",
        "fs:ListBranches",
        "fs:WriteObject",
        "auth:ReadUser",
        "auth:ListUsers",
        "ci:ReadAction",
    ];
    let mut seen = [0; 3];
    for round in 0..4000 {
        let names = ["P0", "P1", "P2", "P3"];
        let policies: Vec<(&str, Document)> = names[..chance.below(4)]
            .iter()
            .map(|&name| (name, document((0..=chance.below(3)).map(|_| random_statement(&chance)))))
            .collect();
        let at = match chance.below(4) {
            0 => Circumstances::default(),
            1 => from("10.1.2.3"),
            2 => from("192.168.1.7"),
            _ => from("8.8.8.8"),
        };
        let user = *chance.pick(&["aa", "bb", "*", "??"]);
        let access = access(user, &policies, at);
        // A user named `*` is nobody but `*`: the reference replaces text, so it is asked about others only then.
        for resource in RESOURCES.iter().filter(|_| !user.contains(['*', '?'])) {
            let action = Action::parse(chance.pick::<&str>(&actions)).expect("an action");
            let expected = reference::judge(user, &policies, action, resource, &at);
            let shown = || format!("round {round}: {user} {action} {resource} at {at:?} with {policies:#?}");
            assert_eq!(access.allows(action, named(resource)), expected == 1, "{}", shown());
            let explanation = access.explain(action, named(resource));
            assert_eq!(explanation.allowed, expected == 1, "{}", shown());
            match explanation.because {
                Because::Statement { effect, policy, statement } => {
                    assert_eq!(effect == Effect::Deny, expected == -1, "{}", shown());
                    // The statement that is named decides alone as all do together.
                    let (_, named_policy) = policies.iter().find(|(name, _)| *name == policy).expect("named");
                    let alone = document([named_policy.statement[statement - 1].clone()]);
                    let alone = reference::judge(user, &[("P", alone)], action, resource, &at);
                    assert_eq!(alone, expected, "{}", shown());
                }
                Because::NoStatement => assert_eq!(expected, 0, "{}", shown()),
                other => panic!("{other:?} {}", shown()),
            }
            seen[(expected + 1) as usize] += 1;
        }
    }
    assert!(seen.iter().all(|&n| n > 1000), "denied, neither, allowed: {seen:?}; the cases say little");
}

#[test]
fn random_trees_of_needs_are_weighed_as_the_rule_says() {
    /// API-4.12, from the values of the leaves.
    fn weigh(needs: &Needs<'_>, leaf: &impl Fn(Action) -> i32) -> i32 {
        match needs {
            Needs::One(action, _) => leaf(*action),
            Needs::All(all) => all.iter().map(|n| weigh(n, leaf)).find(|&n| n != 1).unwrap_or(1),
            Needs::Any(any) => {
                let all: Vec<i32> = any.iter().map(|n| weigh(n, leaf)).collect();
                if all.contains(&-1) { -1 } else { i32::from(all.contains(&1)) }
            }
        }
    }
    let chance = Seeded::new(9);
    let policies = [(
        "P",
        document([statement("allow", &["fs:ReadObject"], "*"), statement("deny", &["fs:WriteObject"], "*")]),
    )];
    let access = access("u", &policies, Circumstances::default());
    let leaf = |action| match action {
        Action::ReadObject => 1,
        Action::WriteObject => -1,
        _ => 0,
    };
    let one = |_| {
        let action =
            *chance.pick(&[Action::ReadObject, Action::ReadObject, Action::ListTags, Action::WriteObject]);
        Needs::One(action, Resource::Any)
    };
    let mut allowed = 0;
    for _ in 0..3000 {
        let pairs: Vec<Vec<Needs<'_>>> = (0..3).map(|_| (0..=chance.below(2)).map(one).collect()).collect();
        let inner: Vec<Needs<'_>> = pairs
            .iter()
            .map(|pair| if chance.below(2) == 0 { Needs::All(pair) } else { Needs::Any(pair) })
            .collect();
        let whole = if chance.below(2) == 0 { Needs::All(&inner) } else { Needs::Any(&inner) };
        let expected = weigh(&whole, &leaf) == 1;
        assert_eq!(access.require(&whole).is_ok(), expected, "{whole:?}");
        allowed += u32::from(expected);
    }
    assert!((500..2500).contains(&allowed), "{allowed} of 3000: the cases say little");
}

/// A copy needs both sides, and the refusal names the side that is missing.
#[test]
fn both_sides_of_a_copy_are_needed() {
    let repo = |name| RepositoryName::parse(name).expect("valid");
    let (source, destination, path) =
        (repo("source"), repo("destination"), ObjectPath::parse("a").expect("valid"));
    let needs = [
        Needs::One(Action::ReadObject, Resource::Object(&source, &path)),
        Needs::One(Action::WriteObject, Resource::Object(&destination, &path)),
    ];
    let read = statement("allow", &["fs:ReadObject"], "arn:lakefs:fs:::repository/source/*");
    let write = statement("allow", &["fs:WriteObject"], "arn:lakefs:fs:::repository/destination/*");
    for (statements, missing) in [
        (vec![read.clone()], Some("arn:lakefs:fs:::repository/destination/object/a")),
        (vec![write.clone()], Some("arn:lakefs:fs:::repository/source/object/a")),
        (vec![read, write], None),
    ] {
        let access = access("u", &[("P", document(statements))], Circumstances::default());
        match (access.require(&Needs::All(&needs)), missing) {
            (Ok(permit), None) => assert_eq!(permit.user(), "u"),
            (Err(Error::Denied { resource, .. }), Some(missing)) => assert_eq!(resource, missing),
            other => panic!("{other:?}"),
        }
    }
}

/// Facts of area 4, each with its number: statements, question, answer.
#[test]
fn facts_of_area_4() {
    let allow = |action: &str, resource: &str| statement("allow", &[action], resource);
    let deny = |action: &str, resource: &str| statement("deny", &[action], resource);
    let object = "arn:lakefs:fs:::repository/foo/object/a/b";
    let table: Vec<(&str, Vec<Statement>, &str, &str, bool)> = vec![
        (
            "4.2 a list",
            vec![allow("fs:*", r#"["arn:lakefs:fs:::repository/x", "arn:lakefs:fs:::repository/foo/*"]"#)],
            "fs:ReadObject",
            object,
            true,
        ),
        ("4.4 case", vec![allow("fs:*", "arn:lakefs:fs:::repository/FOO/*")], "fs:ReadObject", object, false),
        (
            "4.5 the region says nothing",
            vec![allow("fs:*", "arn:lakefs:fs:mars::repository/foo/*")],
            "fs:ReadObject",
            object,
            true,
        ),
        (
            "4.6 the service is plain",
            vec![allow("fs:*", "arn:lakefs:auth:::*")],
            "fs:ReadObject",
            object,
            false,
        ),
        ("4.6 a plain * matches all", vec![allow("fs:*", "*")], "fs:ReadObject", object, true),
        (
            "4.7 the variable",
            vec![allow("auth:*", "arn:lakefs:auth:::user/${user}")],
            "auth:ReadUser",
            "arn:lakefs:auth:::user/eve",
            true,
        ),
        (
            "4.7 nobody else",
            vec![allow("auth:*", "arn:lakefs:auth:::user/${user}")],
            "auth:ReadUser",
            "arn:lakefs:auth:::user/adam",
            false,
        ),
        (
            "4.9 everything needs a literal *",
            vec![allow("auth:*", "arn:lakefs:auth:::*")],
            "auth:ListUsers",
            "*",
            false,
        ),
        ("4.9 and a literal * covers it", vec![allow("auth:*", "*")], "auth:ListUsers", "*", true),
        (
            "4.11 a denial decides",
            vec![allow("fs:*", "*"), deny("fs:Read*", "arn:lakefs:fs:::repository/foo/object/a/*")],
            "fs:ReadObject",
            object,
            false,
        ),
        (
            "4.11 wherever it stands",
            vec![deny("fs:ReadObject", "*"), allow("fs:*", "*")],
            "fs:ReadObject",
            object,
            false,
        ),
        (
            "4.11 a denial of something else",
            vec![allow("fs:*", "*"), deny("fs:WriteObject", "*")],
            "fs:ReadObject",
            object,
            true,
        ),
        ("4.11 silence is no", vec![], "fs:ReadObject", object, false),
        (
            "4.23 * crosses /",
            vec![allow("fs:*", "arn:lakefs:fs:::repository/fo*")],
            "fs:ReadObject",
            object,
            true,
        ),
        (
            "4.23 and names of more",
            vec![allow("fs:*", "arn:lakefs:fs:::repository/foo")],
            "fs:ReadObject",
            object,
            false,
        ),
    ];
    for (fact, statements, action, resource, allowed) in table {
        let policies: Vec<_> = if statements.is_empty() { vec![] } else { vec![("P", document(statements))] };
        let access = access("eve", &policies, from("10.0.0.1"));
        let action = Action::parse(action).expect("an action");
        assert_eq!(access.allows(action, named(resource)), allowed, "{fact}");
    }
}

/// API-4.13 to 4.15, 4.17.
#[test]
fn conditions() {
    let unknown = Circumstances::default();
    for (operator, values, at, holds) in [
        ("IpAddress", &["10.0.0.0/8"][..], from("10.200.0.1"), true),
        ("IpAddress", &["10.0.0.0/8"], from("11.0.0.1"), false),
        ("IpAddress", &["1.2.3.4", "2001:db8::/32"], from("2001:db8::7"), true),
        ("IpAddress", &["1.2.3.4", "2001:db8::/32"], from("1.2.3.4"), true),
        ("IpAddress", &["1.2.3.4"], from("::ffff:1.2.3.4"), true),
        ("IpAddress", &["::ffff:1.2.3.0/120"], from("1.2.3.4"), true),
        ("IpAddress", &["0.0.0.0/0"], from("::1"), false),
        ("IpAddress", &["10.0.0.0/8"], unknown, false),
        ("NotIpAddress", &["10.0.0.0/8"], from("11.0.0.1"), true),
        ("NotIpAddress", &["10.0.0.0/8", "11.0.0.0/8"], from("11.0.0.1"), false),
        ("NotIpAddress", &["10.0.0.0/8"], unknown, false),
        ("StringLike", &["10.?.*"], from("10.1.2.3"), true),
        ("StringLike", &["10.?.*"], from("10.10.2.3"), false),
        ("StringNotLike", &["10.*"], from("11.0.0.1"), true),
        ("StringNotLike", &["10.*"], unknown, false),
    ] {
        for (effect, other) in [("allow", vec![]), ("deny", vec![statement("allow", &["fs:*"], "*")])] {
            let mut conditional = statement(effect, &["fs:*"], "*");
            conditional.condition = condition(operator, values);
            let statements = other.into_iter().chain([conditional]);
            let access = access("u", &[("P", document(statements))], at);
            let expected = holds == (effect == "allow");
            let said = access.allows(Action::ReadObject, Resource::Any);
            assert_eq!(said, expected, "{effect} {operator} {values:?} at {at:?}");
        }
    }
    let mut both = statement("allow", &["fs:*"], "*");
    both.condition = condition("IpAddress", &["10.0.0.0/8"]);
    both.condition.as_mut().expect("set").extend(condition("StringLike", &["*.7"]).expect("set"));
    for (address, allowed) in [("10.0.0.7", true), ("10.0.0.8", false), ("11.0.0.7", false)] {
        let access = access("u", &[("P", document([both.clone()]))], from(address));
        assert_eq!(
            access.allows(Action::ReadObject, Resource::Any),
            allowed,
            "all operators must hold: {address}"
        );
    }
    both.condition = Some([("IpAddress".to_owned(), BTreeMap::new())].into());
    let access = access("u", &[("P", document([both]))], unknown);
    assert!(access.allows(Action::ReadObject, Resource::Any), "an operator without fields holds (API-4.17)");
}

/// API-4.18, first gate.
#[test]
fn the_gate_before_a_list_looks_at_permissions_alone() {
    let mut conditional = statement("allow", &["fs:List*"], "arn:lakefs:fs:::repository/a");
    conditional.condition = condition("IpAddress", &["10.0.0.0/8"]);
    let policies = [("P", document([conditional, statement("deny", &["fs:*"], "*")]))];
    let access = access("u", &policies, Circumstances::default());
    assert!(access.allows_somewhere(Action::ListRepositories));
    assert!(!access.allows_somewhere(Action::ReadObject), "a denial is no permission");
}

#[test]
fn what_another_version_saved_and_nobody_understands_denies_everything() {
    let good = document([statement("allow", &["fs:*"], "*")]);
    let mut strange = statement("allow", &["fs:*"], "arn:lakefs:fs:::repository/x");
    strange.condition = Some([("DateLessThan".to_owned(), BTreeMap::new())].into());
    let strange = document([strange]);
    assert!(strange.check().is_err());
    let access =
        Access::with_policies("u", [("Good", &good), ("Strange", &strange)], Circumstances::default());
    let explanation = access.explain(Action::ReadObject, Resource::Any);
    assert_eq!(explanation.because, Because::Unreadable { policy: "Strange".to_owned() });
    assert!(!explanation.allowed);
    let future = document([statement("allow", &["fs:*", "fs:Teleport"], "*")]);
    assert!(future.check().is_err(), "not saved");
    let access = Access::with_policies("u", [("Future", &future)], Circumstances::default());
    assert!(
        access.allows(Action::ReadObject, Resource::Any),
        "but an action that nobody asks for harms nobody"
    );
}

#[test]
fn limits_take_away_and_never_give() {
    let all = document([statement("allow", &["fs:*", "auth:*", "ci:*"], "*")]);
    let reads = document([statement("allow", &["fs:Read*", "auth:*"], "*")]);
    let one = document([statement("allow", &["fs:*", "auth:*"], "arn:lakefs:fs:::repository/one/*")]);
    let nobody = Access::with_policies("u", [], Circumstances::default()).limited_to(&all);
    assert!(!nobody.allows(Action::ReadObject, Resource::Any), "limits give nothing");
    let object = named("arn:lakefs:fs:::repository/one/object/a");
    let elsewhere = named("arn:lakefs:fs:::repository/two/object/a");
    let full = || Access::with_policies("u", [("All", &all)], Circumstances::default());
    assert!(full().allows(Action::WriteObject, elsewhere));
    let twice = full().limited_to(&reads).limited_to(&one);
    assert!(twice.allows(Action::ReadObject, object));
    for (action, resource) in [(Action::ReadObject, elsewhere), (Action::WriteObject, object)] {
        assert!(!twice.allows(action, resource), "each limit must permit: {action} {resource}");
        assert_eq!(twice.explain(action, resource).because, Because::Limited);
    }
    assert!(twice.allows_somewhere(Action::ReadObject) && !twice.allows_somewhere(Action::WriteObject));
    let limited = full().limited_to(&reads);
    for &action in Action::ALL.iter().filter(|action| action.name().starts_with("auth:")) {
        let harmless = action.name().contains(":Read") || action.name().contains(":List");
        let expected = harmless || action == Action::CreateCredentials;
        assert_eq!(
            limited.allows(action, Resource::Any),
            expected,
            "{action}: a limited key changes nobody's rights"
        );
        assert_eq!(limited.allows_somewhere(action), expected, "{action}");
    }
}

#[test]
fn explanations_read_well() {
    let mut office = statement("allow", &["fs:ReadObject"], "*");
    office.condition = condition("IpAddress", &["10.0.0.0/8"]);
    let policies = [
        (
            "Team",
            document([
                statement("allow", &["fs:ListObjects"], "*"),
                statement("allow", &["fs:Read*"], "arn:lakefs:fs:::repository/a/*"),
            ]),
        ),
        ("Office", document([office])),
        ("Freeze", document([statement("deny", &["fs:WriteObject"], "*")])),
    ];
    let access = access("eve", &policies, from("8.8.8.8"));
    let explain = |action, arn| access.explain(action, Resource::parse(arn).expect("an ARN"));
    let (a, b) = ("arn:lakefs:fs:::repository/a/object/x", "arn:lakefs:fs:::repository/b/object/x");
    for (action, arn, text) in [
        (
            Action::ReadObject,
            a,
            format!("eve may fs:ReadObject on {a}: statement 2 of policy Team allows it"),
        ),
        (
            Action::WriteObject,
            a,
            format!("eve may not fs:WriteObject on {a}: statement 1 of policy Freeze denies it"),
        ),
        (Action::ReadObject, b, format!("eve may not fs:ReadObject on {b}: no statement matches")),
    ] {
        assert_eq!(explain(action, arn).to_string(), text);
    }
    let near = [("Team".to_owned(), 2, Miss::Resource), ("Office".to_owned(), 1, Miss::Condition)];
    assert_eq!(explain(Action::ReadObject, b).near, near);
}
