//! Sessions: the identity until its end, and never mistaken for a token to a cloud.

use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::jose::{KeyTables, MAX_TOKEN_BYTES, TablesHealth, VERIFIES_BEFORE_TABLE};
use agentkeys_core::{
    Assurance, Audience, ErrorKind, Issuer, KeyRing, MAX_FACT, MintError, MintRequest, Minter, NoClaims,
    Profile, SESSION_AUDIENCE, SessionError, Sessions, StaticKeys, TokenLifetime, Verifier, VerifyError,
};
use serde_json::json;

use crate::support::*;

fn issuer() -> Issuer {
    Issuer::parse(ISSUER).unwrap()
}

fn sessions() -> Sessions {
    Sessions::new(issuer(), ring()).unwrap().with_clock(clock())
}

const HOUR: u64 = 3600;

fn hour() -> TokenLifetime {
    TokenLifetime::from_secs(HOUR).unwrap()
}

#[tokio::test]
async fn a_session_gives_back_every_field_of_its_identity() {
    let sessions = sessions();
    let full = identity()
        .with_tenant("acme".parse().unwrap())
        .with_instance("uid-1".parse().unwrap())
        .with_fact("namespace", "agents")
        .unwrap()
        .with_fact("empty", "")
        .unwrap();
    for identity in [identity(), full] {
        let token = sessions.issue(&identity, hour()).await.unwrap();
        assert_eq!(sessions.verify(token.expose()).await.unwrap(), identity);
        let (header, claims) = open(token.expose());
        assert_eq!(header["typ"], "agentkeys-session+jwt");
        assert_eq!((&claims["aud"], &claims["iss"]), (&json!(SESSION_AUDIENCE), &json!(ISSUER)));
        assert_eq!(claims["sub"], identity.subject().as_str());
    }
}

#[tokio::test]
async fn sessions_are_verified_with_the_tables_that_the_host_gave() {
    let (tables, unasked) = (KeyTables::on(), KeyTables::on());
    let key = signer();
    let new = || Sessions::new(issuer(), KeyRing::new(key.clone())).unwrap().with_clock(clock());
    let (plain, sessions) = (new(), new().with_key_tables(tables.clone()));
    let token = plain.issue(&identity(), hour()).await.unwrap();
    for _ in 0..VERIFIES_BEFORE_TABLE {
        plain.verify(token.expose()).await.unwrap();
    }
    assert_eq!((tables.health(), unasked.health()), (TablesHealth::default(), TablesHealth::default()));
    for _ in 0..VERIFIES_BEFORE_TABLE {
        assert_eq!(sessions.verify(token.expose()).await.unwrap(), identity());
    }
    while tables.health().building > 0 {
        std::thread::yield_now();
    }
    assert_eq!(tables.health().tables, 1);
    // the same verdicts with the table, and another clock does not take it away
    let sessions = sessions.with_clock(clock());
    assert_eq!(sessions.verify(token.expose()).await.unwrap(), identity());
    let (signed, signature) = token.expose().rsplit_once('.').unwrap();
    let changed = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{signed}.{changed}{}", &signature[1..]);
    let refused = sessions.verify(&forged).await.unwrap_err();
    assert!(matches!(refused, SessionError::Verify(VerifyError::Signature)));
    let health = tables.health();
    assert_eq!((health.tables, health.wrongly_accepted, health.wrongly_refused), (1, 0, 0));
}

