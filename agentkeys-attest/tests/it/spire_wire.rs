//! The two halves of SPIRE over a Unix socket, against a double of the Workload API whose messages are
//! spelled here once more.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use agentkeys_attest::spire::{SpireAttestor, SpireBundles, SpireSource, WorkloadSocket};
use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::ManualClock;
use agentkeys_core::{
    Attestor as _, ErrorKind, EvidenceSource as _, KeySource as _, RefreshReason, SpiffeId, Timestamp,
};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tonic::body::Body;
use tonic::codegen::tokio_stream::wrappers::UnixListenerStream;
use tonic::codegen::tokio_stream::{Stream, StreamExt as _, iter, pending};
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, ServerStreamingService, UnaryService};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::spire::{ID, claims, pins};
use crate::support::{ISSUED, NOW, STRANGER, told};

#[derive(Clone, PartialEq, prost::Message)]
struct SvidRequest {
    #[prost(string, repeated, tag = "1")]
    audience: Vec<String>,
    #[prost(string, tag = "2")]
    spiffe_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SvidResponse {
    #[prost(message, repeated, tag = "1")]
    svids: Vec<Svid>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Svid {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(string, tag = "2")]
    svid: String,
    #[prost(string, tag = "3")]
    hint: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BundlesRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct BundlesResponse {
    #[prost(map = "string, bytes", tag = "1")]
    bundles: HashMap<String, Vec<u8>>,
}

/// What the double answers, and what it was asked.
#[derive(Default)]
struct State {
    svids: Vec<String>,
    refusal: Option<Code>,
    bundle: Vec<u8>,
    /// How much is said of another trust domain, in bytes.
    foreign: usize,
    asked: Vec<SvidRequest>,
}

#[derive(Clone, Default)]
struct Double(Arc<Mutex<State>>);

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

impl Double {
    /// What any call must carry, and whether it is refused.
    fn admit(
        &self,
        marked: Option<&tonic::metadata::MetadataValue<tonic::metadata::Ascii>>,
    ) -> Result<(), Status> {
        if marked.is_none_or(|value| value != "true") {
            return Err(Status::invalid_argument("security header missing from request"));
        }
        match self.0.lock().unwrap().refusal {
            Some(code) => Err(Status::new(code, "MARKED")),
            None => Ok(()),
        }
    }
}

impl UnaryService<SvidRequest> for Double {
    type Response = SvidResponse;
    type Future = Answer<SvidResponse>;

    fn call(&mut self, request: Request<SvidRequest>) -> Self::Future {
        let admitted = self.admit(request.metadata().get("workload.spiffe.io"));
        let mut state = self.0.lock().unwrap();
        state.asked.push(request.into_inner());
        let svid =
            |svid: &String| Svid { spiffe_id: ID.to_owned(), svid: svid.clone(), hint: "x".to_owned() };
        let answer = SvidResponse { svids: state.svids.iter().map(svid).collect() };
        Box::pin(async move { admitted.map(|()| Response::new(answer)) })
    }
}

impl ServerStreamingService<BundlesRequest> for Double {
    type Response = BundlesResponse;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<BundlesResponse, Status>> + Send>>;
    type Future = Answer<Self::ResponseStream>;

    fn call(&mut self, request: Request<BundlesRequest>) -> Self::Future {
        let admitted = self.admit(request.metadata().get("workload.spiffe.io"));
        let (bundle, foreign) = {
            let state = self.0.lock().unwrap();
            (state.bundle.clone(), state.foreign)
        };
        let mut other = STRANGER.jwks().to_string().into_bytes();
        other.resize(other.len().max(foreign), b' ');
        let bundles = HashMap::from([
            ("spiffe://example.org".to_owned(), bundle),
            ("spiffe://other.example".to_owned(), other),
        ]);
        // the stream stays open
        let said = iter([Ok(BundlesResponse { bundles })]).chain(pending());
        Box::pin(async move { admitted.map(|()| Response::new(Box::pin(said) as Self::ResponseStream)) })
    }
}

impl Service<http::Request<Body>> for Double {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let double = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/SpiffeWorkloadAPI/FetchJWTSVID" => {
                    Grpc::new(ProstCodec::default()).unary(double, request).await
                }
                "/SpiffeWorkloadAPI/FetchJWTBundles" => {
                    Grpc::new(ProstCodec::default()).server_streaming(double, request).await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

/// A double that listens until it is dropped.
struct Agent {
    double: Double,
    path: PathBuf,
    serving: tokio::task::JoinHandle<()>,
}

impl Agent {
    fn start(name: &str) -> Self {
        // not below TMPDIR: a socket's path is at most 107 bytes
        let path = PathBuf::from(format!("/tmp/agentkeys-{}-{name}.sock", std::process::id()));
        let double = Double::default();
        double.0.lock().unwrap().bundle = ISSUED.jwks().to_string().into_bytes();
        let connections = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
        let served = double.clone();
        let serving = tokio::spawn(async move {
            Server::builder().serve_with_incoming(served, connections).await.unwrap();
        });
        Self { double, path, serving }
    }

    fn socket(&self) -> WorkloadSocket {
        format!("unix://{}", self.path.display()).parse().unwrap()
    }

    fn source(&self) -> SpireSource {
        SpireSource::new(self.socket(), "agentkeys".parse().unwrap())
    }

    fn issues(&self, svids: &[String]) {
        self.double.0.lock().unwrap().svids = svids.to_vec();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.serving.abort();
        std::fs::remove_file(&self.path).unwrap();
    }
}

fn svid(claims: &Value) -> String {
    ISSUED.sign(Algorithm::Es256, claims)
}

#[tokio::test]
async fn r29_w23_the_request_names_one_audience_and_the_answers_first_svid_is_the_evidence() {
    let agent = Agent::start("source");
    let (first, second) = (svid(&claims()), svid(&json!({})));
    agent.issues(&[first.clone(), second]);
    let evidence = agent.source().fetch().await.unwrap();
    assert_eq!(evidence.expose(), first.as_bytes());
    agent.source().with_spiffe_id(SpiffeId::parse(ID).unwrap()).fetch().await.unwrap();
    let audience = vec!["agentkeys".to_owned()];
    let asked = [
        SvidRequest { audience: audience.clone(), spiffe_id: String::new() },
        SvidRequest { audience, spiffe_id: ID.to_owned() },
    ];
    assert_eq!(agent.double.0.lock().unwrap().asked, asked);
}

#[tokio::test]
async fn what_the_agent_says_is_neither_kept_nor_shown() {
    let agent = Agent::start("refusal");
    agent.double.0.lock().unwrap().refusal = Some(Code::InvalidArgument);
    let error = agent.source().fetch().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(!format!("{error:?} {}", told(&error)).contains("MARKED"));
    agent.double.0.lock().unwrap().refusal = None;
    let error = agent.source().fetch().await.unwrap_err();
    assert_eq!(error.to_string(), "the platform's answer is not evidence");
}

#[tokio::test]
async fn r29_w26_evidence_to_identity_and_a_revoked_key_is_refused() {
    let agent = Agent::start("flow");
    agent.issues(&[svid(&claims())]);
    let clock = ManualClock::new(Timestamp::from_unix(NOW));
    let pins = pins("/agent/{tenant}/{user}/{type}/{agent}");
    let bundles = SpireBundles::new(agent.socket(), &pins.trust_domain).with_clock(clock.clone());
    let attestor = SpireAttestor::new(pins, Arc::new(bundles.clone())).unwrap().with_clock(clock.clone());
    let evidence = agent.source().fetch().await.unwrap();
    let identity = attestor.attest(&evidence).await.unwrap();
    assert_eq!(identity.agent().as_str(), "blue");

    let mut left = ISSUED.jwks();
    left["keys"].as_array_mut().unwrap().retain(|key| key["kid"] != "EC256_0");
    agent.double.0.lock().unwrap().bundle = left.to_string().into_bytes();
    // this makes the agent be asked anew, as a minute's passing would
    bundles.refresh(RefreshReason::UnknownKey(None)).await.unwrap();
    assert_eq!(attestor.attest(&evidence).await.unwrap_err().code(), "token_key_unknown");
}

#[tokio::test]
async fn a_message_that_is_too_large_leaves_no_keys() {
    let agent = Agent::start("large");
    agent.double.0.lock().unwrap().foreign = 5 * 1024 * 1024;
    let bundles = SpireBundles::new(agent.socket(), &"example.org".parse().unwrap());
    assert_eq!(bundles.prefetch().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(bundles.read(Timestamp::from_unix(NOW)).is_err());
}

#[tokio::test]
async fn no_agent_is_unavailable_and_nobody_is_asked_for_long() {
    let socket: WorkloadSocket = "unix:///tmp/agentkeys-nobody.sock".parse().unwrap();
    let bundles = SpireBundles::new(socket, &"example.org".parse().unwrap());
    assert_eq!(bundles.prefetch().await.unwrap_err().kind(), ErrorKind::Unavailable);
}
