use std::fmt;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Who vouches for a Redis server with TLS.
#[derive(Clone)]
pub struct RedisTrust(Arc<ClientConfig>);

impl RedisTrust {
    /// The operating system's certificate authorities.
    ///
    /// # Errors
    /// [`RedisTrustError`] where there are none, or one of them cannot be read.
    pub fn system() -> Result<Self, RedisTrustError> {
        let found = rustls_native_certs::load_native_certs();
        if !found.errors.is_empty() {
            return Err(RedisTrustError);
        }
        Self::of(found.certs)
    }

    /// Those in `pem` and no other: a private authority's.
    ///
    /// # Errors
    /// [`RedisTrustError`] where it holds none, or one of them cannot be read.
    pub fn only(pem: &[u8]) -> Result<Self, RedisTrustError> {
        let authorities = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        Self::of(authorities.map_err(|_| RedisTrustError)?)
    }

    /// Nobody: every TLS connection fails. For a server on loopback, on a machine without any store.
    ///
    /// # Errors
    /// [`RedisTrustError`] where the TLS library has no version of the protocol.
    pub fn nobody() -> Result<Self, RedisTrustError> {
        Self::with(RootCertStore::empty())
    }

    fn of(authorities: Vec<CertificateDer<'static>>) -> Result<Self, RedisTrustError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|_| RedisTrustError)?;
        }
        if roots.is_empty() { Err(RedisTrustError) } else { Self::with(roots) }
    }

    fn with(roots: RootCertStore) -> Result<Self, RedisTrustError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|_| RedisTrustError)?;
        Ok(Self(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
    }

    pub(super) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.0))
    }
}

impl fmt::Debug for RedisTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTrust").finish_non_exhaustive()
    }
}

/// There are no certificate authorities, or one of them cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("the certificate authorities for redis cannot be read, or there are none")]
pub struct RedisTrustError;
