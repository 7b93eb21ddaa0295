//! The way of one API request: find its row, validate it, name it, authenticate it, run it, answer
//! (API-0.9). Nothing here is about a particular operation.

use crate::authenticate;
use crate::call::Call;
use crate::error::{Handled, Refusal};
use crate::operation::{Api, Operation, Payload, Verb};
use crate::route::Routes;
use crate::validate::{self, Values};
use crate::{Options, json, table};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use millpond_service::{Caller, ClientAddress, Guard, Principal, Service, limits};
use serde_json::Value;
use std::sync::Arc;

/// Put on every answer of an operation, for metrics and logs: its `operationId`.
#[derive(Clone, Copy, Debug)]
pub struct OperationId(pub &'static str);

/// Everything that requests share.
pub struct Server {
    /// The verbs.
    pub service: Arc<Service>,
    /// How the server was set up.
    pub options: Arc<Options>,
    lakefs: Routes,
    millpond: Routes,
}

impl Server {
    /// A server over the verbs.
    pub fn new(service: Arc<Service>, options: Options) -> Self {
        Self {
            service,
            options: Arc::new(options),
            lakefs: Routes::new(table::LAKEFS),
            millpond: Routes::new(table::MILLPOND),
        }
    }

    /// Answers a request below the base path of an API.
    pub async fn answer(&self, api: Api, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let routes = match api {
            Api::LakeFs => &self.lakefs,
            Api::Millpond => &self.millpond,
        };
        let below = parts.uri.path().strip_prefix(api.base()).unwrap_or_default();
        let found = match Verb::of(&parts.method) {
            Some(verb) => routes.find(verb, below),
            None if is_standard(&parts.method) => None,
            None => return json::empty(StatusCode::METHOD_NOT_ALLOWED),
        };
        let Some((operation, path)) = found else {
            return refuse(api, Refusal::not_found("invalid API endpoint"));
        };
        let query = parts.uri.query().unwrap_or_default();
        // Found out first, told only after the shape is right.
        let principal = match operation.guard {
            // A browser whose session has ended sends its cookie along to sign in again.
            Guard::Open => Ok(None),
            _ => authenticate::principal(&self.service, &parts).await,
        };
        let is_known = matches!(principal, Ok(Some(_)));
        let json_bytes_max =
            if is_known { limits::DOCUMENT_BYTES_MAX } else { limits::DOCUMENT_BYTES_ANONYMOUS_MAX };
        let mut response =
            match validated(operation, &path, query, &parts.headers, body, json_bytes_max).await {
                Ok(input) => self.run(operation, input, parts, principal).await,
                Err(refusal)
                    if refusal.status == StatusCode::PAYLOAD_TOO_LARGE
                        && !is_known
                        && !operation.guard.is_anonymous() =>
                {
                    refuse(api, principal.err().unwrap_or_else(Refusal::unauthenticated))
                }
                Err(refusal) => refuse(api, refusal),
            };
        if operation.verb == Verb::Head && !response.status().is_success() {
            *response.body_mut() = Body::empty();
            if response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json") {
                response.headers_mut().remove(header::CONTENT_TYPE);
            }
        }
        response.extensions_mut().insert(OperationId(operation.id));
        response
    }

    async fn run(
        &self,
        operation: &'static Operation,
        input: Input,
        parts: Parts,
        principal: Handled<Option<Principal>>,
    ) -> Response {
        let request_id = self.service.new_request_id();
        let outcome = self.authenticated(operation, input, parts, principal, request_id.clone()).await;
        let mut response = outcome.unwrap_or_else(|refusal| {
            let (status, message) = (refusal.status.as_u16(), refusal.message.as_str());
            if refusal.status.is_server_error() {
                tracing::error!(operation = operation.id, request_id, status, message, "request failed");
            } else {
                tracing::debug!(operation = operation.id, request_id, status, message, "request refused");
            }
            refuse(operation.api, refusal)
        });
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert("x-request-id", value);
        }
        response
    }

    async fn authenticated(
        &self,
        operation: &'static Operation,
        input: Input,
        parts: Parts,
        principal: Handled<Option<Principal>>,
        request_id: String,
    ) -> Handled {
        let address = parts.extensions.get().map(|&ClientAddress(address)| address);
        let principal = match principal {
            Ok(None) if !operation.guard.is_anonymous() => Err(Refusal::unauthenticated()),
            principal => principal,
        };
        let refused = |_: &Refusal| {
            self.service.note_unknown(&authenticate::claimed(&parts.headers), address);
        };
        let principal = principal.inspect_err(refused)?;
        let idempotency_key = input.idempotency_key.clone();
        let caller = Caller { principal, request_id, idempotency_key, address };
        let call =
            Call::new(operation, self.service.clone(), self.options.clone(), caller, parts.headers, input);
        (operation.run)(call).await
    }
}

