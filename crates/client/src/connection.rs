//! The client itself: one server, one set of keys, one pool of keep-alive connections.

use crate::call::Call;
use crate::error::Error;
use reqwest::Method;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const CONNECT_SECONDS_MAX: u64 = 10;
/// Between two reads, the wait for the head of the answer included: a merge of a large change is slow.
const SILENCE_SECONDS_MAX: u64 = 600;
const IDLE_CONNECTIONS_MAX: usize = 256;

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Public half.
    pub access_key_id: String,
    /// Secret half; never shown by `Debug`.
    pub secret_access_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// What it takes to reach a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address in any form [`normalize_server`] takes.
    pub server: String,
    /// None sends requests without a signature; most are then refused.
    pub credentials: Option<Credentials>,
    /// Certificates (PEM) that alone are trusted for https; none trusts the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Sent as `User-Agent` and `X-Lakefs-Client`.
    pub user_agent: String,
}

/// A connection to one server. Cloning is cheap and shares the connections.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    server: String,
    credentials: Option<Credentials>,
}

/// Which of the server's two HTTP interfaces a call belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Api {
    /// `/api/v1`
    Compatible,
    /// `/api/millpond/v1`
    Own,
}

impl Client {
    /// Checks the settings and makes a client; connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Settings`] for an address that is none, or certificates that cannot be read.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let server = normalize_server(&settings.server)?;
        let parsed = reqwest::Url::parse(&server)
            .map_err(|e| Error::Settings(format!("'{server}' is not a server address: {e}")))?;
        let mut agent = reqwest::header::HeaderMap::new();
        let name = reqwest::header::HeaderValue::from_str(&settings.user_agent)
            .map_err(|_| Error::Settings("the user agent holds characters that no header can".into()))?;
        agent.insert("x-lakefs-client", name.clone());
        // One connection per request in flight: one HTTP/2 connection would send every upload
        // through a single flow-control window.
        let mut builder = reqwest::Client::builder()
            .user_agent(name)
            .default_headers(agent)
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .read_timeout(Duration::from_secs(SILENCE_SECONDS_MAX))
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX);
        if is_loopback(parsed.host_str().unwrap_or_default()) {
            builder = builder.no_proxy();
        }
        if let Some(pem) = &settings.ca_pem {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|e| Error::Settings(format!("the CA certificates cannot be read: {e}")))?;
            if certificates.is_empty() {
                return Err(Error::Settings("the CA file holds no certificate in PEM form".into()));
            }
            builder = builder.tls_certs_only(certificates);
        } else if parsed.scheme() == "http" {
            // Loading the system's certificates costs milliseconds and fails where there are none.
            builder = builder.tls_certs_only([]);
        }
        let http =
            builder.build().map_err(|e| Error::Settings(format!("cannot set up the HTTP client: {e}")))?;
        Ok(Self { shared: Arc::new(Shared { http, server, credentials: settings.credentials }) })
    }

    /// The server's address without a trailing slash.
    pub fn server(&self) -> &str {
        &self.shared.server
    }

    /// Starts a call; `attempt` says in words what it tries, for error messages.
    pub(crate) fn call(&self, method: Method, api: Api, segments: &[&str], attempt: String) -> Call<'_> {
        let mut url = self.shared.server.clone();
        url.push_str(match api {
            Api::Compatible => "/api/v1",
            Api::Own => "/api/millpond/v1",
        });
        for segment in segments {
            url.push('/');
            url.push_str(&encode(segment));
        }
        Call::new(self, method, url, attempt)
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.shared.http
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.shared.credentials.as_ref()
    }
}

/// Everything but letters, digits and `-._~` is escaped; a space is `%20`, never `+`.
pub(crate) fn encode(text: &str) -> String {
    const ESCAPED: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, ESCAPED).to_string()
}

/// Brings an address to the form `scheme://host[:port]`: adds the scheme (`http` for this machine, else
/// `https`), drops trailing slashes and a trailing `/api/v1`.
///
/// # Errors
/// [`Error::Settings`] when it is empty, has another scheme, or names no host.
pub fn normalize_server(text: &str) -> Result<String, Error> {
    let text = text.trim();
    let bad = |why: &str| Error::Settings(format!("'{text}' is not a server address: {why}"));
    let text = match text.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            text.to_owned()
        }
        Some(_) => return Err(bad("it must begin with http:// or https://")),
        None if text.is_empty() => return Err(bad("it is empty")),
        None => {
            let host = text.split('/').next().unwrap_or_default();
            let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
            let scheme = if is_loopback(host) { "http" } else { "https" };
            format!("{scheme}://{text}")
        }
    };
    let trimmed = text.trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/api/v1").unwrap_or(trimmed).trim_end_matches('/');
    let url = reqwest::Url::parse(trimmed).map_err(|e| bad(&e.to_string()))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("keys do not belong in the address"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it may hold no query and no fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_brought_to_one_form() {
        let table = [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
            ("http://127.0.0.1:8000/api/v1", "http://127.0.0.1:8000"),
            ("https://data.example.org/api/v1/", "https://data.example.org"),
            ("HTTPS://Data.Example.org", "https://data.example.org"),
            ("localhost:8000", "http://localhost:8000"),
            ("[::1]:8000", "http://[::1]:8000"),
            ("data.example.org", "https://data.example.org"),
            ("https://gate.example.org/millpond", "https://gate.example.org/millpond"),
        ];
        for (given, wanted) in table {
            assert_eq!(normalize_server(given).expect(given), wanted);
        }
        for bad in ["", "  ", "s3://bucket", "http://", "http://key:secret@host", "http://host/?a=b"] {
            assert!(normalize_server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_byte_that_could_be_read_twice_is_escaped() {
        assert_eq!(encode("a b/c+d%2F~é^@{1}"), "a%20b%2Fc%2Bd%252F~%C3%A9%5E%40%7B1%7D");
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let keys = Credentials { access_key_id: "AKIA".into(), secret_access_key: "hush".into() };
        assert!(!format!("{keys:?}").contains("hush"));
    }
}
