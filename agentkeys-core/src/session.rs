use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::ErrorKind;
use crate::identity::{Assurance, AttestedIdentity, IdentityError};
use crate::issuer::{Audience, Issuer};
use crate::jose::{Algorithm, JwkError, KeyTables, MAX_TOKEN_BYTES};
use crate::keys::{KeyRing, Session, StaticKeys};
use crate::kind::KindError;
use crate::minter::{ExtraClaims, Head, MintError, TokenLifetime, header, one_jti, quoted, sign};
use crate::random::{Random, SystemRandom};
use crate::token::Token;
use crate::verifier::{Profile, TokenType, Verifier, VerifyError};

/// Session tokens: what an agent shows a host after it was attested once.
///
/// Signed with a key of their own, of their own `typ` and audience, so that neither they nor the tokens
/// for a cloud verify as the other (W44, L31). A session is the identity it was issued for, until that
/// identity's `not_after` and no longer.
#[derive(Clone, Debug)]
pub struct Sessions {
    issuer: Issuer,
    keys: KeyRing<Session>,
    audience: Audience,
    header: Arc<str>,
    self_asserted_too: bool,
    verifier: Verifier,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Sessions {
    /// Sessions of `issuer`, signed with the active key of `keys` and verified with all of them.
    ///
    /// # Errors
    /// [`SessionError::Keys`] where a public key of the ring is malformed.
    pub fn new(issuer: Issuer, keys: KeyRing<Session>) -> Result<Self, SessionError> {
        let audience = Audience::parse(SESSION_AUDIENCE).map_err(|_| SessionError::Claims)?;
        let profile = Profile::oidc(issuer.clone(), Arc::new(StaticKeys::new(keys.key_set()?)));
        let verifier = Verifier::new(profile, audience.clone())
            .with_algorithms(&[Algorithm::Es256])
            .with_type(SESSION_TYPE)
            .with_max_lifetime(MAX_SESSION);
        let header = header(keys.active(), SESSION_TYPE.as_str());
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom::new()));
        let self_asserted_too = false;
        Ok(Self { issuer, keys, audience, header, self_asserted_too, verifier, clock, random })
    }

    /// Also for agents that named themselves, as
    /// [`Minter::with_self_asserted_identities_accepted`](crate::Minter::with_self_asserted_identities_accepted)
    /// has it: a session keeps saying that they did.
    #[must_use]
    pub const fn with_self_asserted_identities_accepted(mut self) -> Self {
        self.self_asserted_too = true;
        self
    }

    /// With tables for the session keys, as
    /// [`Verifier::with_key_tables`](crate::Verifier::with_key_tables) has it: each request of an agent brings a
    /// session.
    #[must_use]
    pub fn with_key_tables(mut self, tables: KeyTables) -> Self {
        self.verifier = self.verifier.with_key_tables(tables);
        self
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.verifier = self.verifier.with_clock(Arc::clone(&clock));
        self.clock = clock;
        self
    }

    /// Issues a session to `identity`.
    ///
    /// # Errors
    /// [`SessionError::Mint`] past the identity's `not_after`, where it is self-asserted, or where its
    /// facts make the session longer than a verifier reads.
    pub async fn issue(
        &self,
        identity: &AttestedIdentity,
        lifetime: TokenLifetime,
    ) -> Result<Token, SessionError> {
        let claims = IdentityClaims {
            kind: identity.kind().as_str().to_owned(),
            root: identity.trust_root().as_str().to_owned(),
            tenant: identity.tenant().map(|tenant| tenant.as_str().to_owned()),
            agent: identity.agent().as_str().to_owned(),
            instance: identity.instance().map(|instance| instance.as_str().to_owned()),
            assurance: identity.assurance().as_str().to_owned(),
            attested_at: identity.attested_at(),
            not_after: identity.not_after(),
            facts: identity.facts().clone(),
        };
        let extra = ExtraClaims::new().with(IDENTITY_CLAIM, claims)?;
        let issuer = quoted(self.issuer.as_str());
        let head = Head {
            issuer: &issuer,
            audience: &self.audience,
            header: &self.header,
            lifetime,
            self_asserted_too: self.self_asserted_too,
        };
        let now = self.clock.now().map_err(MintError::from)?;
        let session = sign(
            head,
            self.keys.active(),
            one_jti(&*self.random).map_err(MintError::from)?,
            identity,
            extra,
            now,
        )
        .await?;
        // what is issued must be verifiable, and the verifier reads less than a cloud does
        if session.expose().len() > MAX_TOKEN_BYTES { Err(MintError::TooLarge.into()) } else { Ok(session) }
    }

    /// Verifies a session and gives back the identity that it was issued for.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn verify(&self, session: &str) -> Result<AttestedIdentity, SessionError> {
        let verified = self.verifier.verify::<SessionClaims>(session).await?;
        let subject = verified.subject().to_owned();
        let claims = verified.into_claims().identity;
        let assurance: Assurance = claims.assurance.parse()?;
        let mut identity = AttestedIdentity::assertion(
            claims.kind.parse()?,
            claims.root.parse()?,
            claims.agent.parse()?,
            assurance,
            claims.attested_at,
            claims.not_after,
        )?;
        if let Some(tenant) = claims.tenant {
            identity = identity.with_tenant(tenant.parse()?);
        }
        if let Some(instance) = claims.instance {
            identity = identity.with_instance(instance.parse()?);
        }
        for (name, value) in &claims.facts {
            identity = identity.with_fact(name, value)?;
        }
        let now = self.clock.now().map_err(VerifyError::from)?;
        if !identity.is_current(now) {
            return Err(SessionError::Mint(MintError::Expired));
        }
        // ours, signed, and yet not what it says: a bug, so nothing is let through
        if identity.subject().as_str() != subject { Err(SessionError::Claims) } else { Ok(identity) }
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A verified session does not hold an identity.
    #[error("the session holds no identity")]
    Claims,
    /// A public key of the ring is malformed.
    #[error("a session key is malformed")]
    Keys(#[from] JwkError),
    /// It was not issued, or its identity has expired.
    #[error("the session cannot be issued or has ended")]
    Mint(#[from] MintError),
    /// It is refused.
    #[error("the session is refused")]
    Verify(#[from] VerifyError),
}

impl SessionError {
    /// What an embedder must know.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Claims => ErrorKind::Invalid,
            Self::Keys(_) => ErrorKind::Misconfigured,
            Self::Mint(error) => error.kind(),
            Self::Verify(error) => error.kind(),
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Mint(error) => error.retry_after(),
            Self::Verify(error) => error.retry_after(),
            Self::Claims | Self::Keys(_) => None,
        }
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Claims => "session_claims",
            Self::Keys(_) => "session_keys",
            Self::Mint(error) => error.code(),
            Self::Verify(error) => error.code(),
        }
    }
}

impl From<IdentityError> for SessionError {
    fn from(_: IdentityError) -> Self {
        Self::Claims
    }
}

impl From<KindError> for SessionError {
    fn from(_: KindError) -> Self {
        Self::Claims
    }
}

#[derive(Deserialize)]
struct SessionClaims {
    #[serde(rename = "agentkeys")]
    identity: IdentityClaims,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityClaims {
    kind: String,
    root: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    agent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    assurance: String,
    attested_at: Timestamp,
    not_after: Timestamp,
    #[serde(default)]
    facts: BTreeMap<String, String>,
}

/// The `typ` of a session token.
pub const SESSION_TYPE: TokenType = TokenType::new("agentkeys-session+jwt");

/// The `aud` of a session token.
pub const SESSION_AUDIENCE: &str = "agentkeys:broker";

const IDENTITY_CLAIM: &str = "agentkeys";
const MAX_SESSION: Duration = Duration::from_secs(3600);
