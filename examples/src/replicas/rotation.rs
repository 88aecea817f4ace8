//! The signing key is rotated under load, and a verifier that follows the published keys misses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{
    Clock as _, HttpClient, HttpSettings, Issuer, JwksCache, KeyRing, NoClaims, Oidc, Profile, ReqwestClient,
    RotationTimes, SystemClock, SystemRandom, TrustStore, Verifier,
};

use super::Whole;
use super::load::Load;
use crate::Failure;

pub(super) async fn prove(whole: &mut Whole, say: &impl Fn(&str)) -> Result<(), Failure> {
    let issuer = Issuer::loopback_http_for_tests(&format!("http://127.0.0.1:{}", whole.balancer))?;
    let http: Arc<dyn HttpClient> = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::nobody()))?);
    let keys = Arc::new(JwksCache::discover(issuer.clone(), http));
    let verifier = Verifier::new(Profile::oidc(issuer, Arc::clone(&keys) as _), "sts.amazonaws.com".parse()?);
    let load = Load::begin(whole, MINTERS, false).await?;
    let (mut kids, mut lost) = (BTreeMap::new(), 0_usize);
    let path = whole.folder.join("keys/oidc-keypair.json");
    for step in ["before", "staged", "promoted"] {
        match step {
            "staged" => {
                let now = SystemClock::new().now()?;
                KeyRing::<Oidc>::update(&path, |ring| ring.stage(&SystemRandom::new(), now))?;
                whole.reload().await?;
            }
            "promoted" => {
                let now = SystemClock::new().now()?;
                KeyRing::<Oidc>::update(&path, |ring| ring.promote(now, RotationTimes::new(MAX_AGE)))?;
                whole.reload().await?;
            }
            _ => {}
        }
        let until = tokio::time::Instant::now() + PHASE;
        while tokio::time::Instant::now() < until {
            for token in load.told.take_tokens() {
                match verifier.verify::<NoClaims>(&token).await {
                    Ok(_) => *kids.entry(kid(&token)).or_insert(0_usize) += 1,
                    Err(error) => {
                        lost += 1;
                        say(&format!("rotation: lost a verification: {error}"));
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let told = load.end().await?;
    let refused = told.events().iter().filter(|event| event.failed.is_some()).count();
    let counts: Vec<_> = kids.values().copied().collect();
    say(&format!(
        "rotation: {} tokens verified through the published keys while 3 replicas changed theirs, by key {counts:?}: \
         {lost} verifications lost, {refused} requests failed",
        counts.iter().sum::<usize>()
    ));
    if lost == 0 && refused == 0 && kids.len() == 2 {
        Ok(())
    } else {
        Err("the rotation lost something".into())
    }
}

fn kid(token: &str) -> String {
    token.split('.').next().unwrap_or_default().to_owned()
}

/// As the demonstration's brokers say of their keys.
const MAX_AGE: Duration = Duration::from_secs(5);
/// Longer than that: a key is promoted when nobody has an older copy any more.
const PHASE: Duration = Duration::from_secs(7);
const MINTERS: usize = 8;
