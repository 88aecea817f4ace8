//! Doubles for tests of hosts: a clock that is set by hand, an HTTP client that answers from a table, an
//! issuer that signs whatever it is told to. **No security.**

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
// a test issuer signs with all algorithms, which the library itself must not be able to
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};

use crate::clock::{Clock, ClockError, Timestamp};
use crate::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use crate::issuer::Issuer;
use crate::jose::{Algorithm, KeySet, encode_segment};
use crate::random::{Random, RandomError};

mod contract;
mod replay;
mod signer;

pub use contract::{ContractCases, attestor_contract};
pub use replay::replay_guard_contract;
pub use signer::{SIGNATURES_AT_ONCE, SignerCases, signer_contract};

/// A clock that stands until it is moved.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(now.as_unix())))
    }

    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Result<Timestamp, ClockError> {
        Ok(Timestamp::from_unix(self.0.load(Ordering::SeqCst)))
    }
}

/// Counts upwards from a seed instead of being random.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// Begins after `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(seed)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        for chunk in buffer.chunks_mut(8) {
            let next = self.0.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
            for (to, from) in chunk.iter_mut().zip(next.to_be_bytes()) {
                *to = from;
            }
        }
        Ok(())
    }
}

/// An HTTP client that answers from a table of URLs and keeps what was asked.
#[derive(Debug, Default)]
pub struct FakeHttp {
    answers: Mutex<BTreeMap<String, HttpResponse>>,
    requests: Mutex<Vec<HttpRequest>>,
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl FakeHttp {
    /// Nothing answers yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on `url` answers this.
    pub fn answer(&self, url: &str, status: u16, body: impl Into<Vec<u8>>) {
        self.respond(url, HttpResponse::new(status, Vec::new(), body));
    }

    /// From now on `url` answers this, headers included.
    pub fn respond(&self, url: &str, answer: HttpResponse) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), answer);
    }

    /// From now on `url` cannot be reached.
    pub fn disconnect(&self, url: &str) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(url);
    }

    /// Lets no answer out while the guard lives; requests are counted as they come in.
    #[must_use]
    pub async fn hold(&self) -> tokio::sync::OwnedMutexGuard<()> {
        Arc::clone(&self.gate).lock_owned().await
    }

    /// What was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl HttpClient for FakeHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = request.url.clone();
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let _open = self.gate.lock().await;
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(&url).cloned();
        answer.ok_or_else(|| HttpError::Connection("connection refused".into()))
    }
}

/// An issuer with one key of each algorithm that signs whatever it is told to. **No security.**
pub struct FakeIssuer {
    issuer: Issuer,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    rsa: RsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl FakeIssuer {
    /// New keys for `issuer`; the RSA key takes about 0.1 s.
    ///
    /// # Panics
    /// Where the back end makes no keys.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test double without keys is of no use")]
    pub fn new(issuer: Issuer) -> Self {
        let ec = |algorithm| EcdsaKeyPair::generate(algorithm).expect("an EC key");
        Self {
            issuer,
            p256: ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            p384: ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"),
            ed25519: Ed25519KeyPair::generate().expect("an Ed25519 key"),
        }
    }

    /// Who it is.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The name of the key of `algorithm`; AWS's names for its two.
    #[must_use]
    pub const fn kid(algorithm: Algorithm) -> &'static str {
        match algorithm {
            Algorithm::EdDsa => "ED_0",
            Algorithm::Es256 => "EC256_0",
            Algorithm::Es384 => "EC384_0",
            Algorithm::Rs256 => "RSA_0",
        }
    }

    /// Its public keys as AWS writes them: the RSA key without `alg`.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let ec = |algorithm: Algorithm, crv: &str, key: &EcdsaKeyPair| {
            let point = key.public_key().as_ref();
            let (x, y) = point.get(1..).unwrap_or_default().split_at((point.len() - 1) / 2);
            json!({
                "kty": "EC", "crv": crv, "use": "sig", "kid": Self::kid(algorithm), "alg": algorithm.as_str(),
                "x": encode_segment(x), "y": encode_segment(y),
            })
        };
        // PKCS#1 RSAPublicKey of 2048 bits: nine bytes of headers, the modulus, and the exponent 65537
        let rsa = self.rsa.public_key().as_ref();
        json!({ "keys": [
            {
                "kty": "RSA", "use": "sig", "kid": Self::kid(Algorithm::Rs256),
                "n": encode_segment(rsa.get(9..265).unwrap_or_default()),
                "e": "AQAB",
            },
            ec(Algorithm::Es384, "P-384", &self.p384),
            ec(Algorithm::Es256, "P-256", &self.p256),
            {
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": Self::kid(Algorithm::EdDsa), "alg": "EdDSA",
                "x": encode_segment(self.ed25519.public_key().as_ref()),
            },
        ]})
    }

    /// The same, ready to verify.
    ///
    /// # Panics
    /// Where the keys are not what this crate reads: a bug.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test double that cannot read its own keys is of no use")]
    pub fn key_set(&self) -> KeySet {
        KeySet::parse(self.jwks().to_string().as_bytes()).expect("its own keys")
    }

    /// Makes `http` answer with its discovery document and keys.
    pub fn publish(&self, http: &FakeHttp) {
        let keys = self.issuer.jwks_url();
        let document = json!({ "issuer": self.issuer.as_str(), "jwks_uri": keys }).to_string();
        http.answer(&self.issuer.discovery_url(), 200, document);
        http.answer(&keys, 200, self.jwks().to_string());
    }

    /// A token with this header and these claims, as JSON text so that a test may write what no
    /// serialiser would.
    ///
    /// # Panics
    /// Where the back end does not sign.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test double that cannot sign is of no use")]
    pub fn sign_raw(&self, algorithm: Algorithm, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", encode_segment(header), encode_segment(claims));
        let random = SystemRandom::new();
        let signature = match algorithm {
            Algorithm::EdDsa => self.ed25519.sign(input.as_bytes()).as_ref().to_vec(),
            Algorithm::Es256 => self.p256.sign(&random, input.as_bytes()).expect("signed").as_ref().to_vec(),
            Algorithm::Es384 => self.p384.sign(&random, input.as_bytes()).expect("signed").as_ref().to_vec(),
            Algorithm::Rs256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa
                    .sign(&signature::RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature)
                    .expect("signed");
                signature
            }
        };
        format!("{input}.{}", encode_segment(signature))
    }

    /// A token with these claims and an ordinary header.
    #[must_use]
    pub fn sign(&self, algorithm: Algorithm, claims: &Value) -> String {
        let header = json!({ "alg": algorithm.as_str(), "kid": Self::kid(algorithm), "typ": "JWT" });
        self.sign_raw(algorithm, &header.to_string(), &claims.to_string())
    }

    /// The P-256 key as PKCS#8 DER, for a peer library that is to sign with it.
    ///
    /// # Panics
    /// Where the back end does not encode.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test double")]
    pub fn p256_pkcs8(&self) -> Vec<u8> {
        self.p256.to_pkcs8v1().expect("encoded").as_ref().to_vec()
    }

    /// The RSA key as PKCS#8 DER.
    ///
    /// # Panics
    /// Where the back end does not encode.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test double")]
    pub fn rsa_pkcs8(&self) -> Vec<u8> {
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = self.rsa.as_der().expect("encoded");
        der.as_ref().to_vec()
    }
}

impl fmt::Debug for FakeIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeIssuer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
