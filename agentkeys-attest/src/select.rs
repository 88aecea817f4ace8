//! Which attestor a deployment chose, read out of its variables.
//!
//! Nothing is read from the environment here: the host passes a map, on purpose (R26, R82).
//!
//! | `ATTESTOR` | required | optional |
//! |---|---|---|
//! | `spire`, `spiffe` | `SPIRE_TRUST_DOMAIN`, `SPIRE_AUDIENCE`, `SPIRE_TEMPLATE`, and one of `SPIFFE_ENDPOINT_SOCKET` and `SPIRE_JWKS_URL` | |
//! | `aws-sts` | `AWSSTS_AUDIENCE`, `AWSSTS_REGIONS`, and `AWSSTS_ROLES` or `AWSSTS_SELF_ASSERTED_ROLES` | |
//! | `aws-stsweb` | `STSWEB_ISSUER`, `STSWEB_AUDIENCE`, `STSWEB_ACCOUNT`, `STSWEB_ROLE_ARN`, `STSWEB_CLUSTER_ARN`, `STSWEB_NAMESPACE`, `STSWEB_SERVICE_ACCOUNT` | `STSWEB_POD_SUFFIX` (`-pod`), `STSWEB_JWKS_URL` (on the issuer's host) |
//! | `oidc` | `OIDC_ISSUER`, `OIDC_AUDIENCE`, `OIDC_AGENT_ID_CLAIM`, `OIDC_AGENT_TEMPLATE`, `OIDC_REQUIRED_CLAIMS` | `OIDC_JWKS_URL` |
//!
//! Lists are separated by white space: `AWSSTS_REGIONS=eu-west-1 eu-central-1`,
//! `AWSSTS_ROLES=blue=arn:aws:iam::123456789012:role/blue red=…` (the agent, then its role).
//! `OIDC_AGENT_ID_CLAIM` is the name of a claim or a JSON Pointer, and `OIDC_REQUIRED_CLAIMS` a JSON object
//! of JSON Pointers and values: `{"/repository_owner_id":"65834464"}`.
//!
//! ```
//! # use std::sync::Arc;
//! # use std::collections::BTreeMap;
//! # use agentkeys_attest::select::Selection;
//! let said = BTreeMap::from([("ATTESTOR", "aws-sts"), ("AWSSTS_AUDIENCE", "broker.example.org")]);
//! let said = said.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
//! let refused = Selection::parse(&said).unwrap_err();
//! assert_eq!(refused.to_string(), "AWSSTS_REGIONS is not set");
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use agentkeys_core::{Attestors, ErrorKind, HttpClient, Issuer, JwksCache, JwksUri, KeySource, ReplayGuard};

use crate::aws::{RoleArn, StsEndpoint};
use crate::aws_sts::{AwsStsAttestor, AwsStsPins, StsRole};
use crate::aws_stsweb::{StsWebAttestor, StsWebPins};
use crate::oidc::{AgentClaim, ClaimPath, OidcAttestor, OidcIssuer, OidcKeys, OidcPins};
use crate::spire::{SpireAttestor, SpirePins};
#[cfg(feature = "spire-workload-api")]
use crate::spire::{SpireBundles, WorkloadSocket};

mod variables;

use variables::{Claims, Variables};

/// An attestor and all of its settings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Selection {
    /// Presigned GetCallerIdentity requests.
    AwsSts(AwsStsPins),
    /// `GetWebIdentityToken` JWTs; the keys from the issuer's discovery document or from this address.
    AwsStsWeb(StsWebPins, Option<JwksUri>),
    /// One issuer's tokens; the keys as before.
    Oidc(OidcPins, Option<JwksUri>),
    /// JWT-SVIDs.
    Spire(SpirePins, SpireKeys),
}

/// Where the keys of a SPIFFE trust domain come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SpireKeys {
    /// A JWK set at an https address.
    JwksUri(JwksUri),
    /// The Workload API of this machine's agent.
    #[cfg(feature = "spire-workload-api")]
    WorkloadApi(WorkloadSocket),
}

