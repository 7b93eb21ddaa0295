//! One request: address, query, body, and the reading of its answer. All methods of the client go through
//! here, so that errors, retries and request ids are handled once.

use crate::connection::{Client, encode};
use crate::error::{Error, Refusal};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Body, Method, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Waits before the second, third and fourth try of a call that the server was too busy for.
const RETRY_MILLIS: [u64; 3] = [200, 1_000, 3_000];
const RETRY_SECONDS_MAX: u64 = 10;
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

/// A request being put together.
pub(crate) struct Call<'a> {
    client: &'a Client,
    method: Method,
    url: String,
    has_query: bool,
    headers: HeaderMap,
    body: Option<Body>,
    attempt: String,
    failure: Option<Error>,
}

/// Both error bodies in one: `{"message"}` of the compatible interface, problem+json of our own.
#[derive(Deserialize)]
struct ErrorBody {
    message: Option<String>,
    detail: Option<String>,
    title: Option<String>,
    code: Option<String>,
    hint: Option<String>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(client: &'a Client, method: Method, url: String, attempt: String) -> Self {
        Self {
            client,
            method,
            url,
            has_query: false,
            headers: HeaderMap::new(),
            body: None,
            attempt,
            failure: None,
        }
    }

    /// Adds a query parameter.
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.url.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.url.push_str(name);
        self.url.push('=');
        self.url.push_str(&encode(value));
        self
    }

    /// Adds a query parameter unless the value is empty: some servers refuse an empty one (API-0.20).
    pub(crate) fn query_filled(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.query(name, value) }
    }

    /// Adds `name=true` when the flag is set.
    pub(crate) fn query_flag(self, name: &str, flag: bool) -> Self {
        if flag { self.query(name, "true") } else { self }
    }

    /// Adds a header; a value that no header can carry fails the call when it is sent.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        // Header values may be any bytes but control characters, so user metadata goes as UTF-8.
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(value)) => {
                self.headers.insert(name, value);
            }
            _ => {
                self.failure = Some(Error::Settings(format!(
                    "{}: '{name}: {value}' cannot be sent as a header",
                    self.attempt
                )));
            }
        }
        self
    }

    /// Sends `body` as JSON.
    pub(crate) fn json(mut self, body: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => {
                self.headers
                    .insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                self.body = Some(bytes.into());
            }
            Err(error) => self.failure = Some(Error::Settings(format!("{}: {error}", self.attempt))),
        }
        self
    }

    /// Sends a raw body.
    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// Sends the request and reads the answer's JSON.
    pub(crate) async fn read_json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let (attempt, server) = (self.attempt.clone(), self.client.server().to_owned());
        let response = self.send().await?;
        let kind = response
            .headers()
            .get(reqwest::header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("no content type")
            .to_owned();
        let bytes = match response.bytes().await {
            Ok(bytes) => bytes,
            Err(source) => return Err(Error::Unreachable { attempt, server, source }),
        };
        serde_json::from_slice(&bytes).map_err(|e| Error::Unreadable {
            attempt,
            server,
            detail: format!("{kind}, {} bytes, {e}", bytes.len()),
        })
    }

    /// Sends the request and reads the answer as text.
    pub(crate) async fn read_text(self) -> Result<String, Error> {
        let (attempt, server) = (self.attempt.clone(), self.client.server().to_owned());
        let response = self.send().await?;
        response.text().await.map_err(|source| Error::Unreachable { attempt, server, source })
    }

    /// Sends the request and drops the answer's body.
    pub(crate) async fn read_nothing(self) -> Result<(), Error> {
        let (attempt, server) = (self.attempt.clone(), self.client.server().to_owned());
        // Read to the end so that the connection can be used again.
        self.send().await?.bytes().await.map(drop).map_err(|source| Error::Unreachable {
            attempt,
            server,
            source,
        })
    }

    /// Sends the request; an error status becomes [`Error::Refused`]. A server that says it is busy (429,
    /// 503) has done nothing, so such a call is repeated; a read is also repeated when the connection broke.
    pub(crate) async fn send(self) -> Result<Response, Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let mut builder = self.client.http().request(self.method.clone(), &self.url).headers(self.headers);
        if let Some(keys) = self.client.credentials() {
            builder = builder.basic_auth(&keys.access_key_id, Some(&keys.secret_access_key));
        }
        if let Some(body) = self.body {
            builder = builder.body(body);
        }
        let unreachable = |source| Error::Unreachable {
            attempt: self.attempt.clone(),
            server: self.client.server().to_owned(),
            source,
        };
        let request = builder.build().map_err(unreachable)?;
        let is_read = self.method == Method::GET || self.method == Method::HEAD;
        let mut current = Some(request);
        let mut waits = RETRY_MILLIS.into_iter();
        while let Some(request) = current.take() {
            let spare = request.try_clone();
            let error = match self.client.http().execute(request).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let refusal = read_refusal(self.attempt.clone(), response).await;
                    let busy = matches!(refusal.status, 429 | 503);
                    let asked = refusal.retry_after;
                    let error = Error::Refused(Box::new(refusal));
                    if !busy || spare.is_none() || asked.is_some_and(|d| d.as_secs() > RETRY_SECONDS_MAX) {
                        return Err(error);
                    }
                    if let Some(asked) = asked {
                        tokio::time::sleep(asked).await;
                    }
                    error
                }
                Err(source) => {
                    // Nobody listening will not change within seconds.
                    let hopeless = source.is_builder() || source.is_connect() || source.is_timeout();
                    let error = unreachable(source);
                    if hopeless || !is_read || spare.is_none() {
                        return Err(error);
                    }
                    error
                }
            };
            match waits.next() {
                Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                None => return Err(error),
            }
            current = spare;
        }
        unreachable!("a request is only repeated when there is a copy of it")
    }
}

async fn read_refusal(attempt: String, mut response: Response) -> Refusal {
    let status = response.status();
    let header =
        |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(ToOwned::to_owned);
    let request_id = header("x-request-id");
    let retry_after = header(RETRY_AFTER.as_str()).and_then(|v| v.parse().ok()).map(Duration::from_secs);
    let mut bytes = Vec::new();
    while bytes.len() < ERROR_BODY_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            // What arrived is all there is to show; the status stands.
            Ok(None) | Err(_) => break,
        }
    }
    let fallback = || {
        let reason = status.canonical_reason().unwrap_or("unknown error").to_lowercase();
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('<') || line.starts_with('{') {
            reason
        } else {
            line.chars().take(300).collect()
        }
    };
    let body: Option<ErrorBody> = serde_json::from_slice(&bytes).ok();
    let (message, code, hint) = match body {
        Some(body) => (
            body.message.or(body.detail).or(body.title),
            body.code,
            body.hint.filter(|hint| !hint.is_empty()),
        ),
        None => (None, None, None),
    };
    let message = message.filter(|m| !m.is_empty()).unwrap_or_else(fallback);
    Refusal { attempt, status: status.as_u16(), message, code, hint, request_id, retry_after }
}
