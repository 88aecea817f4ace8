use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::jose::{PublicJwk, PublicKey, es256_from_der, sha256};
use agentkeys_core::{
    Clock, HttpClient, MaxInFlight, Random, SIGNER_PROBE, SignError, SystemClock, SystemRandom, TokenSigner,
};
use async_trait::async_trait;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{BehaviorVersion, Config};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeySpec, KeyUsageType, MessageType, SigningAlgorithmSpec};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

mod arn;
mod refusal;

pub use arn::KeyArn;
use refusal::Refusal;

use super::connector::Connector;
use super::sts::SigningClock;

/// A P-256 key in AWS KMS (`ECC_NIST_P256`, `SIGN_VERIFY`), through aws-sdk-kms. What is signed leaves this
/// process as a digest; what comes back is verified with the public key before anybody sees it.
/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>
///
/// A signature is tried [`SIGN_TRIES`] times where KMS is not there or asks to slow down, and is given up after
/// [`KMS_TIMEOUT`]. AWS limits how many signatures an account gets in a second; a broker that keeps the tokens
/// that are still good asks for fewer.
///
/// # Security
/// Whoever has the credentials and the key policy's consent can be any agent (R46): `kms:Sign` on this one key,
/// with the condition `kms:SigningAlgorithm` = `ECDSA_SHA_256`, and `kms:GetPublicKey`. No alias is taken,
/// because it may be moved to another key.
pub struct KmsSigner {
    kms: Kms,
    in_flight: Semaphore,
    public: PublicJwk,
    key: PublicKey,
}

impl KmsSigner {
    /// Reads the public key, and has KMS sign something that is no token: what this answers does sign.
    ///
    /// # Errors
    /// [`SignError::Refused`] says what is wrong with the key or the credentials; [`SignError::Mismatch`] where
    /// the signature is not this key's; [`SignError::Unavailable`] where KMS does not answer.
    pub async fn open(key: KmsKey) -> Result<Self, SignError> {
        let in_flight = Semaphore::new(key.most.get().into());
        let kms = Kms::new(key);
        let public = in_time(kms.public()).await?;
        let key = public.to_jwk().map_err(|_| NOT_P256)?.key().clone();
        let signer = Self { kms, in_flight, public, key };
        signer.sign(SIGNER_PROBE).await?;
        Ok(signer)
    }
}

#[async_trait]
impl TokenSigner for KmsSigner {
    fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let signing = async {
            let _place = self.in_flight.acquire().await.map_err(|_| away("no more signatures"))?;
            self.kms.sign(sha256(message)).await
        };
        let signature = in_time(signing).await?;
        if !self.key.verifies(message, &signature) {
            return Err(SignError::Mismatch);
        }
        Ok(signature)
    }
}

impl fmt::Debug for KmsSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsSigner")
            .field("key", &self.kms.key)
            .field("kid", self.public.kid())
            .finish_non_exhaustive()
    }
}

/// Which key, and how KMS is reached.
#[derive(Clone)]
pub struct KmsKey {
    key: KeyArn,
    credentials: SharedCredentialsProvider,
    http: Arc<dyn HttpClient>,
    endpoint: Option<String>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    most: MaxInFlight,
}

impl KmsKey {
    /// `key`, in the KMS of its region, over `http`. Requests are signed with what `credentials` gives, and with
    /// nothing else: there are no ambient ones (W70).
    #[must_use]
    pub fn new(key: KeyArn, credentials: SharedCredentialsProvider, http: Arc<dyn HttpClient>) -> Self {
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom::new()));
        Self { key, credentials, http, endpoint: None, clock, random, most: MaxInFlight::DEFAULT }
    }

    /// At another address: a VPC endpoint, a stand-in for tests.
    #[must_use]
    pub fn with_endpoint(mut self, url: &str) -> Self {
        self.endpoint = Some(url.to_owned());
        self
    }

    /// With another bound than [`MaxInFlight::DEFAULT`].
    #[must_use]
    pub const fn with_max_in_flight(mut self, most: MaxInFlight) -> Self {
        self.most = most;
        self
    }

    /// With another clock, to sign requests by.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With another source of the jitter between tries.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }
}

