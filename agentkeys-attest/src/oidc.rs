//! Evidence of any OpenID Connect issuer: a JWT that a cluster, a build system or a cloud signs for the
//! workload.
//!
//! What is pinned is chosen per issuer: [`OidcPins`] for any, and [`KubernetesPins`], [`GithubPins`],
//! [`GitlabPins`] and [`GcpPins`] for the four that are well known. Where the keys are is [`OidcKeys`].
//!
//! ```
//! # use std::sync::Arc;
//! # use agentkeys_core::{Attestors, HttpClient, JwksUri};
//! # use agentkeys_attest::oidc::{
//! #     BearerTokenFile, GithubPins, KubernetesAgent, KubernetesPins, OidcAttestor, OidcIssuer, OidcKeys,
//! # };
//! # fn example(public: Arc<dyn HttpClient>, cluster: Arc<dyn HttpClient>) -> Result<(), Box<dyn std::error::Error>> {
//! // `cluster` trusts the cluster's own CA alone: HttpSettings::new(TrustStore::only(ca_bundle))
//! let api = "https://kubernetes.default.svc".parse()?;
//! let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
//! let cluster = Arc::new(BearerTokenFile::new(cluster, &api, token));
//! let pods = KubernetesPins {
//!     issuer: "https://kubernetes.default.svc.cluster.local".parse()?,
//!     audience: "agentkeys".parse()?,
//!     namespace: "agents".parse()?,
//!     agent: KubernetesAgent::Pod { service_account: "agent".parse()?, suffix: "-pod".parse()? },
//! };
//! let keys = JwksUri::parse("https://kubernetes.default.svc/openid/v1/jwks")?;
//! let pods = OidcIssuer::kubernetes(pods, OidcKeys::at(keys, cluster))?;
//!
//! let builds = GithubPins {
//!     issuer: "https://token.actions.githubusercontent.com".parse()?,
//!     audience: "agentkeys".parse()?,
//!     owner_id: 65,
//!     repository_id: 74,
//!     workflow: "octo-org/octo-repo/.github/workflows/agents.yml@refs/heads/main".parse()?,
//! };
//! let builds = OidcIssuer::github_actions(builds, OidcKeys::discovered(public))?;
//!
//! let attestors = Attestors::new().with(OidcAttestor::new(pods).with_issuer(builds)?)?;
//! # Ok(())
//! # }
//! ```

use agentkeys_core::EvidenceKind;

mod attestor;
mod bearer;
mod claims;
mod forms;
mod issuer;
mod keys;

pub use attestor::OidcAttestor;
pub use bearer::{BearerTokenError, BearerTokenFile, MAX_BEARER_TOKEN};
pub use claims::{ClaimPath, ClaimPathError, ClaimValue};
pub use forms::{GcpPins, GcpProject, GithubPins, GitlabPins, KubernetesAgent, KubernetesPins, WorkflowRef};
pub use forms::{GcpProjectError, WorkflowRefError};
pub use issuer::{AgentClaim, OidcIssuer, OidcPins, OidcPinsError, RequiredClaims};
pub use keys::{JwksFileError, OidcKeys};

/// The kind of this evidence, and the label of who vouches (R17).
pub const OIDC: EvidenceKind = EvidenceKind::from_static("oidc");
