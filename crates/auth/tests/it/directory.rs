//! Users, groups and policies by the facts of area 5.

use crate::machine::{ALL, Machine, access, change, named, policy, somebody, try_change, user};
use millpond_auth::{Acl, AclLevel, Action, Circumstances, Error, NewUser, Page, Resource};
use millpond_types::limits::AUTH_NAME_BYTES_MAX;

fn kind<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "fine",
        Err(Error::NotFound { .. }) => "not found",
        Err(Error::Exists { .. }) => "exists",
        Err(Error::Invalid(_)) => "invalid",
        Err(other) => panic!("{other:?}"),
    }
}

/// API-5.3, 5.4, each step as a change of its own.
#[tokio::test]
async fn what_exists_what_is_missing_and_what_is_attached_twice() {
    let auth = Machine::default().set_up().await;
    let all = policy("allow", &["fs:*"], "*");
    macro_rules! step {
        ($expected:literal, $change:ident => $step:expr) => {
            let result = try_change(&auth, |$change| $step).await;
            assert_eq!(kind(result), $expected, stringify!($step));
        };
    }
    step!("fine", c => c.create_user(&user("u")));
    step!("exists", c => c.create_user(&user("u")));
    step!("fine", c => c.create_group("g", "a group"));
    step!("exists", c => c.create_group("g", ""));
    step!("fine", c => c.create_policy("p", &all));
    step!("exists", c => c.create_policy("p", &all));
    step!("fine", c => c.add_member("g", "u"));
    step!("exists", c => c.add_member("g", "u"));
    step!("not found", c => c.add_member("g", "v"));
    step!("not found", c => c.add_member("h", "u"));
    step!("fine", c => c.attach_to_user("p", "u"));
    step!("exists", c => c.attach_to_user("p", "u"));
    step!("not found", c => c.attach_to_user("q", "u"));
    step!("not found", c => c.attach_to_user("p", "v"));
    step!("fine", c => c.attach_to_group("p", "g"));
    step!("exists", c => c.attach_to_group("p", "g"));
    step!("not found", c => c.attach_to_group("p", "h"));
    step!("fine", c => c.detach_from_user("p", "u"));
    step!("fine", c => c.detach_from_user("p", "u"));
    step!("not found", c => c.detach_from_user("p", "v"));
    step!("fine", c => c.detach_from_group("p", "g"));
    step!("fine", c => c.detach_from_group("p", "g"));
    step!("not found", c => c.detach_from_group("q", "g"));
    step!("fine", c => c.remove_member("g", "u"));
    step!("fine", c => c.remove_member("g", "u"));
    step!("not found", c => c.remove_member("h", "u"));
    step!("not found", c => c.update_policy("q", &all));
    step!("invalid", c => c.update_policy("p", &policy("allow", &["*"], "*")));
    step!("invalid", c => c.create_policy("q", &policy("allow", &["fs:*"], "everything")));
    step!("fine", c => c.link_principal("u", "arn:aws:sts::1:x/y"));
    step!("exists", c => c.link_principal("admin", "arn:aws:sts::1:x/y"));
    step!("not found", c => c.unlink_principal("admin", "arn:aws:sts::1:x/y"));
    assert_eq!(&*auth.user_of_principal("arn:aws:sts::1:x/y").expect("linked"), "u");
    step!("fine", c => c.unlink_principal("u", "arn:aws:sts::1:x/y"));
    for gone in ["fine", "not found"] {
        assert_eq!(kind(try_change(&auth, |c| c.delete_user("u")).await), gone);
        assert_eq!(kind(try_change(&auth, |c| c.delete_group("g")).await), gone);
        assert_eq!(kind(try_change(&auth, |c| c.delete_policy("p")).await), gone);
    }
}

/// API-5.1, 5.2.
#[tokio::test]
async fn names_have_rules() {
    let auth = Machine::default().set_up().await;
    let longest = "n".repeat(AUTH_NAME_BYTES_MAX);
    for good in ["a", "eve@example.com", "Müller", "*", "a b", "auth0|1", &longest] {
        assert_eq!(kind(auth.change().await.create_user(&user(good))), "fine", "{good}");
        assert_eq!(kind(auth.change().await.create_group(good, "")), "fine", "{good}");
    }
    let longer = "n".repeat(AUTH_NAME_BYTES_MAX + 1);
    for bad in ["", "a/b", "50%", "a\nb", "a\0b", &longer] {
        assert_eq!(kind(auth.change().await.create_user(&user(bad))), "invalid", "{bad:?}");
        assert_eq!(kind(auth.change().await.create_group(bad, "")), "invalid", "{bad:?}");
        let all = policy("allow", &["fs:*"], "*");
        assert_eq!(kind(auth.change().await.create_policy(bad, &all)), "invalid", "{bad:?}");
    }
}

