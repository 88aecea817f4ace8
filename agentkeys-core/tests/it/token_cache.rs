//! Tokens that were verified and are remembered.

use std::num::NonZeroUsize;
use std::ptr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentkeys_core::jose::{Algorithm, Jwk, KeyId, KeySet};
use agentkeys_core::{
    Audience, CachedToken, CachedVerifier, ErrorKind, KeyError, KeySnapshot, KeySource, MAX_TOKEN_CACHE_AGE,
    NoClaims, Profile, RefreshReason, SKEW, Timestamp, TokenCacheSize, TrustDomain, Verifier, VerifyError,
};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::keys_cache::World;
use crate::support::*;

fn size(entries: usize, bytes: usize) -> TokenCacheSize {
    TokenCacheSize::new(NonZeroUsize::new(entries).unwrap(), NonZeroUsize::new(bytes).unwrap())
}

fn cached(verifier: Verifier) -> CachedVerifier<NoClaims> {
    CachedVerifier::new(verifier, size(100, 1 << 20))
}

/// Keys that the test exchanges, or takes away.
#[derive(Debug)]
struct Keys(Mutex<Option<Arc<KeySet>>>);

impl Keys {
    fn set(&self, keys: KeySet) {
        *self.0.lock().unwrap() = Some(Arc::new(keys));
    }
}

#[async_trait]
impl KeySource for Keys {
    fn read(&self, _: Timestamp) -> Result<KeySnapshot<'_>, KeyError> {
        let keys = self.0.lock().unwrap().clone();
        let gone = KeyError::Stale { retry_after: Duration::from_secs(1) };
        keys.map(KeySnapshot::shared).ok_or(gone)
    }

    async fn refresh(&self, _: RefreshReason) -> Result<(), KeyError> {
        Ok(())
    }
}

struct House {
    keys: Arc<Keys>,
    verifier: CachedVerifier<NoClaims>,
}

fn house() -> House {
    let keys = Arc::new(Keys(Mutex::new(Some(Arc::new(fake().key_set())))));
    let profile = Profile::oidc(fake().issuer().clone(), keys.clone());
    let verifier = Verifier::new(profile, Audience::parse(AUDIENCE).unwrap()).with_clock(clock());
    House { keys, verifier: cached(verifier) }
}

fn only(keys: KeySet, kid: &str) -> Vec<Jwk> {
    keys.keys().iter().filter(|jwk| jwk.kid().is_some_and(|known| known.as_str() == kid)).cloned().collect()
}

fn is_same(one: &CachedToken<NoClaims>, two: &CachedToken<NoClaims>) -> bool {
    ptr::eq(&**one, &**two)
}

/// Both moments give the same verification.
fn remembers(verifier: &CachedVerifier<NoClaims>, token: &str, one: u64, two: u64) -> bool {
    let judge = |now| verifier.verify_with_known_keys(token, at(now)).unwrap();
    is_same(&judge(one), &judge(two))
}

#[tokio::test]
async fn a_token_is_verified_once_and_what_differs_by_a_byte_is_another() {
    let House { verifier, .. } = house();
    let token = sign(&claims());
    let one = verifier.verify(&token).await.unwrap();
    let two = verifier.clone().verify(&token).await.unwrap();
    assert!(is_same(&one, &two) && two.subject() == "system:serviceaccount:acme:blue");
    assert!(is_same(&one, &verifier.verify_with_known_keys(&token, at(NOW)).unwrap()));
    assert_eq!(verifier.len(), 1);
    for at_byte in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at_byte] = if bytes[at_byte] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(verifier.verify_with_known_keys(&changed, at(NOW)).is_err(), "{at_byte}");
    }
    for other in [&token[..token.len() - 1], &format!("{token}A"), &format!(" {token}"), ""] {
        verifier.verify(other).await.unwrap_err();
    }
    assert_eq!(verifier.len(), 1, "refusals are not remembered");
    verifier.clear();
    assert!(verifier.is_empty() && !is_same(&one, &verifier.verify(&token).await.unwrap()));
}

#[test]
fn l14_what_is_remembered_ends_when_the_token_does() {
    let House { verifier, .. } = house();
    let token = sign(&with("exp", NOW + 60));
    let end = NOW + 60 + SKEW.as_secs();
    assert!(remembers(&verifier, &token, NOW, end - 1));
    refused!(verifier.verify_with_known_keys(&token, at(end)), VerifyError::Expired);
    assert!(verifier.is_empty(), "what is over is dropped");
    refused!(verifier.verify_with_known_keys(&token, at(end + 9)), VerifyError::Expired);
}

#[test]
fn l14_what_is_remembered_ends_with_the_maximum_age() {
    let keys = Arc::new(Keys(Mutex::new(Some(Arc::new(fake().key_set())))));
    let profile = Profile::oidc(fake().issuer().clone(), keys);
    let verifier = Verifier::new(profile, Audience::parse(AUDIENCE).unwrap());
    let verifier = cached(verifier.with_max_age(Duration::from_secs(60)));
    let token = sign(&with("iat", NOW - 10));
    let end = NOW - 10 + 60 + SKEW.as_secs();
    assert!(remembers(&verifier, &token, NOW, end - 1));
    refused!(verifier.verify_with_known_keys(&token, at(end)), VerifyError::TooOld);
}

#[test]
fn nothing_is_remembered_for_longer_than_five_minutes() {
    let House { verifier, .. } = house();
    let token = sign(&with("exp", NOW + 3600));
    let most = MAX_TOKEN_CACHE_AGE.as_secs();
    assert_eq!(most, 300);
    assert!(remembers(&verifier, &token, NOW, NOW + most - 1));
    assert!(!remembers(&verifier, &token, NOW + most - 1, NOW + most));
}

