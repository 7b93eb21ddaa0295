//! Changes are durable whole or not at all, and are seen when they are durable and not before.

use crate::machine::{ALL, Fate, Machine, change, policy, somebody, user};
use bytes::Bytes;
use millpond_auth::{Error, NewKey, Secret};
use millpond_kv::{Batch, Expect, Kv, KvError, Write};
use std::time::Duration;

#[tokio::test]
async fn rows_of_the_caller_go_with_the_change() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let audit = |n: &'static str| Batch {
        preconditions: vec![(Bytes::from_static(b"audit/1"), Expect::Absent)],
        writes: vec![Write::Put(Bytes::from_static(b"audit/1"), Bytes::from_static(n.as_bytes()))],
    };
    let mut first = auth.change().await;
    first.create_user(&user("eve")).expect("made");
    first.commit(audit("eve")).await.expect("durable");
    assert_eq!(machine.kv.get(b"audit/1").await.expect("read").as_deref(), Some(&b"eve"[..]));
    let mut second = auth.change().await;
    second.create_user(&user("adam")).expect("made");
    let refused = second.commit(audit("adam")).await;
    assert!(matches!(refused, Err(Error::Store(KvError::PreconditionFailed(key))) if key == "audit/1"));
    assert!(auth.user("adam").is_err() && auth.user("eve").is_ok());
    assert!(machine.start().await.expect("opens").user("adam").is_err());
}

#[tokio::test]
async fn what_is_not_durable_is_not_seen() {
    for fate in [Fate::Refused, Fate::LostBefore, Fate::LostAfter] {
        let machine = Machine::default();
        let auth = machine.set_up().await;
        machine.kv.set(fate);
        let mut made = auth.change().await;
        made.create_user(&user("eve")).expect("made");
        made.add_member("Admins", "eve").expect("added");
        let failed = made.commit(Batch::default()).await;
        assert!(matches!(failed, Err(Error::Store(_))), "{failed:?}");
        assert!(auth.user("eve").is_err(), "{fate:?}");
        machine.kv.set(Fate::Fine);
        // After a cut the next start sees all of it or nothing.
        let again = machine.start().await.expect("opens");
        let members = again.members("Admins", ALL).expect("there");
        let seen = (again.user("eve").is_ok(), members.iter().any(|user| &*user.name == "eve"));
        assert_eq!(seen, (fate == Fate::LostAfter, fate == Fate::LostAfter), "{fate:?}");
    }
}

#[tokio::test]
async fn a_dropped_change_did_nothing() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let rows = machine.kv.rows().await;
    let mut dropped = auth.change().await;
    dropped.delete_group("Viewers").expect("there");
    drop(dropped);
    assert!(auth.group("Viewers").is_ok());
    assert_eq!(machine.kv.rows().await, rows);
}

/// A client that goes away while its change is written neither stops it nor makes memory differ from the store.
#[tokio::test]
async fn a_change_is_finished_even_where_nobody_waits() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let mut made = auth.change().await;
    made.create_user(&user("eve")).expect("made");
    let mut commit = Box::pin(made.commit(Batch::default()));
    assert!(futures_poll_once(&mut commit).await.is_none(), "it is under way");
    drop(commit);
    // The next change waits for it.
    drop(auth.change().await);
    assert!(auth.user("eve").is_ok());
    assert!(machine.start().await.expect("opens").user("eve").is_ok());
}

async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

/// Two servers over one store: the slower one is told, has read what the faster one did, and may try again.
#[tokio::test]
async fn of_two_servers_one_is_overtaken() {
    let machine = Machine::default();
    let (one, two) = (machine.set_up().await, machine.start().await.expect("opens"));
    change(&one, |c| c.create_user(&user("eve"))).await;
    let mut late = two.change().await;
    late.create_user(&user("eve")).expect("not known here yet");
    assert!(matches!(late.commit(Batch::default()).await, Err(Error::Overtaken)));
    assert!(two.user("eve").is_ok());
    change(&two, |c| c.create_user(&user("adam"))).await;
    assert!(two.user("adam").is_ok());
}

