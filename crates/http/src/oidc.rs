//! Sign-in through a provider, as a browser sees it: sent there, back here, signed in or told why not (API-30.6).

use crate::authenticate::{COOKIE, cookie};
use crate::call::Call;
use crate::error::Handled;
use crate::sign_in::{keep_nowhere, set_cookie};
use crate::{json, page};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use millpond_service::{NotSignedIn, ProviderAnswer, ProviderError, Service, limits};

/// Where a sign-in begins.
pub const LOGIN_PATH: &str = "/oidc/login";

/// Where the provider sends browsers back to; to be registered there.
pub const CALLBACK_PATH: &str = "/api/v1/oidc/callback";

/// The cookie of an attempt. Under https its name keeps out what other servers of the same domain set.
fn attempt_cookie(secure: bool) -> &'static str {
    if secure { "__Host-oidc_attempt" } else { "oidc_attempt" }
}

/// `GET /oidc/login`
pub async fn login(service: &Service, secure: bool) -> Response {
    let mut response = match service.begin_at_provider().await {
        Ok(begun) => {
            let mut response = json::empty(StatusCode::FOUND);
            json::set(response.headers_mut(), header::LOCATION, &begun.location);
            let seconds = limits::OIDC_ATTEMPT_SECONDS.into();
            set_cookie(&mut response, attempt_cookie(secure), &begun.kept, seconds, secure);
            response
        }
        Err(why) => refused(&why),
    };
    keep_nowhere(&mut response);
    response
}

/// `GET /oidc/callback`: without a provider nobody handles it, 200 with an empty body (API-3.26).
pub async fn callback(call: Call) -> Handled {
    if !call.service.has_provider() {
        return Ok(json::empty(StatusCode::OK));
    }
    let value = |name: &str| call.values.get(name).map(str::to_owned);
    let answer = ProviderAnswer {
        state: value("state"),
        code: value("code"),
        error: value("error"),
        issuer: value("iss"),
    };
    let secure = call.options.secure_cookies;
    let kept = cookie(&call.headers, attempt_cookie(secure));
    let mut response = match call.service.complete_at_provider(&call.caller, kept, &answer).await {
        Ok(session) => {
            tracing::info!(user = session.user, "signed in through the provider");
            let mut response = json::empty(StatusCode::SEE_OTHER);
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
            set_cookie(&mut response, COOKIE, session.token.expose(), session.seconds, secure);
            response
        }
        Err(why) => refused(&why),
    };
    if kept.is_some() {
        set_cookie(&mut response, attempt_cookie(secure), "", 0, secure);
    }
    keep_nowhere(&mut response);
    Ok(response)
}

/// A page that says why nobody is signed in, and what helps.
fn refused(why: &NotSignedIn) -> Response {
    let again = "Sign in with an access key or a password, or try again in a minute.";
    let (status, reason, help) = match why {
        NotSignedIn::NoProvider => return page::missing(),
        NotSignedIn::There(error) => {
            let reason = error.to_string();
            match error {
                ProviderError::Unreachable(_) => (StatusCode::SERVICE_UNAVAILABLE, reason, again),
                ProviderError::Busy => (StatusCode::SERVICE_UNAVAILABLE, reason, "Try again in a minute."),
                ProviderError::Misfit(_) => (
                    StatusCode::BAD_GATEWAY,
                    reason,
                    "Whoever runs this server has to look at its settings and log.",
                ),
                ProviderError::Settings(_) => (StatusCode::INTERNAL_SERVER_ERROR, reason, again),
                ProviderError::Refused(_) | ProviderError::Token(_) => {
                    (StatusCode::UNAUTHORIZED, reason, "Begin again.")
                }
                ProviderError::NotAllowed(_) => {
                    (StatusCode::UNAUTHORIZED, reason, "Ask whoever runs this server.")
                }
            }
        }
        NotSignedIn::Stranger(principal, reason) => {
            let reason = format!("{reason} (you are '{principal}')");
            (
                StatusCode::UNAUTHORIZED,
                reason,
                "An administrator can link you with a user of this server: 'millpond auth principals link'.",
            )
        }
        NotSignedIn::Here(error) => {
            let status = if why.is_passing() {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            };
            (status, error.message.clone(), again)
        }
    };
    // Anybody can come with no attempt; what the provider did is for whoever runs this server to know.
    match why {
        NotSignedIn::There(ProviderError::Refused(_)) => tracing::debug!(reason, "nobody is signed in"),
        _ => tracing::warn!(reason, "nobody is signed in through the provider"),
    }
    let mut response = page::not_signed_in(status, &reason, help);
    if why.is_passing() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}
