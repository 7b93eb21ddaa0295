//! Signing in and out: sessions, one-time links, signed tokens, passwords.

use crate::machine::{ALL, Machine, change, is_refused, policy, somebody, try_change, user};
use millpond_auth::{Error, NewKey, Secret};
use millpond_types::limits::{PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN, USER_SESSIONS_MAX, WRONG_SECRETS_FREE};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_session_lasts_until_it_is_closed_or_over() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let who = somebody(&auth, "eve").await;
    let (first, end) = change(&auth, |c| c.open_session(&who, HOUR)).await;
    let (second, _) = change(&auth, |c| c.open_session(&who, HOUR)).await;
    assert_eq!(
        auth.verify_session(first.expose()).map(|(who, end)| (who.user().to_owned(), end)).ok(),
        Some(("eve".to_owned(), end))
    );
    assert!(is_refused(auth.verify_session("mps_x")));
    change(&auth, |c| {
        c.close_session(first.expose());
        Ok(())
    })
    .await;
    for auth in [&auth, &machine.start().await.expect("opens")] {
        assert!(is_refused(auth.verify_session(first.expose())), "closed");
        assert!(auth.verify_session(second.expose()).is_ok());
    }
    machine.after(HOUR);
    assert!(is_refused(auth.verify_session(second.expose())), "over");
    let (third, _) = change(&auth, |c| c.open_session(&who, HOUR)).await;
    change(&auth, |c| c.close_sessions("eve")).await;
    assert!(is_refused(auth.verify_session(third.expose())));
}

#[tokio::test]
async fn the_oldest_of_too_many_sessions_ends() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let who = somebody(&auth, "eve").await;
    let mut tokens = Vec::new();
    for _ in 0..=USER_SESSIONS_MAX {
        machine.after(Duration::from_millis(1));
        tokens.push(change(&auth, |c| c.open_session(&who, HOUR)).await.0);
    }
    let alive: Vec<bool> = tokens.iter().map(|token| auth.verify_session(token.expose()).is_ok()).collect();
    assert!(!alive[0] && alive[1..].iter().all(|alive| *alive));
}

/// A key that may read one prefix is not traded for a session that may do everything.
#[tokio::test]
async fn a_link_holds_whoever_it_signs_in_to_what_its_maker_was_held_to() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let who = somebody(&auth, "eve").await;
    change(&auth, |c| c.create_user(&user("bob"))).await;
    let limit = policy("allow", &["auth:CreateCredentials"], "*");
    let limited = NewKey { limit: Some(&limit), lifetime: Some(HOUR), by: Some(&who), ..NewKey::default() };
    let key = change(&auth, |c| c.create_key("eve", &limited)).await;
    let held = auth.check(&key.access_key_id, key.secret.expose()).expect("right");
    assert!(matches!(
        try_change(&auth, |c| c.create_link("bob", HOUR, Some(&held))).await,
        Err(Error::Invalid(_))
    ));
    let (link, end) = change(&auth, |c| c.create_link("eve", 5 * HOUR, Some(&held))).await;
    assert_eq!(Some(end), key.expires);
    let signed_in = change(&auth, |c| c.redeem_link(link.expose())).await;
    assert_eq!(signed_in.key(), Some(&*key.access_key_id));
    assert!(change(&auth, |c| Ok(c.check_free(&signed_in))).await.is_err(), "held as well");
    let (link, _) = change(&auth, |c| c.create_link("eve", HOUR, Some(&held))).await;
    change(&auth, |c| c.delete_key("eve", &key.access_key_id)).await;
    assert!(is_refused(try_change(&auth, |c| c.redeem_link(link.expose())).await), "its key is gone");
    let (link, _) = change(&auth, |c| c.create_link("bob", HOUR, Some(&who))).await;
    assert_eq!(change(&auth, |c| c.redeem_link(link.expose())).await.user(), "bob");
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let (link, _) = change(&auth, |c| c.create_link("admin", HOUR, None)).await;
    assert!(is_refused(auth.change().await.redeem_link("mpl_x")));
    assert!(auth.change().await.redeem_link(link.expose()).is_ok(), "given up before the commit: not used");
    let session = change(&auth, |c| {
        let who = c.redeem_link(link.expose())?;
        c.open_session(&who, HOUR)
    })
    .await;
    assert_eq!(auth.verify_session(session.0.expose()).expect("signed in").0.user(), "admin");
    for auth in [&auth, &machine.start().await.expect("opens")] {
        assert!(is_refused(try_change(auth, |c| c.redeem_link(link.expose())).await), "used");
    }
    let (late, _) = change(&auth, |c| c.create_link("admin", HOUR, None)).await;
    machine.after(HOUR);
    assert!(is_refused(try_change(&auth, |c| c.redeem_link(late.expose())).await), "too late");
    let rows = machine.kv.rows().await.len();
    auth.keep_up().await.expect("swept");
    assert_eq!(machine.kv.rows().await.len(), rows - 2, "link and session are removed");
}

