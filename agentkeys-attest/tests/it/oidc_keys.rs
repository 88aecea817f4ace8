//! Where an issuer's keys come from: its own CA, another host, a bearer token, a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentkeys_attest::oidc::{
    BearerTokenFile, JwksFileError, MAX_BEARER_TOKEN, OidcAttestor, OidcIssuer, OidcKeys,
};
use agentkeys_core::jose::{Algorithm, MAX_KEY_SET_BYTES};
use agentkeys_core::testing::{FakeHttp, FakeIssuer, ManualClock};
use agentkeys_core::{
    AttestError, Attestor as _, ErrorKind, HttpClient, HttpRequest, HttpSettings, Issuer, JwksUri,
    ReqwestClient, Timestamp, TrustStore,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::oidc_support::{TABLE, evidence, from_settings};
use crate::support::{NOW, told};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("agentkeys-attest-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _unused = fs::remove_dir_all(&self.0);
    }
}

/// A path, and the `authorization` that came with it.
type Asked = (String, Option<String>);

/// An issuer on loopback behind TLS, with a CA of its own.
struct Loopback {
    fake: FakeIssuer,
    ca: String,
    /// What it wants to see as `authorization`.
    wanted: Arc<Mutex<Option<String>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Loopback {
    /// Whose certificate names `host`; it answers under `localhost`.
    async fn start(host: &str) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = authority.self_signed(&key).unwrap();
        let authority = rcgen::Issuer::new(authority, key);
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let fake = FakeIssuer::new(Issuer::parse(&url).unwrap());
        let keys = fake.issuer().jwks_url();
        let document = json!({ "issuer": url, "jwks_uri": keys }).to_string();
        let (wanted, asked) = (Arc::<Mutex<Option<String>>>::default(), Arc::<Mutex<Vec<Asked>>>::default());
        let this = Self { ca: ca.pem(), wanted: wanted.clone(), asked: asked.clone(), fake };
        let keys = this.fake.jwks().to_string();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(0) | Err(_) => break,
                        Ok(read) => head.extend_from_slice(&buffer[..read]),
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let authorization =
                    head.lines().find_map(|line| line.strip_prefix("authorization: ")).map(str::to_owned);
                let allowed = wanted
                    .lock()
                    .unwrap()
                    .as_ref()
                    .is_none_or(|wanted| authorization.as_ref() == Some(wanted));
                asked.lock().unwrap().push((path.clone(), authorization));
                let (status, body) = match path.as_str() {
                    _ if !allowed => ("401 Unauthorized", "{}"),
                    "/.well-known/openid-configuration" => ("200 OK", document.as_str()),
                    "/.well-known/jwks.json" => ("200 OK", keys.as_str()),
                    _ => ("404 Not Found", ""),
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                let _unused = stream.write_all(answer.as_bytes()).await;
                let _unused = stream.shutdown().await;
            }
        });
        this
    }

    fn want(&self, token: &str) {
        *self.wanted.lock().unwrap() = Some(format!("Bearer {token}"));
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// A client that trusts this CA and no other.
    fn client(&self) -> Arc<dyn HttpClient> {
        client(TrustStore::only(self.ca.clone()))
    }

    fn attestor(&self, keys: OidcKeys) -> (OidcAttestor, Arc<ManualClock>) {
        let clock = ManualClock::new(Timestamp::from_unix(NOW));
        (OidcAttestor::new(issuer(&self.fake, keys)).with_clock(clock.clone()), clock)
    }

    fn token(&self, at: u64) -> String {
        let mut claims = claims(&self.fake);
        claims["iat"] = at.into();
        claims["nbf"] = at.into();
        claims["exp"] = (at + 300).into();
        self.fake.sign(Algorithm::Rs256, &claims)
    }

    async fn attest(&self, keys: OidcKeys) -> Result<String, AttestError> {
        let (attestor, _) = self.attestor(keys);
        Ok(attestor.attest(&evidence(&self.token(NOW))).await?.agent().to_string())
    }
}

