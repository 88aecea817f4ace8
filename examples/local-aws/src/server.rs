//! The one port: which request is for whom.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::Body;
use s3s::service::S3Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::idp::Idp;
use crate::record::{RecordedRequest, Records};
use crate::world::World;
use crate::{issuer, kms, s3, sts};

/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) world: Arc<World>,
    pub(crate) records: Records,
    idp: Idp,
    s3: S3Service,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("world", &self.world).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        // The choice is made here because the library panics where a host's other crates switch on a second one.
        // Where the host has already chosen, its choice stands.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let world = Arc::new(world);
        Self { records: Records::default(), idp: Idp::new(), s3: s3::service(&world), world }
    }
}

/// Serves until told to stop, then lets the requests under way finish.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared), stop.clone()));
                }
                // Out of file descriptors, most likely: let some be closed and try again.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, mut stop: watch::Receiver<()>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if let Some(document) = issuer_document(&shared.world, &parts) {
        shared.records.add(RecordedRequest::new(&parts, None));
        return document;
    }
    if !sts::is_for_us(&parts) {
        let record = RecordedRequest::new(&parts, None);
        let acting = record.acting();
        shared.records.add(record);
        if let Some(refusal) = s3::refuse_version_2(&parts) {
            return refusal;
        }
        let mut request = Request::from_parts(parts, Body::from(body));
        request.extensions_mut().insert(acting);
        return match shared.s3.call(request).await {
            Ok(response) => response,
            Err(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
        };
    }
    match Limited::new(body, sts::MAX_BODY).collect().await {
        Ok(body) => {
            let body: Bytes = body.to_bytes();
            let of_kms = kms::is_for_us(&parts);
            let action = if of_kms { None } else { sts::action(&parts, &body) };
            let record = RecordedRequest::new(&parts, action);
            let acting = record.acting();
            shared.records.add(record);
            if of_kms {
                return kms::call(&shared.world, &parts, &body, &acting).map(Body::from);
            }
            sts::call(&shared.world, &shared.idp, &parts, &body, &acting).await.map(Body::from)
        }
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            shared.records.add(RecordedRequest::new(&parts, None));
            sts::too_large(&parts).map(Body::from)
        }
        Err(_) => status(StatusCode::BAD_REQUEST),
    }
}

/// The answer for a path under the outbound issuer; `None` for every other path.
fn issuer_document(world: &World, parts: &Parts) -> Option<Response<Body>> {
    let rest = parts.uri.path().strip_prefix(&world.issuer_path())?;
    let document = match rest {
        "/.well-known/openid-configuration" => issuer::discovery(&world.issuer()),
        "/.well-known/jwks.json" => match world.keys() {
            Ok(keys) => keys.jwks(),
            Err(_) => return Some(status(StatusCode::INTERNAL_SERVER_ERROR)),
        },
        _ => return None,
    };
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Some(status(StatusCode::METHOD_NOT_ALLOWED));
    }
    let mut response = Response::new(Body::from(document.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Some(response)
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
