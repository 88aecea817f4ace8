//! What KMS may answer, one answer at a time; the real SDK sends, and nothing but what is right comes out.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentkeys_core::testing::ManualClock;
use agentkeys_core::{
    ErrorKind, HttpClient, HttpError, HttpRequest, HttpResponse, MaxInFlight, SIGNER_PROBE, SignError,
    TokenSigner as _,
};
use agentkeys_federation::{KMS_TIMEOUT, KmsKey, KmsSigner, SIGN_TRIES};
use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Always, NOW};

const ARN: &str = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

type Bend = Box<dyn Fn(&str, &mut Value) + Send + Sync>;

/// A KMS with one key, whose answers can be bent.
struct FakeKms {
    pair: EcdsaKeyPair,
    bend: Mutex<Option<Bend>>,
    /// Status and code of the next answers.
    errors: Mutex<Vec<(u16, &'static str)>>,
    takes: Mutex<Duration>,
    asked: Mutex<Vec<HttpRequest>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl std::fmt::Debug for FakeKms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeKms")
    }
}

impl FakeKms {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            bend: Mutex::default(),
            errors: Mutex::default(),
            takes: Mutex::default(),
            asked: Mutex::default(),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    fn bend(&self, bend: impl Fn(&str, &mut Value) + Send + Sync + 'static) {
        *self.bend.lock().unwrap() = Some(Box::new(bend));
    }

    fn straighten(&self) {
        *self.bend.lock().unwrap() = None;
    }

