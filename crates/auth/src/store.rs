//! The records of this crate in the metadata store, under the prefix `auth/` (`docs/formats/auth.md`).
//!
//! Secrets in them are sealed for the key they are stored at; what a person keeps (session tokens, one-time
//! links) is stored as its hash. One function spells each key. Names hold no `/`, so the pairs of a relation
//! split at the last one.

use bytes::Bytes;
use millpond_types::{DecodeError, Reader, Timestamp, Writer};

/// Everything of this crate begins with this.
pub const PREFIX: &[u8] = b"auth/";

/// Where the sealed signing key of session tokens is.
pub const TOKEN_KEY: &[u8] = b"auth/token-key";
/// How often the records changed: every change expects the number it read.
pub const GENERATION: &[u8] = b"auth/generation";
/// That the groups and policies of the first start were made, so that those deleted since stay deleted.
pub const DEFAULTS: &[u8] = b"auth/defaults";

/// Tables of records by name: what their keys begin with.
pub mod table {
    pub const USERS: &[u8] = b"auth/user/";
    pub const GROUPS: &[u8] = b"auth/group/";
    pub const POLICIES: &[u8] = b"auth/policy/";
    pub const CREDENTIALS: &[u8] = b"auth/credential/";
    /// By access key id: when it was last used.
    pub const USED: &[u8] = b"auth/used/";
    /// By user.
    pub const PASSWORDS: &[u8] = b"auth/password/";
    /// By group and user.
    pub const MEMBERS: &[u8] = b"auth/member/";
    /// By user and policy.
    pub const USER_POLICIES: &[u8] = b"auth/user-policy/";
    /// By group and policy.
    pub const GROUP_POLICIES: &[u8] = b"auth/group-policy/";
    /// By hash of the token, hex.
    pub const SESSIONS: &[u8] = b"auth/session/";
    /// By hash of the token, hex.
    pub const LINKS: &[u8] = b"auth/link/";
    /// By id of the token (`jti`).
    pub const REVOKED: &[u8] = b"auth/revoked/";
    /// By id in the other system.
    pub const PRINCIPALS: &[u8] = b"auth/principal/";
}

/// The key of a record in a table.
pub fn key(table: &[u8], name: &str) -> Bytes {
    [table, name.as_bytes()].concat().into()
}

/// The key of a pair in a relation.
pub fn pair(table: &[u8], left: &str, right: &str) -> Bytes {
    [table, left.as_bytes(), b"/", right.as_bytes()].concat().into()
}

/// A record that begins with its version.
pub trait Record: Sized {
    /// Its present form.
    fn encode(&self) -> Bytes;
    /// Reads this and every earlier form.
    fn decode(bytes: Bytes) -> Result<Self, DecodeError>;
}

fn end<T>(reader: Reader, value: T) -> Result<T, DecodeError> {
    reader.end()?;
    Ok(value)
}

fn version(reader: &mut Reader, latest: u8) -> Result<u8, DecodeError> {
    let version = reader.u8()?;
    if (1..=latest).contains(&version) { Ok(version) } else { Err(DecodeError("unknown version")) }
}

fn flag(reader: &mut Reader) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError("unknown value")),
    }
}

fn time(reader: &mut Reader) -> Result<Timestamp, DecodeError> {
    Ok(Timestamp(reader.int()?))
}

fn optional<T>(
    reader: &mut Reader,
    read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if flag(reader)? { read(reader).map(Some) } else { Ok(None) }
}

fn put_time(writer: &mut Writer, time: Option<Timestamp>) {
    match time {
        None => writer.u8(0),
        Some(time) => writer.u8(1).int(time.millis()),
    };
}

fn put_text(writer: &mut Writer, text: Option<&str>) {
    match text {
        None => writer.u8(0),
        Some(text) => writer.u8(1).text(text),
    };
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    pub created: Timestamp,
    /// The one who set the installation up; policies do not bind him.
    pub administrator: bool,
    /// Drawn when the user is made: what was given to an earlier user of the same name is not this one's.
    pub incarnation: u64,
    pub friendly_name: String,
    pub email: String,
    /// Who vouches for the user: `internal`, `oidc`, ...
    pub source: String,
    /// The user's id there.
    pub external_id: String,
}

