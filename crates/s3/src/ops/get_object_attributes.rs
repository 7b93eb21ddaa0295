//! GetObjectAttributes.

use crate::call::Call;
use crate::checksum::stored;
use crate::conditions::{Conditions, Verdict, not_modified, version_headers};
use crate::error::{S3Error, S3Result};
use crate::response::{Response, xml};
use crate::xml::Writer;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    call.check_version()?;
    let mut wanted = Vec::new();
    for value in call.headers().get_all("x-amz-object-attributes") {
        let text = value.to_str().unwrap_or_default();
        wanted.extend(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
    }
    let known = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
    if wanted.is_empty() || wanted.iter().any(|name| !known.contains(&name.as_str())) {
        return Err(S3Error::invalid_argument(
            "x-amz-object-attributes must name some of ETag, Checksum, ObjectParts, StorageClass, ObjectSize",
        ));
    }
    let wants = |name: &str| wanted.iter().any(|wanted| wanted == name);
    let repo = call.repository()?;
    let (at, path) = call.key().to_read()?;
    let object = call.service.open_object(&call.caller, &repo, &at, &path).await?;
    let entry = &object.info.entry;
    let etag = entry.checksum.to_text();
    match Conditions::of_request(call.headers())?.judge(&etag, entry.mtime) {
        Verdict::Holds => {}
        Verdict::NotModified => return Ok(not_modified(&etag, entry.mtime)),
        Verdict::Failed(condition) => return Err(S3Error::precondition_failed(condition)),
    }
    let mut document = Writer::new("GetObjectAttributesResponse");
    if wants("ETag") {
        document.leaf("ETag", &etag);
    }
    if let Some((algorithm, text, kind)) = stored(&entry.extra).filter(|_| wants("Checksum")) {
        document
            .open("Checksum")
            .leaf(algorithm.element(), text)
            .leaf("ChecksumType", kind.name())
            .close("Checksum");
    }
    if wants("ObjectParts") && !object.part_sizes.is_empty() {
        document.open("ObjectParts").value("PartsCount", object.part_sizes.len()).close("ObjectParts");
    }
    if wants("StorageClass") {
        document.leaf("StorageClass", "STANDARD");
    }
    if wants("ObjectSize") {
        document.value("ObjectSize", entry.size);
    }
    let mut response = xml(document.finish());
    version_headers(&etag, entry.mtime, response.headers_mut());
    response.headers_mut().remove(http::header::ETAG);
    Ok(response)
}
