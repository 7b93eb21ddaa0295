//! ListParts.

use super::upload_part::upload_id;
use crate::call::Call;
use crate::checksum::Algorithm;
use crate::date;
use crate::error::S3Result;
use crate::response::{Response, xml};
use crate::xml::Writer;
use millpond_service::limits::PAGE_ITEMS_MAX;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    let amount = call.query.number("max-parts", i32::MAX as u64)?.unwrap_or(PAGE_ITEMS_MAX as u64);
    let amount = amount.min(PAGE_ITEMS_MAX as u64) as usize;
    let after = call.query.number("part-number-marker", i32::MAX as u64)?.unwrap_or(0) as u32;
    let target = call.target().await?;
    let id = upload_id(call);
    let found = call
        .service
        .list_parts(&call.caller, &target.repo, &target.branch, &target.path, id, after, amount.max(1))
        .await;
    let (upload, page) = match found {
        Ok(found) => found,
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    let (items, more) = if amount == 0 { (Vec::new(), false) } else { (page.items, page.has_more) };
    let mut document = Writer::new("ListPartsResult");
    document
        .leaf("Bucket", call.bucket())
        .leaf("Key", call.raw_key())
        .leaf("UploadId", id)
        .value("PartNumberMarker", after)
        .value("NextPartNumberMarker", items.last().map_or(0, |part| part.number))
        .value("MaxParts", amount)
        .value("IsTruncated", more);
    for part in &items {
        document
            .open("Part")
            .value("PartNumber", part.number)
            .leaf("LastModified", &date::format_iso(part.modified))
            .leaf("ETag", &format!("\"{}\"", hex::encode(part.md5)))
            .value("Size", part.size);
        for algorithm in Algorithm::ALL {
            if let Some(text) = part.checksums.get(algorithm.key()) {
                document.leaf(algorithm.element(), &String::from_utf8_lossy(text));
            }
        }
        document.close("Part");
    }
    for role in ["Initiator", "Owner"] {
        document.open(role).leaf("ID", call.owner()).leaf("DisplayName", call.owner()).close(role);
    }
    document.leaf("StorageClass", "STANDARD");
    if !upload.checksum_algorithm.is_empty() {
        document
            .leaf("ChecksumAlgorithm", &upload.checksum_algorithm)
            .leaf("ChecksumType", &upload.checksum_type);
    }
    Ok(xml(document.finish()))
}
