//! GetBucketLocation: empty for us-east-1, as S3 has it.

use crate::call::Call;
use crate::error::S3Result;
use crate::response::{Response, xml};
use crate::xml::Writer;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    call.service.get_repository(&call.caller, &call.repository()?).await?;
    let mut document = Writer::new("LocationConstraint");
    if &*call.region != "us-east-1" {
        document.text(&call.region);
    }
    Ok(xml(document.finish()))
}
