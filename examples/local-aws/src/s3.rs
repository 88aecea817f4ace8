//! The Simple Storage Service: objects in memory behind `s3s`, which reads and checks the protocol.

mod access;
mod list;
mod put;

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use s3s::auth::{S3Auth, SecretKey};
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{
    Bucket as BucketEntry, DeleteObjectInput, DeleteObjectOutput, ETag, GetObjectInput, GetObjectOutput,
    HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
    ListBucketsOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput,
    StreamingBlob, Timestamp,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::form::decode_pairs;
use crate::sigv4::hex;
use crate::world::{Bucket, StoredObject, World};

use self::access::{Access, MayList};

/// The service over the account.
pub(crate) fn service(world: &Arc<World>) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Store(Arc::clone(world)));
    builder.set_auth(Secrets(Arc::clone(world)));
    builder.set_access(Access(Arc::clone(world)));
    builder.build()
}

/// The answer to a request signed with Signature Version 2, which S3 no longer takes for new buckets; `None` for every
/// other request. `s3s` would verify it.
pub(crate) fn refuse_version_2(parts: &Parts) -> Option<s3s::HttpResponse> {
    let in_header =
        parts.headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS "));
    let query = decode_pairs(parts.uri.query().unwrap_or_default());
    let in_query = query.iter().any(|(name, _)| matches!(name.as_str(), "AWSAccessKeyId" | "Signature"));
    if in_header || in_query { access::unsupported_signature().to_http_response().ok() } else { None }
}

/// Finds the secrets that `s3s` verifies signatures with.
struct Secrets(Arc<World>);

#[async_trait::async_trait]
impl S3Auth for Secrets {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let holdings = self.0.holdings();
        let id = access_key.parse().map_err(|_| unknown_key())?;
        let credential = holdings.credentials.get(&id).ok_or_else(unknown_key)?;
        Ok(SecretKey::from(credential.secret.expose()))
    }
}

fn unknown_key() -> S3Error {
    s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records.")
}

/// The objects. Whoever gets here has passed [`Access`].
struct Store(Arc<World>);

impl Store {
    fn with_bucket<T>(&self, name: &str, act: impl FnOnce(&mut Bucket) -> S3Result<T>) -> S3Result<T> {
        let missing = || s3_error!(NoSuchBucket, "The specified bucket does not exist");
        let name = name.parse().map_err(|_| missing())?;
        act(self.0.holdings().buckets.get_mut(&name).ok_or_else(missing)?)
    }

    /// The object, or what S3 says of a missing one: that it is missing, to those who may list; nothing, to others.
    fn object<T>(&self, request: &S3Request<T>, bucket: &str, key: &str) -> S3Result<StoredObject> {
        let found = self.with_bucket(bucket, |bucket| Ok(bucket.objects.get(key).cloned()))?;
        let may_list = request.extensions.get::<MayList>().is_some_and(|may| may.0);
        found.ok_or_else(|| {
            if may_list {
                s3_error!(NoSuchKey, "The specified key does not exist.")
            } else {
                access::denied()
            }
        })
    }
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn list_buckets(
        &self,
        _request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let holdings = self.0.holdings();
        let entry = |name: &crate::names::BucketName| BucketEntry {
            name: Some(name.to_string()),
            ..Default::default()
        };
        let buckets = holdings.buckets.keys().map(entry).collect();
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets), ..Default::default() }))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.with_bucket(&request.input.bucket, |_| Ok(()))?;
        let region = Some(self.0.region.to_string());
        Ok(S3Response::new(HeadBucketOutput { bucket_region: region, ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let output = self.with_bucket(&input.bucket, |bucket| list::list_objects(&bucket.objects, &input))?;
        Ok(S3Response::new(output))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = &request.input;
        unsupported("versions", input.version_id.is_some())?;
        let object = self.object(&request, &input.bucket, &input.key)?;
        let size = object.content.len();
        let full = u64::try_from(size).map_err(S3Error::internal_error)?;
        let (content, content_range) = match &input.range {
            None => (object.content.clone(), None),
            Some(range) => {
                let range = range.check(full)?;
                let at = |index: u64| {
                    usize::try_from(index).map(|index| index.min(size)).map_err(S3Error::internal_error)
                };
                let slice = object.content.slice(at(range.start)?..at(range.end)?);
                (slice, Some(format!("bytes {}-{}/{full}", range.start, range.end.saturating_sub(1))))
            }
        };
        let output = GetObjectOutput {
            content_length: i64::try_from(content.len()).ok(),
            content_range,
            body: Some(StreamingBlob::from(Body::from(content))),
            accept_ranges: Some("bytes".to_owned()),
            content_type: Some(media_type(&object)),
            e_tag: Some(etag(&object.content)),
            last_modified: Some(Timestamp::from(object.modified)),
            metadata: Some(object.metadata),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = &request.input;
        unsupported("versions", input.version_id.is_some())?;
        let object = self.object(&request, &input.bucket, &input.key)?;
        let output = HeadObjectOutput {
            content_length: i64::try_from(object.content.len()).ok(),
            accept_ranges: Some("bytes".to_owned()),
            content_type: Some(media_type(&object)),
            e_tag: Some(etag(&object.content)),
            last_modified: Some(Timestamp::from(object.modified)),
            metadata: Some(object.metadata),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let put = put::receive(request, self.0.clock.now()).await?;
        let e_tag = etag(&put.object.content);
        self.with_bucket(&put.bucket, |bucket| {
            if put.only_if_absent && bucket.objects.contains_key(&put.key) {
                return Err(s3_error!(
                    PreconditionFailed,
                    "At least one of the pre-conditions you specified did not hold"
                ));
            }
            bucket.objects.insert(put.key, put.object);
            Ok(())
        })?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(e_tag), ..put.checksums }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = &request.input;
        unsupported("versions", input.version_id.is_some())?;
        unsupported("conditional deletes", input.if_match.is_some())?;
        self.with_bucket(&input.bucket, |bucket| Ok(bucket.objects.remove(&input.key)))?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }
}

fn media_type(object: &StoredObject) -> String {
    object.content_type.clone().unwrap_or_else(|| "binary/octet-stream".to_owned())
}

fn etag(content: &[u8]) -> ETag {
    ETag::Strong(hex(Md5::checksum(content).as_ref()))
}

/// Refuses what the server would otherwise silently not do.
fn unsupported(what: &str, asked: bool) -> S3Result<()> {
    if asked {
        return Err(S3Error::with_message(
            S3ErrorCode::NotImplemented,
            format!("{what} are not supported by this server"),
        ));
    }
    Ok(())
}
