use agentkeys_core::{DiscoveryDocument, Issuer, KeyRing, Oidc};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Failure;

/// Publishes an issuer's discovery document and keys on loopback until it is dropped.
#[derive(Debug)]
pub(crate) struct IssuerServer {
    issuer: Issuer,
    serving: JoinHandle<()>,
}

impl IssuerServer {
    /// Serves `keys` under an issuer of its own on a free port.
    pub(crate) async fn start(keys: &KeyRing<Oidc>) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let issuer = Issuer::loopback_http_for_tests(&format!("http://{}", listener.local_addr()?))?;
        // both documents follow from the issuer and the keys, whatever host a request names (L22)
        let discovery = serde_json::to_string(&DiscoveryDocument::new(&issuer))?;
        let jwks = serde_json::to_string(&keys.jwks())?;
        let json = |body: String| get(|| async move { ([(CONTENT_TYPE, "application/json")], body) });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", json(discovery))
            .route("/.well-known/jwks.json", json(jwks));
        let serving = tokio::spawn(async move {
            let _ended = axum::serve(listener, routes).await;
        });
        Ok(Self { issuer, serving })
    }

    pub(crate) const fn issuer(&self) -> &Issuer {
        &self.issuer
    }
}

impl Drop for IssuerServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