/// What validation makes of a request.
pub struct Input {
    /// Declared parameters.
    pub values: Values,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The JSON body, if the operation takes one and it was sent.
    pub json: Option<Value>,
    /// The body of an operation that takes an object.
    pub body: Body,
}

async fn validated(
    operation: &Operation,
    path: &[&str],
    query: &str,
    headers: &HeaderMap,
    body: Body,
    json_bytes_max: usize,
) -> Handled<Input> {
    let values = validate::parameters(operation, path, query, headers)?;
    let idempotency_key = match headers.get("idempotency-key").map(|value| value.to_str()) {
        None => None,
        Some(Ok(key)) if !key.is_empty() && key.len() <= limits::IDEMPOTENCY_KEY_BYTES_MAX => {
            Some(key.to_owned())
        }
        Some(_) => return Err(Refusal::invalid("the Idempotency-Key must be 1 to 255 ASCII characters")),
    };
    let (holds, required) = match &operation.payload {
        Payload::None => return Ok(Input { values, idempotency_key, json: None, body: Body::empty() }),
        Payload::Object => return Ok(Input { values, idempotency_key, json: None, body }),
        Payload::Json(holds) => (holds, true),
        Payload::OptionalJson(holds) => (holds, false),
    };
    let text = json::read(body, json_bytes_max).await?;
    let json = if text.is_empty() {
        if required {
            return Err(Refusal::invalid("the request body is missing"));
        }
        None
    } else {
        require_json(headers)?;
        let value = json::parse(&text)?;
        validate::json(holds, &value, "request body")?;
        Some(value)
    };
    Ok(Input { values, idempotency_key, json, body: Body::empty() })
}

/// The media type is compared exactly (API-0.14).
fn require_json(headers: &HeaderMap) -> Handled<()> {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if sent.split(';').next().is_some_and(|media_type| media_type.trim() == "application/json") {
        return Ok(());
    }
    Err(Refusal::invalid("the Content-Type of the request body must be application/json"))
}

fn refuse(api: Api, refusal: Refusal) -> Response {
    match api {
        Api::LakeFs => refusal.into_response(),
        Api::Millpond => refusal.into_problem(),
    }
}

fn is_standard(method: &Method) -> bool {
    matches!(*method, Method::OPTIONS | Method::TRACE | Method::CONNECT)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn commit(content_type: &str, body: &'static str) -> u16 {
        let operation = table::LAKEFS.iter().find(|operation| operation.id == "commit").unwrap();
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        }
        match validated(operation, &["r", "b"], "", &headers, Body::from(body), 1024).await {
            Ok(_) => 200,
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    #[tokio::test]
    async fn a_json_body_must_say_so() {
        let body = r#"{"message":"m"}"#;
        assert_eq!(commit("application/json", body).await, 200);
        assert_eq!(commit("application/json; charset=utf-8", body).await, 200);
        assert_eq!(commit("Application/JSON", body).await, 400);
        assert_eq!(commit("application/merge+json", body).await, 400);
        assert_eq!(commit("", body).await, 400);
        assert_eq!(commit("application/json", "").await, 400);
    }

    #[tokio::test]
    async fn an_optional_body_may_be_missing() {
        let operation = table::LAKEFS.iter().find(|operation| operation.id == "mergeIntoBranch").unwrap();
        let input = validated(operation, &["r", "a", "b"], "", &HeaderMap::new(), Body::empty(), 0).await;
        assert!(input.unwrap().json.is_none());
    }

    #[tokio::test]
    async fn an_idempotency_key_has_a_length() {
        let operation = table::LAKEFS.iter().find(|operation| operation.id == "deleteBranch").unwrap();
        for (length, ok) in [(0, false), (1, true), (255, true), (256, false)] {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", "k".repeat(length).parse().unwrap());
            let input = validated(operation, &["r", "b"], "", &headers, Body::empty(), 0).await;
            assert_eq!(input.is_ok(), ok, "{length}");
        }
    }
}
