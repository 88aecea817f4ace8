//! What `AssumeRole` and `AssumeRoleWithWebIdentity` have in common: the parameters and the session they start.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use crate::credentials::RoleSession;
use crate::form::Params;
use crate::names::{RoleArn, SessionName, SourceIdentity};
use crate::policy::{Context, IdentityPolicy};
use crate::state::Role;
use crate::sts::answer::Fields;
use crate::sts::error::StsError;
use crate::tags::Tags;
use crate::world::World;

const ROLE_ARN_CHARS: std::ops::RangeInclusive<usize> = 20..=2048;
const DURATIONS: std::ops::RangeInclusive<u32> = 900..=43200;
const DEFAULT_DURATION: u32 = 3600;
const MAX_POLICY_CHARS: usize = 2048;
/// What the packed form of session policy and tags may take. AWS publishes neither the format nor the limit; with
/// this one, a session of EKS Pod Identity takes about as much of it as was measured on AWS (74 percent).
const PACKED_LIMIT: usize = 512;

/// The parameters that both calls have.
pub(super) struct SessionParams {
    pub(super) role_arn: RoleArn,
    pub(super) name: SessionName,
    /// `None` where the caller leaves it to the service.
    pub(super) seconds: Option<u32>,
    pub(super) policy: Option<IdentityPolicy>,
    policy_bytes: usize,
}

impl SessionParams {
    pub(super) fn parse(params: &Params) -> Result<Self, StsError> {
        for unsupported in ["PolicyArns", "ProvidedContexts", "SerialNumber", "TokenCode"] {
            if params.has_prefix(unsupported) {
                return Err(StsError::NotImplemented(format!(
                    "{unsupported} is not supported by this server"
                )));
            }
        }
        let required = |name: &str, member: &str| {
            params.get(name).ok_or_else(|| StsError::constraint(member, "Member must not be null"))
        };
        let role_arn = required("RoleArn", "roleArn")?;
        if !ROLE_ARN_CHARS.contains(&role_arn.chars().count()) {
            return Err(StsError::constraint("roleArn", "Member must have length between 20 and 2048"));
        }
        let role_arn =
            role_arn.parse().map_err(|_| StsError::Validation(format!("{role_arn} is invalid")))?;
        let name = required("RoleSessionName", "roleSessionName")?.parse().map_err(|_| {
            StsError::constraint(
                "roleSessionName",
                "Member must have length between 2 and 64 and satisfy regular expression pattern: [\\w+=,.@-]*",
            )
        })?;
        let seconds = match params.get("DurationSeconds") {
            None => None,
            Some(text) => {
                let seconds = text.parse().ok().filter(|seconds| DURATIONS.contains(seconds));
                let wrong =
                    || StsError::constraint("durationSeconds", "Member must be between 900 and 43200");
                Some(seconds.ok_or_else(wrong)?)
            }
        };
        let policy = params.get("Policy");
        if policy.is_some_and(|text| !(1..=MAX_POLICY_CHARS).contains(&text.chars().count())) {
            return Err(StsError::constraint("policy", "Member must have length between 1 and 2048"));
        }
        let parsed = policy.map(IdentityPolicy::parse).transpose().map_err(|error| {
            StsError::MalformedPolicyDocument(format!("The policy is not in the valid JSON format: {error}"))
        })?;
        Ok(Self { role_arn, name, seconds, policy: parsed, policy_bytes: policy.map_or(0, str::len) })
    }

    /// The length of the session, within what the role and this server allow.
    pub(super) fn duration(&self, world: &World, role: &Role) -> Result<time::Duration, StsError> {
        let seconds = self.seconds.unwrap_or(DEFAULT_DURATION);
        if seconds > role.max_session_duration.seconds() {
            return Err(StsError::Validation(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.".to_owned(),
            ));
        }
        let most = world.session_seconds.map_or(u32::MAX, NonZeroU32::get);
        Ok(time::Duration::seconds(seconds.min(most).into()))
    }

    /// What the session takes of the packed limit, in percent; `None` if it has neither policy nor tags.
    ///
    /// An estimate, see [`PACKED_LIMIT`]. Policies pack well, tags do not.
    pub(super) fn packed_size(
        &self,
        tags: &Tags,
        transitive: &BTreeSet<String>,
    ) -> Result<Option<u64>, StsError> {
        let bytes = tags.bytes() + transitive.iter().map(String::len).sum::<usize>() + self.policy_bytes / 4;
        if self.policy_bytes == 0 && tags.is_empty() {
            return Ok(None);
        }
        let percent = (bytes * 100).div_ceil(PACKED_LIMIT);
        if percent > 100 {
            return Err(StsError::PackedPolicyTooLarge(format!(
                "Packed policy consumes {percent}% of allotted space, please use smaller policy."
            )));
        }
        Ok(u64::try_from(percent).ok())
    }