/// Memory after many random changes is what a start reads from the store.
#[tokio::test]
async fn memory_and_store_agree() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let chance = millpond_testkit::Seeded::new(77);
    let names = ["a", "b", "c"];
    let (mut done, mut refused) = (0, 0);
    for _ in 0..600 {
        let (x, y) = (*chance.pick(&names), *chance.pick(&names));
        let document =
            policy(chance.pick::<&str>(&["allow", "deny"]), &[*chance.pick(&["fs:*", "fs:Read*"])], "*");
        let mut change = auth.change().await;
        let step = match chance.below(14) {
            0 => change.create_user(&user(x)),
            1 => change.create_group(x, y),
            2 => change.create_policy(x, &document),
            3 => change.update_policy(x, &document),
            4 | 5 => change.add_member(x, y),
            6 => change.remove_member(x, y),
            7 | 8 => change.attach_to_user(x, y),
            9 => change.attach_to_group(x, y),
            10 => change.detach_from_user(x, y),
            11 => change.create_key(x, &NewKey::default()).map(drop),
            12 if chance.below(4) == 0 => change.delete_user(x),
            13 if chance.below(4) == 0 => change.delete_policy(x).and(change.delete_group(y)),
            _ => change.set_given_groups(x, &[y.to_owned()].into()).map(drop),
        };
        match step {
            Ok(()) => {
                done += 1;
                change.commit(Batch::default()).await.expect("durable");
            }
            Err(_) => refused += 1,
        }
        let start = machine.start().await.expect("opens");
        assert_eq!(shown(&auth), shown(&start));
    }
    assert!(done > 150 && refused > 50, "{done} done, {refused} refused: the cases say little");
}

fn shown(auth: &millpond_auth::Auth) -> Vec<String> {
    use millpond_auth::{Action, Circumstances, Resource};
    let users = auth.users(ALL).into_iter().map(|user| {
        let rights = [Action::ReadObject, Action::WriteObject].map(|action| {
            let why = auth.explain(&user.name, action, Resource::Any, Circumstances::default());
            why.expect("there").to_string()
        });
        let (groups, keys) = (auth.groups_of(&user.name, ALL), auth.keys_of(&user.name, ALL));
        let policies = auth.effective_policies_of(&user.name, ALL);
        format!("{user:?} {groups:?} {policies:?} {keys:?} {rights:?}")
    });
    let groups = auth.groups(ALL).into_iter().map(|group| {
        format!(
            "{group:?} {:?} {:?}",
            auth.members(&group.name, ALL),
            auth.policies_of_group(&group.name, ALL)
        )
    });
    let policies = auth.policies(ALL).into_iter().map(|policy| format!("{policy:?}"));
    users.chain(groups).chain(policies).collect()
}

/// Nothing that opens a door is stored in the open, and nothing is printed.
#[tokio::test]
async fn canaries_stay_hidden() {
    let machine = Machine::default();
    let auth = machine.set_up().await;
    let who = somebody(&auth, "eve").await;
    let canary = "canary-secret-text";
    let password = Secret::new("canary-password");
    let hash = auth.hash_password(&password).await.expect("hashed");
    change(&auth, |c| c.set_password("eve", Some(hash.clone()))).await;
    let (_, who) = auth.lookup(who.key().expect("by key")).expect("alive");
    let given = NewKey { given: Some(("CANARY", canary)), by: Some(&who), ..NewKey::default() };
    let (key, session, link) = change(&auth, |c| {
        let hour = Duration::from_secs(3600);
        Ok((c.create_key("eve", &given)?, c.open_session(&who, hour)?.0, c.create_link("eve", hour, None)?.0))
    })
    .await;
    let (found, by_key) = auth.lookup("CANARY").expect("known");
    let admin = auth.ensure_admin("admin", Some(("ADMIN", canary))).await.expect("configured");
    let secrets = [canary, password.expose(), session.expose(), link.expose()];
    let debug = [
        format!("{key:?}"),
        format!("{found:?} {by_key:?} {who:?}"),
        format!("{password:?} {hash:?} {session:?} {link:?}"),
        format!("{admin:?}"),
        format!("{:?} {:?}", auth.users(ALL), auth.keys_of("eve", ALL)),
        format!("{:?}", auth.check("CANARY", "canary-wrong-text").map(|_| ())),
    ];
    for text in &debug {
        for secret in secrets.iter().chain(&["canary-wrong-text"]) {
            assert!(!text.contains(secret), "{text}");
        }
    }
    for (key, value) in machine.kv.rows().await {
        for secret in secrets {
            let hidden =
                |bytes: &[u8]| !bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(hidden(&key) && hidden(&value), "{}", key.escape_ascii());
        }
        assert!(key.starts_with(b"auth/"), "{}", key.escape_ascii());
    }
}
