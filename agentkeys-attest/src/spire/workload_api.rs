//! What is used of the SPIFFE Workload API: two calls of its gRPC service.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md>
//!
//! The two calls are spelled out here, so that a trust domain's keys come to core's one parser byte for
//! byte as the agent sent them, and the bundles of other trust domains are not read at all.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use agentkeys_core::{Audience, Secret, SpiffeId};
use async_trait::async_trait;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// Where this machine's SPIFFE agent listens: a Unix socket, `unix:///run/spire/agent.sock`.
///
/// The standard knows TCP as well. It is refused here: over TCP nobody vouches for who answers with the
/// keys, and the evidence would cross the network in the clear. 1 to 107 printable ASCII characters of an
/// absolute path, without `%`, `?` and `#`.
/// <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_Endpoint.md#4-locating-the-endpoint>
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkloadSocket(String);

impl WorkloadSocket {
    /// Reads an address, as `SPIFFE_ENDPOINT_SOCKET` has it. That variable is not read here: whoever
    /// may set it chooses whose keys are trusted, so the host passes its value on purpose (R82).
    ///
    /// # Errors
    /// [`WorkloadSocketError`].
    pub fn parse(address: &str) -> Result<Self, WorkloadSocketError> {
        let rest = address.strip_prefix("unix:").ok_or(WorkloadSocketError::Scheme)?;
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"%?#".contains(&byte);
        if !path.starts_with('/') || path.starts_with("//") || !path.bytes().all(plain) {
            return Err(WorkloadSocketError::Path);
        }
        if path.len() > MAX_SOCKET_PATH {
            return Err(WorkloadSocketError::Length);
        }
        Ok(Self(path.to_owned()))
    }
}

impl FromStr for WorkloadSocket {
    type Err = WorkloadSocketError;

    fn from_str(address: &str) -> Result<Self, WorkloadSocketError> {
        Self::parse(address)
    }
}

impl fmt::Display for WorkloadSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.0)
    }
}

/// Why a text is not the address of a Workload API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadSocketError {
    /// Longer than a Unix socket's address can be.
    #[error("the path of a socket is at most {MAX_SOCKET_PATH} bytes")]
    Length,
    /// Not an absolute path of plain characters.
    #[error("the address has no absolute path of plain characters")]
    Path,
    /// Not `unix:`.
    #[error("the address begins with unix:")]
    Scheme,
}

/// The agent's answers, as the two halves of this module need them.
#[async_trait]
pub(super) trait WorkloadApi: fmt::Debug + Send + Sync {
    /// This workload's default JWT-SVID, or that of `id`, for one audience.
    async fn jwt_svid(
        &self,
        audience: &Audience,
        id: Option<&SpiffeId>,
    ) -> Result<Secret<String>, AgentFailure>;

    /// Opens the stream of JWT bundles.
    async fn jwt_bundles(&self) -> Result<Box<dyn JwtBundles>, AgentFailure>;
}

/// A stream of JWT bundles: each message is the whole truth.
#[async_trait]
pub(super) trait JwtBundles: Send {
    /// The next message: a JWK set for each trust domain's SPIFFE ID.
    async fn next(&mut self) -> Result<HashMap<String, Vec<u8>>, AgentFailure>;
}

/// The agent behind a socket. Each call opens a connection of its own.
#[derive(Clone, Debug)]
pub(super) struct Agent(pub(super) WorkloadSocket);

impl Agent {
    async fn connect(&self) -> Result<Grpc<Channel>, AgentFailure> {
        let endpoint = Endpoint::from_shared(self.0.to_string()).map_err(|_| AgentFailure::Unreachable)?;
        let channel = endpoint.connect().await.map_err(|_| AgentFailure::Unreachable)?;
        let mut client = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        client.ready().await.map_err(|_| AgentFailure::Unreachable)?;
        Ok(client)
    }
}

#[async_trait]
impl WorkloadApi for Agent {
    async fn jwt_svid(
        &self,
        audience: &Audience,
        id: Option<&SpiffeId>,
    ) -> Result<Secret<String>, AgentFailure> {
        let wanted = JwtSvidRequest {
            audience: vec![audience.as_str().to_owned()],
            spiffe_id: id.map(ToString::to_string).unwrap_or_default(),
        };
        let codec = ProstCodec::<_, JwtSvidResponse>::default();
        let path = PathAndQuery::from_static("/SpiffeWorkloadAPI/FetchJWTSVID");
        let answer = self.connect().await?.unary(marked(wanted), path, codec).await;
        let found = answer.map_err(|status| AgentFailure::of(&status))?.into_inner().svids;
        // the first one is the workload's default
        found.into_iter().next().map(|first| Secret::new(first.svid)).ok_or(AgentFailure::Empty)
    }

    async fn jwt_bundles(&self) -> Result<Box<dyn JwtBundles>, AgentFailure> {
        let codec = ProstCodec::<_, JwtBundlesResponse>::default();
        let path = PathAndQuery::from_static("/SpiffeWorkloadAPI/FetchJWTBundles");
        let answer = self.connect().await?.server_streaming(marked(JwtBundlesRequest {}), path, codec).await;
        Ok(Box::new(Listening(answer.map_err(|status| AgentFailure::of(&status))?.into_inner())))
    }
}

