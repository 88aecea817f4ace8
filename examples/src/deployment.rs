use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use agentkeys_core::{Audience, Issuer};
use agentkeys_federation::{
    AccountId, ClassAccess, DataClass, OidcProvider, Partition, PodRole, PolicyDocument, RoleArn,
    SessionRole, SourceIdentityPattern, Stack, StackNames, SubjectPattern, Thumbprint, WebIdentityTrust,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use crate::Failure;

/// One stack of a deployment: who issues its tokens, whom it trusts, and what its roles and buckets are
/// called. All of its documents come from the generator of `agentkeys-federation`.
#[derive(Clone, Debug)]
pub struct Deployment {
    names: StackNames,
    provider: OidcProvider,
    subjects: Vec<SubjectPattern>,
    classes: Vec<DataClass>,
    pods: Option<(Audience, PodRole)>,
    tenants: Vec<Tenant>,
}

/// A tenant whose sessions are attributed.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) runtime: RoleArn,
    pub(crate) session: RoleArn,
    pub(crate) subjects: Vec<SubjectPattern>,
    pattern: SourceIdentityPattern,
}

impl Deployment {
    /// A stack whose roles are trusted to these subjects of this provider.
    ///
    /// # Errors
    /// Without a subject or a class, or with one of them twice.
    pub fn new(
        names: StackNames,
        provider: OidcProvider,
        subjects: Vec<SubjectPattern>,
        classes: Vec<DataClass>,
    ) -> Result<Self, Failure> {
        distinct("subject", &subjects)?;
        distinct("class", &classes)?;
        Ok(Self { names, provider, subjects, classes, pods: None, tenants: Vec::new() })
    }

    /// With the role of pods whose evidence is for this audience.
    ///
    /// # Errors
    /// Where a policy would take the audience for a variable.
    pub fn with_pods(mut self, audience: Audience) -> Result<Self, Failure> {
        self.pods = Some((audience.clone(), PodRole::new(audience)?));
        Ok(self)
    }

    /// With the two roles of a tenant whose sessions are attributed.
    ///
    /// # Errors
    /// Where no role can be named after the tenant, it is there already, or it has no subject.
    pub fn with_tenant(mut self, name: &str, subjects: Vec<SubjectPattern>) -> Result<Self, Failure> {
        distinct("subject", &subjects)?;
        if self.tenants.iter().any(|tenant| tenant.name == name) {
            return Err("a tenant is named twice".into());
        }
        self.tenants.push(Tenant {
            name: name.to_owned(),
            runtime: self.names.runtime_role(name)?,
            session: self.names.session_role(name)?,
            subjects,
            pattern: SourceIdentityPattern::tenant(name)?,
        });
        Ok(self)
    }

