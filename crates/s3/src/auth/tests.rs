//! The guard against hand-signed requests: a small signer of its own, so that a mistake in the product's
//! canonical form does not sign itself right, and the worked examples of the AWS documentation.

use super::sigv4::testing::signature;
use super::sigv4::{readable, sha256_hex};
use super::*;
use http::{Method, Request};
use millpond_service::SecretKey;

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TIME: &str = "20130524T000000Z";
const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";
const HOST_NAME: &str = "examplebucket.s3.amazonaws.com";

fn now() -> Timestamp {
    date::parse_basic(TIME).expect("a time")
}

/// A request to be signed and bent.
struct Draft {
    method: Method,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    payload: String,
    scope: String,
    time: String,
}

impl Draft {
    fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            query: String::new(),
            headers: vec![("host".into(), HOST_NAME.into())],
            payload: EMPTY_SHA256.into(),
            scope: SCOPE.into(),
            time: TIME.into(),
        }
    }
    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
    fn sign_text(&self, query: &str, names: &[String], payload: &str) -> String {
        let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        pairs.sort_unstable();
        let mut canonical = format!("{}\n{}\n{}\n", self.method, self.path, pairs.join("&"));
        for name in names {
            let value = &self.headers.iter().find(|(n, _)| n == name).expect("signed headers are there").1;
            canonical += &format!(
                "{name}:{}\n",
                value.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
            );
        }
        canonical += &format!("\n{}\n{payload}", names.join(";"));
        let text = format!("{V4}\n{}\n{}\n{}", self.time, self.scope, sha256_hex(canonical.as_bytes()));
        signature(SECRET, &self.scope, &text)
    }
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.headers.iter().map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names
    }
    /// Signs every header there is.
    fn signed(mut self) -> Signed {
        let time = self.time.clone();
        let payload = self.payload.clone();
        self = self.header("x-amz-date", &time).header("x-amz-content-sha256", &payload);
        let names = self.names();
        let query = self
            .query
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|p| if p.contains('=') { p.to_owned() } else { format!("{p}=") })
            .collect::<Vec<_>>()
            .join("&");
        let signature = self.sign_text(&query, &names, &payload);
        let text = format!(
            "{V4} Credential={ID}/{},SignedHeaders={},Signature={signature}",
            self.scope,
            names.join(";")
        );
        Signed(self.header("authorization", &text))
    }
    /// Puts the signature into the query.
    fn presigned(mut self, expires: &str) -> Signed {
        let names = self.names();
        let credential = format!("{ID}/{}", self.scope).replace('/', "%2F");
        let own = if self.query.is_empty() { String::new() } else { format!("&{}", self.query) };
        self.query = format!(
            "X-Amz-Algorithm={V4}&X-Amz-Credential={credential}&X-Amz-Date={}&X-Amz-Expires={expires}\
             &X-Amz-SignedHeaders={}{own}",
            self.time,
            names.join("%3B")
        );
        let signature = self.sign_text(&self.query, &names, "UNSIGNED-PAYLOAD");
        self.query += &format!("&X-Amz-Signature={signature}");
        Signed(self)
    }
}

struct Signed(Draft);

