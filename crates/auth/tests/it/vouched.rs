//! Somebody for whom another system vouches.

use crate::machine::{ALL, Machine, access, change, try_change, user};
use millpond_auth::{Action, Auth, Error, Resource, Vouched};
use std::collections::BTreeSet;

fn groups(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn eve(groups: &BTreeSet<String>) -> Vouched<'_> {
    Vouched {
        source: "oidc",
        principal: "https://id#7",
        name: "eve",
        friendly_name: "Eve",
        email: "eve@x",
        groups,
        may_create: true,
    }
}

fn groups_of(auth: &Auth, user: &str) -> Vec<String> {
    auth.groups_of(user, ALL).expect("there").iter().map(|group| group.name.to_string()).collect()
}

#[tokio::test]
async fn the_first_time_makes_a_user_and_every_time_sets_what_was_given() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let said = groups(&["Viewers", "unknown", "Developers"]);
    let who = change(&auth, |c| c.vouch(&eve(&said))).await;
    let info = auth.user("eve").expect("made");
    assert_eq!((who.user(), &*info.source, &*info.external_id), ("eve", "oidc", "https://id#7"));
    assert_eq!((&*info.friendly_name, &*info.email), ("Eve", "eve@x"));
    assert_eq!(groups_of(&auth, "eve"), ["Developers", "Viewers"]);

    // By hand, one of them that was not given.
    change(&auth, |c| c.add_member("SuperUsers", "eve")).await;
    let admins = groups(&["Admins", "SuperUsers"]);
    let renamed = Vouched { name: "eva", friendly_name: "Eva", ..eve(&admins) };
    let same = change(&auth, |c| c.vouch(&renamed)).await;
    assert_eq!((same.user(), &*auth.user("eve").expect("there").friendly_name), ("eve", "Eva"));
    assert_eq!(groups_of(&auth, "eve"), ["Admins", "SuperUsers"]);
    assert!(access(&auth, &same).allows(Action::ListUsers, Resource::Any));

    // What was given is known as given after a start as well; what was added by hand stays.
    let auth = machine.start().await.expect("opens");
    let same = change(&auth, |c| c.vouch(&eve(&groups(&[])))).await;
    assert_eq!(groups_of(&auth, "eve"), ["SuperUsers"]);
    assert!(!access(&auth, &same).allows(Action::ListUsers, Resource::Any));
}

/// Somebody at the provider calls himself as an administrator here is called.
#[tokio::test]
async fn a_name_that_is_taken_is_never_joined() {
    let auth = Machine::default().set_up().await;
    change(&auth, |c| c.create_user(&millpond_auth::NewUser { email: "eve@x", ..user("eve") })).await;
    let all = groups(&["Admins"]);
    for name in ["eve", "admin"] {
        let result = try_change(&auth, |c| c.vouch(&Vouched { name, ..eve(&all) })).await;
        assert!(matches!(result, Err(Error::Exists { what: "user", .. })), "{name}");
    }
    assert!(groups_of(&auth, "eve").is_empty());
    let bad = try_change(&auth, |c| c.vouch(&Vouched { name: "a/b", ..eve(&all) })).await;
    assert!(matches!(bad, Err(Error::Invalid(_))));

    // An administrator says whose it is.
    change(&auth, |c| c.link_principal("eve", "https://id#7")).await;
    let who = change(&auth, |c| c.vouch(&Vouched { may_create: false, ..eve(&all) })).await;
    let info = auth.user("eve").expect("there");
    assert_eq!((who.user(), &*info.source, &*info.friendly_name), ("eve", "internal", ""));
    assert_eq!(groups_of(&auth, "eve"), ["Admins"]);
    // The same number at another provider is somebody else.
    let other = Vouched { principal: "https://other#7", ..eve(&all) };
    assert!(matches!(try_change(&auth, |c| c.vouch(&other)).await, Err(Error::Exists { .. })));
}

#[tokio::test]
async fn a_deleted_user_comes_back_only_where_new_ones_are_made() {
    let auth = Machine::default().set_up().await;
    let (none, admins) = (groups(&[]), groups(&["Admins"]));
    let closed = Vouched { may_create: false, ..eve(&none) };
    assert!(matches!(try_change(&auth, |c| c.vouch(&closed)).await, Err(Error::NotFound { .. })));
    let before = change(&auth, |c| c.vouch(&eve(&admins))).await;
    change(&auth, |c| c.attach_to_user("FSReadAll", "eve")).await;
    change(&auth, |c| c.delete_user("eve")).await;
    assert!(matches!(try_change(&auth, |c| c.vouch(&closed)).await, Err(Error::NotFound { .. })));
    let after = change(&auth, |c| c.vouch(&eve(&none))).await;
    assert!(auth.issue_token(&before).is_err(), "another user of the same name");
    assert!(auth.issue_token(&after).is_ok());
    assert!(auth.policies_of("eve", ALL).expect("there").is_empty());
}
