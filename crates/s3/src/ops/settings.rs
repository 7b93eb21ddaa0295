//! Sub-resources that S3 clients read to find out how a bucket or object is configured: what AWS answers when
//! nothing is. Setting them is 501 (see the route table).

use crate::call::Call;
use crate::error::{S3Error, S3Result};
use crate::response::{Response, xml};
use crate::xml::Writer;
use bytes::Bytes;

pub(crate) async fn bucket(call: &Call, name: &str) -> S3Result<Response> {
    call.service.get_repository(&call.caller, &call.repository()?).await?;
    bucket_answer(name, call.owner()).map(xml)
}

pub(crate) async fn object(call: &Call, name: &str) -> S3Result<Response> {
    let repo = call.repository()?;
    let (at, path) = call.key().to_read()?;
    call.service.stat_object(&call.caller, &repo, &at, &path).await?;
    object_answer(name, call.owner()).map(xml)
}

fn bucket_answer(name: &str, owner: &str) -> S3Result<Bytes> {
    let missing = |code: &'static str| Err(S3Error::new(404, code, format!("'{name}' is not configured")));
    match name {
        "acl" => Ok(acl(owner)),
        "versioning" => Ok(Writer::new("VersioningConfiguration").finish()),
        "accelerate" => Ok(Writer::new("AccelerateConfiguration").finish()),
        "logging" => Ok(Writer::new("BucketLoggingStatus").finish()),
        "notification" => Ok(Writer::new("NotificationConfiguration").finish()),
        "requestPayment" => {
            let mut document = Writer::new("RequestPaymentConfiguration");
            document.leaf("Payer", "BucketOwner");
            Ok(document.finish())
        }
        "cors" => missing("NoSuchCORSConfiguration"),
        "encryption" => missing("ServerSideEncryptionConfigurationNotFoundError"),
        "lifecycle" => missing("NoSuchLifecycleConfiguration"),
        "object-lock" => missing("ObjectLockConfigurationNotFoundError"),
        "ownershipControls" => missing("OwnershipControlsNotFoundError"),
        "policy" | "policyStatus" => missing("NoSuchBucketPolicy"),
        "publicAccessBlock" => missing("NoSuchPublicAccessBlockConfiguration"),
        "replication" => missing("ReplicationConfigurationNotFoundError"),
        "tagging" => missing("NoSuchTagSet"),
        "website" => missing("NoSuchWebsiteConfiguration"),
        _ => Err(S3Error::not_implemented(format!("the sub-resource '{name}' is not offered"))),
    }
}

fn object_answer(name: &str, owner: &str) -> S3Result<Bytes> {
    match name {
        "acl" => Ok(acl(owner)),
        "tagging" => {
            let mut document = Writer::new("Tagging");
            document.literal("<TagSet></TagSet>");
            Ok(document.finish())
        }
        "retention" | "legal-hold" => {
            Err(S3Error::new(404, "NoSuchObjectLockConfiguration", "the object has no object lock"))
        }
        _ => Err(S3Error::not_implemented(format!("the sub-resource '{name}' is not offered"))),
    }
}

/// Full control for the one who asks: rights are not granted by ACL here.
fn acl(owner: &str) -> Bytes {
    let mut document = Writer::new("AccessControlPolicy");
    document.open("Owner").leaf("ID", owner).leaf("DisplayName", owner).close("Owner");
    document
        .literal(
            "<AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xsi:type=\"CanonicalUser\">",
        )
        .leaf("ID", owner)
        .leaf("DisplayName", owner)
        .literal("</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList>");
    document.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_say_not_configured_as_aws_does() {
        for (name, root) in [
            ("acl", "AccessControlPolicy"),
            ("versioning", "VersioningConfiguration"),
            ("notification", "NotificationConfiguration"),
        ] {
            let document = bucket_answer(name, "me").expect(name);
            assert!(crate::xml::parse(&document, root).is_ok(), "{name}");
        }
        for (name, status, code) in [
            ("policy", 404, "NoSuchBucketPolicy"),
            ("lifecycle", 404, "NoSuchLifecycleConfiguration"),
            ("inventory", 501, "NotImplemented"),
        ] {
            let error = bucket_answer(name, "me").expect_err(name);
            assert_eq!((error.status.as_u16(), error.code), (status, code));
        }
        assert!(crate::xml::parse(&object_answer("tagging", "me").expect("tags"), "Tagging").is_ok());
    }
}
