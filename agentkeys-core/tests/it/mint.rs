//! Minting: exactly these claims, never past the identity, never for a name that the agent gave itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::testing::SeededRandom;
use agentkeys_core::{
    Assurance, Audience, ErrorKind, ExtraClaims, Issuer, KeyRing, MAX_MINTED_BYTES, MintError, MintRequest,
    Minter, NoClaims, Oidc, Profile, RESERVED_CLAIMS, Random, RandomError, StaticKeys, TokenLifetime,
    TokenSigner as _, Verifier,
};
use serde_json::json;

use crate::support::*;

fn minter() -> Minter {
    Minter::new(Issuer::parse(ISSUER).unwrap(), ring()).with_clock(clock())
}

fn request() -> MintRequest {
    MintRequest::new(Audience::parse("sts.amazonaws.com").unwrap())
}

#[tokio::test]
async fn w45_l24_the_token_has_these_members_and_no_other() {
    let minter = minter().with_random(SeededRandom::new(7));
    let tags = json!({ "principal_tags": { "agent": ["blue"] } });
    let extra = ExtraClaims::new().with("https://aws.amazon.com/tags", &tags).unwrap();
    let token = minter.mint(&identity(), request().with_claims(extra)).await.unwrap();
    let (header, claims) = open(token.expose());
    assert_eq!(
        header,
        json!({ "alg": "ES256", "kid": minter.keys().active().public_jwk().kid(), "typ": "JWT" })
    );
    let wanted = json!({
        "iss": ISSUER, "sub": "oidc/https:%2F%2Fissuer.example%2Ftenant//blue", "aud": "sts.amazonaws.com",
        "iat": NOW, "nbf": NOW - 5, "exp": NOW + 300, "jti": token.jti(), "https://aws.amazon.com/tags": tags,
    });
    assert_eq!(claims, wanted);
    assert_eq!(claims["sub"], identity().subject().as_str());
    assert_eq!((token.expires_at(), token.kid()), (at(NOW + 300), header["kid"].as_str().unwrap()));
}

#[tokio::test]
async fn w45_the_jti_is_128_fresh_bits() {
    let minter = minter();
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let token = minter.mint(&identity(), request()).await.unwrap();
        assert_eq!(decode(token.jti()).len(), 16);
        assert!(seen.insert(token.jti().to_owned()));
    }
    #[derive(Debug)]
    struct Dry;
    impl Random for Dry {
        fn fill(&self, _buffer: &mut [u8]) -> Result<(), RandomError> {
            Err(RandomError::new())
        }
    }
    let refused = minter.with_random(Arc::new(Dry)).mint(&identity(), request()).await.unwrap_err();
    assert!(matches!(refused, MintError::Random(_)));
    assert_eq!(refused.kind(), ErrorKind::Misconfigured);
}

#[tokio::test]
async fn w9_a_self_asserted_name_gets_no_token() {
    let refused =
        minter().mint(&identity_with(Assurance::SelfAsserted, NOW + 1000), request()).await.unwrap_err();
    assert!(matches!(refused, MintError::SelfAsserted));
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Denied, "identity_self_asserted"));
    let told = minter().with_self_asserted_identities_accepted();
    assert!(told.mint(&identity_with(Assurance::SelfAsserted, NOW + 1000), request()).await.is_ok());
}

