//! Attestors for agentkeys, and the sources of the evidence that they appraise.
//!
//! | module | evidence | who vouches |
//! |---|---|---|
//! | [`aws_sts`] | a presigned request to STS (`sts:GetCallerIdentity`) | AWS, for the role; for the session's name nobody |
//! | [`aws_stsweb`] | a JWT of the account's own STS (`sts:GetWebIdentityToken`) | EKS Pod Identity, through the session's tags |
//! | [`oidc`] | a JWT of any OpenID Connect issuer: a Kubernetes cluster, GitHub Actions, GitLab, Google Cloud | that issuer, through the claims that are pinned |
//! | [`spire`] | a JWT-SVID of the SPIFFE Workload API | SPIRE, by the workload's registration entry |
//!
//! Each has two halves that share nothing but the kind of their evidence: an
//! [`EvidenceSource`](agentkeys_core::EvidenceSource) for the workload and an
//! [`Attestor`](agentkeys_core::Attestor) for the control plane.
//!
//! This crate mints nothing, exchanges nothing, reads no environment variable and has no default for
//! anything that decides who somebody is: every pin is a field that must be filled.
//!
//! ```
//! # use std::sync::Arc;
//! # use agentkeys_core::{Attestors, Evidence, HttpSettings, ReqwestClient, TrustStore};
//! # use agentkeys_attest::aws_stsweb::{StsWebAttestor, StsWebPins};
//! # async fn example(evidence: &Evidence) -> Result<(), Box<dyn std::error::Error>> {
//! let http = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::system()))?);
//! let attestors = Attestors::new().with(StsWebAttestor::new(
//!     StsWebPins {
//!         issuer: "https://0a1b2c3d-0000-4000-8000-000000000000.tokens.sts.global.api.aws".parse()?,
//!         audience: "agentkeys".parse()?,
//!         account: "123456789012".parse()?,
//!         role: "arn:aws:iam::123456789012:role/agents".parse()?,
//!         cluster: "arn:aws:eks:us-east-1:123456789012:cluster/prod".parse()?,
//!         namespace: "agents".parse()?,
//!         service_account: "agent".parse()?,
//!         pod_suffix: "-pod".parse()?,
//!     },
//!     http,
//! )?)?;
//!
//! let identity = attestors.attest(evidence).await?;
//! println!("{} is {}", identity.agent(), identity.assurance().as_str());
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! - `aws-sdk` (default): `aws_stsweb::StsWebSource`, over aws-sdk-sts. Attesting does not need it.
//! - `aws-sigv4` (default): `aws_sts::AwsStsSource`, over aws-sigv4. Attesting does not need it.
//! - `spire-workload-api` (off by default): `spire::SpireSource`, and `spire::SpireBundles`, which follows an agent's
//!   trust bundle. Attesting with keys of an https address does not need it.
//! - `redis` (off by default): `replay::RedisReplayGuard`, the replay guard that replicas share.

pub mod aws;
pub mod aws_sts;
pub mod aws_stsweb;
pub mod kubernetes;
pub mod oidc;
#[cfg(feature = "redis")]
pub mod replay;
pub mod select;
pub mod spire;
pub mod template;
mod text;
