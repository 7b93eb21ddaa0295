//! HeadObject: what GetObject would say, without touching the bytes.

use super::get_object::{Plan, part_number, plan};
use crate::call::Call;
use crate::error::S3Result;
use crate::response::Response;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    call.check_version()?;
    let repo = call.repository()?;
    let (at, path) = call.key().to_read()?;
    let planned = if part_number(call)?.is_some() {
        let object = call.service.open_object(&call.caller, &repo, &at, &path).await?;
        plan(call, &object.info, &object.part_sizes)?
    } else {
        plan(call, &call.service.stat_object(&call.caller, &repo, &at, &path).await?, &[])?
    };
    Ok(match planned {
        Plan::Answer(response) | Plan::Send(response, _) => response,
    })
}