impl fmt::Debug for KmsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsKey").field("key", &self.key).field("most", &self.most).finish_non_exhaustive()
    }
}

/// The two calls, and how they are tried again.
struct Kms {
    key: KeyArn,
    client: Client,
    random: Arc<dyn Random>,
}

impl Kms {
    fn new(key: KmsKey) -> Self {
        let KmsKey { key, credentials, http, endpoint, clock, random, most: _ } = key;
        // built by hand and not by aws-config, which reads the environment and files
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(aws_sdk_kms::config::Region::new(key.region().to_owned()))
            .credentials_provider(credentials)
            .time_source(SigningClock(clock))
            .http_client(Connector(http))
            // tries and the time for them are ours
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled());
        if let Some(url) = endpoint {
            config = config.endpoint_url(url);
        }
        Self { key, client: Client::from_conf(config.build()), random }
    }

    async fn public(&self) -> Result<PublicJwk, SignError> {
        let answer = self.ask(|| self.client.get_public_key().key_id(self.key.as_str()).send()).await?;
        self.is_of_our_key(answer.key_id())?;
        if answer.key_spec() != Some(&KeySpec::EccNistP256) {
            return Err(NOT_P256);
        }
        if answer.key_usage() != Some(&KeyUsageType::SignVerify) {
            return Err(SignError::Refused("the key is not one that signs"));
        }
        let der = answer.public_key().map(Blob::as_ref).unwrap_or_default();
        PublicJwk::from_spki_der(der).map_err(|_| NOT_P256)
    }

    async fn sign(&self, digest: [u8; 32]) -> Result<[u8; 64], SignError> {
        let send = || {
            self.client
                .sign()
                .key_id(self.key.as_str())
                .message(Blob::new(digest))
                .message_type(MessageType::Digest)
                .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256)
                .send()
        };
        let answer = self.ask(send).await?;
        self.is_of_our_key(answer.key_id())?;
        if answer.signing_algorithm() != Some(&SigningAlgorithmSpec::EcdsaSha256) {
            return Err(SignError::Mismatch);
        }
        answer.signature().and_then(|der| es256_from_der(der.as_ref())).ok_or(SignError::Mismatch)
    }

    /// KMS names the key in every answer.
    fn is_of_our_key(&self, answered: Option<&str>) -> Result<(), SignError> {
        if answered != Some(self.key.as_str()) {
            return Err(SignError::Refused("the answer is of another key"));
        }
        Ok(())
    }

    async fn ask<T, E, F>(&self, send: impl Fn() -> F + Send) -> Result<T, SignError>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let mut tried = 0;
        loop {
            let refusal = match timeout(TRY_TIMEOUT, send()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Refusal::of(&error),
                Err(_) => Refusal::Again("KMS does not answer"),
            };
            tried += 1;
            match refusal {
                Refusal::Again(_) if tried < SIGN_TRIES => {
                    sleep(self.random.jittered(WAIT * tried)).await;
                }
                Refusal::Again(what) | Refusal::Away(what) => return Err(away(what)),
                Refusal::Final(what) => return Err(SignError::Refused(what)),
            }
        }
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, SignError>>) -> Result<T, SignError> {
    timeout(KMS_TIMEOUT, work).await.unwrap_or_else(|_| Err(away("KMS has not answered in time")))
}

fn away(what: &'static str) -> SignError {
    SignError::Unavailable(what.into())
}

const NOT_P256: SignError = SignError::Refused("the key is not of P-256");

/// How often a call is tried in all.
pub const SIGN_TRIES: u32 = 3;

/// How long a signature may take, what it waits for its turn and all tries included.
pub const KMS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// The most that is waited before the second try; before the third it is twice that.
const WAIT: Duration = Duration::from_millis(100);
