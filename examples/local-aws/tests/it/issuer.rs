//! An OIDC issuer of the tests: it serves whatever documents it is told to and signs whatever claims it is given.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

type Documents = Arc<Mutex<HashMap<String, (StatusCode, String)>>>;

pub(crate) const DISCOVERY: &str = "/.well-known/openid-configuration";
pub(crate) const JWKS: &str = "/keys";

/// The issuer. Dropping it ends it.
pub(crate) struct Issuer {
    pub(crate) url: String,
    documents: Documents,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    rsa: RsaKeyPair,
    serving: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let documents = Documents::default();
        let issuer = Self {
            serving: tokio::spawn(serve(listener, Arc::clone(&documents))),
            documents,
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            url,
        };
        issuer
            .publish(DISCOVERY, &json!({"issuer": issuer.url, "jwks_uri": format!("{}{JWKS}", issuer.url)}));
        issuer.publish(JWKS, &json!({"keys": issuer.keys()}));
        issuer
    }

    pub(crate) fn publish(&self, path: &str, document: &Value) {
        self.answer(path, StatusCode::OK, &document.to_string());
    }

    pub(crate) fn answer(&self, path: &str, status: StatusCode, body: &str) {
        self.documents.lock().unwrap().insert(path.to_owned(), (status, body.to_owned()));
    }

    pub(crate) fn keys(&self) -> Vec<Value> {
        let ec = |pair: &EcdsaKeyPair, curve: &str, kid: &str| {
            let point = &pair.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y), "kid": kid, "use": "sig"})
        };
        let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        vec![
            ec(&self.p256, "P-256", "p256"),
            ec(&self.p384, "P-384", "p384"),
            json!({"kty": "RSA", "n": encode(&rsa.n), "e": encode(&rsa.e), "kid": "rsa", "use": "sig"}),
        ]
    }

    /// Claims that are in order: half a minute old, good for ten.
    pub(crate) fn claims(&self, changes: Value) -> Value {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let mut claims = json!({
            "iss": self.url, "sub": "agent/1", "aud": "sts.amazonaws.com", "iat": now - 30, "exp": now + 600,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    /// A token in order but for these claims.
    pub(crate) fn token(&self, changes: Value) -> String {
        self.sign(&json!({"alg": "ES256", "kid": "p256"}), &self.claims(changes).to_string())
    }

    /// Signs any text under any header, with the key that the algorithm needs.
    pub(crate) fn sign(&self, header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.as_bytes()));
        let random = SystemRandom::new();
        let rsa = |encoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &random, message.as_bytes(), &mut signature).unwrap();
            signature
        };
        let signature = match header["alg"].as_str() {
            Some("ES384") => self.p384.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Some("RS256") => rsa(&RSA_PKCS1_SHA256),
            Some("RS384") => rsa(&RSA_PKCS1_SHA384),
            Some("RS512") => rsa(&RSA_PKCS1_SHA512),
            _ => self.p256.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", encode(&signature))
    }
}

async fn serve(listener: TcpListener, documents: Documents) {
    while let Ok((stream, _)) = listener.accept().await {
        let documents = Arc::clone(&documents);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let found = documents.lock().unwrap().get(request.uri().path()).cloned();
                let (status, body) = found.unwrap_or((StatusCode::NOT_FOUND, String::new()));
                let response = Response::builder().status(status).header("location", "/elsewhere");
                async move { Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap()) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
