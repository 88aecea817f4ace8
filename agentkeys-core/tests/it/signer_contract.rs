//! The contract suite for signers: the one in memory passes, and each way to break the contract is caught.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentkeys_core::jose::PublicJwk;
use agentkeys_core::testing::{SignerCases, signer_contract};
use agentkeys_core::{
    Audience, Issuer, KeyRing, LocalSigner, MaxInFlight, MintRequest, Minter, SignError, SystemRandom,
    TokenSigner,
};
use async_trait::async_trait;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use elliptic_curve::ops::Reduce;
use elliptic_curve::pkcs8::DecodePrivateKey as _;
use elliptic_curve::sec1::ToSec1Point as _;

use crate::support::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    AnotherKey,
    JwkChanges,
    DerInsteadOfRaw,
    PaddingLost,
    Swapped,
    SignsTheDigest,
    OneSignatureForAll,
    NoncesComeAgain,
    NothingAboveAKibibyte,
    RefusesMany,
    DroppedOnesHoldTheirPlace,
    PanicsAmongMany,
}

/// A signer over a back end that speaks both forms.
struct Bent {
    flaw: Flaw,
    fixed: EcdsaKeyPair,
    der: EcdsaKeyPair,
    public: [PublicJwk; 2],
    asked: AtomicUsize,
    places: tokio::sync::Semaphore,
    first: [u8; 64],
}

impl std::fmt::Debug for Bent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bent({:?})", self.flaw)
    }
}

impl Bent {
    fn new(flaw: Flaw) -> Self {
        let (other, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let pkcs8 = fake().p256_pkcs8();
        let fixed = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
        let der = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8).unwrap();
        let point = aws_lc_rs::signature::KeyPair::public_key(&fixed).as_ref().to_vec();
        let own = PublicJwk::from_sec1_point(&point).unwrap();
        let public = if flaw == Flaw::AnotherKey {
            [other.public_jwk().clone(), other.public_jwk().clone()]
        } else {
            [own, other.public_jwk().clone()]
        };
        let first = [0; 64];
        let places = tokio::sync::Semaphore::new(32);
        let mut bent = Self { flaw, fixed, der, public, asked: AtomicUsize::new(0), places, first };
        bent.first = bent.raw(b"the first");
        bent
    }

    /// Good signatures, all with one nonce.
    fn with_one_nonce(&self, message: &[u8]) -> [u8; 64] {
        let key = p256::SecretKey::from_pkcs8_der(&fake().p256_pkcs8()).unwrap();
        let nonce = p256::Scalar::from(7_u64);
        let point = (p256::ProjectivePoint::GENERATOR * nonce).to_affine().to_sec1_point(false);
        let number = |bytes: &[u8]| {
            let bytes: [u8; 32] = bytes.try_into().unwrap();
            <p256::Scalar as Reduce<p256::FieldBytes>>::reduce(&bytes.into())
        };
        let r = number(point.x().unwrap());
        let z = number(&agentkeys_core::jose::sha256(message));
        let s = nonce.invert().unwrap() * (z + r * *key.to_nonzero_scalar());
        [r.to_bytes(), s.to_bytes()].concat().try_into().unwrap()
    }

    fn raw(&self, message: &[u8]) -> [u8; 64] {
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.fixed.sign(&random, message).unwrap().as_ref().try_into().unwrap()
    }
}

