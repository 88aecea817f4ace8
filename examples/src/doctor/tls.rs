use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentkeys_core::Issuer;
use agentkeys_federation::Thumbprint;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Check;
use crate::Failure;

/// Which certificate authorities may vouch for the issuer's server.
#[derive(Clone, Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
    pem: Option<Vec<u8>>,
}

impl Roots {
    /// The operating system's.
    ///
    /// # Errors
    /// Where there are none.
    pub fn system() -> Result<Self, Failure> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            Err("this machine has no certificate authorities; name a file of them".into())
        } else {
            Ok(Self { store: Arc::new(store), pem: None })
        }
    }

    /// Those in `pem` and no other.
    ///
    /// # Errors
    /// Where it holds none.
    pub fn only(pem: impl Into<Vec<u8>>) -> Result<Self, Failure> {
        let (pem, mut store) = (pem.into(), RootCertStore::empty());
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            store.add(certificate.map_err(|_| "a certificate authority is not PEM")?)?;
        }
        if store.is_empty() {
            return Err("there is no certificate authority in the file".into());
        }
        Ok(Self { store: Arc::new(store), pem: Some(pem) })
    }

    pub(super) fn pem(&self) -> Option<Vec<u8>> {
        self.pem.clone()
    }
}

/// What a TLS handshake with the issuer's server came to, and the certificates that it sent, leaf first.
pub(super) struct Chain {
    outcome: Result<(), Fault>,
    certificates: Vec<CertificateDer<'static>>,
}

enum Fault {
    Connection,
    Slow,
    Tls(Error),
}

pub(super) async fn chain(issuer: &Issuer, server: Option<SocketAddr>, roots: &Roots) -> Chain {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let outcome = tokio::time::timeout(PATIENCE, handshake(issuer, server, roots, &sent)).await;
    let certificates = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
    Chain { outcome: outcome.unwrap_or(Err(Fault::Slow)), certificates }
}

type Sent = Arc<Mutex<Vec<CertificateDer<'static>>>>;

async fn handshake(
    issuer: &Issuer,
    server: Option<SocketAddr>,
    roots: &Roots,
    sent: &Sent,
) -> Result<(), Fault> {
    let authority = issuer.authority();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| Fault::Connection)?),
        _ => (authority, 443),
    };
    let host = host.trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Fault::Connection)?;
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.store.clone(), provider.clone());
    let inner = verifier.build().map_err(|error| Fault::Tls(Error::General(error.to_string())))?;
    let settings = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Fault::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Keeping { inner, sent: sent.clone() }))
        .with_no_client_auth();
    let stream = match server {
        Some(address) => TcpStream::connect(address).await,
        None => TcpStream::connect((host, port)).await,
    };
    let stream = stream.map_err(|_| Fault::Connection)?;
    match TlsConnector::from(Arc::new(settings)).connect(name, stream).await {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.into_inner().and_then(|inner| inner.downcast::<Error>().ok()) {
            Some(error) => Fault::Tls(*error),
            None => Fault::Connection,
        }),
    }
}

/// Verifies as webpki does, and keeps what was sent: also a chain that is refused tells what to mend.
#[derive(Debug)]
struct Keeping {
    inner: Arc<WebPkiServerVerifier>,
    sent: Sent,
}

impl ServerCertVerifier for Keeping {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(leaf).chain(above).map(|one| one.clone().into_owned());
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = all.collect();
        self.inner.verify_server_cert(leaf, above, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl Chain {
    pub(super) fn check(&self) -> Check {
        const NAME: &str = "tls";
        let fault = match &self.outcome {
            Ok(()) => {
                let found = format!("{} certificates, verified for this host", self.certificates.len());
                return Check::ok(NAME, found);
            }
            Err(fault) => fault,
        };
        let (found, mend) = match fault {
            Fault::Connection => ("no TLS server can be reached there", "look at DNS, firewall and port 443"),
            Fault::Slow => ("the server does not answer in time", "look at the server"),
            Fault::Tls(Error::InvalidCertificate(refused)) => match refused {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    ("the certificate has expired", "renew it")
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    ("the certificate is not valid yet", "look at this machine's clock, or wait")
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    ("the certificate is for another host", "get one for the issuer's host")
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => (
                    "the certificate does not chain to an authority that is trusted here",
                    "send the intermediate certificates as well; for a private authority name its file, and put \
                     the thumbprint into the provider",
                ),
                _ => ("the certificate is refused", "get another one"),
            },
            Fault::Tls(_) => ("the TLS handshake fails", "offer TLS 1.2 or 1.3 with an ordinary certificate"),
        };
        Check::wrong(NAME, found, mend)
    }

    /// The thumbprint of the top of the chain, whatever became of the handshake.
    pub(super) fn thumbprint(&self) -> TopOfChain {
        match self.certificates.as_slice() {
            [] => TopOfChain::None,
            [_alone] => TopOfChain::LeafAlone,
            chain => Thumbprint::from_chain(chain).map_or(TopOfChain::Broken, TopOfChain::Is),
        }
    }
}

/// What the provider's thumbprint must be.
pub(super) enum TopOfChain {
    None,
    LeafAlone,
    Broken,
    Is(Thumbprint),
}

impl TopOfChain {
    pub(super) const fn top(&self) -> Option<&Thumbprint> {
        if let Self::Is(thumbprint) = self { Some(thumbprint) } else { None }
    }

    pub(super) fn check(&self) -> Check {
        const NAME: &str = "thumbprint";
        match self {
            Self::None => Check::wrong(NAME, "no certificate was seen", "mend TLS first"),
            Self::LeafAlone => Check::wrong(
                NAME,
                "the server sends its own certificate and none above it",
                "send the intermediate certificates as well: the thumbprint is the top one's, and the own one's \
                 changes with every renewal",
            ),
            Self::Broken => Check::wrong(
                NAME,
                "the certificates that the server sends are no chain",
                "send the own one first and each one's issuer behind it",
            ),
            Self::Is(thumbprint) => Check::ok(NAME, format!("{thumbprint}, of the top of the chain")),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
