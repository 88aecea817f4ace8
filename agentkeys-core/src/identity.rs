use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::kind::EvidenceKind;

/// An agent's name under its trust root: 1 to 63 characters of `A-Z a-z 0-9 . _ -`, not `.` or `..`
/// (W31).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(String);

/// A tenant's name, of the same form as an [`AgentId`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(String);

/// Which running instance of the agent this is: a pod uid, a boot id. 1 to 128 printable ASCII
/// characters. A recreated pod keeps its name and gets another instance (W14).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(String);

/// Under whose authority the agent's name is unique: an EKS cluster's ARN, a trust domain, an issuer.
/// 1 to 512 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustRoot(String);

macro_rules! name {
    ($name:ident, $error:ident, $check:expr) => {
        impl $name {
            /// Reads one.
            ///
            /// # Errors
            #[doc = concat!("[`IdentityError::", stringify!($error), "`].")]
            pub fn parse(text: &str) -> Result<Self, IdentityError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(IdentityError::$error) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdentityError;

            fn from_str(text: &str) -> Result<Self, IdentityError> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(AgentId, Agent, is_name);
name!(TenantId, Tenant, is_name);
name!(InstanceId, Instance, |text| is_printable(text, MAX_INSTANCE));
name!(TrustRoot, TrustRoot, |text| is_printable(text, MAX_TRUST_ROOT));

/// Who says that the agent has this name (R18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Assurance {
    /// The platform or a control plane does: the workload could not have chosen it.
    PlatformAttested,
    /// The workload or whoever may start it does (a role session name). Not good enough to mint for.
    SelfAsserted,
}

impl Assurance {
    /// A stable label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PlatformAttested => "platform-attested",
            Self::SelfAsserted => "self-asserted",
        }
    }
}

impl FromStr for Assurance {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        match text {
            "platform-attested" => Ok(Self::PlatformAttested),
            "self-asserted" => Ok(Self::SelfAsserted),
            _ => Err(IdentityError::Assurance),
        }
    }
}

/// One text for one agent: attestor kind, trust root, tenant and agent, injectively (W29).
///
/// `<kind>/<root>/<tenant, empty where there is none>/<agent>`; in the root every byte but
/// `A-Z a-z 0-9 . _ - :` is `%HH`. It is a minted token's `sub`, and the same on every verifying side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    fn new(kind: &EvidenceKind, root: &TrustRoot, tenant: Option<&TenantId>, agent: &AgentId) -> Self {
        let tenant = tenant.map_or("", TenantId::as_str);
        let (kind, agent) = (kind.as_str(), agent.as_str());
        let room = kind.len() + 3 * root.0.len() + tenant.len() + agent.len() + 3;
        let mut text = String::with_capacity(room);
        text.extend([kind, "/"]);
        for byte in root.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"._-:".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.extend(['%', hex(byte >> 4), hex(byte & 15)]);
            }
        }
        text.extend(["/", tenant, "/", agent]);
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The upper-case digit of half a byte.
const fn hex(nibble: u8) -> char {
    (if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }) as char
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a workload is, as an attestor found it: the attestation result (RFC 9334).
///
/// Everything in it was attested; what a caller merely says about itself has no place here (W30). It is
/// good until [`AttestedIdentity::not_after`], and no token, session or credential source made from it
/// outlives that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestedIdentity {
    kind: EvidenceKind,
    trust_root: TrustRoot,
    tenant: Option<TenantId>,
    agent: AgentId,
    instance: Option<InstanceId>,
    assurance: Assurance,
    attested_at: Timestamp,
    not_after: Timestamp,
    facts: BTreeMap<String, String>,
    subject: Subject,
}

impl AttestedIdentity {
    /// Asserts that evidence of `kind`, good from `attested_at` until `evidence_expires_at`, proves this
    /// agent. **The one constructor**: every place that claims an identity can be found by searching for
    /// `AttestedIdentity::assertion`.
    ///
    /// It is good for [`MAX_IDENTITY_AGE`] at most.
    ///
    /// # Errors
    /// [`IdentityError::Expired`] where the evidence has expired at `attested_at`.
    pub fn assertion(
        kind: EvidenceKind,
        trust_root: TrustRoot,
        agent: AgentId,
        assurance: Assurance,
        attested_at: Timestamp,
        evidence_expires_at: Timestamp,
    ) -> Result<Self, IdentityError> {
        if evidence_expires_at <= attested_at {
            return Err(IdentityError::Expired);
        }
        let not_after = evidence_expires_at.min(attested_at.plus(MAX_IDENTITY_AGE));
        Ok(Self {
            subject: Subject::new(&kind, &trust_root, None, &agent),
            kind,
            trust_root,
            tenant: None,
            agent,
            instance: None,
            assurance,
            attested_at,
            not_after,
            facts: BTreeMap::new(),
        })
    }

