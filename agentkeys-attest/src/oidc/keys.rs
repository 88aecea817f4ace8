use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use agentkeys_core::jose::{KeySet, KeySetError, MAX_KEY_SET_BYTES};
use agentkeys_core::{CacheAges, Clock, HttpClient, Issuer, JwksCache, JwksUri, KeySource, StaticKeys};

/// Where one issuer's keys come from. A client with a CA bundle of its own, or a [`BearerTokenFile`] over one,
/// is a setting of this issuer and of no other.
///
/// [`BearerTokenFile`]: super::BearerTokenFile
#[derive(Clone, Debug)]
pub struct OidcKeys(Origin);

#[derive(Clone, Debug)]
enum Origin {
    Discovered(Arc<dyn HttpClient>),
    At(JwksUri, Arc<dyn HttpClient>),
    Given(Arc<dyn KeySource>),
}

impl OidcKeys {
    /// Those that the issuer's discovery document names, on the issuer's own host (W24).
    #[must_use]
    pub fn discovered(http: Arc<dyn HttpClient>) -> Self {
        Self(Origin::Discovered(http))
    }

    /// Those at `jwks_uri`, on whatever host that is: no discovery document is asked.
    #[must_use]
    pub fn at(jwks_uri: JwksUri, http: Arc<dyn HttpClient>) -> Self {
        Self(Origin::At(jwks_uri, http))
    }

    /// Those of `keys`, which must be this issuer's own.
    #[must_use]
    pub fn given(keys: Arc<dyn KeySource>) -> Self {
        Self(Origin::Given(keys))
    }

    /// Those in a file: a JWK Set (RFC 7517) that was fetched some other way. It is read once, here.
    ///
    /// # Errors
    /// [`JwksFileError`], also where no key in it is of any use.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, JwksFileError> {
        let mut json = Vec::new();
        let most = MAX_KEY_SET_BYTES as u64 + 1;
        let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut json));
        read.map_err(JwksFileError::Unreadable)?;
        if json.len() > MAX_KEY_SET_BYTES {
            return Err(JwksFileError::TooLarge);
        }
        Ok(Self::given(Arc::new(StaticKeys::new(KeySet::parse(&json)?))))
    }

    pub(super) fn source(&self, issuer: &Issuer, clock: &Arc<dyn Clock>) -> Arc<dyn KeySource> {
        let cache = |http: &Arc<dyn HttpClient>| {
            let (http, clock) = (Arc::clone(http), Arc::clone(clock));
            JwksCache::with_settings(issuer.clone(), http, clock, CacheAges::default())
        };
        match &self.0 {
            Origin::Discovered(http) => Arc::new(cache(http)),
            Origin::At(jwks_uri, http) => Arc::new(cache(http).with_jwks_uri(jwks_uri.clone())),
            Origin::Given(keys) => Arc::clone(keys),
        }
    }
}

/// Why a file is no issuer's keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwksFileError {
    /// It is not a key set, or no key in it is of any use.
    #[error("the file is not a key set")]
    Malformed(#[from] KeySetError),
    /// Larger than a key set may be.
    #[error("the file is larger than {MAX_KEY_SET_BYTES} bytes")]
    TooLarge,
    /// It cannot be read.
    #[error("the file cannot be read")]
    Unreadable(#[source] std::io::Error),
}
