//! `AssumeRoleWithWebIdentity`: a JWT of a registered OIDC provider takes up a role. The call is not signed.

use crate::caller::trusts_federated;
use crate::clock::whole_seconds;
use crate::credentials::RoleSession;
use crate::form::Params;
use crate::idp::claims::WebIdentity;
use crate::idp::token::UnverifiedToken;
use crate::idp::{Idp, IdpError};
use crate::names::ProviderUrl;
use crate::policy::Context;
use crate::sts::answer::Fields;
use crate::sts::error::StsError;
use crate::sts::session::{self, SessionParams};
use crate::world::World;

const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 4..=20_000;

pub(super) async fn assume_role_with_web_identity(
    world: &World,
    idp: &Idp,
    params: &Params,
) -> Result<Fields, StsError> {
    let wanted = SessionParams::parse(params)?;
    let token = params
        .get("WebIdentityToken")
        .ok_or_else(|| StsError::constraint("webIdentityToken", "Member must not be null"))?;
    if !TOKEN_CHARS.contains(&token.chars().count()) {
        return Err(StsError::constraint("webIdentityToken", "Member must have length between 4 and 20000"));
    }
    if params.get("ProviderId").is_some() {
        return Err(StsError::InvalidIdentityToken(
            "ProviderId must be absent for an OpenID Connect token".to_owned(),
        ));
    }

    let unverified = UnverifiedToken::parse(token)?;
    let (provider, client_ids) = registered_provider(world, unverified.issuer())?;
    let keys = idp.keys(&provider).await?;
    let verified = unverified.verify(&keys)?;
    let identity = WebIdentity::from_claims(verified, world.clock.now())?;
    if !client_ids.contains(&identity.audience) {
        return Err(StsError::InvalidIdentityToken("Incorrect token audience".to_owned()));
    }

    let role_arn = wanted.role_arn.to_string();
    if identity.roles.as_ref().is_some_and(|roles| !roles.contains(&role_arn)) {
        return Err(StsError::InvalidIdentityToken("The token is not for the requested role".to_owned()));
    }
    let denied = |action: &str| StsError::AccessDenied(format!("Not authorized to perform {action}"));
    let role = world.holdings().roles.get(&wanted.role_arn.name).cloned();
    let role = role
        .filter(|role| world.role_arn(role) == role_arn)
        .ok_or_else(|| denied("sts:AssumeRoleWithWebIdentity"))?;
    let mut actions = vec!["sts:AssumeRoleWithWebIdentity"];
    if !identity.tags.is_empty() {
        actions.push("sts:TagSession");
    }
    if identity.source_identity.is_some() {
        actions.push("sts:SetSourceIdentity");
    }
    let provider_arn = world.provider_arn(&provider);
    for action in actions {
        let mut context =
            wanted.context(&identity.tags, &identity.transitive, identity.source_identity.as_ref());
        add_claims(&mut context, &provider, &identity);
        if !trusts_federated(world, &role.trust_policy, &provider_arn, action, &role_arn, context) {
            return Err(denied(action));
        }
    }

    let duration = wanted.duration(world, &role)?;
    let packed_size = wanted.packed_size(&identity.tags, &identity.transitive)?;
    let session = RoleSession {
        role: role.name.clone(),
        name: wanted.name,
        tags: identity.tags,
        transitive: identity.transitive,
        source_identity: identity.source_identity,
        provider: Some(provider_arn.clone()),
        policy: wanted.policy,
        expires_at: whole_seconds(world.clock.now()) + duration,
    };
    let fields = session::start(world, &role, session, packed_size)?;
    Ok(fields
        .text("SubjectFromWebIdentityToken", identity.subject)
        .text("Provider", provider_arn)
        .text("Audience", identity.audience))
}

/// The provider that a token names, with its client ids.
///
/// The account's own outbound issuer never counts, registered or not: AWS refuses the tokens of `GetWebIdentityToken`
/// here.
fn registered_provider(
    world: &World,
    issuer: &str,
) -> Result<(ProviderUrl, std::collections::BTreeSet<String>), StsError> {
    if issuer == world.issuer() {
        return Err(StsError::InvalidIdentityToken(
            "Tokens of AWS outbound identity federation cannot be used to assume a role".to_owned(),
        ));
    }
    let url = issuer.parse::<ProviderUrl>().ok();
    let holdings = world.holdings();
    url.and_then(|url| holdings.providers.get(&url).map(|client_ids| (url, client_ids.clone()))).ok_or_else(
        || {
            StsError::InvalidIdentityToken(format!(
                "No OpenIDConnect provider found in your account for {}",
                issuer.chars().take(255).collect::<String>()
            ))
        },
    )
}

/// The condition keys that the token decides.
fn add_claims(context: &mut Context, provider: &ProviderUrl, identity: &WebIdentity) {
    let prefix = provider.without_scheme();
    context.insert(format!("{prefix}:aud"), [identity.audience.clone()]);
    context.insert(format!("{prefix}:sub"), [identity.subject.clone()]);
    context.insert(format!("{prefix}:amr"), identity.amr.clone());
    context.insert("sts:RoleAuthorizedByIdp", [identity.roles.is_some().to_string()]);
}

impl From<IdpError> for StsError {
    fn from(error: IdpError) -> Self {
        let message = error.to_string();
        match error {
            IdpError::Unreachable(_) => Self::IdpCommunication(message),
            IdpError::Expired { .. } => Self::ExpiredWebIdentity(message),
            IdpError::NullSubject => Self::Internal(message),
            IdpError::NoKeys(_) | IdpError::Invalid(_) => Self::InvalidIdentityToken(message),
        }
    }
}
