//! An attestor of one's own: a build system signs a token for each job, and the project that the job
//! belongs to is the agent. What it takes is one struct, one `impl`, and one call of the contract suite.
//!
//! ```text
//! cargo run -p agentkeys-examples --example custom_attestor
//! cargo test -p agentkeys-examples --example custom_attestor
//! ```

use std::sync::Arc;

use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{
    Assurance, AttestError, AttestedIdentity, Attestor, Attestors, Audience, Clock, Evidence, EvidenceKind,
    Issuer, Profile, StaticKeys, SystemClock, TrustRoot, Verifier,
};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

const BUILD_JOB: EvidenceKind = EvidenceKind::from_static("build-job");

// the attestor

/// Appraises the tokens of one build system's jobs.
#[derive(Debug)]
struct BuildJobs {
    root: TrustRoot,
    verifier: Verifier,
    clock: Arc<dyn Clock>,
}

/// The build system writes this claim; the job cannot.
#[derive(Deserialize)]
struct Job {
    project: String,
}

#[async_trait]
impl Attestor for BuildJobs {
    fn kind(&self) -> &EvidenceKind {
        const { &BUILD_JOB }
    }

    async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
        if evidence.kind() != self.kind() {
            return Err(AttestError::WrongKind);
        }
        let token =
            std::str::from_utf8(evidence.expose()).map_err(|_| AttestError::Malformed("not a JWT"))?;
        let verified = self.verifier.verify::<Job>(token).await?;
        Ok(AttestedIdentity::assertion(
            BUILD_JOB,
            self.root.clone(),
            verified.claims().project.parse()?,
            Assurance::PlatformAttested,
            self.clock.now()?,
            verified.expires_at(),
        )?)
    }
}

// and what a host does with it; the build system is played by a test issuer

fn build_jobs(builds: &FakeIssuer, clock: Arc<dyn Clock>) -> Result<BuildJobs, Box<dyn std::error::Error>> {
    let (issuer, keys) = (builds.issuer().clone(), Arc::new(StaticKeys::new(builds.key_set())));
    let root = TrustRoot::parse(issuer.as_str())?;
    let verifier = Verifier::new(Profile::oidc(issuer, keys), Audience::parse("broker")?);
    Ok(BuildJobs { root, verifier: verifier.with_clock(Arc::clone(&clock)), clock })
}

fn evidence(builds: &FakeIssuer, project: &str, now: u64) -> Result<Evidence, Box<dyn std::error::Error>> {
    let claims = json!({
        "iss": builds.issuer().as_str(), "sub": "job:7", "aud": "broker", "project": project,
        "iat": now, "exp": now + 300,
    });
    Ok(Evidence::new(BUILD_JOB, builds.sign(Algorithm::Es256, &claims))?)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builds = FakeIssuer::new(Issuer::parse("https://builds.example")?);
    let clock = Arc::new(SystemClock::new());
    let evidence = evidence(&builds, "shop", clock.now()?.as_unix())?;
    let attestors = Attestors::new().with(build_jobs(&builds, clock)?)?;

    let identity = attestors.attest(&evidence).await?;
    println!("{} is {}", identity.subject(), identity.assurance().as_str());
    Ok(())
}

#[cfg(test)]
mod tests {
    use agentkeys_core::Timestamp;
    use agentkeys_core::testing::{ContractCases, ManualClock, attestor_contract};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[tokio::test]
    async fn it_keeps_the_contract() {
        let issuer = || Issuer::parse("https://builds.example").unwrap();
        let (builds, stranger) = (FakeIssuer::new(issuer()), FakeIssuer::new(issuer()));
        let clock = ManualClock::new(Timestamp::from_unix(NOW));
        let good = || evidence(&builds, "shop", NOW).unwrap();
        let cases = ContractCases::new([good(), good()], clock.clone())
            .with_refused("somebody else signed it", evidence(&stranger, "shop", NOW).unwrap())
            .with_refused("it is over", evidence(&builds, "shop", NOW - 400).unwrap())
            .with_refused("the project is no name", evidence(&builds, "../shop", NOW).unwrap());
        attestor_contract(&build_jobs(&builds, clock).unwrap(), &cases).await;
    }
}