fn issuer(fake: &FakeIssuer, keys: OidcKeys) -> OidcIssuer {
    let mut settings = TABLE.settings["pods"].clone();
    settings["issuer"] = fake.issuer().as_str().into();
    from_settings(&settings, keys)
}

fn claims(fake: &FakeIssuer) -> Value {
    let mut claims = TABLE.claims["pods"].clone();
    claims["iss"] = fake.issuer().as_str().into();
    claims
}

fn keys_of(issuer: &Loopback) -> JwksUri {
    JwksUri::parse(&issuer.fake.issuer().jwks_url()).unwrap()
}

fn client(trust: TrustStore) -> Arc<dyn HttpClient> {
    Arc::new(ReqwestClient::new(HttpSettings::new(trust)).unwrap())
}

fn unavailable(refused: Result<String, AttestError>) -> AttestError {
    let error = refused.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("keys_unavailable", ErrorKind::Unavailable), "{error:?}");
    assert!(error.retry_after().is_some());
    error
}

#[tokio::test]
async fn w24_l16_a_private_ca_vouches_for_its_own_issuer_and_no_other_ca_does() {
    let (cluster, other) = (Loopback::start("localhost").await, Loopback::start("localhost").await);
    assert_eq!(cluster.attest(OidcKeys::discovered(cluster.client())).await.unwrap(), "blue");
    let asked: Vec<_> = cluster.asked().into_iter().map(|(path, _)| path).collect();
    assert_eq!(asked, ["/.well-known/openid-configuration", "/.well-known/jwks.json"]);
    for stranger in [client(TrustStore::nobody()), other.client()] {
        unavailable(cluster.attest(OidcKeys::discovered(stranger)).await);
        assert!(cluster.asked().is_empty(), "nothing was said before the handshake failed");
    }
    // each issuer's CA is its own: one attestor, two clusters
    let keys = |cluster: &Loopback| OidcKeys::discovered(cluster.client());
    let (attestor, _) = cluster.attestor(keys(&cluster));
    let attestor = attestor.with_issuer(issuer(&other.fake, keys(&other))).unwrap();
    for cluster in [&cluster, &other] {
        assert!(attestor.attest(&evidence(&cluster.token(NOW))).await.is_ok());
    }
    let (crossed, _) = cluster.attestor(keys(&other));
    let error = crossed.attest(&evidence(&cluster.token(NOW))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn w24_a_certificate_of_another_host_is_refused() {
    let cluster = Loopback::start("other.example").await;
    unavailable(cluster.attest(OidcKeys::discovered(cluster.client())).await);
    let uri = keys_of(&cluster);
    unavailable(cluster.attest(OidcKeys::at(uri, cluster.client())).await);
    assert!(cluster.asked().is_empty());
}

#[tokio::test]
async fn w24_l10_keys_at_a_configured_address_need_no_discovery() {
    let (cluster, keys_host) = (Loopback::start("localhost").await, Loopback::start("localhost").await);
    // the keys of the cluster are on another host: whatever is there is what counts
    let uri = || keys_of(&keys_host);
    let error = cluster.attest(OidcKeys::at(uri(), keys_host.client())).await.unwrap_err();
    assert_eq!(error.code(), "token_signature");
    let paths: Vec<_> = keys_host.asked().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths.first().map(String::as_str), Some("/.well-known/jwks.json"));
    assert!(!paths.contains(&"/.well-known/openid-configuration".to_owned()));
    assert!(cluster.asked().is_empty());
    let uri = keys_of(&cluster);
    assert_eq!(cluster.attest(OidcKeys::at(uri, cluster.client())).await.unwrap(), "blue");
}

#[tokio::test]
async fn w18_l29_a_cluster_that_asks_for_a_token_gets_the_one_in_the_file_as_it_is_now() {
    let folder = Folder::new("bearer");
    let cluster = Loopback::start("localhost").await;
    cluster.want("MARKED.first");
    let error = unavailable(cluster.attest(OidcKeys::discovered(cluster.client())).await);
    assert!(told(&error).contains("401"), "{}", told(&error));
    assert_eq!(cluster.asked(), [("/.well-known/openid-configuration".to_owned(), None)]);

    let file = folder.file("token", "MARKED.first\n");
    let http = BearerTokenFile::new(cluster.client(), cluster.fake.issuer(), &file);
    assert!(!format!("{http:?}").contains("MARKED"));
    let (attestor, clock) = cluster.attestor(OidcKeys::discovered(Arc::new(http)));
    assert!(attestor.attest(&evidence(&cluster.token(NOW))).await.is_ok());
    let sent = || Some("Bearer MARKED.first".to_owned());
    let asked = cluster.asked();
    assert!(asked.len() == 2 && asked.iter().all(|(_, authorization)| *authorization == sent()), "{asked:?}");

    // a day later the kept keys are too old, and the platform has renewed the token
    clock.advance(Duration::from_secs(86_400));
    let later = cluster.token(NOW + 86_400);
    cluster.want("MARKED.second");
    let error = attestor.attest(&evidence(&later)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error:?} {}", told(&error)).contains("MARKED"));
    folder.file("token", "MARKED.second");
    clock.advance(Duration::from_secs(30));
    assert!(attestor.attest(&evidence(&later)).await.is_ok());
}

#[tokio::test]
async fn l10_l29_a_bearer_token_goes_to_its_own_host_alone() {
    let folder = Folder::new("origin");
    let file = folder.file("token", "t1");
    let http = FakeHttp::new();
    let origin = Issuer::parse("https://api.example:6443/path/that/counts/for/nothing").unwrap();
    let bearer = BearerTokenFile::new(http.clone(), &origin, &file);
    let send = async |url: &str| {
        http.answer(url, 200, "");
        bearer.send(HttpRequest::get(url, 10).with_header("accept", "x")).await.unwrap();
        let headers = http.requests().pop().unwrap().headers;
        assert!(headers.contains(&("accept".to_owned(), "x".to_owned())));
        headers.into_iter().find(|(name, _)| name == "authorization").map(|(_, value)| value)
    };
    for own in [
        "https://api.example:6443",
        "https://api.example:6443/",
        "https://api.example:6443/openid/v1/jwks",
        "https://api.example:6443?x=1",
    ] {
        assert_eq!(send(own).await.as_deref(), Some("Bearer t1"), "{own}");
    }
    for other in [
        "https://api.example/openid/v1/jwks",
        "https://api.example:64430/",
        "https://api.example:6443.evil.example/",
        "https://api.example:6443@evil.example/",
        "https://api.example:6443\\@evil.example/",
        "https://api.example:6443#@evil.example/",
        "https://evil.example/https://api.example:6443/",
        "https://api.example.evil.example:6443/",
        "https://xapi.example:6443/",
        "http://api.example:6443/",
        "HTTPS://api.example:6443/",
        "https://API.example:6443/",
        "https://u@api.example:6443/",
    ] {
        assert_eq!(send(other).await, None, "{other}");
    }
    let loopback = Issuer::loopback_http_for_tests("http://127.0.0.1:1").unwrap();
    let bearer = BearerTokenFile::new(http.clone(), &loopback, &file);
    http.answer("http://127.0.0.1:1/a", 200, "");
    bearer.send(HttpRequest::get("http://127.0.0.1:1/a", 10)).await.unwrap();
    assert_eq!(http.requests().pop().unwrap().headers.len(), 1);
}

#[tokio::test]
async fn l29_a_file_that_holds_no_token_sends_nothing() {
    let folder = Folder::new("malformed");
    let http = FakeHttp::new();
    let origin = Issuer::parse("https://api.example").unwrap();
    let url = "https://api.example/keys";
    http.answer(url, 200, "");
    let send = async |path: &Path| {
        let bearer = BearerTokenFile::new(http.clone(), &origin, path);
        bearer.send(HttpRequest::get(url, 10)).await
    };
    let most = "t".repeat(MAX_BEARER_TOKEN);
    for good in ["t", "t\n", "eyJ.eyJ.x-_", &most, &format!("{most}\n")] {
        assert!(send(&folder.file("good", good)).await.is_ok(), "{} bytes", good.len());
        let sent = http.requests().pop().unwrap().headers.pop().unwrap();
        assert_eq!(sent.1, format!("Bearer {}", good.trim_end()));
    }
    let before = http.requests().len();
    let unreadable = [folder.0.join("absent"), folder.0.clone(), PathBuf::from("/dev/zero")];
    for path in &unreadable {
        let refused = send(path).await.unwrap_err();
        assert!(told(&refused).contains("cannot be read"), "{refused:?}");
    }
    let refusals = [
        folder.file("empty", ""),
        folder.file("newline", "\n"),
        folder.file("two-lines", "MARKED\nMARKED"),
        folder.file("two-newlines", "MARKED\n\n"),
        folder.file("crlf", "MARKED\r\n"),
        folder.file("space", "MARKED MARKED"),
        folder.file("control", "MARKED\0"),
        folder.file("binary", b"MARKED\xff"),
        folder.file("letters", "MARKED\u{e9}"),
        folder.file("large", "t".repeat(MAX_BEARER_TOKEN + 1)),
        folder.file("larger", format!("{}\n", "t".repeat(MAX_BEARER_TOKEN + 1))),
    ];
    for path in refusals.into_iter().chain(unreadable) {
        let refused = send(&path).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Misconfigured);
        let shown = format!("{refused:?} {}", told(&refused));
        assert!(!shown.contains("MARKED") && !shown.contains("malformed/"), "{shown}");
        assert!(told(&refused).contains("bearer token"), "{shown}");
    }
    assert_eq!(http.requests().len(), before, "nothing was sent without its token");
}

