//! Runs the whole flow with marked secrets and reads all that a log could show.

use std::fmt::{Debug, Display};
use std::sync::Arc;

use agentkeys_core::jose::{Algorithm, Compact};
use agentkeys_core::testing::FakeHttp;
use agentkeys_core::{
    Assurance, AttestError, AttestedIdentity, Attestor, Attestors, Audience, Evidence, EvidenceKind,
    HttpRequest, HttpResponse, Issuer, JwksCache, KeyRing, LocalSigner, MintRequest, Minter, Oidc, Secret,
    Session, Sessions, SystemRandom, TokenLifetime, Verifier,
};
use async_trait::async_trait;

use crate::http::everything;
use crate::support::*;

/// All that was shown, and all that must not be in it.
#[derive(Default)]
struct Log {
    shown: String,
    secrets: Vec<String>,
}

impl Log {
    fn debug(&mut self, value: &dyn Debug) {
        self.shown.push_str(&format!("{value:?}\n{value:#?}\n"));
    }

    fn error(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.shown.push_str(&everything(error));
        self.shown.push('\n');
    }

    fn display(&mut self, value: &dyn Display) {
        self.shown.push_str(&format!("{value}\n"));
    }

    fn keep_secret(&mut self, secret: impl Into<String>) {
        self.secrets.push(secret.into());
    }

    /// A token, and its payload and signature on their own: a signed token in two halves is a token.
    fn keep_token_secret(&mut self, token: &str) {
        self.keep_secret(token);
        let mut parts = token.split('.').skip(1).map(str::to_owned);
        self.secrets.extend([parts.next().unwrap(), parts.next().unwrap()]);
    }

    fn leaks(&self) -> Vec<&str> {
        self.secrets.iter().map(String::as_str).filter(|secret| self.shown.contains(secret)).collect()
    }
}

const MARK: &str = "MARKED-MARKED-MARKED";

#[derive(Debug)]
struct ByToken(Verifier);

#[async_trait]
impl Attestor for ByToken {
    fn kind(&self) -> &EvidenceKind {
        &KIND
    }

    async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
        let token = std::str::from_utf8(evidence.expose()).map_err(|_| AttestError::Malformed("not text"))?;
        let verified = self.0.verify::<agentkeys_core::NoClaims>(token).await?;
        let attested = Assurance::PlatformAttested;
        let (root, agent) = ("root".parse()?, "blue".parse()?);
        Ok(AttestedIdentity::assertion(KIND.clone(), root, agent, attested, at(NOW), verified.expires_at())?)
    }
}