#[async_trait]
impl TokenSigner for Bent {
    fn public_jwk(&self) -> &PublicJwk {
        let late = self.flaw == Flaw::JwkChanges && self.asked.load(Ordering::SeqCst) > 400;
        &self.public[usize::from(late)]
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let random = aws_lc_rs::rand::SystemRandom::new();
        let der = || self.der.sign(&random, message).unwrap().as_ref().to_vec();
        let (mut signature, many) = (self.raw(message), asked > 320);
        match self.flaw {
            Flaw::None | Flaw::AnotherKey | Flaw::JwkChanges => {}
            Flaw::DerInsteadOfRaw => signature = der()[..64].try_into().unwrap(),
            // takes the last bytes of each number and moves short ones to the left
            Flaw::PaddingLost => {
                let stripped = |half: &[u8]| {
                    let number: Vec<u8> = half.iter().copied().skip_while(|byte| *byte == 0).collect();
                    let mut padded = [0; 32];
                    padded[..number.len()].copy_from_slice(&number);
                    padded
                };
                let (r, s) = (stripped(&signature[..32]), stripped(&signature[32..]));
                signature = [r, s].concat().try_into().unwrap();
            }
            Flaw::Swapped => signature.rotate_left(32),
            Flaw::SignsTheDigest => signature = self.raw(&agentkeys_core::jose::sha256(message)),
            Flaw::OneSignatureForAll => signature = self.first,
            Flaw::NoncesComeAgain if many => signature = self.with_one_nonce(message),
            Flaw::NothingAboveAKibibyte if message.len() > 1024 => {
                return Err(SignError::Refused("the message is too large"));
            }
            Flaw::RefusesMany => {
                let _place = self.places.try_acquire().map_err(|_| SignError::Refused("too many"))?;
                tokio::task::yield_now().await;
            }
            Flaw::DroppedOnesHoldTheirPlace => {
                let place = self.places.acquire().await.unwrap();
                place.forget();
                tokio::task::yield_now().await;
                self.places.add_permits(1);
            }
            Flaw::PanicsAmongMany => assert!(!(many && asked.is_multiple_of(500)), "a panic of a test"),
            Flaw::NoncesComeAgain | Flaw::NothingAboveAKibibyte => {}
        }
        Ok(signature)
    }
}

/// Every panic of the suite, as text.
async fn run(cases: SignerCases) -> Result<(), String> {
    let task = tokio::spawn(async move { signer_contract(&cases).await });
    let within = tokio::time::timeout(Duration::from_secs(20), task).await;
    let Ok(done) = within else { return Err("it waits for ever".to_owned()) };
    done.map_err(|panic| {
        let panic = panic.into_panic();
        panic
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned())
    })
}

#[tokio::test]
async fn r45_the_signer_in_memory_keeps_the_contract() {
    let (signer, pem) = LocalSigner::generate(&SystemRandom::new()).unwrap();
    let body = pem.expose().lines().nth(1).unwrap().to_owned();
    run(SignerCases::new(Arc::new(signer)).with_secret(&body)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn r45_the_suite_knows_a_good_signer_from_each_bad_one() {
    assert_eq!(run(SignerCases::new(Arc::new(Bent::new(Flaw::None)))).await, Ok(()));
    for (flaw, found) in [
        (Flaw::AnotherKey, "does not verify"),
        (Flaw::JwkChanges, "the public key changes"),
        (Flaw::DerInsteadOfRaw, "does not verify"),
        (Flaw::PaddingLost, "does not verify"),
        (Flaw::Swapped, "does not verify"),
        (Flaw::SignsTheDigest, "does not verify"),
        (Flaw::OneSignatureForAll, "does not verify"),
        (Flaw::NothingAboveAKibibyte, "is not signed"),
        (Flaw::NoncesComeAgain, "the same r"),
        (Flaw::DroppedOnesHoldTheirPlace, "waits for ever"),
        (Flaw::RefusesMany, "among many"),
        (Flaw::PanicsAmongMany, "among many"),
    ] {
        let said = run(SignerCases::new(Arc::new(Bent::new(flaw)))).await.unwrap_err();
        assert!(said.contains(found), "{flaw:?}: {said}");
    }
}

/// What a signer says that cannot sign.
#[derive(Clone, Copy)]
enum Says {
    Yes,
    No,
    NoAndWhy,
    NoAndWhyInACause,
    NoAndShowsItself,
}

struct Failing(Says, PublicJwk);

impl std::fmt::Debug for Failing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self.0, Says::NoAndShowsItself) { "Failing(MARKED)" } else { "Failing" })
    }
}

