//! What a browser asks about who it is (area 2).

use crate::call::Call;
use crate::error::Handled;
use crate::json;
use crate::messages::{AuthCapabilities, CurrentUser, User};

/// `GET /user`: without credentials an empty user (API-2.6).
pub async fn current_user(call: Call) -> Handled {
    let nobody = User { id: "", creation_date: 0, friendly_name: Some(""), email: Some("") };
    let user = call.service.current_user(&call.caller);
    json::ok(&CurrentUser { user: user.as_ref().map_or(nobody, User::from) })
}

/// `GET /auth/capabilities`
pub async fn capabilities(_call: Call) -> Handled {
    json::ok(&AuthCapabilities { invite_user: Some(false), forgot_password: Some(false) })
}