    fn fail(&self, errors: &[(u16, &'static str)]) {
        *self.errors.lock().unwrap() = errors.iter().rev().copied().collect();
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn answer(&self, operation: &str, asked: &Value) -> Value {
        let mut answer = match operation {
            "GetPublicKey" => json!({
                "KeyId": ARN, "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY",
                "PublicKey": STANDARD.encode(spki(&self.pair)), "SigningAlgorithms": ["ECDSA_SHA_256"],
            }),
            _ => {
                let digest = STANDARD.decode(asked["Message"].as_str().unwrap()).unwrap();
                json!({
                    "KeyId": ARN, "SigningAlgorithm": "ECDSA_SHA_256",
                    "Signature": STANDARD.encode(signature(&self.pair, &digest)),
                })
            }
        };
        if let Some(bend) = &*self.bend.lock().unwrap() {
            bend(operation, &mut answer);
        }
        answer
    }
}

fn spki(pair: &EcdsaKeyPair) -> Vec<u8> {
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    der.as_ref().to_vec()
}

fn signature(pair: &EcdsaKeyPair, digest: &[u8]) -> Vec<u8> {
    pair.sign_digest(&Digest::import_less_safe(digest, &SHA256).unwrap()).unwrap().as_ref().to_vec()
}

#[async_trait]
impl HttpClient for FakeKms {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.asked.lock().unwrap().push(request.clone());
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        if let Some((status, code)) = self.errors.lock().unwrap().pop() {
            if status == 0 {
                return Err(HttpError::Connection("connection refused".into()));
            }
            let body = json!({"__type": code, "message": "MARKED-upstream"}).to_string();
            return Ok(HttpResponse::new(status, Vec::new(), body));
        }
        let asked: Value = serde_json::from_slice(request.body.expose()).unwrap();
        let operation = header(&request, "x-amz-target").unwrap().strip_prefix("TrentService.").unwrap();
        let answer = self.answer(operation, &asked);
        Ok(HttpResponse::new(200, Vec::new(), answer.to_string()))
    }
}

fn header<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
}

fn key(kms: &Arc<FakeKms>) -> KmsKey {
    let credentials =
        Credentials::new("AKIAEXAMPLE", "MARKED-secret", Some("MARKED-session".into()), None, "test");
    KmsKey::new(ARN.parse().unwrap(), SharedCredentialsProvider::new(credentials), kms.clone())
        .with_clock(ManualClock::new(NOW))
        .with_random(Arc::new(Always(0)))
}

async fn open(kms: &Arc<FakeKms>) -> Result<KmsSigner, SignError> {
    KmsSigner::open(key(kms)).await
}

#[tokio::test]
async fn r45_a_key_and_digests_are_all_that_is_asked_for_signed_with_the_callers_credentials() {
    let kms = FakeKms::new();
    let signer = open(&kms).await.unwrap();
    let signature = signer.sign(b"a message that stays here").await.unwrap();
    let jwk = signer.public_jwk().to_jwk().unwrap();
    assert!(jwk.key().verifies(b"a message that stays here", &signature));
    let requests = kms.asked.lock().unwrap().clone();
    let operations: Vec<_> =
        requests.iter().map(|request| header(request, "x-amz-target").unwrap()).collect();
    assert_eq!(operations, ["TrentService.GetPublicKey", "TrentService.Sign", "TrentService.Sign"]);
    for request in &requests {
        assert_eq!(request.url, "https://kms.eu-central-1.amazonaws.com/");
        let authorization = header(request, "authorization").unwrap();
        assert!(
            authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20270115/eu-central-1/kms/")
        );
        assert_eq!(header(request, "x-amz-security-token"), Some("MARKED-session"));
    }
    let body: Value = serde_json::from_slice(requests[2].body.expose()).unwrap();
    let digest = agentkeys_core::jose::sha256(b"a message that stays here");
    let wanted = json!({
        "KeyId": ARN, "Message": STANDARD.encode(digest), "MessageType": "DIGEST",
        "SigningAlgorithm": "ECDSA_SHA_256",
    });
    assert_eq!(body, wanted);
    let probed: Value = serde_json::from_slice(requests[1].body.expose()).unwrap();
    assert_eq!(probed["Message"], json!(STANDARD.encode(agentkeys_core::jose::sha256(SIGNER_PROBE))));
    assert!(!format!("{signer:?} {:?}", key(&kms)).contains("MARKED"));
}

#[tokio::test]
async fn r45_no_other_key_or_kind_of_key_is_opened() {
    let kms = FakeKms::new();
    let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
    let long = [spki(&kms.pair), vec![0]].concat();
    for (what, name, value, wanted) in [
        ("another key", "KeyId", json!(ARN.replace("1234abcd", "99999999")), "the answer is of another key"),
        (
            "an alias",
            "KeyId",
            json!("arn:aws:kms:eu-central-1:123456789012:alias/oidc"),
            "the answer is of another key",
        ),
        ("no name", "KeyId", Value::Null, "the answer is of another key"),
        ("P-384", "KeySpec", json!("ECC_NIST_P384"), "the key is not of P-256"),
        ("secp256k1", "KeySpec", json!("ECC_SECG_P256K1"), "the key is not of P-256"),
        ("no spec", "KeySpec", Value::Null, "the key is not of P-256"),
        ("key agreement", "KeyUsage", json!("KEY_AGREEMENT"), "the key is not one that signs"),
        ("no usage", "KeyUsage", Value::Null, "the key is not one that signs"),
        ("no public key", "PublicKey", Value::Null, "the key is not of P-256"),
        ("garbage", "PublicKey", json!(STANDARD.encode(b"garbage")), "the key is not of P-256"),
        ("a longer key", "PublicKey", json!(STANDARD.encode(long)), "the key is not of P-256"),
        ("a key of P-384", "PublicKey", json!(STANDARD.encode(spki(&p384))), "the key is not of P-256"),
    ] {
        kms.bend(move |operation, answer| {
            if operation == "GetPublicKey" {
                answer[name] = value.clone();
            }
        });
        match open(&kms).await {
            Err(SignError::Refused(said)) => assert_eq!(said, wanted, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    // a constructor cannot lie: the key that is published is the one that signs
    let public = STANDARD.encode(spki(&other));
    kms.bend(move |operation, answer| {
        if operation == "GetPublicKey" {
            answer["PublicKey"] = json!(public);
        }
    });
    assert!(matches!(open(&kms).await, Err(SignError::Mismatch)));
    kms.straighten();
    open(&kms).await.unwrap();
}

#[tokio::test]
async fn r45_nothing_is_released_that_is_not_the_keys_signature() {
    let kms = FakeKms::new();
    let signer = open(&kms).await.unwrap();
    let der = signature(&kms.pair, &agentkeys_core::jose::sha256(b"message"));
    let foreign = signature(&kms.pair, &agentkeys_core::jose::sha256(b"another message"));
    let raw = agentkeys_core::jose::es256_from_der(&der).unwrap();
    let behind = [&der[..], &[0]].concat();
    let cut = der[..der.len() - 1].to_vec();
    for (what, name, value) in [
        ("of another message", "Signature", json!(STANDARD.encode(foreign))),
        ("raw", "Signature", json!(STANDARD.encode(raw))),
        ("cut", "Signature", json!(STANDARD.encode(cut))),
        ("with a byte behind it", "Signature", json!(STANDARD.encode(behind))),
        ("empty", "Signature", json!("")),
        ("none", "Signature", Value::Null),
        ("of another algorithm", "SigningAlgorithm", json!("ECDSA_SHA_384")),
        ("of no algorithm", "SigningAlgorithm", Value::Null),
    ] {
        kms.bend(move |_, answer| answer[name] = value.clone());
        assert!(matches!(signer.sign(b"message").await, Err(SignError::Mismatch)), "{what}");
    }
    for name in [json!(ARN.replace("1234abcd", "99999999")), Value::Null] {
        kms.bend(move |_, answer| answer["KeyId"] = name.clone());
        let refused = signer.sign(b"message").await.unwrap_err();
        assert!(matches!(refused, SignError::Refused("the answer is of another key")), "{refused:?}");
    }
    kms.straighten();
    signer.sign(b"message").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn r45_what_passes_is_tried_again_and_what_does_not_is_said_at_once() {
    let kms = FakeKms::new();
    let signer = open(&kms).await.unwrap();
    let tries = SIGN_TRIES as usize;
    for again in [
        (400, "ThrottlingException"),
        (500, "KMSInternalException"),
        (400, "DependencyTimeoutException"),
        (503, "ServiceUnavailable"),
        (429, "Unknown"),
        (502, ""),
        (0, ""),
    ] {
        kms.fail(&vec![again; tries - 1]);
        signer.sign(b"message").await.unwrap();
        let before = kms.count();
        kms.fail(&vec![again; tries]);
        let error = signer.sign(b"message").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{again:?}");
        assert_eq!(kms.count() - before, tries, "{again:?}");
    }
    // a try that hangs is given up for another
    *kms.takes.lock().unwrap() = Duration::from_secs(3600);
    let (before, mended) = (kms.count(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        *kms.takes.lock().unwrap() = Duration::ZERO;
    });
    let (signed, ()) = tokio::join!(signer.sign(b"message"), mended);
    signed.unwrap();
    assert_eq!(kms.count() - before, 2);

    for (status, code, kind) in [
        (400, "KMSInvalidStateException", ErrorKind::Unavailable),
        (400, "AccessDeniedException", ErrorKind::Misconfigured),
        (400, "NotFoundException", ErrorKind::Misconfigured),
        (400, "DisabledException", ErrorKind::Misconfigured),
        (400, "InvalidKeyUsageException", ErrorKind::Misconfigured),
        (400, "ValidationException", ErrorKind::Misconfigured),
        (400, "ExpiredTokenException", ErrorKind::Misconfigured),
        (403, "", ErrorKind::Misconfigured),
    ] {
        let before = kms.count();
        kms.fail(&[(status, code)]);
        let error = signer.sign(b"message").await.unwrap_err();
        assert_eq!((error.kind(), kms.count() - before), (kind, 1), "{code}");
        let source = std::error::Error::source(&error).map(|source| format!("{source} {source:?}"));
        assert!(!format!("{error} {error:?} {source:?}").contains("MARKED"), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn r45_a_slow_kms_is_asked_so_often_at_once_and_given_up_in_time() {
    let kms = FakeKms::new();
    let signer =
        Arc::new(KmsSigner::open(key(&kms).with_max_in_flight(MaxInFlight::new(4).unwrap())).await.unwrap());
    *kms.takes.lock().unwrap() = Duration::from_millis(20);
    let begun = tokio::time::Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let signer = signer.clone();
        tasks.spawn(async move { signer.sign(b"message").await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.len(), 200);
    let took = begun.elapsed();
    // 50 a second for each of four
    assert!((Duration::from_millis(999)..Duration::from_millis(1060)).contains(&took), "{took:?}");
    assert_eq!(kms.most.load(Ordering::SeqCst), 4);

    *kms.takes.lock().unwrap() = Duration::from_secs(3600);
    let begun = tokio::time::Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let signer = signer.clone();
        tasks.spawn(async move { signer.sign(b"message").await.unwrap_err().kind() });
    }
    assert!(tasks.join_all().await.into_iter().all(|kind| kind == ErrorKind::Unavailable));
    assert!(begun.elapsed() <= KMS_TIMEOUT + Duration::from_millis(10), "{:?}", begun.elapsed());
    *kms.takes.lock().unwrap() = Duration::ZERO;
    signer.sign(b"message").await.unwrap();
}

#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::provider_error("MARKED-provider")))
    }
}

#[tokio::test]
async fn r46_without_credentials_nothing_is_sent_and_nothing_told() {
    let kms = FakeKms::new();
    let key = KmsKey::new(ARN.parse().unwrap(), SharedCredentialsProvider::new(NoCredentials), kms.clone());
    let error = KmsSigner::open(key).await.unwrap_err();
    assert_eq!((error.kind(), kms.count()), (ErrorKind::Unavailable, 0));
    let source = std::error::Error::source(&error).map(|source| format!("{source} {source:?}"));
    assert!(!format!("{error} {error:?} {source:?}").contains("MARKED"));
}
