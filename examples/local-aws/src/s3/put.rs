//! Receiving an object: its size, its checksums and what the server does not do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Limited};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{ETagCondition, PutObjectInput, PutObjectOutput};
use s3s::{Body, S3Request, S3Result, s3_error};
use time::OffsetDateTime;

use crate::s3::unsupported;
use crate::world::StoredObject;

/// The largest object.
const MAX_OBJECT: usize = 64 * 1024 * 1024;

/// An object that arrived whole.
pub(super) struct Put {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) object: StoredObject,
    pub(super) only_if_absent: bool,
    /// The answer, with the checksums that were verified.
    pub(super) checksums: PutObjectOutput,
}

pub(super) async fn receive(request: S3Request<PutObjectInput>, now: OffsetDateTime) -> S3Result<Put> {
    let trailing = request.trailing_headers;
    let mut input = request.input;
    unsupported("access control lists", input.acl.is_some() || input.grant_full_control.is_some())?;
    unsupported("object tags", input.tagging.is_some())?;
    unsupported("writes at an offset", input.write_offset_bytes.is_some())?;
    unsupported("customer keys", input.sse_customer_algorithm.is_some())?;
    let only_if_absent = match (&input.if_match, &input.if_none_match) {
        (None, None) => false,
        (None, Some(ETagCondition::Any)) => true,
        _ => {
            return Err(s3_error!(NotImplemented, "only If-None-Match: * is supported by this server"));
        }
    };
    let content = match input.body.take() {
        None => Bytes::new(),
        Some(body) => Limited::new(Body::from(body), MAX_OBJECT).collect().await.map_err(refusal)?.to_bytes(),
    };
    let trailing = trailing.and_then(|trailing| trailing.take()).unwrap_or_default();
    let checksums = verify(&input, &trailing, &content)?;
    let object = StoredObject {
        content,
        content_type: input.content_type,
        metadata: input.metadata.unwrap_or_default(),
        modified: now,
    };
    Ok(Put { bucket: input.bucket, key: input.key, object, only_if_absent, checksums })
}

/// What ended a body before its end.
fn refusal(error: Box<dyn std::error::Error + Send + Sync>) -> s3s::S3Error {
    if error.is::<http_body_util::LengthLimitError>() {
        return s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed object size.");
    }
    s3s::S3Error::with_source(s3s::S3ErrorCode::IncompleteBody, error)
}

/// Verifies every checksum that came along, in the headers or after the body.
fn verify(input: &PutObjectInput, trailing: &HeaderMap, content: &[u8]) -> S3Result<PutObjectOutput> {
    let claimed = |header: &Option<String>, name: &str| {
        header.clone().or_else(|| trailing.get(name)?.to_str().ok().map(str::to_owned))
    };
    let expected = PutObjectOutput {
        checksum_crc32: claimed(&input.checksum_crc32, "x-amz-checksum-crc32"),
        checksum_crc32c: claimed(&input.checksum_crc32c, "x-amz-checksum-crc32c"),
        checksum_crc64nvme: claimed(&input.checksum_crc64nvme, "x-amz-checksum-crc64nvme"),
        checksum_sha1: claimed(&input.checksum_sha1, "x-amz-checksum-sha1"),
        checksum_sha256: claimed(&input.checksum_sha256, "x-amz-checksum-sha256"),
        ..Default::default()
    };
    let mut hasher = ChecksumHasher {
        crc32: expected.checksum_crc32.is_some().then(Crc32::new),
        crc32c: expected.checksum_crc32c.is_some().then(Crc32c::new),
        crc64nvme: expected.checksum_crc64nvme.is_some().then(Crc64Nvme::new),
        sha1: expected.checksum_sha1.is_some().then(Sha1::new),
        sha256: expected.checksum_sha256.is_some().then(Sha256::new),
    };
    hasher.update(content);
    let actual = hasher.finalize();
    let same = actual.checksum_crc32 == expected.checksum_crc32
        && actual.checksum_crc32c == expected.checksum_crc32c
        && actual.checksum_crc64nvme == expected.checksum_crc64nvme
        && actual.checksum_sha1 == expected.checksum_sha1
        && actual.checksum_sha256 == expected.checksum_sha256;
    let md5 = || STANDARD.encode(Md5::checksum(content));
    if !same || input.content_md5.as_ref().is_some_and(|claimed| *claimed != md5()) {
        return Err(s3_error!(
            BadDigest,
            "The checksum you specified did not match the calculated checksum."
        ));
    }
    Ok(expected)
}
