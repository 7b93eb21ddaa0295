//! The administrator of an installation, from its first start on and from before there were others.

use crate::machine::{ALL, Machine, access, change, named, user};
use bytes::Bytes;
use millpond_auth::{Action, Because, Circumstances, Error, Needs, NewKey, Resource, SealError, Sealer};
use millpond_kv::{Batch, Kv, Write};

#[tokio::test]
async fn the_first_start_makes_a_key_and_later_ones_find_it() {
    let machine = Machine::default();
    let auth = machine.start().await.expect("opens");
    assert!(auth.lookup("AKIAJ").is_none());
    let first = auth.ensure_admin("admin", None).await.expect("made");
    assert!(first.created);
    let who = auth.check(&first.access_key_id, first.secret.expose()).expect("right");
    assert_eq!(who.user(), "admin");
    let (token, _) = auth.issue_token(&who).expect("alive");

    let auth = machine.start().await.expect("opens again");
    assert_eq!(auth.verify_token(&token).expect("signed with the same key").user(), "admin");
    let again = auth.ensure_admin("admin", None).await.expect("found");
    assert!(!again.created);
    assert_eq!(again.access_key_id, first.access_key_id);
    let (secret, who) = auth.lookup(&first.access_key_id).expect("known");
    assert_eq!((who.user(), secret.expose()), ("admin", first.secret.expose()));
}

#[tokio::test]
async fn configured_keys_rotate_and_leave_others() {
    let machine = Machine::default();
    let auth = machine.start().await.expect("opens");
    let made = auth.ensure_admin("admin", None).await.expect("made");
    let asked = change(&auth, |change| change.create_key("admin", &NewKey::default())).await;
    let one = auth.ensure_admin("admin", Some(("KEY1", "secret-one"))).await.expect("added");
    assert!(one.created);
    assert!(!auth.ensure_admin("admin", Some(("KEY1", "secret-one"))).await.expect("found").created);
    let by_old = auth.check("KEY1", "secret-one").expect("right");
    let token = auth.issue_token(&by_old).expect("alive").0;
    assert!(auth.ensure_admin("admin", Some(("KEY1", "secret-two"))).await.expect("replaced").created);
    assert!(auth.verify_token(&token).is_err(), "what the old secret got");
    assert!(matches!(auth.check("KEY1", "secret-one"), Err(Error::Refused)));
    assert!(auth.check("KEY1", "secret-two").is_ok());
    auth.ensure_admin("admin", Some(("KEY2", "secret-two"))).await.expect("rotated");
    for auth in [auth, machine.start().await.expect("opens again")] {
        assert!(auth.lookup("KEY1").is_none(), "the earlier configured key is gone");
        assert!(auth.check("KEY2", "secret-two").is_ok());
        assert!(auth.check(&made.access_key_id, made.secret.expose()).is_ok());
        assert!(auth.check(&asked.access_key_id, asked.secret.expose()).is_ok());
    }
}

#[tokio::test]
async fn keys_of_another_user_are_not_taken_over() {
    let auth = Machine::default().start().await.expect("opens");
    auth.ensure_admin("admin", Some(("KEY1", "secret-one"))).await.expect("added");
    let taken = auth.ensure_admin("other", Some(("KEY1", "secret-two"))).await;
    assert!(matches!(taken, Err(Error::Invalid(_))), "{taken:?}");
    let weak = auth.ensure_admin("admin", Some(("KEY1", "short"))).await;
    assert!(matches!(weak, Err(Error::Invalid(_))), "{weak:?}");
}

#[tokio::test]
async fn another_master_key_is_said_so() {
    let machine = Machine::default();
    machine.start().await.expect("opens");
    let error = machine.start_with(&[2; 32]).await.err().expect("cannot open");
    assert!(matches!(error, Error::Unreadable { source: SealError::OtherKey { .. }, .. }), "{error}");
}

#[tokio::test]
async fn the_administrator_may_do_everything_and_stays() {
    let auth = Machine::default().set_up().await;
    let admin = auth.vouched("admin").expect("there");
    for &action in Action::ALL {
        assert!(access(&auth, &admin).allows(action, Resource::Any), "{action}");
    }
    assert!(auth.vouched("Admin").is_err());
    let why = auth.explain("admin", Action::BackUp, Resource::Any, Circumstances::default()).expect("there");
    assert_eq!(why.because, Because::Administrator);
    assert_eq!(
        why.to_string(),
        "admin may millpond:BackUp on *: admin is the administrator of this installation"
    );
    let gone = auth.change().await.delete_user("admin");
    assert!(matches!(gone, Err(Error::Invalid(_))), "{gone:?}");
}