struct Listening(Streaming<JwtBundlesResponse>);

#[async_trait]
impl JwtBundles for Listening {
    async fn next(&mut self) -> Result<HashMap<String, Vec<u8>>, AgentFailure> {
        match self.0.message().await {
            Ok(Some(message)) => Ok(message.bundles),
            Ok(None) => Err(AgentFailure::Unreachable),
            Err(status) => Err(AgentFailure::of(&status)),
        }
    }
}

/// Why the agent gave nothing. Its own words are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AgentFailure {
    #[error("the agent's answer is empty")]
    Empty,
    #[error("the agent issues no identity to this process")]
    NoIdentity,
    /// The bundles have no usable key of the trust domain.
    #[error("the agent has no keys of the trust domain")]
    NoKeys,
    #[error("the agent does not take the request")]
    Refused,
    #[error("the agent answered in vain: {0:?}")]
    Status(Code),
    #[error("the agent did not answer in time")]
    TimedOut,
    #[error("the agent cannot be reached")]
    Unreachable,
}

impl AgentFailure {
    fn of(status: &Status) -> Self {
        match status.code() {
            // https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_Endpoint.md#6-error-codes
            Code::PermissionDenied => Self::NoIdentity,
            Code::InvalidArgument | Code::Unimplemented => Self::Refused,
            code => Self::Status(code),
        }
    }
}

/// With the header that keeps a request of a browser's or a proxy's away from the agent.
/// <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_Endpoint.md#5-transport>
fn marked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    request
}

// https://github.com/spiffe/spiffe/blob/main/standards/workloadapi.proto

#[derive(Clone, PartialEq, prost::Message)]
struct JwtSvidRequest {
    #[prost(string, repeated, tag = "1")]
    audience: Vec<String>,
    #[prost(string, tag = "2")]
    spiffe_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct JwtSvidResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<JwtSvid>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct JwtSvid {
    #[prost(string, tag = "2")]
    svid: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct JwtBundlesRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct JwtBundlesResponse {
    #[prost(map = "string, bytes", tag = "1")]
    bundles: HashMap<String, Vec<u8>>,
}

impl fmt::Debug for JwtSvidResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvidResponse").finish_non_exhaustive()
    }
}

impl fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvid").finish_non_exhaustive()
    }
}

/// The largest message that is taken in: the key sets of a few dozen trust domains.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// <https://man7.org/linux/man-pages/man7/unix.7.html>: 108 bytes, the last of them zero.
const MAX_SOCKET_PATH: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r82_a_socket_is_an_absolute_unix_path_and_nothing_else() {
        for good in ["unix:///run/spire/agent.sock", "unix:/run/spire/agent.sock"] {
            assert_eq!(WorkloadSocket::parse(good).unwrap().to_string(), "unix:///run/spire/agent.sock");
        }
        let long = |bytes: usize| format!("unix:///{}", "a".repeat(bytes - 1));
        assert!(WorkloadSocket::parse(&long(107)).is_ok());
        assert_eq!(WorkloadSocket::parse(&long(108)), Err(WorkloadSocketError::Length));
        for bad in
            ["", "/run/agent.sock", "tcp://127.0.0.1:8081", "tcp:127.0.0.1:1", "http://a/b", "UNIX:///a"]
        {
            assert_eq!(WorkloadSocket::parse(bad), Err(WorkloadSocketError::Scheme), "{bad}");
        }
        for bad in [
            "unix:",
            "unix://",
            "unix:run/agent.sock",
            "unix://host/run/agent.sock",
            "unix:////run/agent.sock",
            "unix:///run/a%2fb",
            "unix:///run/a?x=1",
            "unix:///run/a#x",
            "unix:///run/a b",
            "unix:///run/a\0b",
            "unix:///run/é",
        ] {
            assert_eq!(WorkloadSocket::parse(bad), Err(WorkloadSocketError::Path), "{bad}");
        }
    }

    #[test]
    fn messages_do_not_show_their_tokens() {
        let svid = JwtSvid { svid: "MARKED".to_owned() };
        let response = JwtSvidResponse { svids: vec![svid.clone()] };
        assert!(!format!("{svid:?} {response:?}").contains("MARKED"));
    }

    #[test]
    fn nothing_of_the_agents_words_is_kept() {
        for (code, failure) in [
            (Code::PermissionDenied, AgentFailure::NoIdentity),
            (Code::InvalidArgument, AgentFailure::Refused),
            (Code::Unimplemented, AgentFailure::Refused),
            (Code::Unavailable, AgentFailure::Status(Code::Unavailable)),
            (Code::Unknown, AgentFailure::Status(Code::Unknown)),
        ] {
            let found = AgentFailure::of(&Status::new(code, "MARKED"));
            assert_eq!(found, failure);
            assert!(!format!("{found:?} {found}").contains("MARKED"));
        }
    }
}
