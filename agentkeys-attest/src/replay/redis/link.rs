use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::url::Address;
use super::{Answer, RedisFault, RedisReplayGuard, RedisTrust, RedisUrl, fault};

/// How one gets in at any node.
pub(super) struct Door {
    pub(super) first: Address,
    tls: Option<TlsConnector>,
    login: RedisConnectionInfo,
}

impl Door {
    pub(super) fn new(url: &RedisUrl, trust: &RedisTrust) -> Self {
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name().set_db(url.database.into());
        if let Some(user) = &url.user {
            login = login.set_username(user);
        }
        if let Some(password) = &url.password {
            login = login.set_password(password.expose());
        }
        Self { first: url.address.clone(), tls: url.tls.then(|| trust.connector()), login }
    }

    /// The same rule as for the URL: whom a node names is not to be asked in the clear.
    pub(super) fn leads_to(&self, node: &Address) -> bool {
        self.tls.is_some() || node.is_loopback()
    }

    async fn open(&self, node: &Address) -> Result<Link, RedisFault> {
        let stream = TcpStream::connect((node.host.as_str(), node.port)).await;
        let stream = stream.map_err(|_| RedisFault::Connection)?;
        stream.set_nodelay(true).map_err(|_| RedisFault::Connection)?;
        let Some(tls) = &self.tls else { return self.login(stream).await };
        let name = ServerName::try_from(node.host.clone()).map_err(|_| RedisFault::Tls)?;
        self.login(tls.connect(name, stream).await.map_err(|_| RedisFault::Tls)?).await
    }

    async fn login<S>(&self, stream: S) -> Result<Link, RedisFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(RedisReplayGuard::ANSWER))
            .set_pipeline_buffer_size(QUEUE);
        let opened = MultiplexedConnection::new_with_config(&self.login, stream, config).await;
        let (connection, driver) = opened.map_err(|error| fault::of(&error))?;
        let link = Link { connection, driver: tokio::spawn(driver).abort_handle() };
        let said = link.send(&redis::cmd("INFO")).await.map_err(|error| fault::of(&error))?;
        remembers(&said)?;
        Ok(link)
    }
}

/// Whether the server may be trusted to know tomorrow what it was told today.
fn remembers(info: &Value) -> Result<(), RedisFault> {
    let Value::BulkString(info) = info else { return Err(RedisFault::NotUnderstood) };
    let info = std::str::from_utf8(info).map_err(|_| RedisFault::NotUnderstood)?;
    let says = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(named, _)| *named == name).map(|(_, value)| value)
    };
    match says("maxmemory_policy") {
        Some("noeviction") => {}
        Some(_) => return Err(RedisFault::Evicts),
        None => return Err(RedisFault::NotUnderstood),
    }
    let up = says("uptime_in_seconds").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    match (says("aof_enabled"), up) {
        (Some("1"), _) => Ok(()),
        (Some("0"), Some(up)) if up >= RedisReplayGuard::SETTLED => Ok(()),
        (Some("0"), Some(_)) => Err(RedisFault::Forgetful),
        _ => Err(RedisFault::NotUnderstood),
    }
}

/// A connection, and who reads and writes it.
struct Link {
    connection: MultiplexedConnection,
    driver: AbortHandle,
}

impl Link {
    async fn send(&self, command: &Cmd) -> Result<Value, redis::RedisError> {
        match self.connection.clone().send_packed_command(command).await? {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        }
    }
}

impl Drop for Link {
    /// A server that never answers would keep it for ever.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A server, and the connection to it while it is well.
pub(super) struct Node {
    pub(super) address: Address,
    link: Mutex<Option<Arc<Link>>>,
    connecting: tokio::sync::Mutex<()>,
}

/// A node's answer: the use's, or who should be asked instead.
pub(super) enum Asked {
    Answered(Answer),
    Moved(Address),
}

impl Node {
    pub(super) fn new(address: Address) -> Self {
        Self { address, link: Mutex::new(None), connecting: tokio::sync::Mutex::new(()) }
    }