impl Selection {
    /// Reads the variables of the attestor that `ATTESTOR` names. All others are left alone, but a variable
    /// that begins like the chosen attestor's and is none of them is refused: it is a pin that somebody
    /// misspelled.
    ///
    /// # Errors
    /// [`SelectError`], which names the variable.
    pub fn parse(variables: &BTreeMap<String, String>) -> Result<Self, SelectError> {
        let variables = Variables(variables);
        match variables.text(ATTESTOR)? {
            "aws-sts" => Self::aws_sts(variables),
            "aws-stsweb" => Self::aws_stsweb(variables),
            "oidc" => Self::oidc(variables),
            "spire" | "spiffe" => Self::spire(variables),
            _ => Err(SelectError::malformed(
                ATTESTOR,
                &"it is none of spire, spiffe, aws-sts, aws-stsweb, oidc",
            )),
        }
    }

    /// The attestor, alone in its kind. Keys are fetched and STS is asked through `http`; `guard` remembers
    /// what was used, where evidence is good once.
    ///
    /// # Errors
    /// [`SelectError::Contradiction`] where settings contradict each other, so that nothing could ever pass.
    pub fn attestors(
        self,
        http: Arc<dyn HttpClient>,
        guard: Arc<dyn ReplayGuard>,
    ) -> Result<Attestors, SelectError> {
        let none = Attestors::new();
        let attestors = match self {
            Self::AwsSts(pins) => none.with(AwsStsAttestor::new(pins, http, guard)?),
            Self::AwsStsWeb(pins, jwks_uri) => {
                let keys = jwks_uri.map(|uri| cached(pins.issuer.clone(), uri, &http));
                let attestor = StsWebAttestor::new(pins, http)?;
                none.with(match keys {
                    Some(keys) => attestor.with_keys(keys),
                    None => attestor,
                })
            }
            Self::Oidc(pins, jwks_uri) => {
                let keys = match jwks_uri {
                    Some(uri) => OidcKeys::at(uri, http),
                    None => OidcKeys::discovered(http),
                };
                none.with(OidcAttestor::new(OidcIssuer::new(pins, keys)?))
            }
            Self::Spire(pins, keys) => {
                let keys: Arc<dyn KeySource> = match keys {
                    SpireKeys::JwksUri(uri) => cached(uri.origin().clone(), uri, &http),
                    #[cfg(feature = "spire-workload-api")]
                    SpireKeys::WorkloadApi(socket) => Arc::new(SpireBundles::new(socket, &pins.trust_domain)),
                };
                none.with(SpireAttestor::new(pins, keys)?)
            }
        };
        attestors.map_err(|error| SelectError::contradiction(&error))
    }

    fn aws_sts(variables: Variables<'_>) -> Result<Self, SelectError> {
        variables
            .only("AWSSTS_", &[AWSSTS_AUDIENCE, AWSSTS_REGIONS, AWSSTS_ROLES, AWSSTS_SELF_ASSERTED_ROLES])?;
        let audience = variables.required(AWSSTS_AUDIENCE)?;
        let endpoint = |region: &str| {
            let region = region.parse().map_err(|error| SelectError::malformed(AWSSTS_REGIONS, &error))?;
            StsEndpoint::regional(region).map_err(|error| SelectError::malformed(AWSSTS_REGIONS, &error))
        };
        let regions = variables.text(AWSSTS_REGIONS)?;
        let endpoints = regions.split_whitespace().map(endpoint).collect::<Result<_, _>>()?;
        let mut roles = Vec::new();
        if let Some(named) = variables.given(AWSSTS_ROLES) {
            let malformed = |error: &dyn fmt::Display| SelectError::malformed(AWSSTS_ROLES, error);
            for entry in named.split_whitespace() {
                // no agent's name has an equals sign, and a role's may
                let (agent, role) =
                    entry.split_once('=').ok_or_else(|| malformed(&"an entry is agent=role"))?;
                let agent = agent.parse().map_err(|error| malformed(&error))?;
                roles.push(StsRole::named(RoleArn::parse(role).map_err(|error| malformed(&error))?, agent));
            }
        }
        if let Some(listed) = variables.given(AWSSTS_SELF_ASSERTED_ROLES) {
            for role in listed.split_whitespace() {
                let role = RoleArn::parse(role)
                    .map_err(|error| SelectError::malformed(AWSSTS_SELF_ASSERTED_ROLES, &error))?;
                roles.push(StsRole::with_self_asserted_session_names(role));
            }
        }
        if roles.is_empty() {
            return Err(SelectError::Missing(AWSSTS_ROLES));
        }
        Ok(Self::AwsSts(AwsStsPins { endpoints, audience, roles }))
    }