    /// Reads a file as `examples/deployment.toml` shows it; a certificate chain is looked for in `folder`.
    ///
    /// # Errors
    /// The line that is wrong, and why (R83).
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Failure> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let Config { stack: Text(stack), partition: Text(partition), account: Text(account), .. } = config;
        let on = |span: Range<usize>, error: &dyn Display| -> Failure {
            let above = text.get(..span.start).unwrap_or_default();
            format!("line {}: {error}", above.matches('\n').count() + 1).into()
        };
        let (name_at, name) = (config.name.span(), config.name.into_inner());
        let names = StackNames::new(stack, &name, partition.clone(), account.clone())
            .map_err(|error| on(name_at, &error))?;
        let (issuer_at, Text(issuer)) = (config.issuer.span(), config.issuer.into_inner());
        let mut provider =
            OidcProvider::new(partition, account, issuer).map_err(|error| on(issuer_at, &error))?;
        if let Some(chain) = config.chain {
            let thumbprint = thumbprint(&folder.join(chain.get_ref()));
            let thumbprint = thumbprint.map_err(|error| on(chain.span(), &error))?;
            provider = provider.with_thumbprint(thumbprint)?;
        }
        let (subjects, classes) =
            (entries(config.subjects.get_ref(), on)?, entries(config.classes.get_ref(), on)?);
        distinct("class", &classes).map_err(|error| on(config.classes.span(), &error))?;
        let mut deployment = Self::new(names, provider, subjects, classes)
            .map_err(|error| on(config.subjects.span(), &error))?;
        if let Some(Pods { audience }) = config.pods {
            let (at, Text(audience)) = (audience.span(), audience.into_inner());
            deployment = deployment.with_pods(audience).map_err(|error| on(at, &error))?;
        }
        for TenantConfig { name, subjects } in config.tenants {
            let with = deployment.with_tenant(name.get_ref(), entries(&subjects, on)?);
            deployment = with.map_err(|error| on(name.span(), &error))?;
        }
        Ok(deployment)
    }

    /// Its names.
    #[must_use]
    pub const fn names(&self) -> &StackNames {
        &self.names
    }

    /// Its issuer as IAM knows it.
    #[must_use]
    pub const fn provider(&self) -> &OidcProvider {
        &self.provider
    }

    /// The classes of data that it keeps.
    #[must_use]
    pub fn classes(&self) -> &[DataClass] {
        &self.classes
    }

    pub(crate) fn subjects(&self) -> &[SubjectPattern] {
        &self.subjects
    }

    pub(crate) const fn pod_audience(&self) -> Option<&Audience> {
        match &self.pods {
            Some((audience, _)) => Some(audience),
            None => None,
        }
    }

    pub(crate) fn tenants(&self) -> &[Tenant] {
        &self.tenants
    }

    /// Every document, by the name of what it belongs to.
    ///
    /// # Errors
    /// Never: there is a subject.
    pub fn documents(&self) -> Result<Documents, Failure> {
        let mut roles = BTreeMap::new();
        let mut put = |arn: &RoleArn, trust: PolicyDocument, policy: Option<PolicyDocument>| {
            let documents = RoleDocuments { arn: arn.to_string(), trust_policy: trust, role_policy: policy };
            roles.insert(arn.name().to_owned(), documents);
        };
        let mut buckets = BTreeMap::new();
        for &class in &self.classes {
            let (role, bucket) = (self.names.role(class), self.names.bucket(class));
            let access = ClassAccess::new(class, bucket.clone(), role.clone());
            put(role, self.trust(&self.subjects)?, Some(access.role_policy()));
            buckets.insert(bucket.to_string(), BucketDocuments { bucket_policy: access.bucket_policy() });
        }
        if let Some((_, pods)) = &self.pods {
            put(self.names.pod_role(), pods.trust_policy(), Some(pods.role_policy()));
        }
        for Tenant { runtime, session, subjects, pattern, .. } in &self.tenants {
            // its own session comes from a token, whose tags go along
            let both =
                SessionRole::new(session.clone(), runtime.clone(), pattern.clone()).for_tagged_caller();
            put(runtime, self.trust(subjects)?, Some(both.caller_policy()));
            // what a tenant's sessions may do is the tenant's business
            put(session, both.trust_policy(), None);
        }
        let provider = ProviderDocuments { arn: self.provider.arn(), parameters: self.provider.clone() };
        Ok(Documents { stack: self.names.stack().as_str(), provider, roles, buckets })
    }

    fn trust(&self, subjects: &[SubjectPattern]) -> Result<PolicyDocument, Failure> {
        let (first, others) = subjects.split_first().ok_or("a role is trusted to somebody")?;
        let trust = WebIdentityTrust::new(self.provider.clone(), first.clone());
        Ok(others.iter().cloned().fold(trust, WebIdentityTrust::or_subject).document())
    }
}

/// The documents of a deployment. Serialized, the same deployment gives the same bytes (R86).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Documents {
    /// Which stack's.
    pub stack: &'static str,
    /// The issuer's.
    pub provider: ProviderDocuments,
    /// By the role's name.
    pub roles: BTreeMap<String, RoleDocuments>,
    /// By the bucket's name.
    pub buckets: BTreeMap<String, BucketDocuments>,
}

/// An identity provider.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ProviderDocuments {
    /// The ARN that it gets.
    pub arn: String,
    /// What `CreateOpenIDConnectProvider` is called with.
    pub parameters: OidcProvider,
}

/// A role.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RoleDocuments {
    /// Its ARN.
    pub arn: String,
    /// Who may become it.
    pub trust_policy: PolicyDocument,
    /// What it may do; left out where that is not ours to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_policy: Option<PolicyDocument>,
}

/// A bucket.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct BucketDocuments {
    /// What each role finds in it.
    pub bucket_policy: PolicyDocument,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    stack: Text<Stack>,
    name: Spanned<String>,
    partition: Text<Partition>,
    account: Text<AccountId>,
    issuer: Spanned<Text<Issuer>>,
    chain: Option<Spanned<String>>,
    classes: Spanned<Vec<Spanned<String>>>,
    subjects: Spanned<Vec<Spanned<String>>>,
    pods: Option<Pods>,
    #[serde(default)]
    tenants: Vec<TenantConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pods {
    audience: Spanned<Text<Audience>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantConfig {
    name: Spanned<String>,
    subjects: Vec<Spanned<String>>,
}

/// What is parsed where it stands, so that an error has its line.
struct Text<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// The entries of a list, each of which may be on a line of its own.
fn entries<T: FromStr<Err: Display>>(
    all: &[Spanned<String>],
    on: impl Fn(Range<usize>, &dyn Display) -> Failure,
) -> Result<Vec<T>, Failure> {
    all.iter().map(|one| one.get_ref().parse().map_err(|error| on(one.span(), &error))).collect()
}

fn distinct<T: Ord>(what: &str, all: &[T]) -> Result<(), Failure> {
    let distinct: BTreeSet<_> = all.iter().collect();
    match all {
        [] => Err(format!("there is at least one {what}").into()),
        _ if distinct.len() < all.len() => Err(format!("a {what} is named twice").into()),
        _ => Ok(()),
    }
}

/// The thumbprint of the authority at the top of a chain in a PEM file.
fn thumbprint(path: &Path) -> Result<Thumbprint, Failure> {
    let pem = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| format!("{}: not PEM", path.display()))?;
    Ok(Thumbprint::from_chain(&chain)?)
}
