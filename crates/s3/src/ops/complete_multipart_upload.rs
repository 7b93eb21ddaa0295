//! CompleteMultipartUpload: checks what the client says about the parts, composes the checksum of the whole.

use super::upload_part::upload_id;
use crate::call::{Call, Target};
use crate::checksum::{Algorithm, Extra, Type, Verifier, compose, stored};
use crate::conditions::{unquote, write_condition};
use crate::error::{S3Error, S3Result};
use crate::payload::Payload;
use crate::response::{Response, xml};
use crate::xml::{self, Element, Writer};
use bytes::Bytes;
use http::HeaderMap;
use millpond_service::limits::{DOCUMENT_BYTES_MAX, PAGE_ITEMS_MAX, PART_NUMBER_MAX};
use millpond_service::{CompleteRequest, CompletedPart, Kind, PartInfo, Thing, UploadInfo, to_the_end};
use std::collections::BTreeMap;

pub(crate) async fn run(call: &Call, payload: &mut Payload) -> S3Result<Response> {
    let body = payload.all(DOCUMENT_BYTES_MAX).await?;
    let parts = parse(&xml::parse(&body, "CompleteMultipartUpload")?)?;
    let condition = write_condition(call.headers())?;
    let expected_size = match call.header("x-amz-mp-object-size") {
        None => None,
        Some(text) => Some(
            text.parse().map_err(|_| S3Error::invalid_argument("x-amz-mp-object-size is not a number"))?,
        ),
    };
    let claimed = claimed_checksum(call.headers())?;
    let target = call.target().await?;
    let id = upload_id(call).to_owned();
    let found = call.service.get_upload(&call.caller, &target.repo, &target.branch, &target.path, &id).await;
    let extra = match found {
        Ok(upload) => whole_checksum(call, &target, &upload, &parts, claimed).await?,
        // Completed before, perhaps: the service gives the same answer to the same call.
        Err(error) if error.kind == Kind::NotFound(Thing::Upload) => Extra::new(),
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    let (service, caller, there) = (call.service.clone(), call.caller.clone(), target.clone());
    let done = to_the_end(async move {
        let request = CompleteRequest { parts, condition, extra, expected_size };
        service.complete_upload(&caller, &there.repo, &there.branch, &there.path, &id, request).await
    });
    let info = match done.await {
        Ok(info) => info,
        Err(error) => return Err(call.write_error(&target, error).await),
    };
    let mut document = Writer::new("CompleteMultipartUploadResult");
    document
        .leaf("Location", &call.location())
        .leaf("Bucket", call.bucket())
        .leaf("Key", call.raw_key())
        .leaf("ETag", &format!("\"{}\"", info.entry.checksum.to_text()));
    if let Some((algorithm, text, kind)) = stored(&info.entry.extra) {
        document.leaf(algorithm.element(), text).leaf("ChecksumType", kind.name());
    }
    Ok(xml(document.finish()))
}

fn parse(root: &Element) -> S3Result<Vec<CompletedPart>> {
    let mut parts = Vec::new();
    for part in root.children.iter().filter(|child| child.name == "Part") {
        let number = part.child_text("PartNumber").and_then(|text| text.trim().parse::<u32>().ok());
        let (Some(number), Some(etag)) = (number, part.child_text("ETag")) else {
            return Err(S3Error::malformed_xml("a Part needs a PartNumber and an ETag"));
        };
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            return Err(S3Error::invalid_argument(format!("part numbers are 1 to {PART_NUMBER_MAX}")));
        }
        let mut checksums = BTreeMap::new();
        for algorithm in Algorithm::ALL {
            if let Some(text) = part.child_text(algorithm.element()) {
                algorithm.decode(text.trim())?;
                checksums.insert(algorithm.key().to_owned(), Bytes::copy_from_slice(text.trim().as_bytes()));
            }
        }
        parts.push(CompletedPart { number, etag: unquote(etag.trim()).to_owned(), checksums });
    }
    if parts.is_empty() || parts.len() > PART_NUMBER_MAX as usize {
        return Err(S3Error::malformed_xml(format!("name 1 to {PART_NUMBER_MAX} parts")));
    }
    Ok(parts)
}

/// The checksum of the whole object that the client expects.
fn claimed_checksum(headers: &HeaderMap) -> S3Result<Option<(Algorithm, String)>> {
    let mut found = None;
    for algorithm in Algorithm::ALL {
        let Some(text) = headers.get(algorithm.header()).and_then(|value| value.to_str().ok()) else {
            continue;
        };
        if found.replace((algorithm, text.trim().to_owned())).is_some() {
            return Err(S3Error::invalid_request("send one x-amz-checksum- header, not several"));
        }
    }
    if found.is_none() {
        // Refuses algorithms that we could not check.
        Verifier::new(headers)?;
    }
    Ok(found)
}