#[tokio::test]
async fn tokens_end_with_their_user_their_time_and_their_revocation() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let who = somebody(&auth, "eve").await;
    let [one, two] = [(); 2].map(|()| auth.issue_token(&who).expect("alive").0);
    change(&auth, |c| {
        c.revoke_token(&one);
        c.revoke_token("no token");
        Ok(())
    })
    .await;
    for auth in [&auth, &machine.start().await.expect("opens")] {
        assert!(is_refused(auth.verify_token(&one)), "signed out");
        assert!(auth.verify_token(&two).is_ok(), "another stays");
    }
    machine.after(Duration::from_secs(604_800));
    assert!(is_refused(auth.verify_token(&two)));
    let rows = machine.kv.rows().await.len();
    auth.keep_up().await.expect("swept");
    assert_eq!(machine.kv.rows().await.len(), rows - 1, "a revocation is kept as long as its token");
}

#[tokio::test]
async fn passwords() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let who = somebody(&auth, "eve").await;
    let secret = |text: &str| Secret::new(text);
    let hash = auth.hash_password(&secret("correct horse")).await.expect("hashed");
    assert!(is_refused(auth.check_password("eve", &secret("correct horse")).await), "none yet");
    let (session, _) = change(&auth, |c| c.open_session(&who, HOUR)).await;
    change(&auth, |c| c.set_password("eve", Some(hash.clone()))).await;
    assert!(is_refused(auth.verify_session(session.expose())), "a new password ends sessions");
    for auth in [&auth, &machine.start().await.expect("opens")] {
        assert_eq!(auth.check_password("eve", &secret("correct horse")).await.expect("right").user(), "eve");
        assert!(is_refused(auth.check_password("eve", &secret("correct hors")).await));
        assert!(is_refused(auth.check_password("adam", &secret("correct horse")).await));
        assert!(auth.user("eve").expect("there").has_password);
    }
    for _ in 1..WRONG_SECRETS_FREE {
        assert!(is_refused(auth.check_password("eve", &secret("wrong horse")).await));
    }
    assert!(matches!(auth.check_password("eve", &secret("correct horse")).await, Err(Error::Busy(_))));
    machine.after(Duration::from_secs(30));
    assert!(auth.check_password("eve", &secret("correct horse")).await.is_ok());
    let under_way = auth.check_password("eve", &secret("correct horse")).await.expect("right");
    let token = auth.issue_token(&under_way).expect("alive").0;
    let (link, _) = change(&auth, |c| c.create_link("eve", HOUR, None)).await;
    change(&auth, |c| c.set_password("eve", None)).await;
    assert!(is_refused(auth.check_password("eve", &secret("correct horse")).await));
    assert!(is_refused(auth.verify_token(&token)), "what the old password got");
    assert!(
        is_refused(try_change(&auth, |c| c.open_session(&under_way, HOUR)).await),
        "what it was about to get"
    );
    assert!(auth.change().await.redeem_link(link.expose()).is_err());
    assert!(auth.lookup(who.key().expect("by key")).is_some(), "access keys stay");
    for (bytes, good) in [
        (PASSWORD_BYTES_MIN - 1, false),
        (PASSWORD_BYTES_MIN, true),
        (PASSWORD_BYTES_MAX, true),
        (PASSWORD_BYTES_MAX + 1, false),
    ] {
        assert_eq!(auth.hash_password(&secret(&"x".repeat(bytes))).await.is_ok(), good, "{bytes}");
    }
    change(&auth, |c| c.create_user(&user("adam"))).await;
    assert_eq!(auth.users(ALL).len(), 3);
}
