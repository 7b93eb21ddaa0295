//! Signing in and out (area 2): login, cookies, one-time links, short-lived keys, passwords.

use crate::authenticate::{self, COOKIE, Credentials, credentials, is_token, require_own_page};
use crate::call::Call;
use crate::error::{Handled, Refusal};
use crate::messages::{
    AuthenticationToken, KeyOrder, LinkOrder, LoginInformation, PasswordOrder, ShortLivedKey, SignInLink,
};
use crate::millpond::rfc3339;
use crate::{json, page};
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use millpond_service::{
    self as service, Caller, ClientAddress, Document, Principal, SecretKey, Service, SignedIn, limits,
};
use serde::Deserialize;
use serde_json::Value;

/// Where one-time links lead.
pub const LINK_PATH: &str = "/auth/link";

/// Largest form of the page behind a link.
const FORM_BYTES_MAX: usize = 1024;

/// `POST /auth/login`: by access key, or by user name and password in the same two members.
pub async fn login(mut call: Call) -> Handled {
    let body: LoginInformation = call.message_or_default()?;
    let secret = SecretKey::new(body.secret_access_key);
    let signed_in = call.service.sign_in(&call.caller, &body.access_key_id, &secret).await;
    let signed_in = signed_in.map_err(authenticate::refusal)?;
    let answer = AuthenticationToken {
        token: signed_in.token.expose().to_owned(),
        token_expiration: Some(signed_in.token_expires.seconds()),
    };
    let mut response = json::reply(StatusCode::OK, &answer);
    begin_session(&mut response, &signed_in, call.options.secure_cookies);
    Ok(response)
}

fn begin_session(response: &mut Response, signed_in: &SignedIn, secure: bool) {
    set_cookie(response, COOKIE, signed_in.session.expose(), limits::SESSION_SECONDS, secure);
    keep_nowhere(response);
}

/// One cookie more. It takes none back that was set before.
pub fn set_cookie(response: &mut Response, name: &str, value: &str, seconds: u64, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Of an answer that holds a secret.
pub fn keep_nowhere(response: &mut Response) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// `/logout`, any method: ends the session, takes the cookie away and goes to the login page (API-0.6).
pub async fn logout(service: &Service, head: Parts, secure: bool) -> Response {
    let done = match require_own_page(&head.headers, &head.uri) {
        Ok(()) => revoke(service, &stranger(service, &head), &head.headers).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = done {
        return refusal.into_response();
    }
    let mut response = json::empty(StatusCode::TEMPORARY_REDIRECT);
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/auth/login"));
    set_cookie(&mut response, COOKIE, "", 0, secure);
    response
}

/// `POST /auth/logout` of our own API: the same for programs.
pub async fn sign_out(call: Call) -> Handled {
    revoke(&call.service, &call.caller, &call.headers).await?;
    let mut response = json::empty(StatusCode::NO_CONTENT);
    set_cookie(&mut response, COOKIE, "", 0, call.options.secure_cookies);
    Ok(response)
}

/// Whoever sends a request to a page, about whom nothing is known yet.
fn stranger(service: &Service, head: &Parts) -> Caller {
    let address = head.extensions.get().map(|&ClientAddress(address)| address);
    Caller { principal: None, request_id: service.new_request_id(), idempotency_key: None, address }
}

/// What the request was sent with is worth nothing from now on, unless it is a key.
async fn revoke(service: &Service, caller: &Caller, headers: &HeaderMap) -> Handled<()> {
    match credentials(headers) {
        Credentials::Session(session) => Ok(service.sign_out(caller, Some(&session), None).await?),
        Credentials::Token(token) => Ok(service.sign_out(caller, None, Some(&token)).await?),
        Credentials::Nobody | Credentials::Key(..) | Credentials::Unreadable => Ok(()),
    }
}

/// `/auth/link`: reading shows a button, and only the button uses the link up. Mail programs and chats read links
/// before people do.
pub async fn link(service: &Service, request: Request, secure: bool) -> Handled {
    let (head, body) = request.into_parts();
    let token = |text: &str| {
        let token = text.split('&').find_map(|pair| pair.strip_prefix("token="))?;
        is_token(token, "mpl_").then(|| token.to_owned())
    };
    match head.method {
        Method::GET | Method::HEAD => {
            let token = head.uri.query().and_then(token);
            let mut response = token.map_or_else(page::link_over, |token| page::link(&token));
            keep_nowhere(&mut response);
            Ok(response)
        }
        Method::POST => {
            require_own_page(&head.headers, &head.uri)?;
            let form = json::read(body, FORM_BYTES_MAX).await?;
            let Some(token) = std::str::from_utf8(&form).ok().and_then(token) else {
                return Ok(page::link_over());
            };
            match service.redeem_link(&stranger(service, &head), &token).await {
                Ok(signed_in) => {
                    let mut response = json::empty(StatusCode::SEE_OTHER);
                    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
                    begin_session(&mut response, &signed_in, secure);
                    Ok(response)
                }
                Err(error) if error.kind == service::Kind::Unauthenticated => Ok(page::link_over()),
                Err(error) => Err(error.into()),
            }
        }
        _ => Ok(json::empty(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

/// What comes after the address of the server in a one-time link.
pub fn link_path(link: &service::Link) -> String {
    format!("{LINK_PATH}?token={}", link.token.expose())
}

/// The user an order is about: the caller, unless another is named.
fn user_of(call: &Call, named: Option<String>) -> String {
    named.unwrap_or_else(|| call.caller.principal.as_ref().map_or("", Principal::name).to_owned())
}

/// `POST /auth/keys`: a key that ends by itself and is held to a policy.
pub async fn create_key(mut call: Call) -> Handled {
    let order: KeyOrder = call.message()?;
    let limit = order.policy.map(|policy| Document::deserialize(Value::Object(policy))).transpose();
    let limit = limit.map_err(|error| Refusal::invalid(format!("the policy: {error}")))?;
    let user = user_of(&call, order.user_id);
    let new = service::ShortLivedKey { seconds: order.lifetime_seconds, limit };
    let key = call
        .change(|service, caller| async move { service.create_short_lived_key(&caller, &user, &new).await })
        .await?;
    let mut response = json::reply(
        StatusCode::CREATED,
        &ShortLivedKey {
            access_key_id: &key.access_key_id,
            secret_access_key: key.secret.expose(),
            user_id: &key.user,
            expires: key.expires.map(rfc3339).unwrap_or_default(),
        },
    );
    keep_nowhere(&mut response);
    Ok(response)
}

/// `POST /auth/link`: a link that signs a user in once.
pub async fn create_link(mut call: Call) -> Handled {
    let order: LinkOrder = call.message_or_default()?;
    let (user, seconds) = (user_of(&call, order.user_id), order.lifetime_seconds);
    let link = call
        .change(|service, caller| async move { service.create_link(&caller, &user, seconds).await })
        .await?;
    let answer = SignInLink { user_id: &link.user, path: link_path(&link), expires: rfc3339(link.expires) };
    let mut response = json::reply(StatusCode::CREATED, &answer);
    keep_nowhere(&mut response);
    Ok(response)
}

/// `POST /auth/password`
pub async fn set_password(mut call: Call) -> Handled {
    let order: PasswordOrder = call.message()?;
    let (user, password) = (user_of(&call, order.user_id), SecretKey::new(order.password));
    call.change(|service, caller| async move { service.set_password(&caller, &user, &password).await })
        .await?;
    json::done()
}
