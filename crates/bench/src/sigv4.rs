//! AWS Signature Version 4 for the requests of the load generator: the `Authorization` header and the chain
//! of chunk signatures of `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.
//!
//! Written apart from the server's verification on purpose: an error in one is found by the other.

use sha2::{Digest, Sha256};

const REGION: &str = "us-east-1";
const BLOCK_BYTES: usize = 64;

/// An access key.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The access key id.
    pub id: String,
    /// The secret access key.
    pub secret: String,
}

/// Signs for one access key; remembers the key derived for the day.
#[derive(Debug)]
pub struct Signer {
    keys: Keys,
    day: String,
    key: [u8; 32],
}

/// What a signature covers. Header names are lower case, and both lists are in order.
#[derive(Clone, Copy, Debug)]
pub struct Signable<'a> {
    /// GET, PUT, ...
    pub method: &'a str,
    /// The path, percent-encoded.
    pub path: &'a str,
    /// The canonical query, percent-encoded and sorted, without `?`.
    pub query: &'a str,
    /// All headers to be signed, `host`, `x-amz-date` and `x-amz-content-sha256` among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// What `x-amz-content-sha256` says.
    pub payload: &'a str,
    /// The moment, as in `x-amz-date`.
    pub moment: &'a str,
}

impl Signer {
    /// A signer for these keys.
    pub fn new(keys: Keys) -> Self {
        Self { keys, day: String::new(), key: [0; 32] }
    }

    /// The value of the `Authorization` header, and the signature in it.
    pub fn authorize(&mut self, signable: Signable<'_>) -> (String, String) {
        let names = signable.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let mut canonical = format!("{}\n{}\n{}\n", signable.method, signable.path, signable.query);
        for (name, value) in signable.headers {
            canonical.push_str(&format!("{name}:{value}\n"));
        }
        canonical.push_str(&format!("\n{names}\n{}", signable.payload));
        let day = &signable.moment[..8];
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            signable.moment,
            scope(day),
            hex::encode(Sha256::digest(canonical.as_bytes()))
        );
        let signature = hex::encode(hmac(&self.key(day), text.as_bytes()));
        let header = format!(
            "AWS4-HMAC-SHA256 Credential={}/{},SignedHeaders={names},Signature={signature}",
            self.keys.id,
            scope(day)
        );
        (header, signature)
    }

    /// The signature of one chunk of a signed stream, given that of the chunk before it (or of the head).
    pub fn chunk(&mut self, moment: &str, previous: &str, chunk: &[u8]) -> String {
        let day = &moment[..8];
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{moment}\n{}\n{previous}\n{}\n{}",
            scope(day),
            hex::encode(Sha256::digest(b"")),
            hex::encode(Sha256::digest(chunk))
        );
        hex::encode(hmac(&self.key(day), text.as_bytes()))
    }

    fn key(&mut self, day: &str) -> [u8; 32] {
        if self.day != day {
            let dated = hmac(format!("AWS4{}", self.keys.secret).as_bytes(), day.as_bytes());
            let service = hmac(&hmac(&dated, REGION.as_bytes()), b"s3");
            self.key = hmac(&service, b"aws4_request");
            self.day = day.to_owned();
        }
        self.key
    }
}

fn scope(day: &str) -> String {
    format!("{day}/{REGION}/s3/aws4_request")
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

/// `20130524T000000Z` for seconds since the Unix epoch.
pub fn moment(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a date of the proleptic Gregorian calendar, counted in eras of 400 years from 1 March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Signer {
        Signer::new(Keys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        })
    }

    #[test]
    fn get_object_of_the_published_examples() {
        let empty = hex::encode(Sha256::digest(b""));
        let (_, signature) = example().authorize(Signable {
            method: "GET",
            path: "/test.txt",
            query: "",
            headers: &[
                ("host", "examplebucket.s3.amazonaws.com"),
                ("range", "bytes=0-9"),
                ("x-amz-content-sha256", &empty),
                ("x-amz-date", "20130524T000000Z"),
            ],
            payload: &empty,
            moment: "20130524T000000Z",
        });
        assert_eq!(signature, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    }

    #[test]
    fn chunks_of_the_published_examples() {
        let mut signer = example();
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let first = signer.chunk("20130524T000000Z", seed, &[b'a'; 65_536]);
        assert_eq!(first, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648");
        let second = signer.chunk("20130524T000000Z", &first, &[b'a'; 1024]);
        assert_eq!(second, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497");
        let last = signer.chunk("20130524T000000Z", &second, b"");
        assert_eq!(last, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
    }

    #[test]
    fn moments() {
        assert_eq!(moment(0), "19700101T000000Z");
        assert_eq!(moment(951_782_399), "20000228T235959Z");
        assert_eq!(moment(951_782_400), "20000229T000000Z");
        assert_eq!(moment(1_369_353_600), "20130524T000000Z");
        assert_eq!(moment(1_798_761_599), "20261231T235959Z");
    }
}