    fn aws_stsweb(variables: Variables<'_>) -> Result<Self, SelectError> {
        variables.only("STSWEB_", STSWEB)?;
        let pod_suffix = variables.given(STSWEB_POD_SUFFIX).unwrap_or(DEFAULT_POD_SUFFIX).parse();
        let pod_suffix = pod_suffix.map_err(|error| SelectError::malformed(STSWEB_POD_SUFFIX, &error))?;
        let issuer: Issuer = variables.required(STSWEB_ISSUER)?;
        let jwks_uri = variables.jwks_uri(STSWEB_JWKS_URL)?;
        if jwks_uri.as_ref().is_some_and(|uri| uri.origin().authority() != issuer.authority()) {
            return Err(SelectError::malformed(STSWEB_JWKS_URL, &"it is not on the issuer's host"));
        }
        let pins = StsWebPins {
            issuer,
            audience: variables.required(STSWEB_AUDIENCE)?,
            account: variables.required(STSWEB_ACCOUNT)?,
            role: variables.required(STSWEB_ROLE_ARN)?,
            cluster: variables.required(STSWEB_CLUSTER_ARN)?,
            namespace: variables.required(STSWEB_NAMESPACE)?,
            service_account: variables.required(STSWEB_SERVICE_ACCOUNT)?,
            pod_suffix,
        };
        Ok(Self::AwsStsWeb(pins, jwks_uri))
    }

    fn oidc(variables: Variables<'_>) -> Result<Self, SelectError> {
        variables.only("OIDC_", OIDC)?;
        let claim = variables.text(OIDC_AGENT_ID_CLAIM)?;
        let pointer = if claim.starts_with('/') { claim.to_owned() } else { format!("/{claim}") };
        let path = ClaimPath::parse(&pointer)
            .map_err(|error| SelectError::malformed(OIDC_AGENT_ID_CLAIM, &error))?;
        let pins = OidcPins {
            issuer: variables.required(OIDC_ISSUER)?,
            audience: variables.required(OIDC_AUDIENCE)?,
            agent: AgentClaim::matching(path, variables.required(OIDC_AGENT_TEMPLATE)?),
            required: variables.required::<Claims>(OIDC_REQUIRED_CLAIMS)?.0,
        };
        Ok(Self::Oidc(pins, variables.jwks_uri(OIDC_JWKS_URL)?))
    }

    fn spire(variables: Variables<'_>) -> Result<Self, SelectError> {
        variables.only("SPIRE_", &[SPIRE_AUDIENCE, SPIRE_JWKS_URL, SPIRE_TEMPLATE, SPIRE_TRUST_DOMAIN])?;
        let pins = SpirePins {
            trust_domain: variables.required(SPIRE_TRUST_DOMAIN)?,
            audience: variables.required(SPIRE_AUDIENCE)?,
            template: variables.required(SPIRE_TEMPLATE)?,
        };
        let keys = match (variables.given(SPIFFE_ENDPOINT_SOCKET), variables.jwks_uri(SPIRE_JWKS_URL)?) {
            (Some(_), Some(_)) => {
                return Err(SelectError::malformed(SPIRE_JWKS_URL, &"SPIFFE_ENDPOINT_SOCKET is set as well"));
            }
            (None, Some(uri)) => SpireKeys::JwksUri(uri),
            (None, None) => return Err(SelectError::Missing(SPIFFE_ENDPOINT_SOCKET)),
            #[cfg(feature = "spire-workload-api")]
            (Some(_), None) => SpireKeys::WorkloadApi(variables.required(SPIFFE_ENDPOINT_SOCKET)?),
            #[cfg(not(feature = "spire-workload-api"))]
            (Some(_), None) => {
                let without = "this program is built without the feature spire-workload-api";
                return Err(SelectError::malformed(SPIFFE_ENDPOINT_SOCKET, &without));
            }
        };
        Ok(Self::Spire(pins, keys))
    }
}

fn cached(issuer: Issuer, uri: JwksUri, http: &Arc<dyn HttpClient>) -> Arc<dyn KeySource> {
    Arc::new(JwksCache::discover(issuer, Arc::clone(http)).with_jwks_uri(uri))
}