    pub(super) async fn connect(&self, door: &Door) -> Result<(), RedisFault> {
        self.link(door).await.map(|_| ())
    }

    pub(super) async fn ask(&self, door: &Door, command: &Cmd) -> Result<Asked, RedisFault> {
        let link = self.link(door).await?;
        let error = match link.send(command).await {
            Ok(value) => {
                return Answer::try_from(value).map(Asked::Answered).inspect_err(|_| self.forget(&link));
            }
            Err(error) => error,
        };
        if let (redis::ErrorKind::Server(redis::ServerErrorKind::Moved), Some((node, _))) =
            (error.kind(), error.redirect_node())
        {
            let node = Address::of_node(node, &self.address).filter(|node| door.leads_to(node));
            return node.map(Asked::Moved).ok_or(RedisFault::Refused("MOVED"));
        }
        self.forget(&link);
        Err(fault::of(&error))
    }

    /// The connection; one at a time makes it where there is none.
    async fn link(&self, door: &Door) -> Result<Arc<Link>, RedisFault> {
        if let Some(link) = self.kept() {
            return Ok(link);
        }
        let _alone = self.connecting.lock().await;
        if let Some(link) = self.kept() {
            return Ok(link);
        }
        let opened = tokio::time::timeout(RedisReplayGuard::CONNECT, door.open(&self.address)).await;
        let link = Arc::new(opened.unwrap_or(Err(RedisFault::Timeout))?);
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&link));
        Ok(link)
    }

    fn kept(&self) -> Option<Arc<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Others may have connected anew meanwhile: theirs stays.
    fn forget(&self, failed: &Arc<Link>) {
        let mut kept = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, failed)) {
            *kept = None;
        }
    }
}

/// How many commands wait to be written.
const QUEUE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn info(lines: &[&str]) -> Value {
        Value::BulkString(lines.join("\r\n").into_bytes())
    }

    #[test]
    fn w8_a_server_that_may_forget_is_none_for_a_guard() {
        let (kept, aof, none) = ("maxmemory_policy:noeviction", "aof_enabled:1", "aof_enabled:0");
        assert_eq!(remembers(&info(&["# Memory", kept, "# Persistence", aof])), Ok(()));
        assert_eq!(remembers(&info(&[kept, none, "uptime_in_seconds:3600"])), Ok(()));
        for policy in ["volatile-lru", "allkeys-lru", "volatile-ttl", "allkeys-random", "", "noevictions"] {
            let policy = format!("maxmemory_policy:{policy}");
            assert_eq!(remembers(&info(&[&policy, aof])), Err(RedisFault::Evicts), "{policy}");
        }
        for up in ["0", "3599"] {
            let up = format!("uptime_in_seconds:{up}");
            assert_eq!(remembers(&info(&[kept, none, &up])), Err(RedisFault::Forgetful), "{up}");
        }
    }

    #[test]
    fn w8_a_server_that_does_not_say_is_none_for_a_guard() {
        let (kept, aof, none) = ("maxmemory_policy:noeviction", "aof_enabled:1", "aof_enabled:0");
        for said in [
            info(&[]),
            info(&[kept]),
            info(&[aof]),
            info(&["xmaxmemory_policy:noeviction", aof]),
            info(&[kept, none]),
            info(&[kept, none, "uptime_in_seconds:-1"]),
            info(&[kept, none, "uptime_in_seconds:much"]),
            info(&[kept, "aof_enabled:2", "uptime_in_seconds:9999"]),
            info(&[kept, "uptime_in_seconds:9999"]),
            Value::BulkString(b"maxmemory_policy:noeviction\naof_enabled:1\n\xff".to_vec()),
            Value::SimpleString("maxmemory_policy:noeviction\naof_enabled:1".to_owned()),
            Value::Okay,
            Value::Nil,
            Value::Int(1),
            Value::Array(vec![info(&[kept, aof])]),
        ] {
            assert_eq!(remembers(&said), Err(RedisFault::NotUnderstood), "{said:?}");
        }
    }
}
