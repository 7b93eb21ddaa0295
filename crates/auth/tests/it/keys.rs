//! Access keys: their secrets, their end, their limits.

use crate::machine::{ALL, Machine, access, change, is_refused, named, policy, somebody, try_change, user};
use millpond_auth::{Action, Because, Circumstances, Error, NewKey};
use millpond_types::limits::{KEY_LIMITS_MAX, USER_KEYS_MAX, WRONG_SECRETS_FREE};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn wrong_secrets_close_their_key_for_a_while() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let [one, two] =
        ["KEY1", "KEY2"].map(|id| NewKey { given: Some((id, "secret-of-it")), ..NewKey::default() });
    change(&auth, |c| c.create_key("admin", &one)).await;
    change(&auth, |c| c.create_key("admin", &two)).await;
    for _ in 0..WRONG_SECRETS_FREE {
        assert!(is_refused(auth.check("KEY1", "wrong-secret")));
    }
    let Err(Error::Busy(wait)) = auth.check("KEY1", "secret-of-it") else { panic!("the key is closed") };
    assert!(auth.check("KEY2", "secret-of-it").is_ok(), "other keys stay open");
    assert!(is_refused(auth.check("KEY3", "x")));
    change(&auth, |c| c.create_user(&user("eve"))).await;
    assert!(
        matches!(auth.check("KEY1", "secret-of-it"), Err(Error::Busy(_))),
        "a change elsewhere opens nothing"
    );
    machine.after(wait);
    assert!(auth.check("KEY1", "secret-of-it").is_ok());
}

/// API-5.9, 5.10.
#[tokio::test]
async fn keys_are_made_shown_and_deleted() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    somebody(&auth, "eve").await;
    let key = change(&auth, |c| c.create_key("eve", &NewKey::default())).await;
    assert!(key.access_key_id.starts_with("AKIAJ") && key.access_key_id.len() == 20);
    let shown = auth.key_of("eve", &key.access_key_id).expect("there");
    assert_eq!(
        (shown.created, shown.expires, shown.last_used, shown.limited),
        (key.created, None, None, false)
    );
    assert!(auth.key_of("admin", &key.access_key_id).is_err(), "another user's is not there");
    assert_eq!(auth.keys_of("eve", ALL).expect("there").len(), 2);
    assert!(matches!(
        try_change(&auth, |c| c.delete_key("admin", &key.access_key_id)).await,
        Err(Error::NotFound { .. })
    ));
    let taken = NewKey { given: Some((&key.access_key_id, "secret-of-it")), ..NewKey::default() };
    assert!(matches!(try_change(&auth, |c| c.create_key("admin", &taken)).await, Err(Error::Exists { .. })));
    let who = auth.check(&key.access_key_id, key.secret.expose()).expect("right");
    let (token, _) = auth.issue_token(&who).expect("alive");
    change(&auth, |c| c.delete_key("eve", &key.access_key_id)).await;
    for auth in [&auth, &machine.start().await.expect("opens")] {
        assert!(is_refused(auth.check(&key.access_key_id, key.secret.expose())));
        assert!(is_refused(auth.access(&who, Circumstances::default())), "a request under way");
        assert!(is_refused(auth.verify_token(&token)), "a token ends with the key it was given for");
    }
}

#[tokio::test]
async fn a_key_with_an_end_ends() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    somebody(&auth, "eve").await;
    let short = NewKey { lifetime: Some(HOUR), ..NewKey::default() };
    let key = change(&auth, |c| c.create_key("eve", &short)).await;
    assert!(key.access_key_id.starts_with("ASIAJ"), "told apart by its name");
    let who = auth.check(&key.access_key_id, key.secret.expose()).expect("alive");
    let (token, token_end) = auth.issue_token(&who).expect("alive");
    assert_eq!(Some(token_end), key.expires, "a token ends with its key");
    let session = change(&auth, |c| c.open_session(&who, 24 * HOUR)).await;
    assert_eq!(Some(session.1), key.expires);
    machine.after(HOUR - Duration::from_millis(1));
    assert!(auth.lookup(&key.access_key_id).is_some());
    machine.after(Duration::from_millis(1));
    for auth in [&auth, &machine.start().await.expect("opens")] {
        assert!(auth.lookup(&key.access_key_id).is_none());
        assert!(is_refused(auth.check(&key.access_key_id, key.secret.expose())));
        assert!(is_refused(auth.access(&who, Circumstances::default())));
        assert!(is_refused(auth.verify_token(&token)));
        assert!(is_refused(auth.verify_session(session.0.expose())));
    }
    let rows = machine.kv.rows().await.len();
    auth.keep_up().await.expect("swept");
    assert_eq!(machine.kv.rows().await.len(), rows - 2, "key and session are removed");
    assert_eq!(auth.keys_of("eve", ALL).expect("there").len(), 1);
}