#[tokio::test]
async fn r41_no_token_outlives_its_identity() {
    let clock = clock();
    let minter = minter().with_clock(Arc::clone(&clock) as _);
    let (identity, hour) = (identity(), TokenLifetime::from_secs(3600).unwrap());
    for (now, lifetime, exp) in [
        (NOW, TokenLifetime::DEFAULT, NOW + 300),
        (NOW, hour, NOW + 1000),
        (NOW + 699, TokenLifetime::DEFAULT, NOW + 999),
        (NOW + 701, TokenLifetime::DEFAULT, NOW + 1000),
        (NOW + 999, hour, NOW + 1000),
    ] {
        let minter = minter.clone().with_clock(agentkeys_core::testing::ManualClock::new(at(now)));
        let token = minter.mint(&identity, request().with_lifetime(lifetime)).await.unwrap();
        assert_eq!((token.expires_at(), &open(token.expose()).1["exp"]), (at(exp), &json!(exp)));
    }
    clock.advance(Duration::from_secs(1000));
    for _ in 0..2 {
        let refused = minter.mint(&identity, request()).await.unwrap_err();
        assert!(matches!(refused, MintError::Expired));
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn w46_a_clock_that_is_set_back_mints_nothing_in_the_past() {
    let identity = identity();
    let attested = identity.attested_at().as_unix();
    let minter = minter();
    for (now, minted) in
        [(attested, true), (attested - 30, true), (attested - 31, false), (attested - 3600, false)]
    {
        let minter = minter.clone().with_clock(agentkeys_core::testing::ManualClock::new(at(now)));
        match minter.mint(&identity, request()).await {
            Ok(token) => assert_eq!((open(token.expose()).1["iat"].as_u64(), minted), (Some(now), true)),
            Err(refused) => assert!(matches!(refused, MintError::Expired) && !minted, "{now}: {refused:?}"),
        }
    }
}

#[tokio::test]
async fn w46_without_a_clock_nothing_is_minted() {
    let refused = minter().with_clock(Arc::new(NoClock)).mint(&identity(), request()).await.unwrap_err();
    assert!(matches!(refused, MintError::Clock(_)));
}

#[test]
fn l24_reserved_empty_and_doubled_names_are_refused() {
    assert_eq!(RESERVED_CLAIMS, ["iss", "sub", "aud", "iat", "nbf", "exp", "jti"]);
    for name in RESERVED_CLAIMS.iter().copied().chain([""]) {
        assert!(matches!(ExtraClaims::new().with(name, 1), Err(MintError::ReservedClaim)), "{name}");
    }
    let once = ExtraClaims::new().with("tenant", "a").unwrap();
    assert!(matches!(once.with("tenant", "a"), Err(MintError::ReservedClaim)));
    let not_json = std::collections::BTreeMap::from([(vec![1], 1)]);
    assert!(matches!(ExtraClaims::new().with("x", not_json), Err(MintError::Claim)));
}

#[test]
fn r39_a_token_lives_60_to_3600_seconds() {
    for bad in [0, 1, 59, 3601, u64::MAX] {
        assert!(matches!(TokenLifetime::from_secs(bad), Err(MintError::Lifetime)), "{bad}");
    }
    for good in [60, 300, 3600] {
        TokenLifetime::from_secs(good).unwrap();
    }
    assert_eq!(TokenLifetime::DEFAULT, TokenLifetime::from_secs(300).unwrap());
}

#[tokio::test]
async fn a_token_that_nobody_takes_is_not_minted() {
    let extra = ExtraClaims::new().with("pad", "x".repeat(MAX_MINTED_BYTES)).unwrap();
    let refused = minter().mint(&identity(), request().with_claims(extra)).await.unwrap_err();
    assert!(matches!(refused, MintError::TooLarge));
}

#[tokio::test]
async fn w42_the_ring_publishes_active_then_next_and_retired_keys_still_verify() {
    let (old, new, newest) = (signer(), signer(), signer());
    let before =
        Minter::new(Issuer::parse(ISSUER).unwrap(), KeyRing::new(old.clone()).with_next(new.clone()));
    let before = before.with_clock(clock());
    let old_token = before.mint(&identity(), request()).await.unwrap();
    let after =
        KeyRing::<Oidc>::new(new.clone()).with_next(newest.clone()).with_retired(old.public_jwk().clone());
    let after = Minter::new(Issuer::parse(ISSUER).unwrap(), after).with_clock(clock());
    let new_token = after.mint(&identity(), request()).await.unwrap();
    let kids = |minter: &Minter| -> Vec<String> {
        let jwks = serde_json::to_value(minter.keys().jwks()).unwrap();
        jwks["keys"].as_array().unwrap().iter().map(|jwk| jwk["kid"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kids(&before), [kid(&old), kid(&new)]);
    assert_eq!(kids(&after), [kid(&new), kid(&newest), kid(&old)]);
    assert_eq!((old_token.kid(), new_token.kid()), (kid(&old), kid(&new)));
    let judge = |minter: &Minter, token: &str| {
        let keys = Arc::new(StaticKeys::new(minter.keys().key_set().unwrap()));
        let profile = Profile::oidc(minter.issuer().clone(), keys);
        let verifier = Verifier::new(profile, Audience::parse("sts.amazonaws.com").unwrap());
        verifier.verify_with_known_keys::<NoClaims>(token, at(NOW)).map(drop)
    };
    for ring in [&before, &after] {
        judge(ring, old_token.expose()).unwrap();
        judge(ring, new_token.expose()).unwrap();
    }
    assert!(judge(&minter(), old_token.expose()).is_err());
}

#[tokio::test]
async fn r32_what_is_published_is_minimal_and_holds_no_secret() {
    let minter = minter();
    let jwks = serde_json::to_value(minter.keys().jwks()).unwrap();
    let members: BTreeSet<_> = jwks["keys"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["alg", "crv", "kid", "kty", "use", "x", "y"]));
    assert_eq!((&jwks["keys"][0]["alg"], &jwks["keys"][0]["kty"]), (&json!("ES256"), &json!("EC")));
}
