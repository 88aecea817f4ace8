//! The documents that make the isolation: who may become a role, and what a role finds in a bucket.
//!
//! Built as values and never by pasting text together (R73). Each condition stands for a rule, and a test
//! goes red for each that is taken out.

use agentkeys_core::Issuer;
use agentkeys_federation::TAG_ACTOR_OMNI;
use serde_json::{Value, json};

use crate::DataClass;

/// The trust policy of a class's role: who may become it (R48, R50, W65).
///
/// One provider, and of its tokens only those that are for STS (`aud`), are about these agents
/// (`sub`), name this very role (`sts:RoleAuthorizedByIdp`, L25) and carry the agent's tag (R56). Without
/// `sts:TagSession` a tagged token is refused.
#[must_use]
pub fn trust_policy(provider_arn: &str, issuer: &Issuer, subjects: &[&str]) -> Value {
    let host = issuer.without_scheme();
    let mut named = serde_json::Map::new();
    named.insert(format!("{host}:aud"), "sts.amazonaws.com".into());
    let mut about = serde_json::Map::new();
    about.insert(format!("{host}:sub"), subjects.into());
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Federated": provider_arn },
            "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
            "Condition": {
                "StringEquals": named,
                "StringLike": about,
                "Bool": { "sts:RoleAuthorizedByIdp": "true" },
                "Null": { format!("aws:RequestTag/{TAG_ACTOR_OMNI}"): "false" },
            },
        }],
    })
}

/// The policy of a class's bucket: only that class's role, and of the objects only those under the prefix
/// of the agent whose tag the session carries (R53, R56, R58, R59).
///
/// Listing and objects are two statements, because the prefix of a listing is a condition and that of an
/// object is part of the resource (W66).
#[must_use]
pub fn bucket_policy(class: DataClass, bucket: &str, role_arn: &str) -> Value {
    let own = format!("bots/${{aws:PrincipalTag/{TAG_ACTOR_OMNI}}}/{}/*", class.as_str());
    let tagged = json!({ format!("aws:PrincipalTag/{TAG_ACTOR_OMNI}"): "false" });
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ListOwnPrefix",
                "Effect": "Allow",
                "Principal": { "AWS": role_arn },
                "Action": "s3:ListBucket",
                "Resource": format!("arn:aws:s3:::{bucket}"),
                "Condition": { "Null": tagged, "StringLike": { "s3:prefix": own } },
            },
            {
                "Sid": "OwnObjects",
                "Effect": "Allow",
                "Principal": { "AWS": role_arn },
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                "Resource": format!("arn:aws:s3:::{bucket}/{own}"),
                "Condition": { "Null": tagged },
            },
        ],
    })
}

/// The trust policy of the role that the pods have: nobody but EKS may start its sessions. Otherwise
/// whoever may tag a session could name himself after another pod (W12, L17).
#[must_use]
pub fn pod_trust_policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "pods.eks.amazonaws.com" },
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        }],
    })
}

/// What a pod may do: ask for a token for this one audience, and nothing else (R27).
#[must_use]
pub fn pod_policy(audience: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": ["sts:GetWebIdentityToken", "sts:TagGetWebIdentityToken"],
            "Resource": "*",
            "Condition": {
                "ForAllValues:StringEquals": { "sts:IdentityTokenAudience": audience },
                "Null": { "sts:IdentityTokenAudience": "false" },
            },
        }],
    })
}
