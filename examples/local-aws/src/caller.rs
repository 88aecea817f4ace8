//! Who a request comes from, and what its policies let it do.

use std::sync::Arc;

use http::Method;
use http::request::Parts;

use crate::clock::{machine_now, rfc3339};
use crate::credentials::{Credential, CredentialError, Identity, RoleSession};
use crate::names::SourceIdentity;
use crate::policy::{
    Context, IdentityPolicy, Principal, Request, ResourcePolicy, TrustPolicy, decide_assume_role,
    decide_same_account, evaluate_trust,
};
use crate::record::ActingSlot;
use crate::sigv4::{Signature, SignatureError};
use crate::tags::Tags;
use crate::world::{Holdings, World};

/// An authenticated caller: a snapshot of its identity at the time of the request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// `arn:aws:iam::…:user/…` or `arn:aws:sts::…:assumed-role/…/…`: what `GetCallerIdentity` says.
    pub(crate) arn: String,
    /// The ARN of the user or role behind it, with its path.
    pub(crate) principal_arn: String,
    /// `AIDA…` or `AROA…:session`.
    pub(crate) user_id: String,
    /// The tags of the user or role under those of the session.
    pub(crate) tags: Tags,
    /// The session, unless the caller is a user.
    pub(crate) session: Option<Arc<RoleSession>>,
    user_name: Option<String>,
    policies: Vec<IdentityPolicy>,
}

impl Caller {
    /// The caller that a checked credential stands for. `None` if its user or role is gone.
    pub(crate) fn of(credential: &Credential, world: &World, holdings: &Holdings) -> Option<Self> {
        let account = &world.account;
        match &credential.identity {
            Identity::User(name) => {
                let user = holdings.users.get(name)?;
                let arn = format!("arn:aws:iam::{account}:user{}{name}", user.path);
                Some(Self {
                    principal_arn: arn.clone(),
                    arn,
                    user_id: world.user_id(user),
                    tags: user.tags.clone(),
                    session: None,
                    user_name: Some(name.to_string()),
                    policies: user.policies.clone(),
                })
            }
            Identity::Session(session) => {
                let role = holdings.roles.get(&session.role)?;
                Some(Self {
                    arn: format!("arn:aws:sts::{account}:assumed-role/{}/{}", role.name, session.name),
                    principal_arn: world.role_arn(role),
                    user_id: format!("{}:{}", world.role_id(role), session.name),
                    tags: session.tags.over(&role.tags),
                    session: Some(Arc::clone(session)),
                    user_name: None,
                    policies: role.policies.clone(),
                })
            }
        }
    }

    /// The source identity that the caller carries.
    pub(crate) fn source_identity(&self) -> Option<&SourceIdentity> {
        self.session.as_ref()?.source_identity.as_ref()
    }

    /// Whether the caller's own policies allow an action.
    pub(crate) fn may(&self, world: &World, action: &str, resource: &str, context: Context) -> bool {
        self.may_on(world, None, action, resource, context)
    }

    /// Whether the caller's own policies and the resource's together allow an action.
    pub(crate) fn may_on(
        &self,
        world: &World,
        policy: Option<&ResourcePolicy>,
        action: &str,
        resource: &str,
        context: Context,
    ) -> bool {
        let request = self.request(world, action, resource, context);
        decide_same_account(&self.policies, policy, self.session_policies(), &request).is_allowed()
    }

    /// Whether the caller may take an action on a role: the role has to trust it, and unless the role trusts it by
    /// name, its own policies have to allow it too.
    pub(crate) fn may_assume(
        &self,
        world: &World,
        trust: &TrustPolicy,
        action: &str,
        role_arn: &str,
        context: Context,
    ) -> bool {
        let request = self.request(world, action, role_arn, context);
        decide_assume_role(&self.policies, trust, self.session_policies(), &request).is_allowed()
    }

    fn session_policies(&self) -> Option<&[IdentityPolicy]> {
        self.session.as_ref()?.policy.as_ref().map(std::slice::from_ref)
    }