    /// With the tenant that the evidence names.
    #[must_use]
    pub fn with_tenant(mut self, tenant: TenantId) -> Self {
        self.subject = Subject::new(&self.kind, &self.trust_root, Some(&tenant), &self.agent);
        self.tenant = Some(tenant);
        self
    }

    /// With the instance that the evidence names.
    #[must_use]
    pub fn with_instance(mut self, instance: InstanceId) -> Self {
        self.instance = Some(instance);
        self
    }

    /// With one more attested fact.
    ///
    /// # Errors
    /// [`IdentityError::Fact`] where the name or value is over [`MAX_FACT`] bytes, the name is doubled, or
    /// there are [`MAX_FACTS`] already.
    pub fn with_fact(mut self, name: &str, value: &str) -> Result<Self, IdentityError> {
        let sized = !name.is_empty() && name.len() <= MAX_FACT && value.len() <= MAX_FACT;
        if !sized || self.facts.len() >= MAX_FACTS {
            return Err(IdentityError::Fact);
        }
        if self.facts.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(IdentityError::Fact);
        }
        Ok(self)
    }

    /// The same identity, good for `age` after it was attested at most. It can only shorten.
    #[must_use]
    pub fn limited_to(mut self, age: Duration) -> Self {
        self.not_after = self.not_after.min(self.attested_at.plus(age));
        self
    }

    /// What kind of evidence proved it; the issuer label of R17.
    #[must_use]
    pub const fn kind(&self) -> &EvidenceKind {
        &self.kind
    }

    /// Under whose authority the name is unique.
    #[must_use]
    pub const fn trust_root(&self) -> &TrustRoot {
        &self.trust_root
    }

    /// The tenant, where the evidence names one.
    #[must_use]
    pub const fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// The agent.
    #[must_use]
    pub const fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// The running instance, where the evidence names one.
    #[must_use]
    pub const fn instance(&self) -> Option<&InstanceId> {
        self.instance.as_ref()
    }

    /// Who vouches.
    #[must_use]
    pub const fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// When the evidence was appraised.
    #[must_use]
    pub const fn attested_at(&self) -> Timestamp {
        self.attested_at
    }

    /// The moment from which it is of no use.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it is of use: not past its end, and attested no more than [`CLOCK_DIFFERENCE`] ahead. A clock
    /// that was set back behind the attestation says nothing of what is over since.
    #[must_use]
    pub fn is_current(&self, now: Timestamp) -> bool {
        now < self.not_after && self.attested_at <= now.plus(CLOCK_DIFFERENCE)
    }

    /// Other attested facts, by name.
    #[must_use]
    pub const fn facts(&self) -> &BTreeMap<String, String> {
        &self.facts
    }

    /// The one text for this agent.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.subject.clone()
    }
}

/// Why a text or a fact cannot be part of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not an agent's name.
    #[error("an agent id is 1 to 63 characters of A-Z a-z 0-9 . _ - and not a dot name")]
    Agent,
    /// Not an assurance.
    #[error("not a known assurance")]
    Assurance,
    /// The evidence has expired.
    #[error("the evidence has expired")]
    Expired,
    /// A fact is too large, doubled or one too many.
    #[error("an attested fact is too large, doubled or one too many")]
    Fact,
    /// Not an instance id.
    #[error("an instance id is 1 to {MAX_INSTANCE} printable ASCII characters")]
    Instance,
    /// Not a tenant's name.
    #[error("a tenant id is 1 to 63 characters of A-Z a-z 0-9 . _ - and not a dot name")]
    Tenant,
    /// Not a trust root.
    #[error("a trust root is 1 to {MAX_TRUST_ROOT} printable ASCII characters")]
    TrustRoot,
}

impl IdentityError {
    /// Always [`ErrorKind::Invalid`].
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME).contains(&text.len()) && text != "." && text != ".." && text.bytes().all(allowed)
}