/// Rights follow each change at once, through every way a policy comes to a user.
#[tokio::test]
async fn rights_follow_changes_at_once() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let who = somebody(&auth, "eve").await;
    let object = named("arn:lakefs:fs:::repository/a/object/x");
    let may = || access(&auth, &who).allows(Action::ReadObject, object);
    assert!(!may(), "nothing by default");
    change(&auth, |c| c.create_policy("Read", &policy("allow", &["fs:Read*"], "*"))).await;
    change(&auth, |c| c.create_group("team", "")).await;
    assert!(!may());
    change(&auth, |c| c.attach_to_user("Read", "eve")).await;
    assert!(may(), "attached");
    change(&auth, |c| c.detach_from_user("Read", "eve")).await;
    assert!(!may(), "detached");
    change(&auth, |c| c.attach_to_group("Read", "team")).await;
    change(&auth, |c| c.add_member("team", "eve")).await;
    assert!(may(), "through a group");
    let why = auth.explain("eve", Action::ReadObject, object, Circumstances::default()).expect("there");
    let text = format!(
        "eve may fs:ReadObject on {object}: statement 1 of policy Read allows it (through group team)"
    );
    assert_eq!(why.to_string(), text);
    change(&auth, |c| c.update_policy("Read", &policy("deny", &["fs:Read*"], "*"))).await;
    assert!(!may(), "other words");
    change(&auth, |c| {
        c.update_policy("Read", &policy("allow", &["fs:Read*"], "arn:lakefs:fs:::repository/a/*"))
    })
    .await;
    assert!(may(), "and others again");
    change(&auth, |c| c.remove_member("team", "eve")).await;
    assert!(!may(), "no member any more");
    change(&auth, |c| c.add_member("team", "eve")).await;
    change(&auth, |c| c.detach_from_group("Read", "team")).await;
    assert!(!may(), "detached from the group");
    change(&auth, |c| c.attach_to_group("Read", "team")).await;
    assert!(may());
    change(&auth, |c| c.delete_policy("Read")).await;
    assert!(!may(), "the policy is gone");
    change(&auth, |c| c.create_policy("Read", &policy("allow", &["fs:Read*"], "*"))).await;
    assert!(!may(), "a new policy of that name is not attached");
    change(&auth, |c| c.attach_to_group("Read", "team")).await;
    assert!(may());
    let again = machine.start().await.expect("opens");
    assert!(
        access(&again, &again.vouched("eve").expect("there")).allows(Action::ReadObject, object),
        "as stored"
    );
    change(&auth, |c| c.delete_group("team")).await;
    assert!(!may(), "the group is gone");
}

/// `${user}` in a policy of a group is each member's own name, and an odd name is no pattern.
#[tokio::test]
async fn the_variable_is_each_users_own() {
    let auth = Machine::default().set_up().await;
    for name in ["eve", "adam", "*"] {
        change(&auth, |c| {
            c.create_user(&user(name))?;
            c.add_member("Viewers", name)
        })
        .await;
        let access = access(&auth, &auth.vouched(name).expect("there"));
        for other in ["eve", "adam", "*"] {
            let may = access.allows(Action::CreateCredentials, Resource::User(other));
            assert_eq!(may, name == other, "{name} on {other}");
        }
    }
}

/// API-5.5, and that a later user of the name gets nothing of the earlier (CVE-2024-43784).
#[tokio::test]
async fn a_deleted_user_is_gone_for_good() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let who = somebody(&auth, "eve").await;
    let key = who.key().expect("by key").to_owned();
    let password = auth.hash_password(&millpond_auth::Secret::new("correct horse")).await.expect("hashed");
    change(&auth, |c| c.set_password("eve", Some(password))).await;
    let (_, who) = auth.lookup(&key).expect("alive");
    let (session, link) = change(&auth, |c| {
        c.add_member("Admins", "eve")?;
        c.attach_to_user("FSFullAccess", "eve")?;
        c.link_principal("eve", "aws:eve")?;
        let hour = std::time::Duration::from_secs(3600);
        Ok((c.open_session(&who, hour)?.0, c.create_link("eve", hour, None)?.0))
    })
    .await;
    let (token, _) = auth.issue_token(&who).expect("alive");
    // Signed in without a key: only the user itself tells that it is another now.
    let signed_in = auth.vouched("eve").expect("there");
    let (own_token, _) = auth.issue_token(&signed_in).expect("alive");
    assert!(auth.verify_session(session.expose()).is_ok() && auth.verify_token(&token).is_ok());
    change(&auth, |c| c.delete_user("eve")).await;
    for made_again in [false, true] {
        if made_again {
            change(&auth, |c| c.create_user(&user("eve"))).await;
            let fresh = access(&auth, &auth.vouched("eve").expect("there"));
            assert!(!fresh.allows(Action::ReadObject, named("arn:lakefs:fs:::repository/a/object/x")));
            assert!(auth.groups_of("eve", ALL).expect("there").is_empty());
            assert!(auth.keys_of("eve", ALL).expect("there").is_empty());
        }
        for auth in [&auth, &machine.start().await.expect("opens")] {
            for who in [&who, &signed_in] {
                assert!(auth.access(who, Circumstances::default()).is_err(), "a request under way");
                assert!(auth.issue_token(who).is_err());
            }
            assert!(auth.verify_token(&own_token).is_err());
            assert!(auth.lookup(&key).is_none());
            assert!(auth.verify_session(session.expose()).is_err());
            assert!(auth.verify_token(&token).is_err());
            assert!(auth.user_of_principal("aws:eve").is_err());
            assert!(auth.check_password("eve", &millpond_auth::Secret::new("correct horse")).await.is_err());
            assert!(auth.change().await.redeem_link(link.expose()).is_err());
            assert!(!auth.members("Admins", ALL).expect("there").iter().any(|user| &*user.name == "eve"));
        }
    }
}