#[tokio::test]
async fn w18_l10_keys_of_a_file_are_read_once_and_nothing_is_fetched() {
    let folder = Folder::new("jwks");
    let fake = FakeIssuer::new(Issuer::parse("https://offline.example").unwrap());
    let file = folder.file("jwks.json", fake.jwks().to_string());
    let clock = ManualClock::new(Timestamp::from_unix(NOW));
    let keys = OidcKeys::load(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let attestor = OidcAttestor::new(issuer(&fake, keys)).with_clock(clock);
    let token = fake.sign(Algorithm::Rs256, &claims(&fake));
    assert_eq!(attestor.attest(&evidence(&token)).await.unwrap().agent().as_str(), "blue");
    let stranger = FakeIssuer::new(fake.issuer().clone());
    let token = stranger.sign(Algorithm::Rs256, &claims(&fake));
    assert_eq!(attestor.attest(&evidence(&token)).await.unwrap_err().code(), "token_signature");
}

#[test]
fn w20_a_file_that_is_no_key_set_is_refused_at_once() {
    let folder = Folder::new("no-jwks");
    let fake = FakeIssuer::new(Issuer::parse("https://offline.example").unwrap());
    let load = |bytes: &[u8]| OidcKeys::load(folder.file("jwks.json", bytes));
    let good = fake.jwks().to_string();
    let padded = |length: usize| format!("{good}{}", " ".repeat(length - good.len()));
    assert!(load(padded(MAX_KEY_SET_BYTES).as_bytes()).is_ok());
    assert!(matches!(load(padded(MAX_KEY_SET_BYTES + 1).as_bytes()), Err(JwksFileError::TooLarge)));
    for bad in [
        "",
        "{}",
        "[]",
        "MARKED",
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#,
    ] {
        assert!(matches!(load(bad.as_bytes()), Err(JwksFileError::Malformed(_))), "{bad}");
    }
    let absent = OidcKeys::load(folder.0.join("absent")).unwrap_err();
    assert!(matches!(absent, JwksFileError::Unreadable(_)));
}