impl Record for UserRecord {
    fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(2).int(self.created.millis()).u8(u8::from(self.administrator)).uint(self.incarnation);
        writer.text(&self.friendly_name).text(&self.email).text(&self.source).text(&self.external_id);
        writer.finish().into()
    }
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = version(&mut reader, 2)?;
        let created = time(&mut reader)?;
        let administrator = flag(&mut reader)?;
        let mut record = Self {
            created,
            administrator,
            incarnation: created.millis().unsigned_abs(),
            friendly_name: String::new(),
            email: String::new(),
            source: "internal".to_owned(),
            external_id: String::new(),
        };
        if version > 1 {
            record.incarnation = reader.uint()?;
            record.friendly_name = reader.text()?;
            record.email = reader.text()?;
            record.source = reader.text()?;
            record.external_id = reader.text()?;
        }
        end(reader, record)
    }
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    pub created: Timestamp,
    pub description: String,
}

impl Record for GroupRecord {
    fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(1).int(self.created.millis()).text(&self.description);
        writer.finish().into()
    }
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader, 1)?;
        let record = Self { created: time(&mut reader)?, description: reader.text()? };
        end(reader, record)
    }
}

/// A policy; the document is JSON as clients write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    pub created: Timestamp,
    pub document: String,
}

impl Record for PolicyRecord {
    fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(1).int(self.created.millis()).text(&self.document);
        writer.finish().into()
    }
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader, 1)?;
        let record = Self { created: time(&mut reader)?, document: reader.text()? };
        end(reader, record)
    }
}

/// Who chose an access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Millpond, at random, for the administrator of a new installation.
    Generated,
    /// The configuration.
    Configured,
    /// Somebody asked for it.
    Asked,
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRecord {
    pub user: String,
    pub created: Timestamp,
    pub source: Source,
    pub sealed_secret: Bytes,
    pub expires: Option<Timestamp>,
    /// Policies, as JSON; each must permit what the key does.
    pub limits: Vec<String>,
}

impl Record for CredentialRecord {
    fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(2).text(&self.user).int(self.created.millis());
        writer.u8(match self.source {
            Source::Generated => 0,
            Source::Configured => 1,
            Source::Asked => 2,
        });
        writer.bytes(&self.sealed_secret);
        put_time(&mut writer, self.expires);
        writer.uint(self.limits.len() as u64);
        for limit in &self.limits {
            writer.text(limit);
        }
        writer.finish().into()
    }
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = version(&mut reader, 2)?;
        let mut record = Self {
            user: reader.text()?,
            created: time(&mut reader)?,
            source: match reader.u8()? {
                0 => Source::Generated,
                1 => Source::Configured,
                2 => Source::Asked,
                _ => return Err(DecodeError("unknown source of a key")),
            },
            sealed_secret: reader.bytes()?,
            expires: None,
            limits: Vec::new(),
        };
        if version > 1 {
            record.expires = optional(&mut reader, time)?;
            for _ in 0..reader.uint()? {
                record.limits.push(reader.text()?);
            }
        }
        end(reader, record)
    }
}

/// A membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    pub since: Timestamp,
    /// Whether another system gave it, which may take it back.
    pub given: bool,
}

impl Record for MemberRecord {
    fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(2).int(self.since.millis()).u8(u8::from(self.given));
        writer.finish().into()
    }
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = version(&mut reader, 2)?;
        let since = time(&mut reader)?;
        let given = version > 1 && flag(&mut reader)?;
        end(reader, Self { since, given })
    }
}

/// A point in time: of an attachment, of a key's last use, or the end of a revoked token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRecord(pub Timestamp);

impl Record for TimeRecord {
    fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(1).int(self.0.millis());
        writer.finish().into()
    }
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader, 1)?;
        let record = Self(time(&mut reader)?);
        end(reader, record)
    }
}

/// What a person who showed a session token or a one-time link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    pub user: String,
    pub incarnation: u64,
    pub created: Timestamp,
    pub expires: Timestamp,
    /// The access key it came from: it ends with that key and is held to its limits.
    pub key: Option<String>,
}

impl Record for GrantRecord {
    fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(1).text(&self.user).uint(self.incarnation).int(self.created.millis());
        writer.int(self.expires.millis());
        put_text(&mut writer, self.key.as_deref());
        writer.finish().into()
    }
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader, 1)?;
        let record = Self {
            user: reader.text()?,
            incarnation: reader.uint()?,
            created: time(&mut reader)?,
            expires: time(&mut reader)?,
            key: optional(&mut reader, Reader::text)?,
        };
        end(reader, record)
    }
}

/// Somebody of another system, and whom he is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalRecord {
    pub user: String,
}

impl Record for PrincipalRecord {
    fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(1).text(&self.user);
        writer.finish().into()
    }
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader, 1)?;
        let record = Self { user: reader.text()? };
        end(reader, record)
    }
}

/// A counter: the generation, and the version of the defaults that were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountRecord(pub u64);

