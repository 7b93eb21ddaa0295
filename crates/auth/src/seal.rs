//! Sealing: AES-256-GCM envelopes around what must not be readable in the metadata store or its backups.
//!
//! An envelope names the master key that made it, so that a wrong or rotated key is told apart from damage,
//! and is bound to the place it is stored at, so that an attacker who can write to the store cannot move one
//! secret into another's place. Layout: `docs/formats/auth.md`.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use millpond_types::Random;

/// Bytes of a master key.
pub const MASTER_KEY_BYTES: usize = 32;

const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 8;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_LEN;

/// Why an envelope did not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Made by a later version of Millpond.
    #[error("it is sealed in format {0}, which this version does not know")]
    Version(u8),
    /// Sealed with another master key.
    #[error("it was sealed with master key {sealed_with}, but the key in use is {in_use}")]
    OtherKey {
        /// Key id in the envelope, hex.
        sealed_with: String,
        /// Key id of this sealer, hex.
        in_use: String,
    },
    /// Cut off, changed, or moved from another place.
    #[error("it is damaged or was changed")]
    Damaged,
}

/// Seals and opens with one master key.
pub struct Sealer {
    key: LessSafeKey,
    key_id: [u8; KEY_ID_BYTES],
}

impl Sealer {
    /// A sealer with this master key.
    pub fn new(master_key: &[u8; MASTER_KEY_BYTES]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, master_key).expect("AES-256 takes any 32 bytes");
        // One-way and about a uniformly random key: the id gives nothing away.
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"millpond master key id\0");
        context.update(master_key);
        let mut key_id = [0; KEY_ID_BYTES];
        key_id.copy_from_slice(&context.finish().as_ref()[..KEY_ID_BYTES]);
        Self { key: LessSafeKey::new(key), key_id }
    }

    /// The id of the master key, hex; not secret.
    pub fn key_id(&self) -> String {
        hex::encode(self.key_id)
    }

    /// The id of the master key that an envelope names.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn key_id_of(envelope: &[u8]) -> Result<String, SealError> {
        match envelope {
            [VERSION, rest @ ..] if rest.len() >= KEY_ID_BYTES => Ok(hex::encode(&rest[..KEY_ID_BYTES])),
            [] | [VERSION, ..] => Err(SealError::Damaged),
            [other, ..] => Err(SealError::Version(*other)),
        }
    }

    /// Seals for one place; only [`open`](Self::open) with the same place gets it back.
    pub fn seal(&self, place: &[u8], plain: &[u8], random: &dyn Random) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        let mut envelope = Vec::with_capacity(HEADER_BYTES + plain.len() + AES_256_GCM.tag_len());
        envelope.push(VERSION);
        envelope.extend_from_slice(&self.key_id);
        envelope.extend_from_slice(&nonce);
        let mut sealed = plain.to_vec();
        let aad = Aad::from(additional(&envelope[..1 + KEY_ID_BYTES], place));
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .expect("secrets are far below the limit of AES-GCM");
        envelope.extend_from_slice(&sealed);
        envelope
    }

    /// Opens an envelope from this place.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn open(&self, place: &[u8], envelope: &[u8]) -> Result<Vec<u8>, SealError> {
        match envelope.first() {
            None => return Err(SealError::Damaged),
            Some(&VERSION) => {}
            Some(&other) => return Err(SealError::Version(other)),
        }
        let (header, sealed) = envelope.split_at_checked(HEADER_BYTES).ok_or(SealError::Damaged)?;
        let (named, nonce) = header.split_at(1 + KEY_ID_BYTES);
        if named[1..] != self.key_id {
            return Err(SealError::OtherKey { sealed_with: hex::encode(&named[1..]), in_use: self.key_id() });
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let mut plain = sealed.to_vec();
        let len = self
            .key
            .open_in_place(nonce, Aad::from(additional(named, place)), &mut plain)
            .map_err(|_| SealError::Damaged)?
            .len();
        plain.truncate(len);
        Ok(plain)
    }
}

/// What is authenticated beside the content.
fn additional(header: &[u8], place: &[u8]) -> Vec<u8> {
    [header, place].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::Counting;

    #[test]
    fn what_was_sealed_opens() {
        let sealer = Sealer::new(&[7; 32]);
        for plain in [&b""[..], b"x", &[0xff; 300]] {
            let envelope = sealer.seal(b"auth/a", plain, &Counting::default());
            assert!(
                plain.is_empty() || !envelope.windows(plain.len()).any(|w| w == plain) || plain.len() < 2
            );
            assert_eq!(sealer.open(b"auth/a", &envelope).as_deref(), Ok(plain));
        }
    }

    #[test]
    fn the_same_secret_is_sealed_differently_each_time() {
        let (sealer, random) = (Sealer::new(&[7; 32]), Counting::default());
        assert_ne!(sealer.seal(b"p", b"secret", &random), sealer.seal(b"p", b"secret", &random));
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let sealer = Sealer::new(&[7; 32]);
        let envelope = sealer.seal(b"auth/a", b"secret", &Counting::default());
        for position in 0..envelope.len() {
            let mut changed = envelope.clone();
            changed[position] ^= 1;
            assert!(sealer.open(b"auth/a", &changed).is_err(), "byte {position}");
            assert!(sealer.open(b"auth/a", &envelope[..position]).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn a_secret_does_not_open_in_another_place() {
        let sealer = Sealer::new(&[7; 32]);
        let envelope = sealer.seal(b"auth/a", b"secret", &Counting::default());
        assert_eq!(sealer.open(b"auth/b", &envelope), Err(SealError::Damaged));
    }

    #[test]
    fn another_master_key_is_named() {
        let (right, wrong) = (Sealer::new(&[7; 32]), Sealer::new(&[8; 32]));
        let envelope = right.seal(b"auth/a", b"secret", &Counting::default());
        let expected = SealError::OtherKey { sealed_with: right.key_id(), in_use: wrong.key_id() };
        assert_eq!(wrong.open(b"auth/a", &envelope), Err(expected));
    }

    #[test]
    fn a_later_format_is_named() {
        assert_eq!(Sealer::new(&[7; 32]).open(b"", &[2, 0, 0]), Err(SealError::Version(2)));
    }

    /// Golden: format 1 stays readable.
    #[test]
    fn format_1() {
        let sealer = Sealer::new(&[7; 32]);
        let envelope = hex::encode(sealer.seal(b"auth/a", b"secret", &Counting::default()));
        assert_eq!(
            envelope,
            "01890f62ee0e809da2000102030405060708090a0b6be48a02787d346b1acabd67bec782c5a3ffd5faf63e"
        );
    }
}
