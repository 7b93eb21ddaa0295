//! CreateBucket: a repository in the default namespace, with the default branch `main`.

use crate::call::Call;
use crate::error::{S3Error, S3Result};
use crate::payload::Payload;
use crate::response::{Response, empty};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use millpond_service::limits::DOCUMENT_BYTES_MAX;
use millpond_service::{BranchName, Kind, NewRepository, to_the_end};

pub(crate) async fn run(call: &Call, payload: &mut Payload) -> S3Result<Response> {
    // A location may be asked for; there is one place only.
    let body = payload.all(DOCUMENT_BYTES_MAX).await?;
    if !body.is_empty() {
        crate::xml::parse(&body, "CreateBucketConfiguration")?;
    }
    if call.header("x-amz-bucket-object-lock-enabled").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    {
        return Err(S3Error::not_implemented("object lock is not offered"));
    }
    let name = call.repository()?;
    let new = NewRepository {
        name: name.clone(),
        storage_namespace: format!("local://{name}"),
        default_branch: BranchName::parse("main").map_err(|error| S3Error::internal(error.to_string()))?,
        read_only: false,
    };
    let (service, caller) = (call.service.clone(), call.caller.clone());
    match to_the_end(async move { service.create_repository(&caller, new).await }).await {
        Ok(_) => {
            let mut response = empty(StatusCode::OK);
            if let Ok(value) = HeaderValue::from_str(&format!("/{name}")) {
                response.headers_mut().insert(LOCATION, value);
            }
            Ok(response)
        }
        Err(error) if error.kind == Kind::AlreadyExists => {
            // Somebody's who may see it, or a name or namespace in use elsewhere.
            match call.service.get_repository(&call.caller, &name).await {
                Ok(_) => Err(S3Error::new(409, "BucketAlreadyOwnedByYou", error.message)),
                Err(_) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}
