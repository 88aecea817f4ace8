//! Every attestor of this crate keeps the contract of `Attestor`.

use std::sync::Arc;

use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::{ContractCases, FakeIssuer, attestor_contract};
use agentkeys_core::{Evidence, Timestamp};

use crate::support::{ISSUED, STRANGER, World, claims, evidence};

/// Two good tokens of `issuer`, and three bad ones: another's, one for another audience, one that is over.
fn token_cases(
    evidence: impl Fn(&str) -> Evidence,
    (issuer, stranger): (&FakeIssuer, &FakeIssuer),
    algorithm: Algorithm,
    claims: &serde_json::Value,
    clock: Arc<agentkeys_core::testing::ManualClock>,
) -> ContractCases {
    let mut elsewhere = claims.clone();
    elsewhere["aud"] = "somebody-else".into();
    let mut over = claims.clone();
    for name in ["iat", "exp"] {
        over[name] = (over[name].as_u64().unwrap() - 3600).into();
    }
    let good = || evidence(&issuer.sign(algorithm, claims));
    ContractCases::new([good(), good()], clock)
        .with_refused("somebody else signed it", evidence(&stranger.sign(algorithm, claims)))
        .with_refused("it is for somebody else", evidence(&issuer.sign(algorithm, &elsewhere)))
        .with_refused("it is over", evidence(&issuer.sign(algorithm, &over)))
}

#[tokio::test]
async fn aws_stsweb_keeps_the_contract() {
    let world = World::new();
    let cases = token_cases(evidence, (&ISSUED, &STRANGER), Algorithm::Rs256, &claims(), world.clock.clone());
    attestor_contract(&world.attestor, &cases).await;
}

#[tokio::test]
async fn oidc_keeps_the_contract() {
    let world = crate::oidc_support::World::new();
    let evidence = |token: &str| Evidence::new(agentkeys_attest::oidc::OIDC, token).unwrap();
    for issuer in ["pods", "github"] {
        let signers = (&crate::oidc_support::ISSUERS[issuer], &crate::oidc_support::STRANGERS[issuer]);
        let mut claims = crate::oidc_support::TABLE.claims[issuer].clone();
        // the suite before moved the clock
        let now = agentkeys_core::Clock::now(&*world.clock).unwrap().as_unix();
        for (name, at) in [("iat", now), ("nbf", now), ("exp", now + 300)] {
            if claims.get(name).is_some() {
                claims[name] = at.into();
            }
        }
        let cases = token_cases(evidence, signers, Algorithm::Rs256, &claims, world.clock.clone());
        attestor_contract(&world.attestor, &cases).await;
    }
}

#[tokio::test]
async fn spire_keeps_the_contract() {
    let clock = agentkeys_core::testing::ManualClock::new(Timestamp::from_unix(crate::support::NOW));
    let pins = crate::spire::pins("/agent/{tenant}/{user}/{type}/{agent}");
    let keys = Arc::new(agentkeys_core::StaticKeys::new(ISSUED.key_set()));
    let attestor = agentkeys_attest::spire::SpireAttestor::new(pins, keys).unwrap().with_clock(clock.clone());
    let evidence = |svid: &str| Evidence::new(agentkeys_attest::spire::SPIFFE_SVID, svid).unwrap();
    let claims = crate::spire::claims();
    let cases = token_cases(evidence, (&ISSUED, &STRANGER), Algorithm::Es256, &claims, clock);
    attestor_contract(&attestor, &cases).await;
}