async fn run(log: &mut Log) {
    log.keep_secret(MARK);
    // evidence: a good token, spoilt ones, and no token at all
    let good = sign(&with("secret", MARK));
    log.keep_token_secret(&good);
    let attestors = Attestors::new().with(ByToken(verifier())).unwrap();
    log.debug(&attestors);
    let spoilt = [
        format!("{good}{MARK}"),
        format!("{MARK}.{MARK}.{MARK}"),
        sign(&with("aud", MARK)),
        sign(&with("iss", MARK)),
        sign(&with("exp", MARK)),
        sign(&with("sub", serde_json::json!([MARK]))),
        sign_with_header(&format!(r#"{{"alg":"{MARK}","kid":"{MARK}"}}"#)),
        sign_with_header(&format!(r#"{{"alg":"ES256","kid":"{MARK}"}}"#)),
        sign_with_header(&format!(r#"{{"alg":"ES256","typ":"{MARK}"}}"#)),
        sign_with_header(&format!(r#"{{"alg":"ES256","{MARK}":1}}"#)),
        other().sign(Algorithm::Es256, &with("secret", MARK)),
        MARK.to_owned(),
    ];
    for token in &spoilt {
        let evidence = Evidence::new(KIND.clone(), token.as_str()).unwrap();
        log.debug(&evidence);
        log.error(&attestors.attest(&evidence).await.unwrap_err());
    }
    let evidence = Evidence::new(KIND.clone(), good.as_str()).unwrap();
    log.debug(&evidence);
    log.debug(&Compact::split(&good).unwrap());
    let identity = attestors.attest(&evidence).await.unwrap();
    log.debug(&identity);

    // keys
    let (signer, pem) = LocalSigner::generate(&SystemRandom::new()).unwrap();
    for line in pem.expose().lines().filter(|line| !line.starts_with("-----")) {
        log.keep_secret(line);
    }
    log.debug(&pem);
    log.debug(&signer);
    let signer = Arc::new(signer);
    let broken = Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----\n"));
    log.error(&LocalSigner::from_pkcs8_pem(&broken).unwrap_err());
    let ring = KeyRing::<Oidc>::new(signer.clone());
    log.debug(&ring);
    log.debug(&ring.key_set().unwrap());

    let file = KeyRing::<Oidc>::generate(&SystemRandom::new(), at(NOW)).unwrap();
    let text = file.to_secret().unwrap();
    let written: serde_json::Value = serde_json::from_slice(text.expose()).unwrap();
    for line in written["keys"][0]["private_key_pem"].as_str().unwrap().lines() {
        if !line.starts_with("-----") {
            log.keep_secret(line);
        }
    }
    log.debug(&text);
    log.debug(&file.stage(&SystemRandom::new(), at(NOW)).unwrap());
    log.debug(&KeyRing::<Oidc>::from_secret(&text).unwrap());
    let text = String::from_utf8(text.expose().clone()).unwrap();
    for (from, to) in
        [("active", MARK), ("{", MARK), ("kid\":\"", MARK), ("BEGIN PRIVATE KEY", MARK), ("oidc", MARK)]
    {
        let broken = Secret::new(text.replacen(from, to, 1).into_bytes());
        let refused = KeyRing::<Oidc>::from_secret(&broken).unwrap_err();
        log.error(&refused);
        log.debug(&refused);
    }

    // token and session
    let issuer = Issuer::parse(ISSUER).unwrap();
    let minter = Minter::new(issuer.clone(), ring).with_clock(clock());
    log.debug(&minter);
    let request = MintRequest::new(Audience::parse("sts.amazonaws.com").unwrap());
    let token = minter.mint(&identity, request).await.unwrap();
    log.keep_token_secret(token.expose());
    log.debug(&token);
    let sessions =
        Sessions::new(issuer.clone(), KeyRing::<Session>::new(signer)).unwrap().with_clock(clock());
    log.debug(&sessions);
    let session = sessions.issue(&identity, TokenLifetime::DEFAULT).await.unwrap();
    log.keep_token_secret(session.expose());
    log.debug(&session);
    log.debug(&sessions.verify(session.expose()).await.unwrap());
    log.error(&sessions.verify(token.expose()).await.unwrap_err());
    log.error(&sessions.verify(&format!("{}A", session.expose())).await.unwrap_err());
    log.debug(&verifier());
    log.debug(&judge(&good).unwrap());

    // an issuer whose answers are marked
    let http = FakeHttp::new();
    http.answer(&issuer.discovery_url(), 200, MARK);
    let cache = JwksCache::discover(issuer.clone(), Arc::clone(&http) as _);
    log.error(&cache.prefetch().await.unwrap_err());
    log.debug(&cache);
    log.debug(&HttpRequest::post(MARK, MARK, 1).with_header(MARK, MARK));
    log.debug(&HttpResponse::new(200, vec![(MARK.to_owned(), MARK.to_owned())], MARK));
    log.display(&issuer);
}

#[tokio::test]
async fn l29_w41_r46_nothing_secret_is_ever_shown() {
    let mut log = Log::default();
    run(&mut log).await;
    assert!(log.shown.len() > 5000 && log.secrets.len() > 10);
    assert_eq!(log.leaks(), Vec::<&str>::new(), "shown: {}", log.shown);
}

#[tokio::test]
async fn the_search_finds_what_is_shown() {
    let mut log = Log::default();
    run(&mut log).await;
    let signature = log.secrets[3].clone();
    for secret in [MARK.to_owned(), signature] {
        log.shown.push_str(&secret);
        assert!(!log.leaks().is_empty());
    }
    assert_eq!(log.leaks().len(), 2);
}
