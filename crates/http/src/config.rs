//! The server about itself: health, setup state, configuration (area 3).

use crate::call::Call;
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{
    Anything, Config, GarbageCollectionConfig, LoginConfig, SetupState, SetupUser, StatsEventsList,
    StorageConfig, UIConfig, VersionConfig,
};
use crate::{Options, authenticate, oidc};
use http::StatusCode;
use millpond_service::{Error, Kind, Service};

/// What storage namespaces on this server begin with.
pub const NAMESPACE_SCHEME: &str = "local://";
/// How long an issued address stays good, in seconds (API-3.21).
const GRACE_PERIOD_SECONDS: u64 = 86_400;

/// `GET /healthcheck`: red only if a restart helps. A full disk is said by the writes that it refuses.
pub async fn health(call: Call) -> Handled {
    match failure(&call.service) {
        None => json::done(),
        Some(why) => Err(Error::new(Kind::Busy, why).into()),
    }
}

/// Why the server should be restarted, if it should.
pub fn failure(service: &Service) -> Option<String> {
    service.health().err().filter(|error| error.kind == Kind::Internal).map(|error| error.message)
}

/// `GET /setup_lakefs`: the first start makes the administrator, so there is never anything to set up.
pub async fn setup_state(call: Call) -> Handled {
    // Both ways are offered where there are two.
    let (url, method) = if call.service.has_provider() { (oidc::LOGIN_PATH, "select") } else { ("", "none") };
    json::ok(&SetupState {
        state: Some("initialized"),
        comm_prefs_missing: Some(false),
        login_config: Some(LoginConfig {
            RBAC: Some("internal"),
            login_url: Some(url),
            login_url_method: Some(method),
            login_failed_message: Some("The access key and the secret do not fit together."),
            fallback_login_url: None,
            fallback_login_label: None,
            login_cookie_names: Some(vec![authenticate::COOKIE]),
            logout_url: Some("/logout"),
        }),
    })
}

/// `POST /setup_lakefs`
pub async fn setup(mut call: Call) -> Handled {
    let body: SetupUser = call.message()?;
    if body.username.is_empty() {
        return Err(Refusal::invalid("empty user display name"));
    }
    Err(Refusal::invalid("lakeFS already initialized").with_status(StatusCode::CONFLICT))
}

/// `POST /setup_comm_prefs`: nothing is sent to anybody, so there is nothing to prefer.
pub async fn setup_comm_prefs(_call: Call) -> Handled {
    Err(Refusal::invalid("there are no communication preferences").with_status(StatusCode::CONFLICT))
}

/// `GET /config`
pub async fn config(call: Call) -> Handled {
    json::ok(&Config {
        version_config: Some(version_config(&call.options)),
        storage_config: Some(storage_config(&call.options)),
        storage_config_list: Some(Vec::new()),
        ui_config: Some(UIConfig { custom_viewers: None }),
        capabilities_config: Some(Anything::from_iter([("async_ops".to_owned(), true.into())])),
    })
}

/// `GET /config/version`
pub async fn version(call: Call) -> Handled {
    json::ok(&version_config(&call.options))
}

/// `GET /config/storage`
pub async fn storage(call: Call) -> Handled {
    call.service.may_read_config(&call.caller)?;
    json::ok(&storage_config(&call.options))
}

/// `GET /config/garbage-collection`
pub async fn garbage_collection(_call: Call) -> Handled {
    json::ok(&GarbageCollectionConfig { grace_period: Some(GRACE_PERIOD_SECONDS) })
}

/// `POST /statistics`: checked and thrown away; there is no telemetry.
pub async fn statistics(mut call: Call) -> Handled {
    let body: StatsEventsList = call.message()?;
    if body.events.iter().any(|event| event.class.is_empty() || event.name.is_empty() || event.count < 0) {
        return Err(Refusal::invalid("an event needs a class, a name and a count that is not negative"));
    }
    json::done()
}

/// `GET /usage-report/summary`
pub async fn usage_report(_call: Call) -> Handled {
    Err(Refusal::not_found("no usage report is kept"))
}

fn version_config(options: &Options) -> VersionConfig<'_> {
    VersionConfig {
        version: Some(&options.version),
        version_context: Some("lakeFS"),
        latest_version: None,
        upgrade_recommended: None,
        upgrade_url: None,
    }
}

fn storage_config(options: &Options) -> StorageConfig<'_> {
    StorageConfig {
        blockstore_type: "local",
        blockstore_namespace_example: "local://example-bucket/",
        blockstore_namespace_ValidityRegex: "^local://",
        pre_sign_support: false,
        pre_sign_support_ui: false,
        import_support: options.local_import_enabled,
        import_validity_regex: "^(local|file):///",
        default_namespace_prefix: Some(NAMESPACE_SCHEME),
        pre_sign_multipart_upload: Some(false),
        blockstore_id: Some(""),
        blockstore_description: Some(""),
    }
}