#[test]
fn a_clock_that_is_set_back_judges_anew() {
    let House { verifier, .. } = house();
    let token = sign(&with("nbf", NOW));
    verifier.verify_with_known_keys(&token, at(NOW)).unwrap();
    let before = NOW - SKEW.as_secs() - 1;
    refused!(verifier.verify_with_known_keys(&token, at(before)), VerifyError::NotYetValid);
    assert!(!remembers(&verifier, &token, NOW, NOW - 1));
}

#[test]
fn what_is_remembered_goes_with_its_key() {
    let House { keys, verifier } = house();
    let token = sign(&claims());
    let judge = || verifier.verify_with_known_keys(&token, at(NOW));
    judge().unwrap();
    // the same keys, fetched anew
    keys.set(fake().key_set());
    assert!(is_same(&judge().unwrap(), &judge().unwrap()));
    // its key is gone
    keys.set(KeySet::new(only(fake().key_set(), "RSA_0")));
    refused!(judge(), VerifyError::UnknownKey);
    keys.set(fake().key_set());
    judge().unwrap();
    // another key has its name
    keys.set(other().key_set());
    refused!(judge(), VerifyError::Signature);
    keys.set(fake().key_set());
    judge().unwrap();
    // nobody knows any more which keys there are
    *keys.0.lock().unwrap() = None;
    assert_eq!(judge().unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn a_token_that_names_no_key_is_remembered_while_one_key_fits() {
    let House { keys, verifier } = house();
    let own = only(fake().key_set(), "EC256_0");
    keys.set(KeySet::new(own.clone()));
    let token = sign_with_header(r#"{"alg":"ES256"}"#);
    let judge = || verifier.verify_with_known_keys(&token, at(NOW));
    assert!(is_same(&judge().unwrap(), &judge().unwrap()));
    let foreign =
        Jwk::new(Some(KeyId::parse("another").unwrap()), only(other().key_set(), "EC256_0")[0].key().clone());
    keys.set(KeySet::new(own.into_iter().chain([foreign])));
    refused!(judge(), VerifyError::AmbiguousKey);
}

#[tokio::test]
async fn a_new_key_is_fetched_as_without_the_cache() {
    let world = World::new();
    let verifier = cached(world.verifier.clone());
    let token = world.token();
    let one = verifier.verify(&token).await.unwrap();
    assert_eq!(world.fetches(), 1, "the first reader fetches");
    assert!(is_same(&one, &verifier.verify(&token).await.unwrap()));
    world.pass(10);
    let unknown = other().sign_raw(Algorithm::Es256, r#"{"alg":"ES256","kid":"new"}"#, &claims().to_string());
    refused!(verifier.verify(&unknown).await, VerifyError::UnknownKey);
    assert_eq!((world.fetches(), verifier.len()), (2, 1));
    let refused = cached(world.verifier.clone().with_clock(Arc::new(NoClock))).verify(&token).await;
    assert!(matches!(refused, Err(VerifyError::Clock(_))));
}

#[test]
fn a_trust_domains_svids_are_remembered_for_that_domain() {
    let keys = Arc::new(Keys(Mutex::new(Some(Arc::new(fake().key_set())))));
    let bundle = (TrustDomain::parse("a.example").unwrap(), keys.clone() as Arc<dyn KeySource>);
    let verifier = cached(Verifier::new(Profile::jwt_svid([bundle]), Audience::parse(AUDIENCE).unwrap()));
    let svid = |domain: &str| {
        sign(&json!({ "sub": format!("spiffe://{domain}/x"), "aud": AUDIENCE, "exp": NOW + 300 }))
    };
    assert!(remembers(&verifier, &svid("a.example"), NOW, NOW + 1));
    refused!(verifier.verify_with_known_keys(&svid("b.example"), at(NOW)), VerifyError::TrustDomain);
    keys.set(other().key_set());
    refused!(verifier.verify_with_known_keys(&svid("a.example"), at(NOW)), VerifyError::Signature);
}

#[test]
fn both_bounds_hold_and_another_configuration_has_another_cache() {
    let tokens: Vec<_> = (0..300).map(|at| sign(&with("jti", format!("token-{at}")))).collect();
    let length = tokens[0].len();
    for (size, most) in [(size(50, 1 << 24), 50), (size(10_000, 20 * (2 * length + 512)), 20)] {
        let verifier: CachedVerifier<NoClaims> = CachedVerifier::new(verifier(), size);
        for token in &tokens {
            verifier.verify_with_known_keys(token, at(NOW)).unwrap();
        }
        assert!((1..=most).contains(&verifier.len()), "{} of {most}", verifier.len());
    }
    // what fits nowhere is verified and not kept
    let narrow: CachedVerifier<NoClaims> = CachedVerifier::new(verifier(), size(1, 1));
    for token in &tokens[..3] {
        narrow.verify_with_known_keys(token, at(NOW)).unwrap();
    }
    assert!(narrow.len() <= 1);

    let member = sign_with_header(r#"{"alg":"ES256","kid":"EC256_0","ver":"1"}"#);
    let lenient = cached(verifier().with_ignored_header_member("ver"));
    lenient.verify_with_known_keys(&member, at(NOW)).unwrap();
    refused!(cached(verifier()).verify_with_known_keys(&member, at(NOW)), VerifyError::Malformed(_));
}

#[test]
fn l29_nothing_remembered_is_shown() {
    let verifier: CachedVerifier<Value> = CachedVerifier::new(verifier(), size(10, 1 << 20));
    let token = sign(&with("secret", "MARKED"));
    verifier.verify_with_known_keys(&token, at(NOW)).unwrap();
    let shown = format!("{verifier:?}");
    let signature = token.rsplit('.').next().unwrap();
    assert!(!shown.contains("MARKED") && !shown.contains(signature), "{shown}");
}