fn is_printable(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

/// By how much the clocks of two replicas may differ: one attests, the other serves.
pub const CLOCK_DIFFERENCE: Duration = Duration::from_secs(30);

/// How long an identity is good after it was attested, whatever its evidence says: one hour.
pub const MAX_IDENTITY_AGE: Duration = Duration::from_secs(3600);

/// The most facts in an identity.
pub const MAX_FACTS: usize = 32;

/// The longest name or value of a fact, in bytes.
pub const MAX_FACT: usize = 2048;

const MAX_NAME: usize = 63;
const MAX_INSTANCE: usize = 128;
const MAX_TRUST_ROOT: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(kind: &'static str, root: &str, tenant: Option<&str>, agent: &str) -> AttestedIdentity {
        let identity = AttestedIdentity::assertion(
            EvidenceKind::from_static(kind),
            root.parse().unwrap(),
            agent.parse().unwrap(),
            Assurance::PlatformAttested,
            Timestamp::from_unix(1000),
            Timestamp::from_unix(1300),
        )
        .unwrap();
        match tenant {
            Some(tenant) => identity.with_tenant(tenant.parse().unwrap()),
            None => identity,
        }
    }

    #[test]
    fn w31_agent_ids_are_bounded_names() {
        for good in ["blue", "a", "A.b_c-9", "...", &"a".repeat(63)] {
            assert!(AgentId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "é", "a\0", "a:b", "%41", &"a".repeat(64)] {
            assert_eq!(AgentId::parse(bad), Err(IdentityError::Agent), "{bad}");
        }
    }

    #[test]
    fn w29_subjects_keep_kind_root_tenant_and_agent_apart() {
        let subjects = [
            identity("aws-stsweb", "arn:aws:eks:us-east-1:1:cluster/a", None, "blue"),
            identity("oidc", "arn:aws:eks:us-east-1:1:cluster/a", None, "blue"),
            identity("aws-stsweb", "arn:aws:eks:us-east-1:1:cluster/b", None, "blue"),
            identity("aws-stsweb", "arn:aws:eks:us-east-1:1:cluster/a", Some("blue"), "blue"),
            identity("aws-stsweb", "arn:aws:eks:us-east-1:1:cluster", None, "blue"),
            identity("aws-stsweb", "arn:aws:eks:us-east-1:1:cluster%2Fa", None, "blue"),
        ]
        .map(|identity| identity.subject().to_string());
        assert_eq!(subjects[0], "aws-stsweb/arn:aws:eks:us-east-1:1:cluster%2Fa//blue");
        for (at, subject) in subjects.iter().enumerate() {
            assert!(!subjects[at + 1..].contains(subject), "{subject}");
        }
    }

    #[test]
    fn not_after_is_capped_and_only_shrinks() {
        let attested_at = Timestamp::from_unix(1000);
        let long = AttestedIdentity::assertion(
            EvidenceKind::from_static("oidc"),
            "r".parse().unwrap(),
            "a".parse().unwrap(),
            Assurance::PlatformAttested,
            attested_at,
            Timestamp::from_unix(1_000_000),
        )
        .unwrap();
        assert_eq!(long.not_after(), attested_at.plus(MAX_IDENTITY_AGE));
        let short = long.clone().limited_to(Duration::from_secs(10));
        assert_eq!(short.not_after().as_unix(), 1010);
        assert_eq!(short.clone().limited_to(Duration::from_secs(99)).not_after(), short.not_after());
        assert!(short.is_current(Timestamp::from_unix(1009)));
        assert!(!short.is_current(Timestamp::from_unix(1010)));
        let expired = AttestedIdentity::assertion(
            EvidenceKind::from_static("oidc"),
            "r".parse().unwrap(),
            "a".parse().unwrap(),
            Assurance::PlatformAttested,
            attested_at,
            attested_at,
        );
        assert_eq!(expired, Err(IdentityError::Expired));
    }

    #[test]
    fn facts_are_bounded() {
        let identity = identity("oidc", "r", None, "a").with_fact("k", "v").unwrap();
        assert!(identity.clone().with_fact("k", "w").is_err());
        assert!(identity.clone().with_fact("", "w").is_err());
        assert!(identity.clone().with_fact("l", &"v".repeat(MAX_FACT + 1)).is_err());
        let mut full = identity;
        for at in 1..MAX_FACTS {
            full = full.with_fact(&format!("k{at}"), "v").unwrap();
        }
        assert!(full.with_fact("one-more", "v").is_err());
    }

    proptest! {
        #[test]
        fn w29_the_subject_is_injective(
            a in ("[a-z][a-z-]{0,8}", "[!-~]{1,12}", proptest::option::of("[A-Za-z0-9_-]{1,6}"), "[A-Za-z0-9_-]{1,6}"),
            b in ("[a-z][a-z-]{0,8}", "[!-~]{1,12}", proptest::option::of("[A-Za-z0-9_-]{1,6}"), "[A-Za-z0-9_-]{1,6}"),
        ) {
            let subject = |parts: &(String, String, Option<String>, String)| {
                let tenant = parts.2.as_deref().map(|tenant| tenant.parse().unwrap());
                Subject::new(
                    &parts.0.parse().unwrap(),
                    &parts.1.parse().unwrap(),
                    tenant.as_ref(),
                    &parts.3.parse().unwrap(),
                )
            };
            prop_assert_eq!(subject(&a) == subject(&b), a == b);
        }
    }
}