impl Signed {
    fn parts(&self) -> (Parts, Query) {
        let draft = &self.0;
        let uri = if draft.query.is_empty() {
            draft.path.clone()
        } else {
            format!("{}?{}", draft.path, draft.query)
        };
        let mut request = Request::builder().method(draft.method.clone()).uri(uri);
        for (name, value) in &draft.headers {
            request = request.header(name, value);
        }
        let parts = request.body(()).expect("a request").into_parts().0;
        let query = Query::parse(parts.uri.query()).expect("a query");
        (parts, query)
    }
    /// The payload mode, and whether it was presigned.
    fn check_at(&self, now: Timestamp) -> S3Result<(PayloadMode, bool)> {
        let (parts, query) = self.parts();
        let claim = claim(&parts, &query, now)?;
        assert_eq!(claim.access_key_id, ID);
        claim.verify(&SecretKey::new(SECRET), &SigningKeys::default(), &parts, &query)?;
        Ok((claim.payload, claim.presigned))
    }
    fn check(&self) -> S3Result<(PayloadMode, bool)> {
        self.check_at(now())
    }
    fn refused(&self, status: u16, code: &str) {
        let error = self.check().expect_err("must be refused");
        assert_eq!((error.status.as_u16(), error.code), (status, code), "{}", error.message);
    }
    fn edit(mut self, change: impl FnOnce(&mut Draft)) -> Self {
        change(&mut self.0);
        self
    }
    fn edit_authorization(self, from: &str, to: &str) -> Self {
        self.edit(|draft| {
            let value = &mut draft.headers.iter_mut().find(|(n, _)| n == "authorization").expect("there").1;
            assert!(value.contains(from), "{value}");
            *value = value.replace(from, to);
        })
    }
}

fn get() -> Draft {
    Draft::new(Method::GET, "/test.txt")
}

#[test]
fn the_documented_get_has_the_documented_signature() {
    let signed = get().header("range", "bytes=0-9").signed();
    let authorization = &signed.0.headers.last().expect("there").1;
    assert!(authorization.ends_with("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
    assert_eq!(signed.check().expect("right").0, PayloadMode::Whole(ContentHash::of(b"")));
}

#[test]
fn the_documented_presigned_url_has_the_documented_signature() {
    let signed = get().presigned("86400");
    assert!(signed.0.query.ends_with("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"));
    assert_eq!(signed.check().expect("right"), (PayloadMode::Unsigned, true));
}

#[test]
fn queries_and_odd_paths_are_covered() {
    let mut draft = Draft::new(Method::GET, "/repo/main/a%20b%2B%C3%A4//c");
    draft.query = "uploads&prefix=a%2Fb&max-keys=2".into();
    let signed = draft.signed();
    signed.check().expect("right");
    signed
        .edit(|draft| draft.query = draft.query.replace("max-keys=2", "max-keys=3"))
        .refused(403, "SignatureDoesNotMatch");
}

#[test]
fn a_path_signed_as_sent_is_taken() {
    Draft::new(Method::GET, "/repo/main/a(1)=b").signed().check().expect("right");
}

#[test]
fn values_are_trimmed_and_spaces_reduced() {
    get().header("x-amz-meta-note", "  a   b  ").signed().check().expect("right");
}

#[test]
fn payload_modes() {
    for (text, mode) in [
        ("UNSIGNED-PAYLOAD", PayloadMode::Unsigned),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", PayloadMode::Chunked { signed: true, trailer: false }),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", PayloadMode::Chunked { signed: true, trailer: true }),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", PayloadMode::Chunked { signed: false, trailer: true }),
    ] {
        let mut draft = get();
        draft.payload = text.into();
        assert_eq!(draft.signed().check().expect(text).0, mode);
    }
    for (text, code) in
        [("nonsense", "InvalidArgument"), ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "InvalidRequest")]
    {
        let mut draft = get();
        draft.payload = text.into();
        draft.signed().refused(400, code);
    }
}

#[test]
fn an_anonymous_request_is_refused() {
    Signed(get()).refused(403, "AccessDenied");
}

#[test]
fn a_changed_request_is_refused() {
    get().signed().edit(|d| d.method = Method::DELETE).refused(403, "SignatureDoesNotMatch");
    get().signed().edit(|d| d.path = "/other".into()).refused(403, "SignatureDoesNotMatch");
    get().signed().edit(|d| d.headers[0].1 = "other".into()).refused(403, "SignatureDoesNotMatch");
    get().presigned("60").edit(|d| d.method = Method::PUT).refused(403, "SignatureDoesNotMatch");
    get().signed().edit_authorization("Signature=", "Signature=0").refused(403, "SignatureDoesNotMatch");
}