    /// The condition keys that both calls have.
    pub(super) fn context(
        &self,
        tags: &Tags,
        transitive: &BTreeSet<String>,
        source_identity: Option<&SourceIdentity>,
    ) -> Context {
        let mut context = Context::new();
        context.insert("sts:RoleSessionName", [self.name.to_string()]);
        if let Some(source_identity) = source_identity {
            context.insert("sts:SourceIdentity", [source_identity.to_string()]);
        }
        for (key, value) in tags.iter() {
            context.insert(format!("aws:RequestTag/{key}"), [value.to_owned()]);
        }
        context.insert("aws:TagKeys", tags.iter().map(|(key, _)| key.to_owned()));
        // The keys as the tags spell them, not as the parameter did.
        let spelt = tags.iter().filter(|(key, _)| transitive.contains(&key.to_lowercase()));
        context.insert("sts:TransitiveTagKeys", spelt.map(|(key, _)| key.to_owned()));
        context
    }
}

/// Starts the session and writes the members that both answers have.
pub(super) fn start(
    world: &World,
    role: &Role,
    session: RoleSession,
    packed_size: Option<u64>,
) -> Result<Fields, StsError> {
    let expires_at = session.expires_at;
    let user = Fields::default()
        .text("AssumedRoleId", format!("{}:{}", world.role_id(role), session.name))
        .text("Arn", format!("arn:aws:sts::{}:assumed-role/{}/{}", world.account, role.name, session.name));
    let source_identity = session.source_identity.as_ref().map(ToString::to_string);
    let made = world.start_session(session).map_err(|error| StsError::Internal(error.to_string()))?;
    let credentials = Fields::default()
        .text("AccessKeyId", made.access_key_id.as_str())
        .text("SecretAccessKey", made.secret_access_key.expose())
        .text("SessionToken", made.session_token.expose())
        .time("Expiration", expires_at);
    let fields = Fields::default()
        .structure("AssumedRoleUser", user)
        .structure("Credentials", credentials)
        .optional("SourceIdentity", source_identity);
    Ok(match packed_size {
        Some(percent) => fields.number("PackedPolicySize", percent),
        None => fields,
    })
}

/// Parses the keys of transitive tags: each must be the key of a tag.
pub(super) fn transitive_keys<'k>(
    keys: impl IntoIterator<Item = &'k str>,
    tags: &Tags,
) -> Result<BTreeSet<String>, &'k str> {
    keys.into_iter()
        .map(|key| if tags.get(key).is_some() { Ok(key.to_lowercase()) } else { Err(key) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(tags: &[(&str, &str)], transitive: bool) -> Result<Option<u64>, StsError> {
        let form = "RoleArn=arn:aws:iam::123456789012:role/r&RoleSessionName=session";
        let params = SessionParams::parse(&Params::new(crate::form::decode_pairs(form)).unwrap())?;
        let tags = Tags::parse(tags.iter().copied()).unwrap();
        let keys = if transitive {
            tags.iter().map(|(key, _)| key.to_lowercase()).collect()
        } else {
            BTreeSet::new()
        };
        params.packed_size(&tags, &keys)
    }

    #[test]
    fn a_pod_identity_session_takes_what_was_measured() {
        let tags = [
            ("eks-cluster-arn", "arn:aws:eks:us-east-1:123456789012:cluster/production"),
            ("eks-cluster-name", "production"),
            ("kubernetes-namespace", "payments"),
            ("kubernetes-service-account", "settlement"),
            ("kubernetes-pod-name", "settlement-6d4cf56db6-x2x9z"),
            ("kubernetes-pod-uid", "a1b2c3d4-0000-4000-8000-000000000000"),
        ];
        assert!((68..=80).contains(&params(&tags, true).unwrap().unwrap()));
        assert_eq!(params(&[], false), Ok(None));
    }

    #[test]
    fn too_much_is_refused() {
        let long = "v".repeat(256);
        let tags = [("a", long.as_str()), ("b", &long)];
        assert!(matches!(params(&tags, false), Err(StsError::PackedPolicyTooLarge(_))));
    }
}