/// Composes the checksum from those of the parts and compares it with the one claimed.
async fn whole_checksum(
    call: &Call,
    target: &Target,
    upload: &UploadInfo,
    parts: &[CompletedPart],
    claimed: Option<(Algorithm, String)>,
) -> S3Result<Extra> {
    let algorithm = match (upload.checksum_algorithm.as_str(), &claimed) {
        ("", None) => return Ok(Extra::new()),
        ("", Some((algorithm, _))) => *algorithm,
        (name, _) => Algorithm::parse(name)?,
    };
    let kind = match (upload.checksum_type.as_str(), call.header("x-amz-checksum-type")) {
        ("", named) => Type::of_upload(algorithm, named)?,
        (created, named) if named.is_none_or(|named| named == created) => {
            Type::of_upload(algorithm, Some(created))?
        }
        _ => return Err(S3Error::invalid_request("x-amz-checksum-type differs from that of the upload")),
    };
    if claimed.as_ref().is_some_and(|(other, _)| *other != algorithm) {
        let message = format!("the upload was created with {}", algorithm.name());
        return Err(S3Error::invalid_request(message));
    }
    let uploaded = uploaded_parts(call, target, upload).await?;
    let Some(sums) = sums(algorithm, parts, &uploaded)? else {
        return match claimed {
            // The service says which part is wrong; if none is, we cannot vouch for the claim.
            Some(_) if upload.checksum_algorithm.is_empty() => Err(S3Error::invalid_request(
                "the checksum of the object cannot be verified: its parts were sent without that checksum",
            )),
            _ => Ok(Extra::new()),
        };
    };
    let whole = compose(algorithm, kind, &sums);
    if let Some((_, text)) = claimed {
        let count = format!("-{}", sums.len());
        let same =
            text == whole || (kind == Type::Composite && whole.strip_suffix(&count) == Some(text.as_str()));
        if !same {
            return Err(S3Error::bad_digest(algorithm.name()));
        }
    }
    let mut extra = Extra::from([(algorithm.key().to_owned(), whole.into())]);
    if kind == Type::Composite {
        extra.insert(algorithm.type_key(), kind.name().into());
    }
    Ok(extra)
}

/// Raw checksum and size in bytes of a part.
type PartSum = (Vec<u8>, u64);

/// Those of each part named; `None` if one is not there as named, which the service refuses.
fn sums(
    algorithm: Algorithm,
    parts: &[CompletedPart],
    uploaded: &BTreeMap<u32, PartInfo>,
) -> S3Result<Option<Vec<PartSum>>> {
    let mut sums = Vec::with_capacity(parts.len());
    for part in parts {
        let Some(there) = uploaded.get(&part.number).filter(|there| hex::encode(there.md5) == part.etag)
        else {
            return Ok(None);
        };
        let Some(text) = there.checksums.get(algorithm.key()) else { return Ok(None) };
        sums.push((algorithm.decode(&String::from_utf8_lossy(text))?, there.size));
    }
    Ok(Some(sums))
}

async fn uploaded_parts(
    call: &Call,
    target: &Target,
    upload: &UploadInfo,
) -> S3Result<BTreeMap<u32, PartInfo>> {
    let mut all = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = call
            .service
            .parts_to_join(
                &call.caller,
                &target.repo,
                &target.branch,
                &target.path,
                &upload.id,
                after,
                PAGE_ITEMS_MAX,
            )
            .await?;
        let more = page.has_more && !page.items.is_empty();
        for part in page.items {
            after = part.number;
            all.insert(part.number, part);
        }
        if !more {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_service::{ContentHash, Timestamp};

    fn document(text: &str) -> S3Result<Vec<CompletedPart>> {
        parse(&xml::parse(text.as_bytes(), "CompleteMultipartUpload")?)
    }

    #[test]
    fn part_lists_are_parsed() {
        let parts = document(
            "<CompleteMultipartUpload><Part><ETag>&quot;aa&quot;</ETag><PartNumber>1</PartNumber>\
             <ChecksumCRC32>y/Q5Jg==</ChecksumCRC32></Part><Part><PartNumber>7</PartNumber><ETag>bb</ETag></Part>\
             </CompleteMultipartUpload>",
        )
        .expect("valid");
        assert_eq!((parts[0].number, parts[0].etag.as_str()), (1, "aa"));
        assert_eq!(parts[0].checksums["crc32"], "y/Q5Jg==");
        assert_eq!((parts[1].number, parts[1].etag.as_str()), (7, "bb"));
    }

    #[test]
    fn bad_part_lists_are_refused() {
        for (list, code) in [
            ("", "MalformedXML"),
            ("<Part><PartNumber>1</PartNumber></Part>", "MalformedXML"),
            ("<Part><PartNumber>x</PartNumber><ETag>a</ETag></Part>", "MalformedXML"),
            ("<Part><PartNumber>0</PartNumber><ETag>a</ETag></Part>", "InvalidArgument"),
            ("<Part><PartNumber>10001</PartNumber><ETag>a</ETag></Part>", "InvalidArgument"),
        ] {
            let text = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
            assert_eq!(document(&text).expect_err(list).code, code, "{list}");
        }
    }

    #[test]
    fn only_parts_as_uploaded_are_summed() {
        let info = PartInfo {
            number: 1,
            size: 9,
            md5: [1; 16],
            sha256: ContentHash::of(b""),
            modified: Timestamp(0),
            checksums: Extra::from([("crc32".to_owned(), "y/Q5Jg==".into())]),
        };
        let uploaded = BTreeMap::from([(1, info)]);
        let named =
            |number, etag: &str| CompletedPart { number, etag: etag.to_owned(), checksums: Extra::new() };
        let right = hex::encode([1; 16]);
        let sum = sums(Algorithm::Crc32, &[named(1, &right)], &uploaded).expect("valid");
        assert_eq!(sum, Some(vec![(hex::decode("cbf43926").expect("hex"), 9)]));
        for (algorithm, part) in [
            (Algorithm::Crc32, named(1, "other")),
            (Algorithm::Crc32, named(2, &right)),
            (Algorithm::Sha1, named(1, &right)),
        ] {
            assert_eq!(sums(algorithm, &[part], &uploaded).expect("valid"), None);
        }
    }
}