#[test]
fn another_secret_is_refused() {
    let (parts, query) = get().signed().parts();
    let claim = claim(&parts, &query, now()).expect("the guard passes");
    assert_eq!(
        claim
            .verify(&SecretKey::new("other"), &SigningKeys::default(), &parts, &query)
            .err()
            .expect("refused")
            .code,
        "SignatureDoesNotMatch"
    );
}

#[test]
fn what_the_log_says_of_a_wrong_signature_lets_nobody_in() {
    let request = b"GET\n/bucket/token:a\nX-Amz-Date=1&X-Amz-Security-Token=canary&prefix=a\nhost:here\n\
        x-amz-security-token:canary\nx-amz-server-side-encryption-customer-key:canary\nx-amz-meta-a:b\n\n\
        host;x-amz-meta-a\nUNSIGNED-PAYLOAD";
    assert_eq!(
        readable(request),
        "GET\n/bucket/token:a\nX-Amz-Date=1&X-Amz-Security-Token=...&prefix=a\nhost:here\n\
         x-amz-security-token:...\nx-amz-server-side-encryption-customer-key:...\nx-amz-meta-a:b\n\n\
         host;x-amz-meta-a\nUNSIGNED-PAYLOAD"
    );
}

#[test]
fn an_unsigned_amz_header_is_refused() {
    for name in ["x-amz-copy-source", "x-amz-meta-a", "x-amz-tagging", "x-amz-security-token"] {
        let add = |d: &mut Draft| d.headers.push((name.into(), "/repo/main/secret".into()));
        get().signed().edit(add).refused(403, "AccessDenied");
        get().presigned("60").edit(add).refused(403, "AccessDenied");
    }
}

#[test]
fn a_signed_amz_header_is_taken() {
    get().header("x-amz-meta-a", "1").signed().check().expect("right");
    get().header("x-amz-meta-a", "1").presigned("60").check().expect("right");
}

#[test]
fn a_signed_header_that_is_missing_is_refused() {
    let drop = |d: &mut Draft| d.headers.retain(|(name, _)| name != "x-amz-meta-a");
    get().header("x-amz-meta-a", "").signed().edit(drop).refused(403, "SignatureDoesNotMatch");
    get().header("x-amz-meta-a", "").presigned("60").edit(drop).refused(403, "SignatureDoesNotMatch");
}

#[test]
fn host_and_date_must_be_signed() {
    get().signed().edit_authorization("SignedHeaders=host;", "SignedHeaders=").refused(403, "AccessDenied");
    get().signed().edit_authorization(";x-amz-date", "").refused(403, "AccessDenied");
}

#[test]
fn presign_life_has_limits() {
    get().presigned("604800").check().expect("7 days are allowed");
    for expires in ["604801", "2592000", "0", "-1", "x", "", "+60", "1.5"] {
        get().presigned(expires).refused(400, "AuthorizationQueryParametersError");
    }
    let signed = get().presigned("60");
    let at = |seconds: i64| Timestamp(now().millis() + seconds * 1000);
    assert!(signed.check_at(at(60)).is_ok());
    assert_eq!(signed.check_at(at(61)).expect_err("expired").code, "AccessDenied");
    assert!(signed.check_at(at(-900)).is_ok());
    assert_eq!(signed.check_at(at(-901)).expect_err("not yet").code, "AccessDenied");
    assert!(get().presigned("604800").check_at(at(604_800)).is_ok(), "longer than the skew of headers");
}

#[test]
fn presign_parameters_must_be_complete_and_single() {
    for name in PRESIGN_NAMES {
        get()
            .presigned("60")
            .edit(|d| {
                d.query = d.query.split('&').filter(|p| !p.starts_with(name)).collect::<Vec<_>>().join("&")
            })
            .refused(400, "AuthorizationQueryParametersError");
    }
    get()
        .presigned("60")
        .edit(|d| d.query += "&X-Amz-Expires=10")
        .refused(400, "AuthorizationQueryParametersError");
}