impl Record for CountRecord {
    fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(1).uint(self.0);
        writer.finish().into()
    }
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader, 1)?;
        let record = Self(reader.uint()?);
        end(reader, record)
    }
}

/// The hash of a password; sealed where it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordRecord {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
    pub salt: Bytes,
    pub hash: Bytes,
}

impl Record for PasswordRecord {
    fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(1).uint(self.memory_kib.into()).uint(self.passes.into()).uint(self.lanes.into());
        writer.bytes(&self.salt).bytes(&self.hash);
        writer.finish().into()
    }
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader, 1)?;
        let mut number =
            || reader.uint().and_then(|n| u32::try_from(n).map_err(|_| DecodeError("number is too large")));
        let (memory_kib, passes, lanes) = (number()?, number()?, number()?);
        let record = Self { memory_kib, passes, lanes, salt: reader.bytes()?, hash: reader.bytes()? };
        end(reader, record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    const NOW: Timestamp = Timestamp(1_780_000_000_000);

    fn user() -> UserRecord {
        UserRecord {
            created: NOW,
            administrator: true,
            incarnation: 7,
            friendly_name: "Eve".into(),
            email: "e@x".into(),
            source: "oidc".into(),
            external_id: "9".into(),
        }
    }

    fn credential() -> CredentialRecord {
        CredentialRecord {
            user: "admin".into(),
            created: NOW,
            source: Source::Configured,
            sealed_secret: Bytes::from_static(&[1, 2, 3]),
            expires: Some(Timestamp(5)),
            limits: vec!["{}".into()],
        }
    }

    fn golden<R: Record + PartialEq + Debug>(record: R, hex: &str) {
        assert_eq!(hex::encode(record.encode()), hex, "{record:?}");
        let whole = record.encode();
        assert_eq!(R::decode(whole.clone()), Ok(record));
        for cut in 0..whole.len() {
            assert!(R::decode(whole.slice(..cut)).is_err(), "cut at {cut}");
        }
        let longer = Bytes::from([&whole[..], b"\0"].concat());
        assert!(R::decode(longer).is_err(), "something follows");
        let mut newer = whole.to_vec();
        newer[0] = 3;
        assert!(R::decode(newer.into()).is_err(), "a later version");
    }

    /// Golden: what is written now.
    #[test]
    fn the_present_form_of_each_record() {
        golden(user(), "0280a0a484ce6701070345766503654078046f6964630139");
        golden(GroupRecord { created: NOW, description: "d".into() }, "0180a0a484ce670164");
        golden(PolicyRecord { created: NOW, document: "{}".into() }, "0180a0a484ce67027b7d");
        golden(credential(), "020561646d696e80a0a484ce670103010203010a01027b7d");
        golden(MemberRecord { since: NOW, given: true }, "0280a0a484ce6701");
        golden(MemberRecord { since: NOW, given: false }, "0280a0a484ce6700");
        golden(TimeRecord(NOW), "0180a0a484ce67");
        let grant = GrantRecord {
            user: "eve".into(),
            incarnation: 7,
            created: NOW,
            expires: Timestamp(5),
            key: Some("K".into()),
        };
        golden(grant, "01036576650780a0a484ce670a01014b");
        golden(PrincipalRecord { user: "eve".into() }, "0103657665");
        golden(CountRecord(300), "01ac02");
        let (salt, hash) = (Bytes::from_static(&[1]), Bytes::from_static(&[2, 3]));
        let password = PasswordRecord { memory_kib: 19_456, passes: 2, lanes: 1, salt, hash };
        assert_eq!(hex::encode(password.encode()), "0180980102010101020203");
        assert!(PasswordRecord::decode(password.encode()) == Ok(password));
    }

    /// Golden: version 1 stays readable.
    #[test]
    fn version_1_of_each_record() {
        let bytes = |text: &str| Bytes::from(hex::decode(text).expect("hex"));
        let record = UserRecord::decode(bytes("0180a0a484ce6701")).expect("version 1");
        let none = String::new;
        let expected = UserRecord {
            incarnation: 1_780_000_000_000,
            friendly_name: none(),
            email: none(),
            source: "internal".into(),
            external_id: none(),
            ..user()
        };
        assert_eq!(record, expected);
        let record =
            CredentialRecord::decode(bytes("010561646d696e80a0a484ce670103010203")).expect("version 1");
        assert_eq!(record, CredentialRecord { expires: None, limits: vec![], ..credential() });
        let by_hand = MemberRecord { since: NOW, given: false };
        assert_eq!(MemberRecord::decode(bytes("0180a0a484ce67")), Ok(by_hand));
        assert!(UserRecord::decode(bytes("010007")).is_err(), "no flag");
    }
}
