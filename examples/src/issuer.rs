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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agentkeys_core::{LocalSigner, SystemRandom};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn l22_the_issuer_is_the_same_whatever_host_a_request_names() {
        let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let server = IssuerServer::start(&KeyRing::new(Arc::new(signer))).await.unwrap();
        let mut bodies = Vec::new();
        for headers in [
            format!("host: {}\r\n", server.issuer().authority()),
            "host: evil.example\r\n".to_owned(),
            "host: evil.example\r\nx-forwarded-host: evil.example\r\nx-forwarded-proto: https\r\n".to_owned(),
            "host: evil.example\r\nforwarded: host=evil.example;proto=https\r\n".to_owned(),
        ] {
            let mut stream = TcpStream::connect(server.issuer().authority()).await.unwrap();
            let request = format!(
                "GET /.well-known/openid-configuration HTTP/1.1\r\n{headers}connection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            bodies.push(answer.split_once("\r\n\r\n").unwrap().1.to_owned());
        }
        let document: serde_json::Value = serde_json::from_str(&bodies[0]).unwrap();
        assert_eq!(document["issuer"], server.issuer().as_str());
        assert!(bodies.iter().all(|body| *body == bodies[0]));
    }
}
