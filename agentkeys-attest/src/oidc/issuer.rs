use std::collections::BTreeMap;
use std::sync::Arc;

use agentkeys_core::jose::{Algorithm, KeyTables};
use agentkeys_core::{
    AgentId, Assurance, AttestError, AttestedIdentity, Audience, Clock, InstanceId, Issuer, Profile,
    Timestamp, TrustRoot, Verifier,
};

use super::OIDC;
use super::claims::{ClaimPath, ClaimValue, Verified};
use super::keys::OidcKeys;
use crate::kubernetes::PodSuffix;
use crate::template::{Template, TemplateError};

/// Whose tokens pass, for any issuer. None of the fields has a default, and one more would break the build
/// of whoever has not thought about it (W11).
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pin that can be forgotten is not a pin")]
pub struct OidcPins {
    /// The issuer, which is also the trust root.
    pub issuer: Issuer,
    /// The one audience that the evidence is for (W21).
    pub audience: Audience,
    /// Which claim names the agent, and how. The workload must not be able to choose it.
    pub agent: AgentClaim,
    /// What other claims must be.
    pub required: RequiredClaims,
}

/// One issuer whose tokens are evidence, and what they must say.
#[derive(Clone, Debug)]
pub struct OidcIssuer {
    pins: OidcPins,
    instance: Option<ClaimPath>,
    algorithms: Vec<Algorithm>,
    keys: OidcKeys,
}

impl OidcIssuer {
    /// An issuer with these pins and keys. It may sign with any algorithm that this project knows, each with
    /// its own sort of key (W19).
    ///
    /// # Errors
    /// [`OidcPinsError`].
    pub fn new(pins: OidcPins, keys: OidcKeys) -> Result<Self, OidcPinsError> {
        let required = &pins.required.0;
        if required.is_empty() && pins.agent.takes_any_name() {
            return Err(OidcPinsError::Unpinned);
        }
        let mut paths: Vec<_> = required.iter().map(|claim| &claim.path).collect();
        paths.sort_unstable();
        paths.dedup();
        if paths.len() != required.len() {
            return Err(OidcPinsError::Doubled);
        }
        Ok(Self { pins, instance: None, algorithms: Algorithm::ALL.to_vec(), keys })
    }

    /// Only with these algorithms.
    #[must_use]
    pub fn with_algorithms(mut self, algorithms: &[Algorithm]) -> Self {
        self.algorithms = algorithms.to_vec();
        self
    }

    /// With the claim that tells one running instance of the agent from the next; a token without it is
    /// then refused (L20).
    #[must_use]
    pub fn with_instance(mut self, instance: ClaimPath) -> Self {
        self.instance = Some(instance);
        self
    }

    pub(super) const fn issuer(&self) -> &Issuer {
        &self.pins.issuer
    }

    pub(super) fn verifier(&self, clock: &Arc<dyn Clock>, tables: &KeyTables) -> Verifier {
        let issuer = self.pins.issuer.clone();
        let keys = self.keys.source(&issuer, clock);
        Verifier::new(Profile::oidc(issuer, keys), self.pins.audience.clone())
            .with_algorithms(&self.algorithms)
            .with_clock(Arc::clone(clock))
            .with_key_tables(tables.clone())
    }

    pub(super) fn appraise(&self, token: &Verified, now: Timestamp) -> Result<AttestedIdentity, AttestError> {
        let pins = &self.pins;
        let mut facts = BTreeMap::from([("/sub".to_owned(), token.subject().to_owned())]);
        for Required { what, path, value } in &pins.required.0 {
            path.require(value, token, what)?;
            facts.insert(path.to_string(), value.to_string());
        }
        let named = pins.agent.path.text(token, "claim that names the agent")?;
        facts.insert(pins.agent.path.to_string(), named.to_owned());
        let root = pins.issuer.as_str();
        let assertion = |root: TrustRoot, agent: AgentId| {
            let expires_at = token.expires_at();
            AttestedIdentity::assertion(OIDC, root, agent, Assurance::PlatformAttested, now, expires_at)
        };
        let mut identity = match &pins.agent.form {
            Form::Suffixed(suffix) => {
                let agent = suffix.strip(named).ok_or(AttestError::Pin("pod suffix"))?;
                assertion(TrustRoot::parse(root)?, AgentId::parse(agent)?)?
            }
            Form::Template(template) => {
                let found = template.matches(named).ok_or(AttestError::Pin("template"))?;
                found.complete(assertion(found.trust_root(root)?, found.agent_id()?)?)?
            }
        };
        if let Some(instance) = &self.instance {
            let found = instance.text(token, "claim that names the instance")?;
            identity = identity.with_instance(InstanceId::parse(found)?);
        }
        for (name, value) in &facts {
            identity = identity.with_fact(name, value)?;
        }
        Ok(identity)
    }
}

/// Which claim names the agent, and the form that it must have.
#[derive(Clone, Debug)]
pub struct AgentClaim {
    path: ClaimPath,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Suffixed(PodSuffix),
    Template(Template),
}

impl AgentClaim {
    /// The claim at `path`, which must fit `template` as a whole.
    #[must_use]
    pub const fn matching(path: ClaimPath, template: Template) -> Self {
        Self { path, form: Form::Template(template) }
    }

    /// The claim at `path` without `suffix`, which must be there and comes off once (W13).
    #[must_use]
    pub const fn suffixed(path: ClaimPath, suffix: PodSuffix) -> Self {
        Self { path, form: Form::Suffixed(suffix) }
    }

    /// Whether nothing but the agent's name is asked of the claim. A text of one letter fits no other template.
    fn takes_any_name(&self) -> bool {
        matches!(&self.form, Form::Template(template) if template.matches("a").is_some())
    }
}

/// Claims that must be there and have exactly these values, types and all.
#[derive(Clone, Debug)]
pub struct RequiredClaims(Vec<Required>);

#[derive(Clone, Debug)]
struct Required {
    what: &'static str,
    path: ClaimPath,
    value: ClaimValue,
}

impl RequiredClaims {
    /// None: whoever has a token of this issuer for this audience, with a claim that fits the agent's form, is
    /// that agent. Most issuers let everybody choose the audience, so the form must hold what is ours; one that
    /// takes any name is refused by [`OidcIssuer::new`].
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// And the claim at `path` must be `value`.
    #[must_use]
    pub fn and(self, path: ClaimPath, value: impl Into<ClaimValue>) -> Self {
        self.and_the("required claim", path, value)
    }

    /// The same for a claim that the refusal can name.
    pub(super) fn and_the(
        mut self,
        what: &'static str,
        path: ClaimPath,
        value: impl Into<ClaimValue>,
    ) -> Self {
        self.0.push(Required { what, path, value: value.into() });
        self
    }
}

/// Why pins are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OidcPinsError {
    /// A claim is required twice.
    #[error("a claim is required twice")]
    Doubled,
    /// A path of the form's own: a bug.
    #[error("a claim's path is malformed")]
    Path(#[from] super::claims::ClaimPathError),
    /// A template cannot be built of the pins.
    #[error("the agent's template is malformed")]
    Template(#[from] TemplateError),
    /// Two entries for one issuer: a token could not say for which it is.
    #[error("the issuer is configured twice")]
    TwoOfOneIssuer,
    /// Any name is an agent's and no claim is required: everybody with an account at the issuer would pass.
    #[error("the agent's template takes any name and no claim is required")]
    Unpinned,
}
