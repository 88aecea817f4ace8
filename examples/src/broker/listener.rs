//! One listening socket, of a broker or a sidecar: limits on connections, time for a handshake and for headers, and an end in which every
//! request that was begun is answered.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Serves `routes`, which may ask for the peer's address, until it is told to stop; then answers what was begun, for [`GRACE`] at most.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    routes: Router,
    open: IntGauge,
    mut stop: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(routes);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // whoever comes when it is full waits in the kernel's queue until one of the others is closed
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, permit)
        };
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            (accepted, permit) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let service = service_fn({
                        let service = service.clone();
                        move |mut request: hyper::Request<Incoming>| {
                            request.extensions_mut().insert(ConnectInfo(peer));
                            service.call(request)
                        }
                    });
                    let (tls, stop, open) = (tls.clone(), stop.clone(), open.clone());
                    connections.spawn(async move {
                        open.inc();
                        connection(stream, tls, service, stop).await;
                        open.dec();
                        drop(permit);
                    });
                }
                // out of file descriptors, most likely: let some be closed and try again
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection<S>(stream: TcpStream, tls: Option<TlsAcceptor>, service: S, stop: watch::Receiver<bool>)
where
    S: Service<hyper::Request<Incoming>, Response = axum::response::Response, Error = Infallible>,
{
    let _unset = stream.set_nodelay(true);
    match tls {
        None => speak(TokioIo::new(stream), service, stop).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                speak(TokioIo::new(stream), service, stop).await;
            }
        }
    }
}

async fn speak<I, S>(io: I, service: S, mut stop: watch::Receiver<bool>)
where
    I: Read + Write + Unpin,
    S: Service<hyper::Request<Incoming>, Response = axum::response::Response, Error = Infallible>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _closed = connection.await;
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _told = stop.wait_for(|stop| *stop).await;
}

/// How many connections are open at once on one listener.
const MAX_CONNECTIONS: usize = 1024;

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// From the first moment of a connection, or the end of an answer, to the end of the next request's headers.
pub(crate) const HEADERS: Duration = Duration::from_secs(10);

/// A session is 16 KiB at most, and a browser's other headers are few.
const MAX_HEADER_BYTES: usize = 32 * 1024;
const MAX_HEADERS: usize = 64;

/// How long a request may take that was begun before the end.
const GRACE: Duration = Duration::from_secs(20);

const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
