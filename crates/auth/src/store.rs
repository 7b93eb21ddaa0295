//! The records of this crate in the metadata store, under the prefix `auth/` (`docs/formats/auth.md`).
//!
//! Secrets in them are sealed for the key they are stored at.

use bytes::Bytes;
use millpond_types::{DecodeError, Reader, Timestamp, Writer};

/// Everything of this crate begins with this.
pub const PREFIX: &[u8] = b"auth/";

const VERSION: u8 = 1;

/// Where the sealed signing key of session tokens is.
pub fn token_key() -> Bytes {
    Bytes::from_static(b"auth/token-key")
}

/// Where a user is.
pub fn user(name: &str) -> Bytes {
    [USERS, name.as_bytes()].concat().into()
}

/// Where an access key is.
pub fn credential(access_key_id: &str) -> Bytes {
    [CREDENTIALS, access_key_id.as_bytes()].concat().into()
}

/// Users begin with this.
pub const USERS: &[u8] = b"auth/user/";
/// Access keys begin with this.
pub const CREDENTIALS: &[u8] = b"auth/credential/";

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    pub created: Timestamp,
    pub administrator: bool,
}

impl UserRecord {
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(VERSION).int(self.created.millis()).u8(u8::from(self.administrator));
        writer.finish().into()
    }
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let created = Timestamp(reader.int()?);
        let administrator = flag(&mut reader)?;
        reader.end()?;
        Ok(Self { created, administrator })
    }
}

/// Who chose an access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Millpond, at random.
    Generated,
    /// The configuration.
    Configured,
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRecord {
    pub user: String,
    pub created: Timestamp,
    pub source: Source,
    pub sealed_secret: Bytes,
}

impl CredentialRecord {
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer
            .u8(VERSION)
            .text(&self.user)
            .int(self.created.millis())
            .u8(match self.source {
                Source::Generated => 0,
                Source::Configured => 1,
            })
            .bytes(&self.sealed_secret);
        writer.finish().into()
    }
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let record = Self {
            user: reader.text()?,
            created: Timestamp(reader.int()?),
            source: if flag(&mut reader)? { Source::Configured } else { Source::Generated },
            sealed_secret: reader.bytes()?,
        };
        reader.end()?;
        Ok(record)
    }
}

fn version(reader: &mut Reader) -> Result<(), DecodeError> {
    if reader.u8()? == VERSION { Ok(()) } else { Err(DecodeError("unknown version")) }
}

fn flag(reader: &mut Reader) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError("unknown value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: version 1 stays readable.
    #[test]
    fn version_1_of_each_record() {
        let user = UserRecord { created: Timestamp(1_780_000_000_000), administrator: true };
        assert_eq!(hex::encode(user.encode()), "0180a0a484ce6701");
        assert_eq!(UserRecord::decode(user.encode()), Ok(user));
        let credential = CredentialRecord {
            user: "admin".into(),
            created: Timestamp(1_780_000_000_000),
            source: Source::Configured,
            sealed_secret: Bytes::from_static(&[1, 2, 3]),
        };
        assert_eq!(hex::encode(credential.encode()), "010561646d696e80a0a484ce670103010203");
        assert_eq!(CredentialRecord::decode(credential.encode()), Ok(credential));
    }

    #[test]
    fn damaged_records_are_errors() {
        let credential = CredentialRecord {
            user: "admin".into(),
            created: Timestamp(5),
            source: Source::Generated,
            sealed_secret: Bytes::from_static(&[1]),
        };
        let whole = credential.encode();
        for cut in 0..whole.len() {
            assert!(CredentialRecord::decode(whole.slice(..cut)).is_err(), "{cut}");
        }
        assert!(UserRecord::decode(Bytes::from_static(&[2, 0, 0])).is_err());
        assert!(UserRecord::decode(Bytes::from_static(&[1, 0, 7])).is_err());
    }
}
