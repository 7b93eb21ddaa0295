//! ListMultipartUploads.

use crate::call::Call;
use crate::date;
use crate::error::{S3Error, S3Result};
use crate::query::encode_key;
use crate::response::{Response, xml};
use crate::xml::Writer;
use millpond_service::UploadInfo;
use millpond_service::limits::{PAGE_ITEMS_MAX, PREFIX_BYTES_MAX, S3_PREFIX_BYTES_MAX};

/// Greater than every upload id.
const AFTER_EVERY_ID: &str = "\u{10FFFF}";

pub(crate) async fn run(call: &Call) -> S3Result<Response> {
    let repo = call.repository()?;
    let text = |name: &str| call.query.get(name).unwrap_or_default();
    let (prefix, delimiter) = (text("prefix"), text("delimiter"));
    if prefix.len() > S3_PREFIX_BYTES_MAX || delimiter.len() > PREFIX_BYTES_MAX {
        return Err(S3Error::invalid_argument("prefix or delimiter is too long"));
    }
    let max = call.query.number("max-uploads", i32::MAX as u64)?.unwrap_or(PAGE_ITEMS_MAX as u64);
    let max = max.min(PAGE_ITEMS_MAX as u64) as usize;
    let key_marker = text("key-marker");
    // An id counts only with a key; a key alone leaves out all its uploads.
    let id_marker = if key_marker.is_empty() { "" } else { text("upload-id-marker") };
    let encoded = match call.query.get("encoding-type") {
        None => false,
        Some("url") => true,
        Some(_) => return Err(S3Error::invalid_argument("encoding-type must be url")),
    };
    let show = |key: &str| if encoded { encode_key(key.as_bytes()) } else { key.to_owned() };

    let mut fold = Fold { prefix, delimiter, key_marker, max, lines: Vec::new() };
    let mut after_key = key_marker.to_owned();
    let mut after_id = match (key_marker, id_marker) {
        ("", _) => String::new(),
        (_, "") => AFTER_EVERY_ID.to_owned(),
        (_, id) => id.to_owned(),
    };
    let mut truncated = false;
    if max == 0 {
        call.service.get_repository(&call.caller, &repo).await?;
    } else {
        'pages: loop {
            let page = call
                .service
                .list_uploads(&call.caller, &repo, prefix, &after_key, &after_id, PAGE_ITEMS_MAX)
                .await?;
            for upload in page.items {
                (after_key, after_id) = (key_of(&upload), upload.id.clone());
                if !fold.add(upload) {
                    truncated = true;
                    break 'pages;
                }
            }
            if !page.has_more {
                break;
            }
        }
    }

    let mut document = Writer::new("ListMultipartUploadsResult");
    document
        .leaf("Bucket", call.bucket())
        .leaf("KeyMarker", &show(key_marker))
        .leaf("UploadIdMarker", id_marker)
        .leaf("Prefix", &show(prefix));
    if !delimiter.is_empty() {
        document.leaf("Delimiter", &show(delimiter));
    }
    if encoded {
        document.leaf("EncodingType", "url");
    }
    document.value("MaxUploads", max).value("IsTruncated", truncated);
    if truncated {
        match fold.lines.last() {
            Some(Line::Upload(upload)) => {
                document.leaf("NextKeyMarker", &show(&key_of(upload))).leaf("NextUploadIdMarker", &upload.id);
            }
            Some(Line::Prefix(prefix)) => {
                document.leaf("NextKeyMarker", &show(prefix)).leaf("NextUploadIdMarker", "");
            }
            None => {}
        }
    }
    for line in &fold.lines {
        let Line::Upload(upload) = line else { continue };
        document.open("Upload").leaf("Key", &show(&key_of(upload))).leaf("UploadId", &upload.id);
        for role in ["Initiator", "Owner"] {
            document.open(role).leaf("ID", call.owner()).leaf("DisplayName", call.owner()).close(role);
        }
        document.leaf("StorageClass", "STANDARD").leaf("Initiated", &date::format_iso(upload.created));
        if !upload.checksum_algorithm.is_empty() {
            document
                .leaf("ChecksumAlgorithm", &upload.checksum_algorithm)
                .leaf("ChecksumType", &upload.checksum_type);
        }
        document.close("Upload");
    }
    for line in &fold.lines {
        if let Line::Prefix(prefix) = line {
            document.open("CommonPrefixes").leaf("Prefix", &show(prefix)).close("CommonPrefixes");
        }
    }
    Ok(xml(document.finish()))
}

fn key_of(upload: &UploadInfo) -> String {
    format!("{}/{}", upload.branch, upload.path.to_text())
}

enum Line {
    Upload(UploadInfo),
    Prefix(String),
}

/// Folds keys at the delimiter until the page is full.
struct Fold<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    key_marker: &'a str,
    max: usize,
    lines: Vec<Line>,
}

impl Fold<'_> {
    /// False when the page is full and the upload does not belong to it any more.
    fn add(&mut self, upload: UploadInfo) -> bool {
        let key = key_of(&upload);
        let folded = match key.strip_prefix(self.prefix) {
            Some(rest) if !self.delimiter.is_empty() => rest
                .find(self.delimiter)
                .map(|at| key[..self.prefix.len() + at + self.delimiter.len()].to_owned()),
            Some(_) => None,
            None => return true,
        };
        if let Some(folded) = &folded {
            let shown = matches!(self.lines.last(), Some(Line::Prefix(last)) if last == folded);
            // The page before ended with this prefix.
            if shown || folded.as_str() <= self.key_marker {
                return true;
            }
        }
        if self.lines.len() == self.max {
            return false;
        }
        self.lines.push(folded.map_or(Line::Upload(upload), Line::Prefix));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_service::{Attributes, BranchName, ObjectPath, Timestamp};

    fn upload(path: &str) -> UploadInfo {
        UploadInfo {
            id: "u".to_owned(),
            branch: BranchName::parse("main").expect("a branch"),
            path: ObjectPath::parse(path).expect("a path"),
            created: Timestamp(0),
            attributes: Attributes::default(),
            checksum_algorithm: String::new(),
            checksum_type: String::new(),
        }
    }

    fn fold(prefix: &str, delimiter: &str, key_marker: &str, max: usize) -> (Vec<String>, bool) {
        let mut fold = Fold { prefix, delimiter, key_marker, max, lines: Vec::new() };
        let full = ["a", "d/1", "d/2", "e/1", "z"].iter().any(|path| !fold.add(upload(path)));
        let lines = fold.lines.iter().map(|line| match line {
            Line::Upload(upload) => key_of(upload),
            Line::Prefix(prefix) => prefix.clone(),
        });
        (lines.collect(), full)
    }

    #[test]
    fn uploads_fold_and_pages_end() {
        let lines = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(fold("main/", "/", "", 10), (lines(&["main/a", "main/d/", "main/e/", "main/z"]), false));
        assert_eq!(fold("main/", "/", "", 2), (lines(&["main/a", "main/d/"]), true));
        assert_eq!(fold("main/", "/", "main/d/", 10).0, lines(&["main/a", "main/e/", "main/z"]));
        assert_eq!(fold("main/d", "", "", 10), (lines(&["main/d/1", "main/d/2"]), false));
        assert_eq!(fold("", "/", "", 10), (lines(&["main/"]), false));
    }
}
