//! The Key Management Service: `GetPublicKey` and `Sign` of asymmetric keys, in the JSON protocol 1.1.
//!
//! A key's policy leaves the decision to IAM, as the default key policy does.

mod error;
mod key;

use aws_lc_rs::digest::{self, Digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::caller::{Caller, authenticate};
use crate::policy::Context;
use crate::record::ActingSlot;
use crate::state::{KmsKeySpec, KmsKeyState};
use crate::world::World;

use self::error::KmsError;
pub(crate) use self::key::Key;

const TARGET: &str = "TrentService.";
const MAX_RAW_MESSAGE: usize = 4096;

/// Whether a request is for this service, as its target says.
pub(crate) fn is_for_us(parts: &Parts) -> bool {
    parts.uri.path() == "/" && parts.method == Method::POST && target(parts).is_some()
}

fn target(parts: &Parts) -> Option<&str> {
    parts.headers.get("x-amz-target")?.to_str().ok()?.strip_prefix(TARGET)
}

/// Answers one request.
pub(crate) fn call(world: &World, parts: &Parts, body: &Bytes, acting: &ActingSlot) -> Response<String> {
    let (status, answer) = match dispatch(world, parts, body, acting) {
        Ok(answer) => (StatusCode::OK, answer),
        Err(error) => (error.status(), json!({"__type": error.code(), "message": error.to_string()})),
    };
    let mut response = Response::new(answer.to_string());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

fn dispatch(world: &World, parts: &Parts, body: &[u8], acting: &ActingSlot) -> Result<Value, KmsError> {
    let caller = authenticate(world, parts, body, "kms", acting)?;
    match target(parts) {
        Some("GetPublicKey") => get_public_key(world, &caller, body),
        Some("Sign") => sign(world, &caller, body),
        _ => Err(KmsError::UnknownOperation("there is no such operation here".to_owned())),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetPublicKey {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Sign {
    key_id: String,
    message: String,
    #[serde(default)]
    message_type: Option<String>,
    signing_algorithm: String,
}

fn get_public_key(world: &World, caller: &Caller, body: &[u8]) -> Result<Value, KmsError> {
    let asked: GetPublicKey = read(body)?;
    let key = allowed(world, caller, "kms:GetPublicKey", &asked.key_id, Context::new())?;
    let Some(public) = key.public_der()? else {
        let arn = world.kms_key_arn(&key.said.key_id);
        return Err(KmsError::UnsupportedOperation(format!("{arn} is not an asymmetric key")));
    };
    let algorithms = [key.said.spec.algorithm().unwrap_or_default()];
    Ok(json!({
        "KeyId": world.kms_key_arn(&key.said.key_id),
        "PublicKey": STANDARD.encode(public),
        "CustomerMasterKeySpec": key.said.spec,
        "KeySpec": key.said.spec,
        "KeyUsage": "SIGN_VERIFY",
        "SigningAlgorithms": algorithms,
    }))
}

fn sign(world: &World, caller: &Caller, body: &[u8]) -> Result<Value, KmsError> {
    let asked: Sign = read(body)?;
    let message_type = asked.message_type.as_deref().unwrap_or("RAW");
    let algorithm = asked.signing_algorithm.as_str();
    if !["RAW", "DIGEST"].contains(&message_type) {
        return Err(KmsError::constraint("messageType", "[RAW, DIGEST, EXTERNAL_MU]"));
    }
    if !["ECDSA_SHA_256", "ECDSA_SHA_384"].contains(&algorithm) {
        return Err(KmsError::constraint("signingAlgorithm", "[ECDSA_SHA_256, ECDSA_SHA_384]"));
    }
    let mut context = Context::new();
    context.insert("kms:SigningAlgorithm", [algorithm.to_owned()]);
    context.insert("kms:MessageType", [message_type.to_owned()]);
    let key = allowed(world, caller, "kms:Sign", &asked.key_id, context)?;
    let arn = world.kms_key_arn(&key.said.key_id);
    let of_key = key.said.spec.algorithm();
    if of_key.is_none() {
        let message = format!("{arn} key usage is ENCRYPT_DECRYPT which is not valid for Sign.");
        return Err(KmsError::InvalidKeyUsage(message));
    }
    if of_key != Some(algorithm) {
        let message = format!("Algorithm {algorithm} is incompatible with key spec of {arn}.");
        return Err(KmsError::InvalidKeyUsage(message));
    }
    let message = STANDARD
        .decode(&asked.message)
        .map_err(|_| KmsError::Serialization("the message is not base64".to_owned()))?;
    let hash = if algorithm == "ECDSA_SHA_384" { &digest::SHA384 } else { &digest::SHA256 };
    let digest = if message_type == "DIGEST" {
        Digest::import_less_safe(&message, hash).map_err(|_| {
            KmsError::Validation(format!("Digest is invalid length for algorithm {algorithm}."))
        })?
    } else if (1..=MAX_RAW_MESSAGE).contains(&message.len()) {
        digest::digest(hash, &message)
    } else {
        return Err(KmsError::constraint("message", "1 to 4096 bytes"));
    };
    Ok(json!({
        "KeyId": arn,
        "Signature": STANDARD.encode(key.sign(&digest)?),
        "SigningAlgorithm": algorithm,
    }))
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, KmsError> {
    serde_json::from_slice(body).map_err(|error| KmsError::Validation(error.to_string()))
}

/// The key, where the caller may do this with it and it is in a state to.
fn allowed(
    world: &World,
    caller: &Caller,
    action: &str,
    asked: &str,
    context: Context,
) -> Result<Key, KmsError> {
    // by its ARN or by its id; aliases are not kept here
    let arn = if asked.contains(':') { asked.to_owned() } else { world.kms_arn(asked) };
    if !caller.may(world, action, &arn, context) {
        return Err(KmsError::AccessDenied(format!(
            "User: {} is not authorized to perform: {action} on resource: {arn} because no identity-based policy \
             allows the {action} action",
            caller.arn
        )));
    }
    let keys = &world.holdings().kms_keys;
    let found = keys.values().find(|key| world.kms_key_arn(&key.said.key_id) == arn).cloned();
    let key = found.ok_or_else(|| KmsError::NotFound(format!("Key '{arn}' does not exist")))?;
    match key.said.state {
        KmsKeyState::Enabled => Ok(key),
        KmsKeyState::Disabled => Err(KmsError::Disabled(format!("{arn} is disabled."))),
        KmsKeyState::PendingDeletion => Err(KmsError::InvalidState(format!("{arn} is pending deletion."))),
    }
}

impl KmsKeySpec {
    /// The one algorithm that a key of this kind signs with.
    fn algorithm(self) -> Option<&'static str> {
        match self {
            Self::EccNistP256 => Some("ECDSA_SHA_256"),
            Self::EccNistP384 => Some("ECDSA_SHA_384"),
            Self::SymmetricDefault => None,
        }
    }
}
