//! KMS: a real key, real signatures, and each refusal with its own code.

use agentkeys_local_aws::{KmsKey, KmsKeySpec, KmsKeyState, LocalAws, User};
use aws_lc_rs::digest::{SHA256, SHA384, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, VerificationAlgorithm};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kms::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeySpec, KeyUsageType, MessageType, SigningAlgorithmSpec};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{ACCOUNT, ADMIN, Key, NOBODY, Reply, Signing, send, signed, start};

const P256: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
const P384: &str = "mrk-1234abcd12ab34cd56ef1234567890ab";
const SYMMETRIC: &str = "00000000-0000-4000-8000-000000000003";
const DISABLED: &str = "00000000-0000-4000-8000-000000000004";
const DELETED: &str = "00000000-0000-4000-8000-000000000005";

fn arn(id: &str) -> String {
    format!("arn:aws:kms:us-east-1:{ACCOUNT}:key/{id}")
}

async fn with_keys() -> LocalAws {
    start(json!({"kms_keys": [
        {"key_id": P256},
        {"key_id": P384, "spec": "ECC_NIST_P384"},
        {"key_id": SYMMETRIC, "spec": "SYMMETRIC_DEFAULT"},
        {"key_id": DISABLED, "state": "Disabled"},
        {"key_id": DELETED, "state": "PendingDeletion"},
    ]}))
    .await
}

fn kms(aws: &LocalAws, key: Key<'_>) -> Client {
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(aws.endpoint())
        .credentials_provider(Credentials::from(key))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

async fn sign(
    kms: &Client,
    key: &str,
    message: &[u8],
    kind: MessageType,
    algorithm: SigningAlgorithmSpec,
) -> Result<Vec<u8>, String> {
    let sending = kms.sign().key_id(key).message(Blob::new(message)).message_type(kind);
    match sending.signing_algorithm(algorithm).send().await {
        Ok(answer) => {
            assert!(answer.key_id().unwrap().ends_with(key.rsplit('/').next().unwrap()));
            Ok(answer.signature().unwrap().as_ref().to_vec())
        }
        Err(error) => Err(code(&error)),
    }
}

fn code<E: aws_sdk_kms::error::ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    error.code().unwrap_or("no code").to_owned()
}

/// The point at the end of a `SubjectPublicKeyInfo`.
async fn point(kms: &Client, key: &str, size: usize) -> Vec<u8> {
    let answer = kms.get_public_key().key_id(key).send().await.unwrap();
    assert_eq!(answer.key_usage(), Some(&KeyUsageType::SignVerify));
    let der = answer.public_key().unwrap().as_ref().to_vec();
    der[der.len() - size..].to_vec()
}

#[tokio::test]
async fn digests_and_messages_are_signed_by_the_key_that_is_published() {
    let aws = with_keys().await;
    let kms = kms(&aws, ADMIN);
    let answer = kms.get_public_key().key_id(arn(P256)).send().await.unwrap();
    assert_eq!((answer.key_id(), answer.key_spec()), (Some(arn(P256).as_str()), Some(&KeySpec::EccNistP256)));
    assert_eq!(answer.signing_algorithms(), [SigningAlgorithmSpec::EcdsaSha256]);
    let verifies = |algorithm: &dyn VerificationAlgorithm, point: &[u8], signature: &[u8]| {
        algorithm.verify_sig(point, b"message", signature).is_ok()
    };
    // by ARN and by id
    for key in [arn(P256), P256.to_owned()] {
        let point = point(&kms, &key, 65).await;
        let of_digest = digest(&SHA256, b"message");
        let signature =
            sign(&kms, &key, of_digest.as_ref(), MessageType::Digest, SigningAlgorithmSpec::EcdsaSha256)
                .await;
        assert!(verifies(&ECDSA_P256_SHA256_ASN1, &point, &signature.unwrap()));
        let signature =
            sign(&kms, &key, b"message", MessageType::Raw, SigningAlgorithmSpec::EcdsaSha256).await;
        assert!(verifies(&ECDSA_P256_SHA256_ASN1, &point, &signature.unwrap()));
        let other = sign(&kms, &key, b"massage", MessageType::Raw, SigningAlgorithmSpec::EcdsaSha256).await;
        assert!(!verifies(&ECDSA_P256_SHA256_ASN1, &point, &other.unwrap()));
    }
    let point = point(&kms, P384, 97).await;
    let of_digest = digest(&SHA384, b"message");
    let signature =
        sign(&kms, P384, of_digest.as_ref(), MessageType::Digest, SigningAlgorithmSpec::EcdsaSha384).await;
    assert!(verifies(&ECDSA_P384_SHA384_ASN1, &point, &signature.unwrap()));
}

