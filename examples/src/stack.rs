use std::sync::Arc;

use agentkeys_core::{Issuer, KeyRing, LocalSigner, Minter, SystemRandom};
use agentkeys_federation::{DataClass, OidcProvider, RoleArn, Stack, StackNames};
use agentkeys_local_aws::policy::{IdentityPolicy, ResourcePolicy, TrustPolicy};
use agentkeys_local_aws::{Bucket, LocalAws, Role};
use serde_json::Value;

use crate::demo::{ACCOUNT, OTHER_AUDIENCE};
use crate::issuer::IssuerServer;
use crate::{Deployment, Failure};

/// A stack that runs: an issuer that publishes its keys, its minter, and in the local AWS its provider, roles
/// and buckets, with the generated documents and no others.
#[derive(Debug)]
pub struct RunningStack {
    deployment: Deployment,
    minter: Minter,
    issuer: IssuerServer,
}

impl RunningStack {
    /// Starts it with new keys, for tokens about these subjects.
    ///
    /// # Errors
    /// Where a port or randomness cannot be had.
    pub async fn start(
        aws: &LocalAws,
        stack: Stack,
        subjects: &[&str],
        classes: &[DataClass],
    ) -> Result<Self, Failure> {
        let (signer, _key_to_keep) = LocalSigner::generate(&SystemRandom::new())?;
        let keys = KeyRing::new(Arc::new(signer));
        let issuer = IssuerServer::start(&keys).await?;
        let names = StackNames::new(stack, "agentkeys", "aws".parse()?, ACCOUNT.parse()?)?;
        let provider = OidcProvider::new("aws".parse()?, ACCOUNT.parse()?, issuer.issuer().clone())?;
        let subjects = subjects.iter().map(|subject| subject.parse()).collect::<Result<_, _>>()?;
        let deployment = Deployment::new(names, provider, subjects, classes.to_vec())?;
        let minter = Minter::new(issuer.issuer().clone(), keys);
        let running = Self { deployment, minter, issuer };
        running.install(aws, &serde_json::to_value(running.deployment.documents()?)?)?;
        Ok(running)
    }

    /// Puts the stack's provider into the local AWS, and what `documents` says of roles and buckets: all that
    /// decides there is in that JSON.
    ///
    /// # Errors
    /// Where it is not a deployment's, or a document is none to the local AWS.
    pub fn install(&self, aws: &LocalAws, documents: &Value) -> Result<(), Failure> {
        install(aws, self.issuer.issuer(), documents)
    }

    /// Its documents and names.
    #[must_use]
    pub const fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// What mints its tokens.
    #[must_use]
    pub const fn minter(&self) -> &Minter {
        &self.minter
    }

    /// The role of a class.
    #[must_use]
    pub const fn role(&self, class: DataClass) -> &RoleArn {
        self.deployment.names().role(class)
    }

    /// The bucket of a class.
    #[must_use]
    pub fn bucket(&self, class: DataClass) -> &str {
        self.deployment.names().bucket(class).as_str()
    }
}

/// Puts an issuer's provider, and what `documents` says of roles and buckets, into the local AWS.
pub(crate) fn install(aws: &LocalAws, issuer: &Issuer, documents: &Value) -> Result<(), Failure> {
    aws.register_provider(issuer.as_str().parse()?, ["sts.amazonaws.com", OTHER_AUDIENCE]);
    for (name, role) in documents["roles"].as_object().ok_or("no roles")? {
        let trust = TrustPolicy::parse(&role["trust_policy"].to_string())?;
        let mut put = Role::new(name.parse()?, trust);
        if let Some(policy) = role.get("role_policy") {
            put.policies.push(IdentityPolicy::parse(&policy.to_string())?);
        }
        aws.put_role(put);
    }
    for (name, bucket) in documents["buckets"].as_object().ok_or("no buckets")? {
        let policy = ResourcePolicy::parse(&bucket["bucket_policy"].to_string())?;
        aws.put_bucket(&Bucket::new(name.parse()?, Some(policy)));
    }
    Ok(())
}
