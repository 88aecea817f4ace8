//! Credentials: what a request is signed with, and whom that stands for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;

use crate::names::{AccessKeyId, RoleName, SessionName, SourceIdentity, UserName};
use crate::policy::IdentityPolicy;
use crate::secret::Secret;
use crate::tags::Tags;

/// The credentials of a role session, as STS hands them out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionCredentials {
    /// `ASIA…`
    pub access_key_id: AccessKeyId,
    /// The secret that requests are signed with.
    pub secret_access_key: Secret,
    /// The token that every request must carry.
    pub session_token: Secret,
    /// When the session ends.
    pub expires_at: SystemTime,
}

/// A key that requests can be signed with.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) secret: Secret,
    /// The session token; long-lived keys have none.
    pub(crate) token: Option<Secret>,
    pub(crate) identity: Identity,
}

/// Whom a key belongs to.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    User(UserName),
    Session(Arc<RoleSession>),
}

/// A role session.
#[derive(Clone, Debug)]
pub(crate) struct RoleSession {
    pub(crate) role: RoleName,
    pub(crate) name: SessionName,
    pub(crate) tags: Tags,
    /// Lower-case keys of the tags that later hops inherit.
    pub(crate) transitive: BTreeSet<String>,
    pub(crate) source_identity: Option<SourceIdentity>,
    /// The ARN of the OIDC provider that the session was federated from.
    pub(crate) provider: Option<String>,
    /// The inline session policy.
    pub(crate) policy: Option<IdentityPolicy>,
    pub(crate) expires_at: OffsetDateTime,
}

/// Why a key or its session token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialError {
    /// Nobody has this key; or it is a session's and came without its token.
    UnknownKey,
    /// The token is not the one that belongs to the key.
    WrongToken,
    /// The session is over.
    Expired,
}

impl Credential {
    /// Checks the session token that came with the key, and that the session still runs.
    pub(crate) fn check_token(
        &self,
        token: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<(), CredentialError> {
        match (&self.token, token) {
            (None, None) => {}
            (Some(_), None) => return Err(CredentialError::UnknownKey),
            (Some(ours), Some(theirs)) if ours.matches(theirs) => {}
            (Some(_) | None, Some(_)) => return Err(CredentialError::WrongToken),
        }
        match &self.identity {
            Identity::Session(session) if session.expires_at <= now => Err(CredentialError::Expired),
            Identity::Session(_) | Identity::User(_) => Ok(()),
        }
    }
}

/// The random numbers of the operating system failed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no randomness")]
pub(crate) struct NoRandomness;

/// A new key, secret and token.
pub(crate) fn generate() -> Result<(AccessKeyId, Secret, Secret), NoRandomness> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let id: String = random::<16>()?
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
        .map(|letter| char::from(*letter))
        .collect();
    let id = format!("ASIA{id}").parse().map_err(|_| NoRandomness)?;
    let secret = Secret::new(STANDARD.encode(random::<30>()?));
    let token = Secret::new(format!("FwoGZXIvYXdzE{}", STANDARD.encode(random::<150>()?)));
    Ok((id, secret, token))
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_token_belongs_to_one_key() {
        let now = datetime!(2026-01-01 00:00 UTC);
        let session = RoleSession {
            role: "r".parse().unwrap(),
            name: "ss".parse().unwrap(),
            tags: Tags::default(),
            transitive: BTreeSet::new(),
            source_identity: None,
            provider: None,
            policy: None,
            expires_at: now + time::Duration::SECOND,
        };
        let credential = Credential {
            secret: Secret::new("s"),
            token: Some(Secret::new("token")),
            identity: Identity::Session(Arc::new(session)),
        };
        assert_eq!(credential.check_token(Some("token"), now), Ok(()));
        assert_eq!(credential.check_token(None, now), Err(CredentialError::UnknownKey));
        assert_eq!(credential.check_token(Some("tokem"), now), Err(CredentialError::WrongToken));
        let later = now + time::Duration::SECOND;
        assert_eq!(credential.check_token(Some("token"), later), Err(CredentialError::Expired));
        let user = Credential {
            secret: Secret::new("s"),
            token: None,
            identity: Identity::User("u".parse().unwrap()),
        };
        assert_eq!(user.check_token(None, later), Ok(()));
        assert_eq!(user.check_token(Some("token"), now), Err(CredentialError::WrongToken));
    }

    #[test]
    fn keys_look_like_those_of_aws() {
        let (id, secret, token) = generate().unwrap();
        assert_eq!((id.as_str().len(), secret.expose().len()), (20, 40));
        assert!(id.as_str().starts_with("ASIA"));
        let (other, _, other_token) = generate().unwrap();
        assert!(id != other && token != other_token);
    }
}
