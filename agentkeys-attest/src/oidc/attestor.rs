use std::fmt;
use std::sync::Arc;

use agentkeys_core::jose::KeyTables;
use agentkeys_core::{
    AttestError, AttestedIdentity, Attestor, Clock, Evidence, EvidenceKind, SystemClock, Verifier,
    VerifyError, claimed_issuer,
};
use async_trait::async_trait;

use super::OIDC;
use super::issuer::{OidcIssuer, OidcPinsError};

/// Appraises the tokens of one or more configured issuers.
///
/// # Contract
/// As [`Attestor`]'s. The trust root is the issuer (with the template's other fields behind it, so that no two
/// names are one subject), the identity is platform-attested, and the facts are the subject, the claim that
/// names the agent and the required claims, each under its path.
///
/// # Security
/// The token's own `iss`, which nobody has verified yet, only chooses among the configured issuers, byte for
/// byte (R34); a token of any other is refused before anything is fetched (L10). Each issuer has keys of its
/// own (L16). Everything else is decided by claims that are verified, in the order of [`Verifier`].
///
/// An issuer's signature proves what *that issuer* checks. Read which claims its users can choose before one
/// of them names an agent. A broker's own issuer must not be among them (L31).
///
/// # Errors
/// [`AttestError`]; `Pin` and `Missing` say which rule refuses, and nothing shows any part of the token.
#[derive(Clone)]
pub struct OidcAttestor {
    issuers: Vec<(OidcIssuer, Verifier)>,
    clock: Arc<dyn Clock>,
    key_tables: KeyTables,
}

impl OidcAttestor {
    /// An attestor of `first`'s tokens. Fetches nothing yet (W18).
    #[must_use]
    pub fn new(first: OidcIssuer) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let key_tables = KeyTables::off();
        let verifier = first.verifier(&clock, &key_tables);
        Self { issuers: vec![(first, verifier)], clock, key_tables }
    }

    /// Of `issuer`'s tokens too.
    ///
    /// # Errors
    /// [`OidcPinsError::TwoOfOneIssuer`].
    pub fn with_issuer(mut self, issuer: OidcIssuer) -> Result<Self, OidcPinsError> {
        if self.issuers.iter().any(|(known, _)| known.issuer() == issuer.issuer()) {
            return Err(OidcPinsError::TwoOfOneIssuer);
        }
        let verifier = issuer.verifier(&self.clock, &self.key_tables);
        self.issuers.push((issuer, verifier));
        Ok(self)
    }

    /// With another clock, also for the age of fetched keys.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self.rebuilt()
    }

    /// With tables for the keys of all issuers, those that are added later too, as
    /// [`Verifier::with_key_tables`] has it.
    #[must_use]
    pub fn with_key_tables(mut self, tables: KeyTables) -> Self {
        self.key_tables = tables;
        self.rebuilt()
    }

    fn rebuilt(mut self) -> Self {
        for (issuer, verifier) in &mut self.issuers {
            *verifier = issuer.verifier(&self.clock, &self.key_tables);
        }
        self
    }
}

impl fmt::Debug for OidcAttestor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.issuers.iter().map(|(issuer, _)| issuer)).finish()
    }
}

#[async_trait]
impl Attestor for OidcAttestor {
    fn kind(&self) -> &EvidenceKind {
        const { &OIDC }
    }

    async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
        if evidence.kind() != self.kind() {
            return Err(AttestError::WrongKind);
        }
        let token = std::str::from_utf8(evidence.expose()).map_err(|_| AttestError::Malformed("not text"))?;
        let claimed = claimed_issuer(token)?;
        let configured = self.issuers.iter().find(|(issuer, _)| issuer.issuer().as_str() == claimed);
        let (issuer, verifier) = configured.ok_or(VerifyError::Issuer)?;
        issuer.appraise(&verifier.verify(token).await?, self.clock.now()?)
    }
}
