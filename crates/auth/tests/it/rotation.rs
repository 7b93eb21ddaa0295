//! The master key: what it seals, what happens to seals that were tampered with, and how it is exchanged.

use crate::machine::{Fate, Machine, change, somebody};
use bytes::Bytes;
use millpond_auth::{Error, NewKey, SealError, Sealer, Secret, sealed_with};
use millpond_kv::{Batch, Kv, Write};

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

/// Everything sealed: two keys, a password, the key of tokens.
async fn prepared(machine: &Machine) -> (millpond_auth::Auth, [(String, Secret); 2], String) {
    let auth = machine.set_up().await;
    let who = somebody(&auth, "eve").await;
    let hash = auth.hash_password(&Secret::new("correct horse")).await.expect("hashed");
    let keys = change(&auth, |c| {
        c.set_password("eve", Some(hash))?;
        Ok([c.create_key("eve", &NewKey::default())?, c.create_key("admin", &NewKey::default())?])
    })
    .await;
    let (_, who) = auth.lookup(who.key().expect("by key")).expect("alive");
    let (token, _) = auth.issue_token(&who).expect("alive");
    (auth, keys.map(|key| (key.access_key_id.to_string(), key.secret)), token)
}

async fn all_works(auth: &millpond_auth::Auth, keys: &[(String, Secret); 2], token: &str) {
    for (id, secret) in keys {
        assert!(auth.check(id, secret.expose()).is_ok(), "{id}");
    }
    assert!(auth.verify_token(token).is_ok());
    assert!(auth.check_password("eve", &Secret::new("correct horse")).await.is_ok());
}

#[tokio::test]
async fn a_rotation_seals_everything_anew() {
    let machine = Machine::default();
    let (auth, keys, token) = prepared(&machine).await;
    assert_eq!(sealed_with(&*machine.kv).await.expect("told"), Some(Sealer::new(&OLD).key_id()));
    let before = machine.kv.rows().await;
    let mut rotation = auth.change().await;
    rotation.rotate_master_key(Sealer::new(&NEW)).await.expect("opened");
    let during = rotation.create_key("eve", &NewKey::default()).expect("made in the same change");
    rotation.commit(Batch::default()).await.expect("durable");
    assert_eq!(auth.master_key_id(), Sealer::new(&NEW).key_id());
    let after = change(&auth, |c| c.create_key("eve", &NewKey::default())).await;
    assert_eq!(sealed_with(&*machine.kv).await.expect("told"), Some(Sealer::new(&NEW).key_id()));
    let again = machine.start_with(&NEW).await.expect("opens with the new key");
    for auth in [&auth, &again] {
        all_works(auth, &keys, &token).await;
        for key in [&during, &after] {
            assert!(auth.check(&key.access_key_id, key.secret.expose()).is_ok());
        }
    }
    let error = machine.start().await.err().expect("the earlier key opens nothing");
    assert!(matches!(error, Error::Unreadable { source: SealError::OtherKey { .. }, .. }), "{error}");
    // No envelope of the earlier key is left in any row.
    let id = hex::decode(Sealer::new(&OLD).key_id()).expect("hex");
    let with_id =
        |rows: &[(Bytes, Bytes)]| rows.iter().filter(|(_, v)| v.windows(8).any(|w| w == id)).count();
    assert_eq!((with_id(&before), with_id(&machine.kv.rows().await)), (6, 0));
}

/// Whenever the power is cut, exactly one of the two keys opens everything, and the store tells which.
#[tokio::test]
async fn a_rotation_that_is_cut_off_leaves_one_key_that_opens_everything() {
    for (fate, opens) in [(Fate::LostBefore, OLD), (Fate::LostAfter, NEW), (Fate::Refused, OLD)] {
        let machine = Machine::default();
        let (auth, keys, token) = prepared(&machine).await;
        machine.kv.set(fate);
        let mut rotation = auth.change().await;
        rotation.rotate_master_key(Sealer::new(&NEW)).await.expect("opened");
        assert!(rotation.commit(Batch::default()).await.is_err());
        machine.kv.set(Fate::Fine);
        let told = sealed_with(&*machine.kv).await.expect("told").expect("sealed");
        assert_eq!(told, Sealer::new(&opens).key_id(), "{fate:?}");
        all_works(&machine.start_with(&opens).await.expect("opens"), &keys, &token).await;
    }
}

/// Sealed rows that were changed, cut or moved to another place do not open.
#[tokio::test]
async fn tampering_is_noticed() {
    let machine = Machine::default();
    prepared(&machine).await;
    let rows = machine.kv.rows().await;
    let sealed: Vec<_> = rows
        .iter()
        .filter(|(key, _)| {
            let tables: [&[u8]; 3] = [b"auth/credential/", b"auth/password/", b"auth/token-key"];
            tables.iter().any(|table| key.starts_with(table))
        })
        .collect();
    assert_eq!(sealed.len(), 6);
    let put = async |key: &Bytes, value: Bytes| {
        let writes = vec![Write::Put(key.clone(), value)];
        machine.kv.commit(Batch { preconditions: vec![], writes }).await.expect("written");
    };
    for (key, value) in &sealed {
        // The last byte of the envelope; behind it credentials have two bytes more.
        let place = value.len() - if key.starts_with(b"auth/credential/") { 3 } else { 1 };
        let mut changed = value.to_vec();
        changed[place] ^= 1;
        put(key, changed.into()).await;
        let error = machine.start().await.err().expect("does not open");
        assert!(matches!(error, Error::Unreadable { source: SealError::Damaged, .. }), "{error}");
        put(key, value.clone()).await;
    }
    let credentials: Vec<_> = sealed.iter().filter(|(key, _)| key.starts_with(b"auth/credential/")).collect();
    let [(one, _), (_, other), ..] = credentials[..] else { panic!("two keys") };
    put(one, other.clone()).await;
    let error = machine.start().await.err().expect("a secret in another's place does not open");
    assert!(matches!(error, Error::Unreadable { source: SealError::Damaged, .. }), "{error}");
}
