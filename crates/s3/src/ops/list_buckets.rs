//! ListBuckets: the repositories that the caller may list.

use crate::call::Call;
use crate::date;
use crate::error::{S3Error, S3Result};
use crate::response::{Response, xml};
use crate::xml::Writer;
use millpond_service::PageRequest;
use millpond_service::limits::PAGE_ITEMS_MAX;

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    let prefix = call.query.get("prefix").unwrap_or_default();
    let max = match call.query.number("max-buckets", 10_000)? {
        Some(0) => return Err(S3Error::invalid_argument("max-buckets must be 1 to 10000")),
        max => max.map(|max| max as usize),
    };
    let mut after = call.query.get("continuation-token").unwrap_or_default().to_owned();
    let mut found = Vec::new();
    let mut more = true;
    while more && max.is_none_or(|max| found.len() < max) {
        let left = max.map_or(PAGE_ITEMS_MAX, |max| (max - found.len()).min(PAGE_ITEMS_MAX));
        let request = PageRequest { prefix: prefix.to_owned(), after: after.clone(), amount: left };
        let page = call.service.list_repositories(&call.caller, request, "").await?;
        more = page.has_more && !page.items.is_empty();
        if let Some(last) = page.items.last() {
            after = last.name.as_str().to_owned();
        }
        found.extend(page.items);
    }
    let mut document = Writer::new("ListAllMyBucketsResult");
    document.open("Owner").leaf("ID", call.owner()).leaf("DisplayName", call.owner()).close("Owner");
    document.open("Buckets");
    for repository in &found {
        document
            .open("Bucket")
            .leaf("Name", repository.name.as_str())
            .leaf("CreationDate", &date::format_iso(repository.created))
            .leaf("BucketRegion", &call.region)
            .close("Bucket");
    }
    document.close("Buckets");
    if more {
        document.leaf("ContinuationToken", &after);
    }
    if !prefix.is_empty() {
        document.leaf("Prefix", prefix);
    }
    Ok(xml(document.finish()))
}