/// What the version before users and policies wrote: its administrator and key work on, and join the defaults.
#[tokio::test]
async fn an_installation_of_version_1_goes_on() {
    let machine = Machine::default();
    let sealer = Sealer::new(&[1; 32]);
    let place = Bytes::from_static(b"auth/credential/AKIAJOLD");
    let sealed = sealer.seal(&place, b"old-secret", &*machine.random);
    let created = "80a0a484ce67";
    let mut credential = hex::decode(format!("010561646d696e{created}00{:02x}", sealed.len())).expect("hex");
    credential.extend_from_slice(&sealed);
    let user = hex::decode(format!("01{created}01")).expect("hex");
    let writes = vec![
        Write::Put(Bytes::from_static(b"auth/user/admin"), user.into()),
        Write::Put(place, credential.into()),
    ];
    machine.kv.commit(Batch { preconditions: vec![], writes }).await.expect("written");
    for _ in 0..2 {
        let auth = machine.start().await.expect("opens");
        let who = auth.check("AKIAJOLD", "old-secret").expect("the key works");
        assert!(access(&auth, &who).allows(Action::DeleteRepository, named("arn:lakefs:fs:::repository/a")));
        let keys = auth.ensure_admin("admin", None).await.expect("found");
        assert_eq!((&*keys.access_key_id, keys.created), ("AKIAJOLD", false));
        let groups = auth.groups_of("admin", ALL).expect("there");
        assert_eq!(groups.iter().map(|group| &*group.name).collect::<Vec<_>>(), ["Admins"]);
    }
}

/// API-3.12 and 3.13, and that they are made once.
#[tokio::test]
async fn the_defaults() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let groups: Vec<String> = auth
        .groups(ALL)
        .iter()
        .map(|group| {
            let policies = auth.policies_of_group(&group.name, ALL).expect("there");
            let policies: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
            format!("{}: {}", group.name, policies.join(" "))
        })
        .collect();
    assert_eq!(
        groups,
        [
            "Admins: AuthFullAccess CatalogReadWriteAll FSFullAccess MillpondFullAccess RepoManagementFullAccess",
            "Developers: AuthManageOwnCredentials CatalogReadWriteAll FSReadWriteAll PRReadWriteAll RepoManagementReadAll",
            "SuperUsers: AuthManageOwnCredentials CatalogReadWriteAll FSFullAccess RepoManagementReadAll",
            "Viewers: AuthManageOwnCredentials CatalogReadAll FSReadAll",
        ]
    );
    assert_eq!(auth.policies(ALL).len(), 11);
    for policy in auth.policies(ALL) {
        policy.document.check().expect("a default may be saved");
    }
    let members: Vec<_> =
        auth.members("Admins", ALL).expect("there").iter().map(|user| user.name.to_string()).collect();
    assert_eq!(members, ["admin"]);

    let (repo, own) = (named("arn:lakefs:fs:::repository/a"), named("arn:lakefs:auth:::user/u"));
    let others = named("arn:lakefs:auth:::user/v");
    let may = |group: &str| {
        let who = auth.vouched(group).expect("there");
        let access = access(&auth, &who);
        [
            access.require(&Needs::One(Action::ReadRepository, repo)).is_ok(),
            access.allows(Action::DeleteRepository, repo),
            access.allows(Action::CreateCommit, repo),
            access.allows(Action::SetBranchProtectionRules, repo),
            access.allows(Action::CreateCredentials, Resource::User(group)),
            access.allows(Action::CreateCredentials, own),
            access.allows(Action::DeleteUser, others),
            access.allows(Action::ListUsers, Resource::Any),
            access.allows(Action::BackUp, Resource::Any),
        ]
        .map(u8::from)
    };
    for group in ["Admins", "Developers", "SuperUsers", "Viewers"] {
        change(&auth, |change| {
            change.create_user(&user(group))?;
            change.add_member(group, group)
        })
        .await;
    }
    assert_eq!(may("Admins"), [1, 1, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(may("SuperUsers"), [1, 1, 1, 0, 1, 0, 0, 0, 0]);
    assert_eq!(may("Developers"), [1, 0, 1, 0, 1, 0, 0, 0, 0]);
    assert_eq!(may("Viewers"), [1, 0, 0, 0, 1, 0, 0, 0, 0]);

    change(&auth, |change| change.delete_group("Viewers")).await;
    change(&auth, |change| change.remove_member("Admins", "admin")).await;
    let auth = machine.set_up().await;
    assert!(auth.group("Viewers").is_err(), "what a person deleted stays deleted");
    assert!(auth.groups_of("admin", ALL).expect("there").is_empty());
}
