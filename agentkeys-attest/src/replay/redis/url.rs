use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use agentkeys_core::Secret;
use percent_encoding::percent_decode_str;

/// Where a Redis server is, and how to log in: `rediss://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, with TLS.
/// `redis://`, without, only on loopback: whoever can write on the wire could answer for the server.
///
/// Names in it are percent-encoded. There are no parameters. A cluster is reached at any name that leads to some
/// of its nodes.
#[derive(Clone)]
pub struct RedisUrl {
    pub(super) address: Address,
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: u16,
}

/// A server's name or address, without brackets, and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// As `MOVED` names a node: `HOST:PORT`, where an empty host is that of who answers.
    pub(super) fn of_node(named: &str, answering: &Self) -> Option<Self> {
        let (host, port) = named.rsplit_once(':')?;
        let host = if host.is_empty() { answering.host.as_str() } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        let url = redis::parse_redis_url(text).ok_or(RedisUrlError::Malformed)?;
        let tls = match url.scheme() {
            "rediss" => true,
            "redis" => false,
            _ => return Err(RedisUrlError::Malformed),
        };
        // the client underneath would read "insecure" and other switches there
        if url.query().is_some() || url.fragment().is_some() {
            return Err(RedisUrlError::Parameters);
        }
        let host = url.host_str().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(RedisUrlError::Malformed);
        }
        let address = Address { host: host.to_owned(), port: url.port().unwrap_or(PORT) };
        if !tls && !address.is_loopback() {
            return Err(RedisUrlError::Plain);
        }
        let database = match url.path() {
            "" | "/" => 0,
            path => {
                let number = path.strip_prefix('/').and_then(|number| number.parse().ok());
                number.ok_or(RedisUrlError::Malformed)?
            }
        };
        let user = Some(decoded(url.username())?).filter(|user| !user.is_empty());
        let password = url.password().map(decoded).transpose()?.map(Secret::new);
        if user.is_some() && password.is_none() {
            return Err(RedisUrlError::NoPassword);
        }
        Ok(Self { address, tls, user, password, database })
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisUrl").finish_non_exhaustive()
    }
}

/// Why a text is no [`RedisUrl`]. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisUrlError {
    /// Not of that form.
    #[error("it is not rediss://[USER:PASSWORD@]HOST[:PORT][/DATABASE]")]
    Malformed,
    /// A user alone logs in nobody.
    #[error("it has a user and no password")]
    NoPassword,
    /// There are none.
    #[error("a redis url has neither ? nor # here")]
    Parameters,
    /// Without TLS beyond loopback.
    #[error("redis:// is for loopback; beyond it is rediss://, with tls")]
    Plain,
}

fn decoded(text: &str) -> Result<String, RedisUrlError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| RedisUrlError::Malformed)?;
    Ok(text.into_owned())
}

const PORT: u16 = 6379;
