//! `GetWebIdentityToken`: a JWT about the caller, signed by the account's own issuer.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::caller::Caller;
use crate::clock::{rfc3339, whole_seconds};
use crate::form::Params;
use crate::issuer::SigningAlgorithm;
use crate::policy::Context;
use crate::sts::answer::Fields;
use crate::sts::error::StsError;
use crate::world::World;

/// The member of the claims that holds everything AWS says about the caller.
const AWS_CLAIMS: &str = "https://sts.amazonaws.com/";
const MAX_AUDIENCES: usize = 10;
const MAX_AUDIENCE_CHARS: usize = 1000;
const DURATIONS: std::ops::RangeInclusive<u32> = 60..=3600;
const DEFAULT_DURATION: u32 = 300;
const MAX_TAGS: usize = 50;
const MAX_TAG_KEY_CHARS: usize = 128;
const MAX_TAG_VALUE_CHARS: usize = 256;
/// Measured on AWS: the largest claims, as UTF-8 JSON.
const MAX_PAYLOAD: usize = 14_984;

/// The parameters, parsed.
struct Wanted<'p> {
    audiences: Vec<&'p str>,
    algorithm: SigningAlgorithm,
    seconds: u32,
    tags: Vec<(&'p str, &'p str)>,
}

impl<'p> Wanted<'p> {
    fn parse(params: &'p Params) -> Result<Self, StsError> {
        let audiences = params.list("Audience");
        if !(1..=MAX_AUDIENCES).contains(&audiences.len()) {
            return Err(StsError::constraint("audience", "Member must have length between 1 and 10"));
        }
        if audiences.iter().any(|audience| !(1..=MAX_AUDIENCE_CHARS).contains(&audience.chars().count())) {
            return Err(StsError::constraint("audience", "Member must have length between 1 and 1000"));
        }
        let algorithm = params
            .get("SigningAlgorithm")
            .ok_or_else(|| StsError::constraint("signingAlgorithm", "Member must not be null"))?;
        let algorithm = SigningAlgorithm::parse(algorithm).ok_or_else(|| {
            StsError::constraint("signingAlgorithm", "Member must satisfy enum value set: [RS256, ES384]")
        })?;
        let seconds = match params.get("DurationSeconds") {
            None => DEFAULT_DURATION,
            Some(text) => {
                text.parse().ok().filter(|seconds| DURATIONS.contains(seconds)).ok_or_else(|| {
                    StsError::constraint("durationSeconds", "Member must be between 60 and 3600")
                })?
            }
        };
        let tags = params
            .pairs("Tags", "Key", "Value")
            .ok_or_else(|| StsError::constraint("tags", "Member must have a key and a value"))?;
        Self { audiences, algorithm, seconds, tags }.with_sound_tags()
    }

    /// The keys of these tags may begin with `aws:`, unlike those of session tags.
    fn with_sound_tags(self) -> Result<Self, StsError> {
        if self.tags.len() > MAX_TAGS {
            return Err(StsError::constraint("tags", "Member must have length less than or equal to 50"));
        }
        for (at, (key, value)) in self.tags.iter().enumerate() {
            if !(1..=MAX_TAG_KEY_CHARS).contains(&key.chars().count()) {
                return Err(StsError::constraint("tags.key", "Member must have length between 1 and 128"));
            }
            if value.chars().count() > MAX_TAG_VALUE_CHARS {
                return Err(StsError::constraint("tags.value", "Member must have length at most 256"));
            }
            if self.tags.iter().take(at).any(|(earlier, _)| earlier.to_lowercase() == key.to_lowercase()) {
                return Err(StsError::InvalidParameterValue(
                    "Duplicate tag keys found. Please note that Tag keys are case insensitive.".to_owned(),
                ));
            }
        }
        Ok(self)
    }

    fn context(&self) -> Context {
        let mut context = Context::new();
        context
            .insert("sts:IdentityTokenAudience", self.audiences.iter().map(|&audience| audience.to_owned()));
        context.insert("sts:SigningAlgorithm", [self.algorithm.name().to_owned()]);
        context.insert("sts:DurationSeconds", [self.seconds.to_string()]);
        context.insert("aws:TagKeys", self.tags.iter().map(|(key, _)| (*key).to_owned()));
        for (key, value) in &self.tags {
            context.insert(format!("aws:RequestTag/{key}"), [(*value).to_owned()]);
        }
        context
    }
}

pub(super) fn get_web_identity_token(
    world: &World,
    caller: &Caller,
    params: &Params,
) -> Result<Fields, StsError> {
    let wanted = Wanted::parse(params)?;
    let resource = format!("arn:aws:sts::{}:self", world.account);
    let mut actions = vec!["sts:GetWebIdentityToken"];
    if !wanted.tags.is_empty() {
        actions.push("sts:TagGetWebIdentityToken");
    }
    for action in actions {
        if !caller.may(world, action, &resource, wanted.context()) {
            return Err(StsError::denied(&caller.arn, action, &resource));
        }
    }
    if !world.holdings().outbound_enabled {
        return Err(StsError::OutboundFederationDisabled(
            "Outbound web identity federation is not enabled for this account.".to_owned(),
        ));
    }
    let issued_at = whole_seconds(world.clock.now());
    let expires_at = issued_at + time::Duration::seconds(wanted.seconds.into());
    if caller.session.as_ref().is_some_and(|session| session.expires_at < expires_at) {
        return Err(StsError::SessionDurationEscalation(
            "The requested token duration would extend the session beyond its original expiration time."
                .to_owned(),
        ));
    }
    let audience = match wanted.audiences.as_slice() {
        [one] => json!(one),
        several => json!(several),
    };
    let claims = json!({
        "iss": world.issuer(),
        "aud": audience,
        "sub": caller.principal_arn,
        "iat": issued_at.unix_timestamp(),
        "exp": expires_at.unix_timestamp(),
        "jti": Uuid::new_v4(),
        AWS_CLAIMS: aws_claims(world, caller, &wanted),
    })
    .to_string();
    if claims.len() > MAX_PAYLOAD {
        return Err(StsError::JwtPayloadSizeExceeded(format!(
            "The JWT payload has {} bytes; at most {MAX_PAYLOAD} are allowed.",
            claims.len()
        )));
    }
    let token = world
        .keys()
        .and_then(|keys| keys.sign(wanted.algorithm, claims.as_bytes()))
        .map_err(|error| StsError::Internal(error.to_string()))?;
    Ok(Fields::default().text("WebIdentityToken", token).time("Expiration", expires_at))
}

/// What AWS says about the caller; what does not apply is left out.
fn aws_claims(world: &World, caller: &Caller, wanted: &Wanted<'_>) -> Value {
    let mut claims = Map::new();
    let mut say = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    say("aws_account", json!(world.account));
    say("source_region", json!(world.region));
    say("principal_id", json!(caller.principal_arn));
    if let Some(organization) = &world.organization {
        say("org_id", json!(organization.org_id));
        say("ou_path", json!(organization.ou_path));
    }
    if !caller.tags.is_empty() {
        say("principal_tags", json!(caller.tags.to_map()));
    }
    if !wanted.tags.is_empty() {
        let tags: Map<String, Value> =
            wanted.tags.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        say("request_tags", Value::Object(tags));
    }
    if let Some(session) = &caller.session {
        say("original_session_exp", json!(rfc3339(session.expires_at)));
        if let Some(provider) = &session.provider {
            say("federated_provider", json!(provider));
        }
        if let Some(source_identity) = &session.source_identity {
            say("source_identity", json!(source_identity));
        }
    }
    Value::Object(claims)
}