#[test]
fn header_time_must_be_near() {
    let signed = get().signed();
    let at = |seconds: i64| Timestamp(now().millis() + seconds * 1000);
    for seconds in [900, -900] {
        assert!(signed.check_at(at(seconds)).is_ok());
    }
    for seconds in [901, -901] {
        let error = signed.check_at(at(seconds)).expect_err("skewed");
        assert_eq!((error.status.as_u16(), error.code), (403, "RequestTimeTooSkewed"));
    }
}

#[test]
fn doubled_credentials_are_refused() {
    let presigned = get().presigned("60").0.query;
    get().signed().edit(|d| d.query = presigned).refused(400, "InvalidArgument");
    let again = |d: &mut Draft| {
        let header = d.headers.last().expect("there").clone();
        d.headers.push(header);
    };
    get().signed().edit(again).refused(400, "InvalidArgument");
}

#[test]
fn other_signatures_are_refused() {
    Signed(get().header("authorization", "AWS AKID:c2lnbmF0dXJl")).refused(400, "InvalidRequest");
    let query = |text: &str| {
        let mut draft = get();
        draft.query = text.into();
        Signed(draft)
    };
    query("AWSAccessKeyId=a&Signature=b&Expires=2000000000").refused(400, "InvalidRequest");
    Signed(
        get().header("authorization", "AWS4-ECDSA-P256-SHA256 Credential=x, SignedHeaders=host, Signature=y"),
    )
    .refused(400, "InvalidRequest");
    get()
        .presigned("60")
        .edit(|d| d.query = d.query.replace(V4, "AWS4-ECDSA-P256-SHA256"))
        .refused(400, "InvalidRequest");
    Signed(get().header("authorization", "Bearer x")).refused(400, "InvalidArgument");
}

#[test]
fn the_scope_must_be_s3_and_of_the_day() {
    let scoped = |scope: &str| {
        let mut draft = get();
        draft.scope = scope.into();
        draft
    };
    for scope in [
        "20130524/us-east-1/sts/aws4_request",
        "20130523/us-east-1/s3/aws4_request",
        "2013/us-east-1/s3/aws4_request",
        "20130524/us-east-1/s3/aws5_request",
    ] {
        scoped(scope).signed().refused(400, "AuthorizationHeaderMalformed");
        scoped(scope).presigned("60").refused(400, "AuthorizationQueryParametersError");
    }
    scoped("20130524/anywhere/s3/aws4_request").signed().check().expect("any region will do");
}

#[test]
fn malformed_authorization_headers_are_refused() {
    for text in [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a",
        "AWS4-HMAC-SHA256 Credential=a,SignedHeaders=b,Signature=c,Signature=d",
    ] {
        Signed(get().header("authorization", text)).refused(400, "AuthorizationHeaderMalformed");
    }
}

#[test]
fn without_payload_hash_or_date_there_is_no_signature() {
    let without = |name: &'static str| move |d: &mut Draft| d.headers.retain(|(n, _)| n != name);
    get().signed().edit(without("x-amz-content-sha256")).refused(400, "InvalidRequest");
    get().signed().edit(without("x-amz-date")).refused(403, "AccessDenied");
}

#[test]
fn a_signed_payload_hash_on_a_presigned_url_counts() {
    let hash = sha256_hex(b"body");
    let mut draft = get().header("x-amz-content-sha256", &hash);
    draft.method = Method::PUT;
    let names = draft.names();
    // The canonical request of such a URL ends in the hash.
    let mut signed = draft.presigned("60").0;
    let query = signed.query.split("&X-Amz-Signature").next().expect("there").to_owned();
    let right = signed.sign_text(&query, &names, &hash);
    signed.query = format!("{query}&X-Amz-Signature={right}");
    assert_eq!(Signed(signed).check().expect("right").0, PayloadMode::Whole(ContentHash::of(b"body")));
}