    fn request(&self, world: &World, action: &str, resource: &str, mut context: Context) -> Request {
        let set = &mut |key: &str, value: &str| context.insert(key, [value.to_owned()]);
        set("aws:PrincipalArn", &self.principal_arn);
        set("aws:PrincipalAccount", world.account.as_str());
        set("aws:PrincipalType", if self.session.is_some() { "AssumedRole" } else { "User" });
        set("aws:userid", &self.user_id);
        if let Some(name) = &self.user_name {
            set("aws:username", name);
        }
        if let Some(organization) = &world.organization {
            set("aws:PrincipalOrgID", &organization.org_id);
        }
        if let Some(source_identity) = self.source_identity() {
            set("aws:SourceIdentity", source_identity.as_str());
        }
        if let Some(provider) = self.session.as_ref().and_then(|session| session.provider.as_deref()) {
            set("aws:FederatedProvider", provider);
        }
        for (key, value) in self.tags.iter() {
            set(&format!("aws:PrincipalTag/{key}"), value);
        }
        let mut arns = vec![self.principal_arn.clone()];
        if self.arn != self.principal_arn {
            arns.push(self.arn.clone());
        }
        Request {
            principal: Principal::Aws { account: world.account.to_string(), arns },
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: with_environment(world, context),
        }
    }
}

/// Whether a bucket policy lets everybody take an action.
pub(crate) fn anybody_may(
    world: &World,
    policy: Option<&ResourcePolicy>,
    action: &str,
    resource: &str,
    context: Context,
) -> bool {
    let request = Request {
        principal: Principal::Anonymous,
        action: action.to_owned(),
        resource: resource.to_owned(),
        context: with_environment(world, context),
    };
    decide_same_account(&[], policy, None, &request).is_allowed()
}

/// Whether a role trusts an identity of a provider for an action.
pub(crate) fn trusts_federated(
    world: &World,
    trust: &TrustPolicy,
    provider_arn: &str,
    action: &str,
    role_arn: &str,
    mut context: Context,
) -> bool {
    context.insert("aws:FederatedProvider", [provider_arn.to_owned()]);
    let request = Request {
        principal: Principal::Federated(provider_arn.to_owned()),
        action: action.to_owned(),
        resource: role_arn.to_owned(),
        context: with_environment(world, context),
    };
    evaluate_trust(trust, &request).is_allowed()
}

/// The keys that every request has.
fn with_environment(world: &World, mut context: Context) -> Context {
    let now = world.clock.now();
    let mut set = |key: &str, value: String| context.insert(key, [value]);
    set("aws:CurrentTime", rfc3339(now));
    set("aws:EpochTime", now.unix_timestamp().to_string());
    set("aws:RequestedRegion", world.region.to_string());
    set("aws:SecureTransport", world.secure_transport.to_string());
    set("aws:SourceIp", "127.0.0.1".to_owned());
    context
}

/// Finds the credential of a key and checks the token that came with it.
pub(crate) fn check_credential(
    holdings: &Holdings,
    access_key_id: &str,
    token: Option<&str>,
    now: time::OffsetDateTime,
) -> Result<Credential, CredentialError> {
    let id = access_key_id.parse().map_err(|_| CredentialError::UnknownKey)?;
    let credential = holdings.credentials.get(&id).ok_or(CredentialError::UnknownKey)?;
    credential.check_token(token, now)?;
    Ok(credential.clone())
}

/// Why nobody knows who sent a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    /// The signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The access key is unknown, or the session token is not the one that belongs to it.
    #[error("The security token included in the request is invalid.")]
    Unknown,
    /// The session is over.
    #[error("The security token included in the request is expired")]
    Expired,
}

/// Verifies signature, session token and time of a request that is signed for `service`.
pub(crate) fn authenticate(
    world: &World,
    parts: &Parts,
    body: &[u8],
    service: &str,
    acting: &ActingSlot,
) -> Result<Caller, AuthError> {
    let signature = Signature::parse(parts)?;
    let holdings = world.holdings();
    let id = signature.access_key_id.parse().map_err(|_| AuthError::Unknown)?;
    let secret = &holdings.credentials.get(&id).ok_or(AuthError::Unknown)?.secret;
    signature.verify(secret, parts, body, (world.region.as_str(), service), machine_now())?;
    if !matches!(parts.method, Method::GET | Method::POST) {
        return Err(SignatureError::Mismatch.into());
    }
    let token = signature.session_token.as_deref();
    let credential = check_credential(&holdings, &signature.access_key_id, token, world.clock.now())
        .map_err(|error| match error {
            CredentialError::UnknownKey | CredentialError::WrongToken => AuthError::Unknown,
            CredentialError::Expired => AuthError::Expired,
        })?;
    let caller = Caller::of(&credential, world, &holdings).ok_or(AuthError::Unknown)?;
    acting.fill(&caller);
    Ok(caller)
}
