use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{ErrorKind, Secret};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Config, Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Where the database is and how to sign in: a connection string as PostgreSQL's own programs take it, such as
/// `host=db.example.org user=broker password=… dbname=audit` or `postgresql://…`.
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>
///
/// No environment variable and no password file is read. `Debug` shows nothing of it.
///
/// # Security
/// `sslmode` in the string decides nothing. Over a network there is TLS, and the server's certificate must be for
/// its name and of an authority that the host names; on this machine there is none.
#[derive(Clone)]
pub struct PostgresLogin {
    pub(super) config: Config,
    pub(super) tls: Option<MakeRustlsConnect>,
}

impl PostgresLogin {
    /// Over TLS 1.2 or later, to a server with a certificate of one of `authorities`, in PEM.
    ///
    /// # Errors
    /// [`PostgresLoginError`].
    pub fn tls(connection: &Secret, authorities: &[u8]) -> Result<Self, PostgresLoginError> {
        let mut config = parse(connection)?;
        // without a name there is nothing to compare a certificate with
        if !config.get_hosts().iter().all(|host| matches!(host, Host::Tcp(_))) {
            return Err(PostgresLoginError::Host);
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            let certificate = certificate.map_err(|_| PostgresLoginError::Authorities)?;
            roots.add(certificate).map_err(|_| PostgresLoginError::Authorities)?;
        }
        if roots.is_empty() {
            return Err(PostgresLoginError::Authorities);
        }
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|_| PostgresLoginError::Authorities)?
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.ssl_mode(SslMode::Require);
        Ok(Self { config, tls: Some(MakeRustlsConnect::new(tls)) })
    }

    /// On this machine: every host is the folder of a socket or a loopback address.
    ///
    /// # Errors
    /// [`PostgresLoginError`].
    pub fn local(connection: &Secret) -> Result<Self, PostgresLoginError> {
        let mut config = parse(connection)?;
        let local = |host: &Host| match host {
            Host::Tcp(name) => name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
            #[cfg(unix)]
            Host::Unix(_) => true,
        };
        // a `hostaddr` would be connected to instead
        if !config.get_hosts().iter().all(local) || !config.get_hostaddrs().is_empty() {
            return Err(PostgresLoginError::Host);
        }
        config.ssl_mode(SslMode::Disable);
        Ok(Self { config, tls: None })
    }
}

fn parse(connection: &Secret) -> Result<Config, PostgresLoginError> {
    // the parser's own error may show a part of a password
    let mut config: Config = connection.expose().parse().map_err(|_| PostgresLoginError::Text)?;
    if config.get_hosts().is_empty() {
        return Err(PostgresLoginError::Host);
    }
    // nobody is signed in as the user of the process by chance
    if config.get_user().is_none() {
        return Err(PostgresLoginError::User);
    }
    if config.get_application_name().is_none() {
        config.application_name("agentkeys-audit");
    }
    // so that there is time for the next of several hosts
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(HOST_TIMEOUT);
    }
    Ok(config)
}

impl fmt::Debug for PostgresLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresLogin(..)")
    }
}

/// Why a connection string cannot be used. It shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresLoginError {
    /// The authorities.
    #[error("the authorities are not certificates in pem")]
    Authorities,
    /// No host, or one that this way of connecting does not take.
    #[error(
        "a local host is a socket's folder or a loopback address, and one over tls has a name or address"
    )]
    Host,
    /// Not a connection string.
    #[error("not a postgresql connection string")]
    Text,
    /// No user.
    #[error("a postgresql connection string must name the user")]
    User,
}

impl PostgresLoginError {
    /// Always [`ErrorKind::Misconfigured`].
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        ErrorKind::Misconfigured
    }
}

const HOST_TIMEOUT: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: &[u8] = include_bytes!("login/authority.pem");

    fn local(text: &str) -> Result<PostgresLogin, PostgresLoginError> {
        PostgresLogin::local(&text.into())
    }

    fn tls(text: &str) -> Result<PostgresLogin, PostgresLoginError> {
        PostgresLogin::tls(&text.into(), AUTHORITY)
    }

    #[test]
    fn without_tls_there_is_only_this_machine() {
        for good in [
            "host=/run/postgresql user=broker",
            "host=127.0.0.1 user=broker sslmode=require",
            "host=::1,127.0.0.2 user=broker",
            "postgresql://broker@127.0.0.1/audit",
        ] {
            assert_eq!(local(good).unwrap().config.get_ssl_mode(), SslMode::Disable, "{good}");
        }
        for bad in [
            "host=db.example.org user=broker",
            "host=localhost user=broker",
            "host=10.0.0.1 user=broker",
            "host=127.0.0.1,10.0.0.1 user=broker",
            "host=127.0.0.1 hostaddr=10.0.0.1 user=broker",
            "user=broker",
        ] {
            assert_eq!(local(bad).unwrap_err(), PostgresLoginError::Host, "{bad}");
        }
    }

    #[test]
    fn over_a_network_there_is_always_tls() {
        for good in
            ["host=db.example.org user=broker sslmode=disable", "host=10.0.0.1 user=broker sslmode=prefer"]
        {
            let login = tls(good).unwrap();
            assert!(login.config.get_ssl_mode() == SslMode::Require && login.tls.is_some(), "{good}");
        }
        assert_eq!(tls("host=/run/postgresql user=broker").unwrap_err(), PostgresLoginError::Host);
        assert_eq!(tls("host=db.example.org,/run user=broker").unwrap_err(), PostgresLoginError::Host);
        for none in
            [&b""[..], b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            let login = PostgresLogin::tls(&"host=db.example.org user=broker".into(), none);
            assert_eq!(login.unwrap_err(), PostgresLoginError::Authorities);
        }
    }

    #[test]
    fn l29_a_connection_string_is_never_shown() {
        let text = "host=127.0.0.1 user=MARKED-user password=MARKED-password dbname=MARKED";
        assert!(!format!("{:?}", local(text).unwrap()).contains("MARKED"));
        for (bad, error) in [
            ("host=127.0.0.1 user=a password=MARKED secret words", PostgresLoginError::Text),
            ("host=127.0.0.1 user=a port=MARKED", PostgresLoginError::Text),
            ("host=127.0.0.1 password=MARKED", PostgresLoginError::User),
        ] {
            let found = local(bad).unwrap_err();
            assert_eq!(found, error, "{bad}");
            assert!(!format!("{found:?} {found}").contains("MARKED"));
        }
    }
}