#[tokio::test]
async fn each_refusal_has_its_code() {
    let aws = with_keys().await;
    let kms = kms(&aws, ADMIN);
    let (sha256, sha384) = (SigningAlgorithmSpec::EcdsaSha256, SigningAlgorithmSpec::EcdsaSha384);
    for (key, message, kind, algorithm, expected) in [
        (P256, &[7; 31][..], MessageType::Digest, sha256.clone(), "ValidationException"),
        (P256, &[7; 33][..], MessageType::Digest, sha256.clone(), "ValidationException"),
        (P256, &[7; 48][..], MessageType::Digest, sha256.clone(), "ValidationException"),
        (P256, &[7; 4097][..], MessageType::Raw, sha256.clone(), "ValidationException"),
        (P256, &[][..], MessageType::Raw, sha256.clone(), "ValidationException"),
        (P256, &[7; 48][..], MessageType::Digest, sha384.clone(), "InvalidKeyUsageException"),
        (P384, &[7; 32][..], MessageType::Digest, sha256.clone(), "InvalidKeyUsageException"),
        (P256, b"m", MessageType::Raw, SigningAlgorithmSpec::RsassaPssSha256, "ValidationException"),
        (P256, b"m", MessageType::from("OTHER"), sha256.clone(), "ValidationException"),
        (SYMMETRIC, b"m", MessageType::Raw, sha256.clone(), "InvalidKeyUsageException"),
        (DISABLED, b"m", MessageType::Raw, sha256.clone(), "DisabledException"),
        (DELETED, b"m", MessageType::Raw, sha256.clone(), "KMSInvalidStateException"),
        ("99999999-9999-4999-8999-999999999999", b"m", MessageType::Raw, sha256.clone(), "NotFoundException"),
        ("alias/key", b"m", MessageType::Raw, sha256.clone(), "NotFoundException"),
    ] {
        let refused = sign(&kms, key, message, kind.clone(), algorithm.clone()).await;
        assert_eq!(refused.as_ref().map_err(String::as_str), Err(expected), "{key} {kind:?} {algorithm:?}");
    }
    for (key, expected) in [
        (SYMMETRIC, "UnsupportedOperationException"),
        (DISABLED, "DisabledException"),
        (DELETED, "KMSInvalidStateException"),
        ("99999999-9999-4999-8999-999999999999", "NotFoundException"),
    ] {
        let refused = kms.get_public_key().key_id(key).send().await.unwrap_err();
        assert_eq!(code(&refused), expected, "{key}");
    }
}

#[tokio::test]
async fn policies_decide_by_key_algorithm_and_form() {
    let aws = with_keys().await;
    let key = Key { id: "AKIASIGNERSIGNER0000", secret: "signer-secret", token: None };
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "kms:Sign", "Resource": arn(P256),
        "Condition": {"StringEquals": {"kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST"}},
    }]});
    let user: User = serde_json::from_value(json!({
        "name": "signer", "policies": [policy],
        "access_keys": [{"access_key_id": key.id, "secret_access_key": key.secret}],
    }))
    .unwrap();
    aws.put_user(user).unwrap();
    let signer = kms(&aws, key);
    let (sha256, sha384) = (SigningAlgorithmSpec::EcdsaSha256, SigningAlgorithmSpec::EcdsaSha384);
    sign(&signer, P256, &[7; 32], MessageType::Digest, sha256.clone()).await.unwrap();
    for (id, kind, algorithm) in [
        (P256, MessageType::Raw, sha256.clone()),
        (P256, MessageType::Digest, sha384),
        (P384, MessageType::Digest, sha256.clone()),
        (DISABLED, MessageType::Digest, sha256.clone()),
        // who may not know whether there is such a key is not told
        ("99999999-9999-4999-8999-999999999999", MessageType::Digest, sha256.clone()),
    ] {
        let refused = sign(&signer, id, &[7; 32], kind, algorithm).await;
        assert_eq!(refused.unwrap_err(), "AccessDeniedException", "{id}");
    }
    let refused = signer.get_public_key().key_id(P256).send().await.unwrap_err();
    assert_eq!(code(&refused), "AccessDeniedException");
    let refused = sign(&kms(&aws, NOBODY), P256, &[7; 32], MessageType::Digest, sha256).await;
    assert_eq!(refused.unwrap_err(), "AccessDeniedException");
}