/// A request as one text: method, path, query, then headers, one a line.
fn to_request(text: &str) -> Option<(Parts, Query)> {
    let mut lines = text.split('\n');
    let (method, path, query) = (lines.next()?, lines.next()?, lines.next()?);
    let mut request = Request::builder().method(method).uri(format!("{path}?{query}"));
    for line in lines {
        let (name, value) = line.split_once(':')?;
        request = request.header(name, value);
    }
    let parts = request.body(()).ok()?.into_parts().0;
    let query = Query::parse(parts.uri.query()).ok()?;
    Some((parts, query))
}

/// What the server would act on, apart from how it is written.
fn meaning(parts: &Parts, query: &Query) -> String {
    let path = percent_encoding::percent_decode_str(parts.uri.path()).collect::<Vec<u8>>();
    let mut pairs = query.pairs().to_vec();
    pairs.sort();
    let mut headers: Vec<String> = parts
        .headers
        .iter()
        .filter(|(name, _)| *name == HOST || name.as_str().starts_with("x-amz-"))
        .map(|(name, value)| {
            let words = value.as_bytes().trim_ascii().split(|&b| b == b' ').filter(|word| !word.is_empty());
            format!("{name}:{:?}", words.collect::<Vec<_>>())
        })
        .collect();
    headers.sort();
    format!("{} {path:?} {pairs:?} {headers:?}", parts.method)
}

#[test]
fn fuzz_signatures() {
    let header = {
        let names = ["host", "x-amz-content-sha256", "x-amz-date", "x-amz-meta-k"];
        let mut draft = Draft::new(Method::PUT, "/repo/main/a%20b");
        draft = draft.header("x-amz-content-sha256", "UNSIGNED-PAYLOAD").header("x-amz-date", TIME);
        draft = draft.header("x-amz-meta-k", "v w");
        let names: Vec<String> = names.map(str::to_owned).to_vec();
        let signature = draft.sign_text("partNumber=2&uploadId=u", &names, "UNSIGNED-PAYLOAD");
        let headers: String = draft.headers.iter().map(|(name, value)| format!("\n{name}:{value}")).collect();
        format!(
            "PUT\n{}\npartNumber=2&uploadId=u{headers}\nauthorization:{V4} Credential={ID}/{SCOPE}, SignedHeaders={}, Signature={signature}",
            draft.path,
            names.join(";")
        )
    };
    let presigned = {
        let draft = Draft::new(Method::GET, "/repo/main/a");
        let query = format!(
            "X-Amz-Algorithm={V4}&X-Amz-Credential={ID}%2F{}&X-Amz-Date={TIME}&X-Amz-Expires=60&X-Amz-SignedHeaders=host",
            SCOPE.replace('/', "%2F")
        );
        let signature = draft.sign_text(&query, &["host".to_owned()], "UNSIGNED-PAYLOAD");
        format!("GET\n/repo/main/a\n{query}&X-Amz-Signature={signature}\nhost:{HOST_NAME}")
    };
    let verified = |text: &str| -> Result<String, &'static str> {
        let (parts, query) = to_request(text).ok_or("no request")?;
        let claim = claim(&parts, &query, now()).map_err(|error| error.code)?;
        claim
            .verify(&SecretKey::new(SECRET), &SigningKeys::default(), &parts, &query)
            .map_err(|error| error.code)?;
        Ok(meaning(&parts, &query))
    };
    let words = [
        "%2F",
        "%20",
        "+",
        "&",
        "=",
        ";",
        "\nx-amz-copy-source:b/c",
        "\nhost:h",
        "x-amz-date",
        "host",
        "DELETE",
        "GET",
        " ",
        "../",
        "X-Amz-Expires=604800",
    ];
    for (name, good) in [("signature-header", header), ("signature-query", presigned)] {
        let meant = verified(&good).expect("the seed is good");
        millpond_testkit::fuzz::Fuzz { name, seeds: vec![good.into_bytes()], words: &words }.run(|input| {
            match verified(&String::from_utf8_lossy(input)) {
                // However it is written now, it asks for what was signed.
                Ok(asks) => {
                    assert_eq!(asks, meant);
                    "verified".to_owned()
                }
                Err(code) => code.to_owned(),
            }
        });
    }
}