#[tokio::test]
async fn w44_l31_sessions_and_tokens_for_a_cloud_are_not_each_other_even_under_one_key() {
    let key = signer();
    let sessions = Sessions::new(issuer(), KeyRing::new(key.clone())).unwrap().with_clock(clock());
    let minter = Minter::new(issuer(), KeyRing::new(key)).with_clock(clock());
    let session = sessions.issue(&identity(), hour()).await.unwrap();
    // even a verifier that wants the session's audience
    for audience in [SESSION_AUDIENCE, "sts.amazonaws.com"] {
        let keys = Arc::new(StaticKeys::new(minter.keys().key_set().unwrap()));
        let verifier = Verifier::new(Profile::oidc(issuer(), keys), Audience::parse(audience).unwrap());
        let verdict = verifier.verify_with_known_keys::<NoClaims>(session.expose(), at(NOW));
        refused!(verdict, VerifyError::Type);
        // even a token that was minted for the session's audience
        let request = MintRequest::new(Audience::parse(audience).unwrap());
        let token = minter.mint(&identity(), request).await.unwrap();
        let refused = sessions.verify(token.expose()).await.unwrap_err();
        assert!(matches!(refused, SessionError::Verify(VerifyError::Type)), "{refused:?}");
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn sessions_of_another_issuer_or_key_are_refused() {
    let (ours, theirs) = (sessions(), sessions());
    let foreign = theirs.issue(&identity(), hour()).await.unwrap();
    let refused = ours.verify(foreign.expose()).await.unwrap_err();
    assert!(matches!(refused, SessionError::Verify(VerifyError::UnknownKey)));
    let key = signer();
    let here = Sessions::new(issuer(), KeyRing::new(key.clone())).unwrap().with_clock(clock());
    let elsewhere =
        Sessions::new(Issuer::parse("https://other.example").unwrap(), KeyRing::new(key)).unwrap();
    let foreign = elsewhere.with_clock(clock()).issue(&identity(), hour()).await.unwrap();
    let refused = here.verify(foreign.expose()).await.unwrap_err();
    assert!(matches!(refused, SessionError::Verify(VerifyError::Issuer)));
}

#[tokio::test]
async fn a_tampered_session_is_refused() {
    let sessions = sessions();
    let token = sessions.issue(&identity(), hour()).await.unwrap();
    let (header, mut claims) = open(token.expose());
    claims["agentkeys"]["agent"] = json!("red");
    let signature = token.expose().rsplit_once('.').unwrap().1;
    let forged = format!("{}.{}.{signature}", encode(header.to_string()), encode(claims.to_string()));
    let refused = sessions.verify(&forged).await.unwrap_err();
    assert!(matches!(refused, SessionError::Verify(VerifyError::Signature)));
}

#[tokio::test]
async fn a_session_ends_with_its_identity_and_without_grace() {
    let clock = clock();
    let sessions = sessions().with_clock(Arc::clone(&clock) as _);
    let token = sessions.issue(&identity(), hour()).await.unwrap();
    assert_eq!(token.expires_at(), identity().not_after());
    clock.advance(Duration::from_secs(999));
    sessions.verify(token.expose()).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let refused = sessions.verify(token.expose()).await.unwrap_err();
    assert!(matches!(refused, SessionError::Mint(MintError::Expired)), "{refused:?}");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    clock.advance(Duration::from_secs(30));
    let refused = sessions.verify(token.expose()).await.unwrap_err();
    assert!(matches!(refused, SessionError::Verify(VerifyError::Expired)));
}

#[tokio::test]
async fn w9_no_session_for_a_self_asserted_or_expired_identity() {
    let clock = clock();
    let sessions = sessions().with_clock(Arc::clone(&clock) as _);
    let asserted = identity_with(Assurance::SelfAsserted, NOW + 1000);
    let refused = sessions.issue(&asserted, hour()).await.unwrap_err();
    assert!(matches!(refused, SessionError::Mint(MintError::SelfAsserted)));
    assert_eq!(refused.kind(), ErrorKind::Denied);
    let told = sessions.clone().with_self_asserted_identities_accepted();
    let session = told.issue(&asserted, hour()).await.unwrap();
    assert_eq!(told.verify(session.expose()).await.unwrap().assurance(), Assurance::SelfAsserted);
    clock.advance(Duration::from_secs(1000));
    let refused = sessions.issue(&identity(), hour()).await.unwrap_err();
    assert!(matches!(refused, SessionError::Mint(MintError::Expired)));
}

#[tokio::test]
async fn r41_nothing_made_from_an_identity_outlives_it_over_several_steps() {
    let clock = clock();
    let sessions = sessions().with_clock(Arc::clone(&clock) as _);
    let minter = Minter::new(issuer(), ring()).with_clock(Arc::clone(&clock) as _);
    let end = identity().not_after();
    let mut current = identity();
    for _ in 0..9 {
        clock.advance(Duration::from_secs(110));
        // a session of a session of a session, each asked to live for an hour
        let session = sessions.issue(&current, hour()).await.unwrap();
        current = sessions.verify(session.expose()).await.unwrap();
        let request = MintRequest::new(Audience::parse("sts.amazonaws.com").unwrap()).with_lifetime(hour());
        let token = minter.mint(&current, request).await.unwrap();
        assert_eq!((current.not_after(), session.expires_at(), token.expires_at()), (end, end, end));
        assert_eq!(current, identity());
    }
    clock.advance(Duration::from_secs(10));
    assert!(sessions.issue(&current, hour()).await.is_err());
    let request = MintRequest::new(Audience::parse("sts.amazonaws.com").unwrap());
    assert!(matches!(minter.mint(&current, request).await, Err(MintError::Expired)));
}

#[tokio::test]
async fn a_session_that_is_too_long_to_verify_is_not_issued() {
    let (sessions, mut identity) = (sessions(), identity());
    let mut issued = true;
    for at in 0..8 {
        identity = identity.with_fact(&format!("fact-{at}"), &"x".repeat(MAX_FACT)).unwrap();
        match sessions.issue(&identity, hour()).await {
            Ok(token) => {
                assert!(issued && token.expose().len() <= MAX_TOKEN_BYTES);
                assert_eq!(sessions.verify(token.expose()).await.unwrap(), identity);
            }
            Err(refused) => {
                assert!(matches!(refused, SessionError::Mint(MintError::TooLarge)), "{refused:?}");
                issued = false;
            }
        }
    }
    assert!(!issued);
}

#[tokio::test]
async fn a_retired_session_key_still_verifies_and_a_dropped_one_does_not() {
    use agentkeys_core::TokenSigner as _;
    let (old, new) = (signer(), signer());
    let before = Sessions::new(issuer(), KeyRing::new(old.clone())).unwrap().with_clock(clock());
    let session = before.issue(&identity(), hour()).await.unwrap();
    let ring = KeyRing::new(new.clone()).with_retired(old.public_jwk().clone());
    let after = Sessions::new(issuer(), ring).unwrap().with_clock(clock());
    after.verify(session.expose()).await.unwrap();
    let later = Sessions::new(issuer(), KeyRing::new(new)).unwrap().with_clock(clock());
    assert!(later.verify(session.expose()).await.is_err());
}
