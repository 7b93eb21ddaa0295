//! What hangs on a repository and is not offered yet: runs, tasks. Reads answer as for a repository that has
//! none of them (areas 23, 25).

use crate::call::Call;
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{List, StorageURI};
use axum::response::Response;
use http::{StatusCode, header};
use serde::Serialize;

/// Nothing, written as a page.
#[derive(Serialize)]
enum Never {}

fn nothing() -> Handled {
    json::ok(&List::<Never>::nothing())
}

/// Asking about a task: there are none.
pub async fn no_task(call: Call) -> Handled {
    call.require_repository()?;
    Err(Refusal::not_found("no task of that id"))
}

/// `GET .../actions/runs`
pub async fn runs(call: Call) -> Handled {
    call.require_repository()?;
    if !call.text("branch").is_empty() && !call.text("commit").is_empty() {
        return Err(Refusal::invalid("ask for the runs of a branch or of a commit, not of both"));
    }
    nothing()
}

/// One run or its output: there is none.
pub async fn run(call: Call) -> Handled {
    call.require_repository()?;
    Err(Refusal::not_found("no run of that id"))
}

/// `GET .../actions/runs/{run_id}/hooks`: of an unknown run an empty page (API-25.25).
pub async fn hooks(call: Call) -> Handled {
    call.require_repository()?;
    nothing()
}

/// `GET .../metadata/meta_range/{meta_range}`
pub async fn meta_range(call: Call) -> Handled {
    metadata_file(&call, "meta_range").await
}

/// `GET .../metadata/range/{range}`
pub async fn range(call: Call) -> Handled {
    metadata_file(&call, "range").await
}

/// Where a reader of the reference's metadata files would look; not checked to exist (API-23.1).
async fn metadata_file(call: &Call, parameter: &str) -> Handled<Response> {
    call.require_repository()?;
    let location = format!("_lakefs/{}", call.text(parameter));
    let mut response = json::reply(StatusCode::OK, &StorageURI { location: location.clone() });
    json::set(response.headers_mut(), header::LOCATION, &location);
    Ok(response)
}