/// Shows nothing of its own cause: whoever asks for that is told.
#[derive(thiserror::Error)]
#[error("the other side failed")]
struct Cause(#[source] std::io::Error);

impl std::fmt::Debug for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cause")
    }
}

#[async_trait]
impl TokenSigner for Failing {
    fn public_jwk(&self) -> &PublicJwk {
        &self.1
    }

    async fn sign(&self, _message: &[u8]) -> Result<[u8; 64], SignError> {
        Err(match self.0 {
            Says::Yes => return Ok([1; 64]),
            Says::No | Says::NoAndShowsItself => SignError::Unavailable("it is away".into()),
            Says::NoAndWhy => SignError::Refused("MARKED is no PIN"),
            Says::NoAndWhyInACause => {
                SignError::Unavailable(Box::new(Cause(std::io::Error::other("MARKED said so"))))
            }
        })
    }
}

#[tokio::test]
async fn r46_the_suite_finds_a_signer_that_talks() {
    for (says, found) in [
        (Says::No, None),
        (Says::Yes, Some("signs although it is away")),
        (Says::NoAndWhy, Some("it is away shows a secret")),
        (Says::NoAndWhyInACause, Some("it is away shows a secret")),
        (Says::NoAndShowsItself, Some("it is away shows a secret")),
    ] {
        let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let failing = Arc::new(Failing(says, signer.public_jwk().clone()));
        let cases = SignerCases::new(Arc::new(signer)).with_failing("it is away", failing);
        let said = run(cases.with_secret("MARKED")).await;
        match found {
            None => said.unwrap(),
            Some(found) => assert!(said.unwrap_err().contains(found)),
        }
    }
    let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
    let signer = Arc::new(Failing(Says::NoAndShowsItself, signer.public_jwk().clone()));
    assert!(run(SignerCases::new(signer)).await.unwrap_err().contains("is not signed"));
}

/// Takes 20 ms for each signature, and so many at once as there are places.
#[derive(Debug)]
struct Slow {
    signer: LocalSigner,
    places: tokio::sync::Semaphore,
    most: AtomicUsize,
    now: AtomicUsize,
}

#[async_trait]
impl TokenSigner for Slow {
    fn public_jwk(&self) -> &PublicJwk {
        self.signer.public_jwk()
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let _place = self.places.acquire().await.unwrap();
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        self.signer.sign(message).await
    }
}

#[tokio::test(start_paused = true)]
async fn r45_a_signer_of_20_ms_gives_50_tokens_a_second_for_each_in_flight() {
    for in_flight in [1_u16, 4, 16, 64] {
        let bound = MaxInFlight::new(in_flight).unwrap();
        let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let slow = Arc::new(Slow {
            signer,
            places: tokio::sync::Semaphore::new(bound.get().into()),
            most: AtomicUsize::new(0),
            now: AtomicUsize::new(0),
        });
        let minter =
            Minter::new(Issuer::parse(ISSUER).unwrap(), KeyRing::new(slow.clone())).with_clock(clock());
        let begun = tokio::time::Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        let count = 50 * usize::from(in_flight);
        for _ in 0..count {
            let minter = minter.clone();
            tasks.spawn(async move {
                let request = MintRequest::new(Audience::parse("sts.amazonaws.com").unwrap());
                minter.mint(&identity(), request).await.unwrap()
            });
        }
        assert_eq!(tasks.join_all().await.len(), count);
        // a second of the signer's time, and no queue before it
        let took = begun.elapsed();
        assert!(
            (Duration::from_millis(999)..Duration::from_millis(1060)).contains(&took),
            "{in_flight}: {took:?}"
        );
        assert_eq!(slow.most.load(Ordering::SeqCst), usize::from(in_flight));
    }
}
