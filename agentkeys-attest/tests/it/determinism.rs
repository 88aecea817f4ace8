use agentkeys_core::jose::Algorithm;
use proptest::prelude::*;

use crate::support::{ISSUED, World, claims, good_token};

#[tokio::test]
async fn r16_two_instances_give_the_same_identity() {
    let (registry, identity_server) = (World::new(), World::new());
    let token = good_token();
    let first = registry.attest(&token).await.unwrap();
    assert_eq!(first, identity_server.attest(&token).await.unwrap());
    assert_eq!(first, registry.attest(&token).await.unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn r10_the_agent_is_the_pods_name_without_one_suffix(agent in "[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?(-pod){0,2}") {
        let mut claims = claims();
        claims["https://sts.amazonaws.com/"]["principal_tags"]["kubernetes-pod-name"] = format!("{agent}-pod").into();
        let token = ISSUED.sign(Algorithm::Es384, &claims);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let identity = runtime.block_on(World::new().attest(&token)).unwrap();
        prop_assert_eq!(identity.agent().as_str(), agent);
    }
}