#[tokio::test]
async fn lists_have_pages_and_prefixes() {
    let auth = Machine::default().set_up().await;
    change(&auth, |c| {
        ["a", "a1", "a2", "b1", "ab"].iter().try_for_each(|name| {
            c.create_user(&NewUser { name, email: "x@y", friendly_name: "X", ..NewUser::default() })?;
            c.add_member("Viewers", name)
        })
    })
    .await;
    let names = |prefix, after, amount| -> Vec<String> {
        let page = Page { prefix, after, amount };
        let all = auth.users(page);
        let members = auth.members("Viewers", page).expect("there");
        let name = |user: &millpond_auth::UserInfo| user.name.to_string();
        let without = all.iter().filter(|user| !user.administrator).map(name).collect::<Vec<_>>();
        assert!(amount < 10 || without == members.iter().map(name).collect::<Vec<_>>());
        all.iter().map(name).collect()
    };
    assert_eq!(names("", "", 100), ["a", "a1", "a2", "ab", "admin", "b1"]);
    assert_eq!(names("", "a1", 2), ["a2", "ab"]);
    assert_eq!(names("a", "", 100), ["a", "a1", "a2", "ab", "admin"]);
    assert_eq!(names("a", "a2", 100), ["ab", "admin"]);
    assert_eq!(names("b", "a2", 100), ["b1"]);
    assert_eq!(names("b", "b1", 100), [""; 0]);
    assert_eq!(names("a", "", 0), [""; 0]);
    change(&auth, |c| c.describe_user("a", Some("Anna"), None)).await;
    let shown = auth.user("a").expect("there");
    assert_eq!((&*shown.friendly_name, &*shown.email, &*shown.source), ("Anna", "x@y", "internal"));
}

/// API-5.12.
#[tokio::test]
async fn effective_policies_are_the_union() {
    let auth = Machine::default().set_up().await;
    change(&auth, |c| {
        c.create_user(&user("eve"))?;
        c.attach_to_user("FSReadAll", "eve")?;
        c.attach_to_user("PRReadWriteAll", "eve")?;
        c.add_member("Viewers", "eve")
    })
    .await;
    let names = |policies: Vec<millpond_auth::PolicyInfo>| {
        policies.iter().map(|p| p.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(auth.policies_of("eve", ALL).expect("there")), ["FSReadAll", "PRReadWriteAll"]);
    let effective = names(auth.effective_policies_of("eve", ALL).expect("there"));
    assert_eq!(effective, ["AuthManageOwnCredentials", "CatalogReadAll", "FSReadAll", "PRReadWriteAll"]);
}

/// API-3.14, 3.15.
#[tokio::test]
async fn acls_are_policies_of_their_group() {
    let auth = Machine::default().set_up().await;
    change(&auth, |c| c.create_group("team", "")).await;
    assert_eq!(auth.acl("team").expect("there"), Acl::Nothing);
    assert_eq!(auth.acl("Viewers").expect("there"), Acl::Other);
    change(&auth, |c| c.attach_to_group("FSReadAll", "team")).await;
    assert_eq!(auth.acl("team").expect("there"), Acl::Other);
    change(&auth, |c| {
        c.create_user(&user("eve"))?;
        c.add_member("team", "eve")
    })
    .await;
    let eve = auth.vouched("eve").expect("there");
    let repo = named("arn:lakefs:fs:::repository/a");
    for (level, reads, commits, deletes, users) in [
        (AclLevel::Admin, true, true, true, true),
        (AclLevel::Read, true, false, false, false),
        (AclLevel::Write, true, true, false, false),
        (AclLevel::Super, true, true, true, false),
    ] {
        change(&auth, |c| c.set_acl("team", level)).await;
        assert_eq!(auth.acl("team").expect("there"), Acl::Level(level));
        let access = access(&auth, &eve);
        assert_eq!(access.allows(Action::ReadRepository, repo), reads, "{level:?}");
        assert_eq!(access.allows(Action::CreateCommit, repo), commits, "{level:?}");
        assert_eq!(access.allows(Action::DeleteRepository, repo), deletes, "{level:?}");
        assert_eq!(access.allows(Action::ListUsers, Resource::Any), users, "{level:?}");
    }
    let policy = auth.policy("ACL(_-_)team").expect("stored as a policy");
    assert_eq!(policy.document.acl.as_deref(), Some("Super"));
    assert_eq!(kind(try_change(&auth, |c| c.set_acl("nobody", AclLevel::Read)).await), "not found");
    assert!(auth.policy("ACL(_-_)nobody").is_err());
    change(&auth, |c| c.delete_group("team")).await;
    assert!(auth.policy("ACL(_-_)team").is_err());
}