async fn raw(aws: &LocalAws, target: &'static str, body: Value, signing: Option<Signing<'_>>) -> Reply {
    let request = Request::post(format!("{}/", aws.endpoint()))
        .header("host", aws.endpoint().trim_start_matches("http://"))
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", target)
        .body(Full::from(Bytes::from(body.to_string())))
        .unwrap();
    match signing {
        Some(signing) => send(signed(request, signing).await).await,
        None => send(request).await,
    }
}

#[tokio::test]
async fn a_request_is_signed_for_kms_by_somebody_who_is_known() {
    let aws = with_keys().await;
    let body = json!({"KeyId": P256});
    let good = Signing::new("kms", ADMIN);
    let stranger = Key { id: "AKIASTRANGERSTRANGER", secret: "x", token: None };
    for (signing, status, expected) in [
        (Some(good), 200, Value::Null),
        (None, 400, json!("MissingAuthenticationTokenException")),
        (Some(Signing::new("sts", ADMIN)), 400, json!("InvalidSignatureException")),
        (Some(Signing { region: "eu-west-1", ..good }), 400, json!("InvalidSignatureException")),
        (
            Some(Signing::new("kms", Key { secret: "wrong", ..ADMIN })),
            400,
            json!("InvalidSignatureException"),
        ),
        (Some(Signing::new("kms", stranger)), 400, json!("UnrecognizedClientException")),
        (
            Some(Signing::new("kms", Key { token: Some("x"), ..ADMIN })),
            400,
            json!("UnrecognizedClientException"),
        ),
    ] {
        let reply = raw(&aws, "TrentService.GetPublicKey", body.clone(), signing).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["__type"]), (status, &expected), "{}", reply.body);
    }
    for (target, body, expected) in [
        ("TrentService.Decrypt", json!({"KeyId": P256}), "UnknownOperationException"),
        ("TrentService.GetPublicKey", json!({}), "ValidationException"),
        ("TrentService.GetPublicKey", json!({"KeyId": P256, "More": 1}), "ValidationException"),
        (
            "TrentService.Sign",
            json!({"KeyId": P256, "Message": "%", "SigningAlgorithm": "ECDSA_SHA_256"}),
            "SerializationException",
        ),
        ("TrentService.Sign", json!([]), "ValidationException"),
    ] {
        let reply = raw(&aws, target, body, Some(good)).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["__type"]), (400, &json!(expected)), "{target}");
    }
    assert!(aws.requests().iter().any(|request| request.caller().is_some()));
}

#[tokio::test]
async fn a_key_keeps_its_material_in_another_state_and_the_file_says_nothing_of_it() {
    let aws = with_keys().await;
    let kms = kms(&aws, ADMIN);
    let before = point(&kms, P256, 65).await;
    let key = || KmsKey::new(P256.parse().unwrap());
    assert_eq!(aws.put_kms_key(key().with_state(KmsKeyState::Disabled)).unwrap(), arn(P256));
    assert!(kms.get_public_key().key_id(P256).send().await.is_err());
    aws.put_kms_key(key()).unwrap();
    assert_eq!(point(&kms, P256, 65).await, before);
    aws.put_kms_key(key().with_spec(KmsKeySpec::EccNistP384)).unwrap();
    aws.put_kms_key(key()).unwrap();
    assert_ne!(point(&kms, P256, 65).await, before);
    let state = serde_json::to_value(aws.state()).unwrap();
    let keys: Vec<_> = state["kms_keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 5);
    assert!(keys.contains(&json!({"key_id": P256, "spec": "ECC_NIST_P256", "state": "Enabled"})));
}