/// A key made by a limited key has its limits, and its end; nothing that is traded for it has more.
#[tokio::test]
async fn limits_are_inherited() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let who = somebody(&auth, "eve").await;
    change(&auth, |c| c.add_member("Admins", "eve")).await;
    let object = |repo: &str| format!("arn:lakefs:fs:::repository/{repo}/object/x");
    let reads = policy("allow", &["fs:Read*", "auth:*"], "*");
    let one = policy("allow", &["fs:*"], "arn:lakefs:fs:::repository/one/*");
    let parent = NewKey { lifetime: Some(HOUR), limit: Some(&reads), by: Some(&who), ..NewKey::default() };
    let parent = change(&auth, |c| c.create_key("eve", &parent)).await;
    let (_, by_parent) = auth.lookup(&parent.access_key_id).expect("alive");
    let child =
        NewKey { lifetime: Some(5 * HOUR), limit: Some(&one), by: Some(&by_parent), ..NewKey::default() };
    let child = change(&auth, |c| c.create_key("eve", &child)).await;
    assert_eq!(child.expires, parent.expires, "no longer than the one that made it");
    let endless = NewKey { by: Some(&by_parent), ..NewKey::default() };
    let endless = change(&auth, |c| c.create_key("eve", &endless)).await;
    assert_eq!(endless.expires, parent.expires);
    for auth in [&auth, &machine.start().await.expect("opens")] {
        let by_child = auth.check(&child.access_key_id, child.secret.expose()).expect("alive");
        let token = auth.issue_token(&by_child).expect("alive").0;
        for who in [by_child, auth.verify_token(&token).expect("alive")] {
            let access = access(auth, &who);
            assert!(access.allows(Action::ReadObject, named(&object("one"))));
            assert!(!access.allows(Action::ReadObject, named(&object("two"))), "its own limit");
            assert!(!access.allows(Action::WriteObject, named(&object("one"))), "its maker's limit");
            assert!(!access.allows(Action::CreateUser, named("arn:lakefs:auth:::user/x")));
            let why = access.explain(Action::WriteObject, named(&object("one")));
            assert_eq!(why.because, Because::Limited);
        }
        assert!(auth.key_of("eve", &endless.access_key_id).expect("there").limited);
    }
    // The administrator's limited keys are limited too.
    let limited = NewKey { limit: Some(&one), ..NewKey::default() };
    let key = change(&auth, |c| c.create_key("admin", &limited)).await;
    let (_, who) = auth.lookup(&key.access_key_id).expect("alive");
    assert!(!access(&auth, &who).allows(Action::ReadObject, named(&object("two"))));
    assert!(access(&auth, &who).allows(Action::ReadObject, named(&object("one"))));
    machine.after(HOUR);
    let late = NewKey { by: Some(&by_parent), ..NewKey::default() };
    assert!(is_refused(try_change(&auth, |c| c.create_key("eve", &late)).await), "by a key that has ended");
}

#[tokio::test]
async fn a_key_is_held_to_few_policies() {
    let auth = Machine::default().set_up().await;
    let any = policy("allow", &["auth:*"], "*");
    let mut by = somebody(&auth, "eve").await;
    for held in 1..=KEY_LIMITS_MAX + 1 {
        let new = NewKey { lifetime: Some(HOUR), limit: Some(&any), by: Some(&by), ..NewKey::default() };
        let made = try_change(&auth, |c| c.create_key("eve", &new)).await;
        if held > KEY_LIMITS_MAX {
            assert!(matches!(made, Err(Error::Invalid(_))), "{made:?}");
            break;
        }
        by = auth.lookup(&made.expect("made").access_key_id).expect("alive").1;
    }
    let new = NewKey { by: Some(&by), ..NewKey::default() };
    assert!(try_change(&auth, |c| c.create_key("eve", &new)).await.is_ok(), "no further one");
}

#[tokio::test]
async fn the_keys_of_a_user_are_bounded() {
    let auth = Machine::default().set_up().await;
    let mut change = auth.change().await;
    change.create_user(&user("eve")).expect("made");
    for _ in 0..USER_KEYS_MAX {
        change.create_key("eve", &NewKey::default()).expect("made");
    }
    let beyond = change.create_key("eve", &NewKey::default());
    assert!(matches!(beyond, Err(Error::Invalid(_))), "{beyond:?}");
    change.create_key("admin", &NewKey::default()).expect("others may");
}

#[tokio::test]
async fn the_last_use_of_a_key_is_kept_to_the_minute() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let who = somebody(&auth, "eve").await;
    let id = who.key().expect("by key");
    let last_used = |auth: &millpond_auth::Auth| auth.key_of("eve", id).expect("there").last_used;
    assert_eq!(last_used(&auth), None, "a secret that was only checked did nothing yet");
    access(&auth, &who);
    let first = last_used(&auth).expect("used");
    machine.after(Duration::from_secs(59));
    access(&auth, &who);
    assert_eq!(last_used(&auth), Some(first));
    machine.after(Duration::from_secs(1));
    access(&auth, &who);
    assert_eq!(last_used(&auth).expect("used").millis() - first.millis(), 60_000);
    auth.keep_up().await.expect("stored");
    let rows = machine.kv.rows().await;
    auth.keep_up().await.expect("nothing to do");
    assert_eq!(machine.kv.rows().await, rows, "nothing is written where nothing changed");
    assert_eq!(last_used(&machine.start().await.expect("opens")), last_used(&auth));
}