/// What is wrong with a deployment's variables. The values are not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// Settings contradict each other.
    #[error("the attestor's settings contradict each other: {0}")]
    Contradiction(String),
    /// A variable's value is not what it must be.
    #[error("{variable} is malformed: {reason}")]
    Malformed {
        /// The variable.
        variable: &'static str,
        /// What it must be.
        reason: String,
    },
    /// A variable is not there, or empty.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// A variable begins like those of the chosen attestor and is none of them.
    #[error("{0} is no variable of this attestor")]
    Unknown(String),
}

impl SelectError {
    /// Always [`ErrorKind::Misconfigured`].
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Misconfigured
    }

    fn malformed(variable: &'static str, reason: &dyn fmt::Display) -> Self {
        Self::Malformed { variable, reason: reason.to_string() }
    }

    fn contradiction(error: &dyn fmt::Display) -> Self {
        Self::Contradiction(error.to_string())
    }
}

macro_rules! contradicts {
    ($($error:ty),*) => {
        $(
            impl From<$error> for SelectError {
                fn from(error: $error) -> Self {
                    Self::contradiction(&error)
                }
            }
        )*
    };
}

contradicts!(
    crate::aws_sts::AwsStsPinsError,
    crate::aws_stsweb::StsWebPinsError,
    crate::oidc::OidcPinsError,
    crate::spire::SpirePinsError
);

const ATTESTOR: &str = "ATTESTOR";
const AWSSTS_AUDIENCE: &str = "AWSSTS_AUDIENCE";
const AWSSTS_REGIONS: &str = "AWSSTS_REGIONS";
const AWSSTS_ROLES: &str = "AWSSTS_ROLES";
const AWSSTS_SELF_ASSERTED_ROLES: &str = "AWSSTS_SELF_ASSERTED_ROLES";
const OIDC_AGENT_ID_CLAIM: &str = "OIDC_AGENT_ID_CLAIM";
const OIDC_AGENT_TEMPLATE: &str = "OIDC_AGENT_TEMPLATE";
const OIDC_AUDIENCE: &str = "OIDC_AUDIENCE";
const OIDC_ISSUER: &str = "OIDC_ISSUER";
const OIDC_JWKS_URL: &str = "OIDC_JWKS_URL";
const OIDC_REQUIRED_CLAIMS: &str = "OIDC_REQUIRED_CLAIMS";
const OIDC: &[&str] = &[
    OIDC_AGENT_ID_CLAIM,
    OIDC_AGENT_TEMPLATE,
    OIDC_AUDIENCE,
    OIDC_ISSUER,
    OIDC_JWKS_URL,
    OIDC_REQUIRED_CLAIMS,
];
const SPIFFE_ENDPOINT_SOCKET: &str = "SPIFFE_ENDPOINT_SOCKET";
const SPIRE_AUDIENCE: &str = "SPIRE_AUDIENCE";
const SPIRE_JWKS_URL: &str = "SPIRE_JWKS_URL";
const SPIRE_TEMPLATE: &str = "SPIRE_TEMPLATE";
const SPIRE_TRUST_DOMAIN: &str = "SPIRE_TRUST_DOMAIN";
const STSWEB_ACCOUNT: &str = "STSWEB_ACCOUNT";
const STSWEB_AUDIENCE: &str = "STSWEB_AUDIENCE";
const STSWEB_CLUSTER_ARN: &str = "STSWEB_CLUSTER_ARN";
const STSWEB_ISSUER: &str = "STSWEB_ISSUER";
const STSWEB_JWKS_URL: &str = "STSWEB_JWKS_URL";
const STSWEB_NAMESPACE: &str = "STSWEB_NAMESPACE";
const STSWEB_POD_SUFFIX: &str = "STSWEB_POD_SUFFIX";
const STSWEB_ROLE_ARN: &str = "STSWEB_ROLE_ARN";
const STSWEB_SERVICE_ACCOUNT: &str = "STSWEB_SERVICE_ACCOUNT";
const STSWEB: &[&str] = &[
    STSWEB_ACCOUNT,
    STSWEB_AUDIENCE,
    STSWEB_CLUSTER_ARN,
    STSWEB_ISSUER,
    STSWEB_JWKS_URL,
    STSWEB_NAMESPACE,
    STSWEB_POD_SUFFIX,
    STSWEB_ROLE_ARN,
    STSWEB_SERVICE_ACCOUNT,
];

/// What AgentKeys' and Spawnly's operators put behind an agent's name.
const DEFAULT_POD_SUFFIX: &str = "-pod";
