use std::time::Duration;

use agentkeys_core::jose::Algorithm;
use agentkeys_core::{Attestors, Timestamp};

use crate::support::{ISSUED, NOW, World, claims, evidence, good_token};

#[tokio::test]
async fn w14_an_identity_is_no_longer_good_than_its_evidence() {
    let world = World::new();
    let token = good_token();
    for waited in [0, 1, 150, 299] {
        let world = World::new();
        world.clock.advance(Duration::from_secs(waited));
        let identity = world.attest(&token).await.unwrap();
        assert_eq!(identity.attested_at(), Timestamp::from_unix(NOW + waited));
        assert_eq!(identity.not_after(), Timestamp::from_unix(NOW + 300));
    }
    world.clock.advance(Duration::from_secs(299));
    assert!(world.attest(&token).await.unwrap().is_current(Timestamp::from_unix(NOW + 299)));
    for (waited, code) in [(1, "evidence_identity"), (29, "evidence_identity"), (1, "token_expired")] {
        world.clock.advance(Duration::from_secs(waited));
        assert_eq!(world.attest(&token).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn w22_the_longest_evidence_and_the_host_s_own_limit() {
    let world = World::new();
    let mut claims = claims();
    claims["exp"] = (NOW + 3600).into();
    let token = ISSUED.sign(Algorithm::Rs256, &claims);
    assert_eq!(world.attest(&token).await.unwrap().not_after(), Timestamp::from_unix(NOW + 3600));
    let attestors = Attestors::new().with(world.attestor).unwrap().with_identity_age(Duration::from_secs(60));
    let identity = attestors.attest(&evidence(&token)).await.unwrap();
    assert_eq!(identity.not_after(), Timestamp::from_unix(NOW + 60));
}
