//! A key in AWS KMS signs tokens: the real SDK against a KMS that shares no code with us.

use std::sync::Arc;

use agentkeys_core::testing::{SignerCases, signer_contract};
use agentkeys_core::{
    ErrorKind, HttpSettings, KeyRing, MaxInFlight, Oidc, ReqwestClient, SignError, TokenSigner, TrustStore,
};
use agentkeys_federation::{KmsKey, KmsSigner};
use agentkeys_local_aws::policy::IdentityPolicy;
use agentkeys_local_aws::{KmsKey as LocalKey, KmsKeySpec, KmsKeyState, LocalAws, Secret, State, User};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use serde_json::{Value, json};

const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
const SECRET: &str = "MARKED/secret/of/the/brokers/user/for/tests";
const ACCESS_KEY: &str = "AKIABROKERBROKER0000";

/// The policy that docs/operate.md shows.
fn documented(arn: &str) -> Value {
    let page = include_str!("../../../docs/operate.md");
    let (_, block) = page.split_once("```json test=kms.rs\n").unwrap();
    let text = block.split("```").next().unwrap();
    assert_eq!(text.matches(KEY_IN_THE_GUIDE).count(), 2);
    serde_json::from_str(&text.replace(KEY_IN_THE_GUIDE, arn)).unwrap()
}

const KEY_IN_THE_GUIDE: &str = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

struct World {
    aws: LocalAws,
    arn: String,
}

impl World {
    /// A key, and a broker with what the guide says that it needs.
    async fn start() -> Self {
        let state = State::new("123456789012".parse().unwrap(), "us-east-1".parse().unwrap());
        let aws = LocalAws::start(state).await.unwrap();
        let arn = aws.put_kms_key(LocalKey::new(ID.parse().unwrap())).unwrap();
        let world = Self { aws, arn };
        world.allow(&documented(&world.arn));
        world
    }

    fn allow(&self, policy: &Value) {
        let user = User::new("broker".parse().unwrap())
            .with_policy(IdentityPolicy::parse(&policy.to_string()).unwrap())
            .with_access_key(ACCESS_KEY.parse().unwrap(), Secret::new(SECRET));
        self.aws.put_user(user).unwrap();
    }

    fn put(&self, key: LocalKey) {
        self.aws.put_kms_key(key).unwrap();
    }

    fn key(&self) -> LocalKey {
        LocalKey::new(ID.parse().unwrap())
    }

    fn settings(&self, arn: &str, secret: &str) -> KmsKey {
        let credentials = Credentials::new(ACCESS_KEY, secret, None, None, "test");
        let http = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::nobody())).unwrap());
        KmsKey::new(arn.parse().unwrap(), SharedCredentialsProvider::new(credentials), http)
            .with_endpoint(self.aws.endpoint())
    }

    async fn open(&self) -> Result<KmsSigner, SignError> {
        KmsSigner::open(self.settings(&self.arn, SECRET)).await
    }
}

#[tokio::test]
async fn r45_r46_a_signer_in_kms_keeps_the_contract_with_the_documented_policy() {
    let world = World::start().await;
    let settings = world.settings(&world.arn, SECRET).with_max_in_flight(MaxInFlight::new(32).unwrap());
    assert!(!format!("{settings:?}").contains("MARKED"));
    let signer = Arc::new(KmsSigner::open(settings).await.unwrap());

    // one that worked and whose credentials are good no more
    let other = World::start().await;
    let gone = Arc::new(other.open().await.unwrap());
    other.aws.put_user(User::new("broker".parse().unwrap())).unwrap();
    // one whose KMS is no longer there
    let third = World::start().await;
    let away = Arc::new(third.open().await.unwrap());
    third.aws.shutdown().await;

    let cases = SignerCases::new(signer.clone())
        .with_failing("its credentials are good no more", gone)
        .with_failing("KMS is away", away.clone())
        .with_secret("MARKED")
        .with_secret("not authorized")
        .with_secret("security token");
    signer_contract(&cases).await;
    assert_eq!(away.sign(b"message").await.unwrap_err().kind(), ErrorKind::Unavailable);

    // all that it asked for is a key and digests, signed by the broker's user
    for request in world.aws.requests() {
        assert_eq!(request.caller(), Some("arn:aws:iam::123456789012:user/broker"));
    }
    let ring: KeyRing<Oidc> = KeyRing::new(signer);
    let published = serde_json::to_value(ring.jwks()).unwrap();
    assert_eq!(published["keys"][0]["kid"], json!(ring.active().public_jwk().kid().as_str()));
}

#[tokio::test]
async fn r45_each_state_of_key_and_policy_is_told_apart() {
    let world = World::start().await;
    let signer = world.open().await.unwrap();
    let kid = signer.public_jwk().kid().clone();

    world.put(world.key().with_state(KmsKeyState::Disabled));
    let refused = signer.sign(b"message").await.unwrap_err();
    assert!(matches!(refused, SignError::Refused("the key is disabled")), "{refused:?}");
    world.put(world.key().with_state(KmsKeyState::PendingDeletion));
    assert_eq!(signer.sign(b"message").await.unwrap_err().kind(), ErrorKind::Unavailable);
    world.put(world.key());
    signer.sign(b"message").await.unwrap();
    assert_eq!(*world.open().await.unwrap().public_jwk().kid(), kid);

    let all = documented(&world.arn);
    let count = all["Statement"].as_array().unwrap().len();
    // every statement is needed: without GetPublicKey or without Sign nothing opens
    for at in 0..count {
        let mut policy = all.clone();
        policy["Statement"].as_array_mut().unwrap().remove(at);
        world.allow(&policy);
        let refused = world.open().await.unwrap_err();
        assert!(matches!(refused, SignError::Refused("the credentials may not use the key")), "{refused:?}");
    }
    // the condition stands: another algorithm is not allowed
    let text = all.to_string().replace("ECDSA_SHA_256", "ECDSA_SHA_384");
    world.allow(&serde_json::from_str(&text).unwrap());
    assert!(world.open().await.is_err());
    world.allow(&all);
    world.open().await.unwrap();
}

#[tokio::test]
async fn r45_no_key_but_a_p256_key_that_signs_is_opened() {
    let world = World::start().await;
    world.allow(&json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
    ]}));
    world.put(world.key().with_spec(KmsKeySpec::EccNistP384));
    assert!(matches!(world.open().await, Err(SignError::Refused("the key is not of P-256"))));
    world.put(world.key().with_spec(KmsKeySpec::SymmetricDefault));
    assert!(matches!(world.open().await, Err(SignError::Refused("the key is not one that signs"))));
    world.put(world.key());
    world.open().await.unwrap();

    let nowhere = world.arn.replace("1234abcd-", "99999999-");
    let refused = KmsSigner::open(world.settings(&nowhere, SECRET)).await.unwrap_err();
    assert!(matches!(refused, SignError::Refused("there is no such key")), "{refused:?}");
    let refused = KmsSigner::open(world.settings(&world.arn, "another secret")).await.unwrap_err();
    assert!(matches!(refused, SignError::Refused("the credentials are not valid")), "{refused:?}");
}

#[tokio::test]
async fn r45_a_key_that_was_replaced_signs_nothing_under_the_old_name() {
    let world = World::start().await;
    let signer = world.open().await.unwrap();
    // another kind of key has other material, and so has the P-256 key that comes after it
    world.put(world.key().with_spec(KmsKeySpec::EccNistP384));
    world.put(world.key());
    assert!(matches!(signer.sign(b"message").await, Err(SignError::Mismatch)));
    assert_ne!(world.open().await.unwrap().public_jwk(), signer.public_jwk());
}
