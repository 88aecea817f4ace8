//! What the documents of a deployment must allow and deny, request by request: written down without the
//! generator, so that the two can disagree.

use std::collections::BTreeMap;

use agentkeys_federation::RoleArn;
use agentkeys_local_aws::policy::{
    Context, IdentityPolicy, Principal, Request, ResourcePolicy, TrustPolicy, evaluate_identity,
    evaluate_resource, evaluate_trust,
};
use serde::Serialize;
use serde_json::Value;

use crate::Failure;

mod table;

/// A request to one document, and what must become of it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Expectation {
    /// Which document: a JSON Pointer into the deployment's.
    pub document: String,
    /// In words.
    pub what: String,
    /// Who asks.
    pub principal: Asker,
    /// What for.
    pub action: String,
    /// Of what.
    pub resource: String,
    /// The keys of the request, each with its values.
    pub context: Keys,
    /// Whether it must be allowed.
    pub allowed: bool,
}

/// Who asks.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Asker {
    /// A token of the provider with this ARN.
    Federated(String),
    /// A session of the role with this ARN.
    Role(String),
    /// A service of AWS.
    Service(&'static str),
}

impl Expectation {
    /// Whether the document allows it, by the evaluator of local-aws.
    ///
    /// # Errors
    /// Never: its principal is well formed.
    pub fn decide(&self, document: &Document) -> Result<bool, Failure> {
        let mut context = Context::new();
        for (key, values) in &self.context {
            context.insert(key, values.iter().cloned());
        }
        let principal = match &self.principal {
            Asker::Federated(arn) => Principal::Federated(arn.clone()),
            Asker::Service(name) => Principal::Service((*name).to_owned()),
            Asker::Role(arn) => {
                let role: RoleArn = arn.parse()?;
                let session = role.session_arn(&"session".parse()?);
                Principal::Aws { account: role.account().to_owned(), arns: vec![arn.clone(), session] }
            }
        };
        let (action, resource) = (self.action.clone(), self.resource.clone());
        let request = Request { principal, action, resource, context };
        let decision = match document {
            Document::Trust(policy) => evaluate_trust(policy, &request),
            Document::Bucket(policy) => evaluate_resource(policy, &request),
            Document::Role(policy) => evaluate_identity(std::slice::from_ref(policy), &request),
        };
        Ok(decision.is_allowed())
    }
}

/// A document as local-aws reads it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Document {
    /// A role's trust policy.
    Trust(TrustPolicy),
    /// A bucket's policy.
    Bucket(ResourcePolicy),
    /// A role's own policy.
    Role(IdentityPolicy),
}

impl Document {
    /// The document at `pointer`, whose last word is its kind.
    ///
    /// # Errors
    /// Where it is no policy of that kind.
    pub fn parse(pointer: &str, document: &Value) -> Result<Self, Failure> {
        let text = document.to_string();
        Ok(match pointer.rsplit('/').next() {
            Some("trust_policy") => Self::Trust(TrustPolicy::parse(&text)?),
            Some("bucket_policy") => Self::Bucket(ResourcePolicy::parse(&text)?),
            _ => Self::Role(IdentityPolicy::parse(&text)?),
        })
    }
}

/// The keys of a request, each with its values.
pub type Keys = BTreeMap<String, Vec<String>>;
