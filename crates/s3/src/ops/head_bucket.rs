//! HeadBucket.

use crate::call::Call;
use crate::error::S3Result;
use crate::response::{Response, empty};
use http::{HeaderName, HeaderValue, StatusCode};

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    call.service.get_repository(&call.caller, &call.repository()?).await?;
    let mut response = empty(StatusCode::OK);
    if let Ok(region) = HeaderValue::from_str(&call.region) {
        response.headers_mut().insert(HeaderName::from_static("x-amz-bucket-region"), region);
    }
    Ok(response)
}
