//! `AssumeRole`: one principal of the account takes up a role.

use std::collections::BTreeSet;

use crate::caller::Caller;
use crate::clock::whole_seconds;
use crate::credentials::RoleSession;
use crate::form::Params;
use crate::names::SourceIdentity;
use crate::sts::answer::Fields;
use crate::sts::error::StsError;
use crate::sts::session::{self, SessionParams};
use crate::tags::Tags;
use crate::world::World;

/// The longest session of a role that a role session assumes.
const MAX_CHAINED_SECONDS: u32 = 3600;
const EXTERNAL_ID_CHARS: std::ops::RangeInclusive<usize> = 2..=1224;

pub(super) fn assume_role(world: &World, caller: &Caller, params: &Params) -> Result<Fields, StsError> {
    let wanted = SessionParams::parse(params)?;
    let asked = Asked::parse(params)?;
    if caller.session.is_some() && wanted.seconds.is_some_and(|seconds| seconds > MAX_CHAINED_SECONDS) {
        return Err(StsError::Validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
                .to_owned(),
        ));
    }
    let role_arn = wanted.role_arn.to_string();
    let denied = |action: &str| StsError::denied(&caller.arn, action, &role_arn);
    let source_identity = match (caller.source_identity(), &asked.source_identity) {
        (Some(set), Some(asked)) if set != asked => return Err(denied("sts:SetSourceIdentity")),
        (Some(set), _) => Some(set.clone()),
        (None, asked) => asked.clone(),
    };
    let (tags, transitive) = asked.over_inherited(caller)?;

    let role = world.holdings().roles.get(&wanted.role_arn.name).cloned();
    let role =
        role.filter(|role| world.role_arn(role) == role_arn).ok_or_else(|| denied("sts:AssumeRole"))?;
    let mut actions = vec!["sts:AssumeRole"];
    if !tags.is_empty() {
        actions.push("sts:TagSession");
    }
    if source_identity.is_some() {
        actions.push("sts:SetSourceIdentity");
    }
    for action in actions {
        // sts:SourceIdentity is what this call passes: what the session inherits is aws:SourceIdentity
        // (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html)
        let mut context = wanted.context(&asked.tags, &asked.transitive, asked.source_identity.as_ref());
        if let Some(external_id) = &asked.external_id {
            context.insert("sts:ExternalId", [external_id.clone()]);
        }
        if !caller.may_assume(world, &role.trust_policy, action, &role_arn, context) {
            return Err(denied(action));
        }
    }

    let duration = wanted.duration(world, &role)?;
    let packed_size = wanted.packed_size(&tags, &transitive)?;
    let session = RoleSession {
        role: role.name.clone(),
        name: wanted.name,
        tags,
        transitive,
        source_identity,
        provider: None,
        policy: wanted.policy,
        expires_at: whole_seconds(world.clock.now()) + duration,
    };
    session::start(world, &role, session, packed_size)
}

/// The parameters that only this call has.
struct Asked {
    tags: Tags,
    transitive: BTreeSet<String>,
    source_identity: Option<SourceIdentity>,
    external_id: Option<String>,
}

impl Asked {
    fn parse(params: &Params) -> Result<Self, StsError> {
        let tags = params
            .pairs("Tags", "Key", "Value")
            .ok_or_else(|| StsError::constraint("tags", "Member must have a key and a value"))?;
        let tags = Tags::parse(tags).map_err(|error| StsError::InvalidParameterValue(error.to_string()))?;
        let source_identity = params.get("SourceIdentity").map(str::parse).transpose().map_err(|_| {
            StsError::constraint(
                "sourceIdentity",
                "Member must have length between 2 and 64 and satisfy regular expression pattern: [\\w+=,.@-]*",
            )
        })?;
        let external_id = params.get("ExternalId").map(str::to_owned);
        if external_id.as_ref().is_some_and(|id| !EXTERNAL_ID_CHARS.contains(&id.chars().count())) {
            return Err(StsError::constraint("externalId", "Member must have length between 2 and 1224"));
        }
        let transitive =
            session::transitive_keys(params.list("TransitiveTagKeys"), &tags).map_err(|key| {
                StsError::InvalidParameterValue(format!(
                    "The specified transitive tag key {key} must be included in the requested tags."
                ))
            })?;
        Ok(Self { tags, transitive, source_identity, external_id })
    }

    /// These tags with those that the caller's session hands on. No hop can override one of them.
    fn over_inherited(&self, caller: &Caller) -> Result<(Tags, BTreeSet<String>), StsError> {
        let Some(session) = &caller.session else {
            return Ok((self.tags.clone(), self.transitive.clone()));
        };
        let inherited = session.tags.only(&session.transitive);
        if let Some((key, _)) = self.tags.iter().find(|(key, _)| inherited.get(key).is_some()) {
            return Err(StsError::InvalidParameterValue(format!(
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key \
                 from the calling session: {key}"
            )));
        }
        let merged = Tags::parse(self.tags.over(&inherited).iter())
            .map_err(|error| StsError::InvalidParameterValue(error.to_string()))?;
        Ok((merged, self.transitive.union(&session.transitive).cloned().collect()))
    }
}
