//! Who may do what: session tokens, scopes and policies.
//!
//! `s3s` has verified the signature when this hook runs, and only that. The session token, the scope of the signature
//! and the headers that it has to cover are checked here.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::caller::{Caller, anybody_may, check_credential};
use crate::credentials::CredentialError;
use crate::form::decode_pairs;
use crate::policy::{Context, ResourcePolicy};
use crate::record::ActingSlot;
use crate::s3::unknown_key;
use crate::sigv4::{Place, Signature, SignatureError};
use crate::world::World;

/// A week: the longest that a presigned URL is good for.
const MAX_EXPIRES: u32 = 7 * 24 * 3600;

/// Whether the caller may list the bucket, and so may learn that a key is missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct MayList(pub(super) bool);

/// The hook that `s3s` calls before every operation.
pub(super) struct Access(pub(super) Arc<World>);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let world = &*self.0;
        let asker = authenticate(world, cx)?;
        if let (Asker::Known(caller, _), Some(acting)) = (&asker, cx.extensions_mut().get::<ActingSlot>()) {
            acting.fill(caller);
        }
        let action = match cx.s3_op().name() {
            "ListBuckets" => "s3:ListAllMyBuckets",
            "HeadBucket" | "ListObjectsV2" => "s3:ListBucket",
            "GetObject" | "HeadObject" => "s3:GetObject",
            "PutObject" => "s3:PutObject",
            "DeleteObject" => "s3:DeleteObject",
            other => {
                let message = format!("{other} is not supported by this server");
                return Err(S3Error::with_message(S3ErrorCode::NotImplemented, message));
            }
        };
        let (bucket, key) = match (cx.s3_path().get_bucket_name(), cx.s3_path().get_object_key()) {
            (None, _) => ("", None),
            (Some(bucket), key) => (bucket, key),
        };
        if let Some(owner) = cx.headers().get("x-amz-expected-bucket-owner")
            && owner.as_bytes() != world.account.as_str().as_bytes()
        {
            return Err(denied());
        }
        let policy = if bucket.is_empty() { None } else { bucket_policy(world, bucket)? };
        let arn = format!("arn:aws:s3:::{bucket}");
        let resource = match key {
            Some(key) => format!("{arn}/{key}"),
            None if bucket.is_empty() => "*".to_owned(),
            None => arn.clone(),
        };
        let context = context(cx, world, &asker)?;
        if !asker.may(world, policy.as_ref(), action, &resource, context.clone()) {
            return Err(denied());
        }
        if action == "s3:GetObject" {
            let may_list = asker.may(world, policy.as_ref(), "s3:ListBucket", &arn, context);
            cx.extensions_mut().insert(MayList(may_list));
        }
        Ok(())
    }
}

/// Who asks, authenticated.
enum Asker {
    Anonymous,
    Known(Box<Caller>, Place),
}

impl Asker {
    fn may(
        &self,
        world: &World,
        policy: Option<&ResourcePolicy>,
        action: &str,
        resource: &str,
        context: Context,
    ) -> bool {
        match self {
            Self::Anonymous => anybody_may(world, policy, action, resource, context),
            Self::Known(caller, _) => caller.may_on(world, policy, action, resource, context),
        }
    }
}

fn authenticate(world: &World, cx: &S3AccessContext<'_>) -> S3Result<Asker> {
    let query = cx.uri().query().unwrap_or_default();
    let signature = match (cx.credentials(), Signature::read(query, cx.headers())) {
        (None, Err(SignatureError::Missing)) => return Ok(Asker::Anonymous),
        (Some(verified), Ok(signature)) if verified.access_key == signature.access_key_id => signature,
        // One signature in the header and another in the query.
        _ => return Err(unsupported_signature()),
    };
    check_scope(world, &signature, query)?;
    if signature.uncovered(cx.headers()).is_some() {
        return Err(s3_error!(
            AccessDenied,
            "There were headers present in the request which were not signed"
        ));
    }
    let holdings = world.holdings();
    let token = signature.session_token.as_deref();
    let credential = check_credential(&holdings, &signature.access_key_id, token, world.clock.now())
        .map_err(|error| match error {
            CredentialError::UnknownKey => unknown_key(),
            CredentialError::WrongToken => {
                s3_error!(InvalidToken, "The provided token is malformed or otherwise invalid.")
            }
            CredentialError::Expired => s3_error!(ExpiredToken, "The provided token has expired."),
        })?;
    let caller = Caller::of(&credential, world, &holdings).ok_or_else(unknown_key)?;
    Ok(Asker::Known(Box::new(caller), signature.place))
}

fn check_scope(world: &World, signature: &Signature, query: &str) -> S3Result<()> {
    let malformed = |message: String| match signature.place {
        Place::Header => S3Error::with_message(S3ErrorCode::AuthorizationHeaderMalformed, message),
        Place::Query => {
            let code = S3ErrorCode::Custom("AuthorizationQueryParametersError".into());
            let mut error = S3Error::with_message(code, message);
            error.set_status_code(http::StatusCode::BAD_REQUEST);
            error
        }
    };
    if signature.service != "s3" {
        let service = &signature.service;
        return Err(malformed(format!("incorrect service \"{service}\". This endpoint belongs to \"s3\".")));
    }
    if signature.region != world.region.as_str() {
        let (theirs, ours) = (&signature.region, &world.region);
        return Err(malformed(format!("the region '{theirs}' is wrong; expecting '{ours}'")));
    }
    if signature.place == Place::Query {
        let expires = decode_pairs(query).into_iter().find(|(name, _)| name == "X-Amz-Expires");
        if !expires.is_some_and(|(_, value)| value.parse::<u32>().is_ok_and(|seconds| seconds <= MAX_EXPIRES))
        {
            return Err(malformed("X-Amz-Expires must be less than a week (in seconds)".to_owned()));
        }
    }
    Ok(())
}

fn bucket_policy(world: &World, bucket: &str) -> S3Result<Option<ResourcePolicy>> {
    let holdings = world.holdings();
    let found = bucket.parse().ok().and_then(|name| holdings.buckets.get(&name));
    let found = found.ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))?;
    Ok(found.policy.clone())
}

fn context(cx: &S3AccessContext<'_>, world: &World, asker: &Asker) -> S3Result<Context> {
    let mut context = Context::new();
    if cx.s3_op().name() == "ListObjectsV2" {
        for (name, value) in decode_pairs(cx.uri().query().unwrap_or_default()) {
            if matches!(name.as_str(), "prefix" | "delimiter" | "max-keys") {
                let key = format!("s3:{name}");
                if context.get(&key).is_some() {
                    // What is decided on must be what is listed.
                    return Err(s3_error!(InvalidArgument, "a parameter occurs twice"));
                }
                context.insert(key, [value]);
            }
        }
    }
    context.insert("s3:ResourceAccount", [world.account.to_string()]);
    context.insert("aws:ResourceAccount", [world.account.to_string()]);
    if let Asker::Known(_, place) = asker {
        let kind = match place {
            Place::Header => "REST-HEADER",
            Place::Query => "REST-QUERY-STRING",
        };
        context.insert("s3:authType", [kind.to_owned()]);
        context.insert("s3:signatureversion", ["AWS4-HMAC-SHA256".to_owned()]);
    }
    Ok(context)
}

pub(super) fn denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}

pub(super) fn unsupported_signature() -> S3Error {
    s3_error!(
        InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    )
}
