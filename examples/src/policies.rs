//! The documents of the demonstration. Every one that decides who may become a role, or what a role finds in
//! a bucket, comes from the generator of `agentkeys-federation`.

use agentkeys_core::Issuer;
use agentkeys_federation::{ClassAccess, DataClass, OidcProvider, PodRole, PolicyDocument, WebIdentityTrust};
use serde_json::{Value, json};

use crate::Failure;
use crate::demo::ACCOUNT;

/// The trust policy of a class's role: tokens of this issuer about these subjects.
///
/// # Errors
/// Where a subject is no pattern, or there is none.
pub fn trust_policy(issuer: &Issuer, subjects: &[&str]) -> Result<PolicyDocument, Failure> {
    let provider = OidcProvider::new("aws".parse()?, ACCOUNT.parse()?, issuer.clone())?;
    let (first, others) = subjects.split_first().ok_or("a role is trusted to somebody")?;
    let mut trust = WebIdentityTrust::new(provider, first.parse()?);
    for subject in others {
        trust = trust.or_subject(subject.parse()?);
    }
    Ok(trust.document())
}

/// The policy of a class's bucket.
///
/// # Errors
/// Where the bucket's or the role's name is none.
pub fn bucket_policy(class: DataClass, bucket: &str, role_arn: &str) -> Result<PolicyDocument, Failure> {
    Ok(ClassAccess::new(class, bucket.parse()?, role_arn.parse()?).bucket_policy())
}

/// The role that the pods have.
///
/// # Errors
/// Where the audience is none.
pub fn pod_role(audience: &str) -> Result<PodRole, Failure> {
    Ok(PodRole::new(audience.parse()?)?)
}

/// What no pod should have, and the attempts to cheat need: the right to put tags of its own into a token.
/// They end up in `request_tags`, which nobody reads.
#[must_use]
pub fn careless_pod_policy() -> Value {
    let statement = json!({ "Effect": "Allow", "Action": "sts:TagGetWebIdentityToken", "Resource": "*" });
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}
