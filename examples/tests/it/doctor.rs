//! The doctor before an issuer on loopback, over TLS, with each fault that it must find.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{
    Clock, ClockError, HttpClient, HttpError, HttpRequest, HttpResponse, HttpSettings, Issuer, KeyRing,
    LocalSigner, Oidc, ReqwestClient, SystemClock, SystemRandom, Timestamp, TrustStore,
};
use agentkeys_examples::doctor::{Check, Diagnosis, Doctor, Roots, Verdict};
use agentkeys_federation::{DataClass, OidcProvider, Stack, StackNames, Thumbprint};
use async_trait::async_trait;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const ISSUER: &str = "https://issuer.example";

fn issuer() -> Issuer {
    Issuer::parse(ISSUER).unwrap()
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A root, an authority below it, and the server's own certificate.
struct Certificates {
    root: Authority,
    middle: Authority,
    leaf: CertificateDer<'static>,
    key: KeyPair,
}

impl Certificates {
    fn of(leaf: impl FnOnce(&mut CertificateParams)) -> Self {
        let root = CertifiedIssuer::self_signed(named("root"), KeyPair::generate().unwrap()).unwrap();
        let middle =
            CertifiedIssuer::signed_by(named("middle"), KeyPair::generate().unwrap(), &root).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(vec!["issuer.example".to_owned(), "localhost".to_owned()]).unwrap();
        leaf(&mut params);
        let leaf = params.signed_by(&key, &middle).unwrap().der().clone();
        Self { root, middle, leaf, key }
    }

    fn good() -> Self {
        Self::of(|_| ())
    }

    fn middle(&self) -> CertificateDer<'static> {
        self.middle.der().clone()
    }

    fn top(&self) -> String {
        Thumbprint::of_certificate(&self.middle()).to_string()
    }
}

/// What the issuer's server answers: status, headers, body.
type Answers = Box<dyn FnMut(&str) -> (u16, String, String) + Send>;

struct Server {
    address: SocketAddr,
    root: String,
}

impl Server {
    async fn start(
        certificates: &Certificates,
        sent: Vec<CertificateDer<'static>>,
        answers: Answers,
    ) -> Self {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certificates.key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(sent, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, answers) = (TlsAcceptor::from(Arc::new(config)), Arc::new(Mutex::new(answers)));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, answers) = (acceptor.clone(), answers.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap().to_owned();
                    let (status, headers, body) = (answers.lock().unwrap())(&path);
                    let length = body.len();
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                    );
                    let _gone = stream.write_all(answer.as_bytes()).await;
                    let _gone = stream.shutdown().await;
                });
            }
        });
        Self { address, root: certificates.root.pem() }
    }

    async fn healthy(certificates: &Certificates, answers: Answers) -> Self {
        Self::start(certificates, vec![certificates.leaf.clone(), certificates.middle()], answers).await
    }

    fn doctor(&self) -> Doctor {
        let inner = ReqwestClient::new(HttpSettings::new(TrustStore::only(self.root.clone()))).unwrap();
        let http = Arc::new(Redirected { inner, port: self.address.port() });
        Doctor::new(issuer(), Roots::only(self.root.clone()).unwrap())
            .unwrap()
            .with_server(self.address, http)
            .with_clock(Arc::new(Fixed(NOW)))
    }
}

/// Finds issuer.example on loopback.
#[derive(Debug)]
struct Redirected {
    inner: ReqwestClient,
    port: u16,
}

#[async_trait]
impl HttpClient for Redirected {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        request.url = request.url.replace(ISSUER, &format!("https://localhost:{}", self.port));
        self.inner.send(request).await
    }
}

#[derive(Debug)]
struct Fixed(u64);

impl Clock for Fixed {
    fn now(&self) -> Result<Timestamp, ClockError> {
        Ok(Timestamp::from_unix(self.0))
    }
}

/// Fri, 15 Jan 2027 08:00:00 GMT.
const NOW: u64 = 1_800_000_000;
const DATE: &str = "date: Fri, 15 Jan 2027 08:00:00 GMT\r\n";
const JSON: &str = "content-type: application/json\r\ndate: Fri, 15 Jan 2027 08:00:00 GMT\r\n";

fn discovery() -> Value {
    json!({ "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/.well-known/jwks.json") })
}

fn jwks() -> Value {
    let ring = KeyRing::<Oidc>::new(Arc::new(LocalSigner::generate(&SystemRandom::new()).unwrap().0));
    serde_json::to_value(ring.jwks()).unwrap()
}

fn answers(discovery: Value, jwks: Value) -> Answers {
    Box::new(move |path| match path {
        "/.well-known/openid-configuration" => (200, JSON.to_owned(), discovery.to_string()),
        "/.well-known/jwks.json" => (200, JSON.to_owned(), jwks.to_string()),
        _ => (404, JSON.to_owned(), String::new()),
    })
}

fn check<'d>(diagnosis: &'d Diagnosis, name: &str) -> &'d Check {
    diagnosis.checks.iter().find(|check| check.name == name).unwrap()
}

/// The named check is wrong, says this, and says what to do; so the whole does not hold.
fn wrong(diagnosis: &Diagnosis, name: &str, found: &str) {
    let check = check(diagnosis, name);
    assert_eq!(check.verdict, Verdict::Wrong, "{found}: {check:?}");
    assert!(check.found.contains(found) && check.mend.is_some(), "{found}: {check:?}");
    assert!(!diagnosis.holds());
}

fn documents(issuer: &Issuer, top: &str) -> Vec<(String, String)> {
    let provider =
        OidcProvider::new("aws".parse().unwrap(), "123456789012".parse().unwrap(), issuer.clone()).unwrap();
    let provider = provider.with_thumbprint(top.parse().unwrap()).unwrap();
    let names = StackNames::new(
        Stack::Production,
        "agentkeys",
        "aws".parse().unwrap(),
        "123456789012".parse().unwrap(),
    );
    let subjects = vec!["oidc/root//blue".parse().unwrap()];
    let deployment =
        agentkeys_examples::Deployment::new(names.unwrap(), provider, subjects, vec![DataClass::Memory])
            .unwrap();
    let made = serde_json::to_value(deployment.documents().unwrap()).unwrap();
    let mut documents = vec![("provider.json".to_owned(), made["provider"]["parameters"].to_string())];
    for (name, role) in made["roles"].as_object().unwrap() {
        documents.push((format!("{name}-trust.json"), role["trust_policy"].to_string()));
        documents.push((format!("{name}-role.json"), role["role_policy"].to_string()));
    }
    for (name, bucket) in made["buckets"].as_object().unwrap() {
        documents.push((format!("{name}.json"), bucket["bucket_policy"].to_string()));
    }
    documents
}

#[tokio::test]
async fn w82_r71_an_issuer_as_aws_wants_it_and_its_generated_documents_are_ok() {
    let certificates = Certificates::good();
    let server = Server::healthy(&certificates, answers(discovery(), jwks())).await;
    let documents = documents(&issuer(), &certificates.top());
    assert!(documents.len() >= 3);
    let diagnosis = server.doctor().examine(&documents).await;
    let verdicts: Vec<_> = diagnosis.checks.iter().map(|check| (check.name, check.verdict)).collect();
    assert!(verdicts.iter().all(|(_, verdict)| *verdict == Verdict::Ok), "{diagnosis}");
    let names: Vec<_> = verdicts.iter().map(|(name, _)| *name).take(7).collect();
    assert_eq!(names, ["issuer", "tls", "thumbprint", "discovery", "keys", "clock", "provider"]);
    assert!(diagnosis.holds() && check(&diagnosis, "thumbprint").found.starts_with(&certificates.top()));
    let text = diagnosis.to_string();
    assert_eq!(text.lines().count(), verdicts.len() + 1);
    assert!(text.ends_with(&format!("doctor: {} ok, 0 to look at, 0 wrong\n", verdicts.len())), "{text}");
}

#[tokio::test]
async fn r34_a_discovery_document_that_is_not_the_issuers_to_the_byte_is_wrong() {
    let certificates = Certificates::good();
    let with = |member: &str, value: &str| {
        let mut changed = discovery();
        changed[member] = value.into();
        changed
    };
    for (document, found) in [
        (with("issuer", "https://issuer.example/"), "its issuer is another one: \"https://issuer.example/\""),
        (with("issuer", "https://Issuer.example"), "another one"),
        (with("issuer", "http://issuer.example"), "another one"),
        (with("issuer", "\u{1b}[2Jhttps://evil.example"), "\"\\u{1b}[2Jhttps://evil.example\""),
        (with("jwks_uri", "http://issuer.example/.well-known/jwks.json"), "jwks_uri has the wrong scheme"),
        (with("jwks_uri", "https://keys.example/jwks.json"), "jwks_uri is on another host"),
        (with("jwks_uri", "https://issuer.example.evil.example/"), "jwks_uri is on another host"),
        (json!({ "issuer": ISSUER }), "not provider metadata"),
        (json!([]), "not provider metadata"),
    ] {
        let server = Server::healthy(&certificates, answers(document, jwks())).await;
        let diagnosis = server.doctor().examine(&[]).await;
        wrong(&diagnosis, "discovery", found);
        // keys that nobody points to are not fetched
        wrong(&diagnosis, "keys", "not looked for");
    }
}

#[tokio::test]
async fn what_does_not_answer_with_200_is_wrong_and_no_redirect_is_followed() {
    let certificates = Certificates::good();
    let elsewhere: Answers = Box::new(|path| match path {
        "/.well-known/openid-configuration" => (302, "location: /elsewhere\r\n".to_owned(), String::new()),
        _ => (200, JSON.to_owned(), discovery().to_string()),
    });
    let server = Server::healthy(&certificates, elsewhere).await;
    wrong(&server.doctor().examine(&[]).await, "discovery", "status 302");
    let no_keys: Answers = Box::new(|path| match path {
        "/.well-known/openid-configuration" => (200, JSON.to_owned(), discovery().to_string()),
        _ => (503, JSON.to_owned(), String::new()),
    });
    let server = Server::healthy(&certificates, no_keys).await;
    wrong(&server.doctor().examine(&[]).await, "keys", "status 503");
    let large: Answers = Box::new(|_| (200, JSON.to_owned(), " ".repeat(70_000)));
    let server = Server::healthy(&certificates, large).await;
    wrong(&server.doctor().examine(&[]).await, "discovery", "larger than");
    // and what is no JSON by its type is only looked at
    let untyped: Answers = Box::new(|path| {
        let (_, _, body) = answers(discovery(), jwks())(path);
        (200, DATE.to_owned(), body)
    });
    let server = Server::healthy(&certificates, untyped).await;
    let diagnosis = server.doctor().examine(&[]).await;
    assert_eq!(check(&diagnosis, "discovery").verdict, Verdict::Warn);
    assert!(diagnosis.to_string().contains("Content-Type: application/json"));
}

#[tokio::test]
async fn r32_each_key_that_aws_does_not_take_is_found() {
    let certificates = Certificates::good();
    let good = jwks()["keys"][0].clone();
    let with = |member: &str, value: Value| {
        let mut key = good.clone();
        key[member] = value;
        json!({ "keys": [key] })
    };
    let without = |member: &str| {
        let mut key = good.clone();
        key.as_object_mut().unwrap().remove(member);
        json!({ "keys": [key] })
    };
    let many: Vec<_> = (0..101)
        .map(|at| {
            let mut key = good.clone();
            key["kid"] = format!("k{at}").into();
            key
        })
        .collect();
    for (keys, found) in [
        (json!({}), "no JWK set"),
        (json!([]), "no JWK set"),
        (json!({ "keys": [] }), "there is no key"),
        (json!({ "keys": ["x"] }), "no object"),
        (json!({ "keys": [good, good] }), "is there twice"),
        (without("kid"), "no kid"),
        (with("kid", "".into()), "no kid"),
        (with("kid", 7.into()), "no kid"),
        (with("key_ops", json!(["verify"])), "has key_ops"),
        (with("use", "enc".into()), "not for signatures"),
        (with("d", "c2VjcmV0".into()), "private half"),
        (json!({ "keys": [{ "kty": "oct", "kid": "h", "k": "c2VjcmV0", "alg": "HS256" }] }), "private half"),
        (with("alg", "EdDSA".into()), "none that AWS takes"),
        (with("crv", "secp256k1".into()), "none that AWS takes"),
        (without("y"), "no usable key"),
        (json!({ "keys": many }), "101 EC keys"),
    ] {
        let server = Server::healthy(&certificates, answers(discovery(), keys)).await;
        let diagnosis = server.doctor().examine(&[]).await;
        wrong(&diagnosis, "keys", found);
        assert!(!diagnosis.to_string().contains("c2VjcmV0"));
    }
    // RSA without alg and EC beside it are as AWS's own; EdDSA beside them is passed over
    let fake = FakeIssuer::new(issuer());
    let server = Server::healthy(&certificates, answers(discovery(), fake.jwks())).await;
    let diagnosis = server.doctor().examine(&[]).await;
    assert_eq!(check(&diagnosis, "keys").verdict, Verdict::Warn);
    assert_eq!(check(&diagnosis, "keys").found, "4 keys: 2 EC, 1 RSA, 1 that AWS passes over");
    assert!(diagnosis.holds());
}

#[tokio::test]
async fn w82_each_fault_of_the_certificates_is_named() {
    let good = Certificates::good();
    let sent = |certificates: &Certificates| vec![certificates.leaf.clone(), certificates.middle()];
    let over = Certificates::of(|leaf| leaf.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = Certificates::of(|leaf| leaf.not_before = rcgen::date_time_ymd(3000, 1, 1));
    let other = Certificates::of(|leaf| leaf.subject_alt_names.clear());
    let elsewhere = Certificates::good();
    let all = || answers(discovery(), jwks());
    for (certificates, chain, found) in [
        (&over, sent(&over), "has expired"),
        (&early, sent(&early), "not valid yet"),
        (&other, sent(&other), "for another host"),
        (&good, vec![good.leaf.clone()], "does not chain to an authority"),
        (&good, vec![good.leaf.clone(), elsewhere.middle()], "does not chain to an authority"),
    ] {
        let server = Server::start(certificates, chain, all()).await;
        wrong(&server.doctor().examine(&[]).await, "tls", found);
    }
    // whom nobody trusts here has a thumbprint all the same
    let mut server = Server::healthy(&good, all()).await;
    server.root = elsewhere.root.pem();
    let diagnosis = server.doctor().examine(&[]).await;
    wrong(&diagnosis, "tls", "does not chain to an authority");
    assert!(check(&diagnosis, "thumbprint").found.starts_with(&good.top()));

    let server = Server::start(&good, vec![good.leaf.clone()], all()).await;
    wrong(&server.doctor().examine(&[]).await, "thumbprint", "none above it");
    // the middle one is trusted itself, and what is sent above it belongs to nobody here
    let mut server =
        Server::start(&good, vec![good.leaf.clone(), good.middle(), good.leaf.clone()], all()).await;
    server.root = good.root.pem();
    wrong(&server.doctor().examine(&[]).await, "thumbprint", "no chain");

    let nobody = Server { address: "127.0.0.1:1".parse().unwrap(), root: good.root.pem() };
    let diagnosis = nobody.doctor().examine(&documents(&issuer(), &good.top())).await;
    wrong(&diagnosis, "tls", "no TLS server");
    wrong(&diagnosis, "thumbprint", "no certificate was seen");
    wrong(&diagnosis, "discovery", "cannot be reached");
    assert_eq!(check(&diagnosis, "clock").verdict, Verdict::Warn);
    assert_eq!(check(&diagnosis, "provider").verdict, Verdict::Warn);
}

#[tokio::test]
async fn clocks_that_are_apart_are_found_before_aws_finds_them() {
    let certificates = Certificates::good();
    let server = Server::healthy(&certificates, answers(discovery(), jwks())).await;
    for (ours, verdict) in [
        (NOW - 29, Verdict::Ok),
        (NOW + 29, Verdict::Ok),
        (NOW - 30, Verdict::Warn),
        (NOW + 299, Verdict::Warn),
        (NOW - 300, Verdict::Wrong),
        (NOW + 300, Verdict::Wrong),
        (0, Verdict::Wrong),
    ] {
        let diagnosis = server.doctor().with_clock(Arc::new(Fixed(ours))).examine(&[]).await;
        assert_eq!(check(&diagnosis, "clock").verdict, verdict, "{ours}");
    }
    for date in ["", "date: yesterday\r\n"] {
        let undated: Answers = Box::new(move |path| {
            let (status, _, body) = answers(discovery(), jwks())(path);
            (status, date.to_owned(), body)
        });
        let server = Server::healthy(&certificates, undated).await;
        assert_eq!(check(&server.doctor().examine(&[]).await, "clock").verdict, Verdict::Warn);
    }
}

#[tokio::test]
async fn r36_documents_about_another_issuer_and_open_ones_are_wrong() {
    let certificates = Certificates::good();
    let server = Server::healthy(&certificates, answers(discovery(), jwks())).await;
    let generated = documents(&issuer(), &certificates.top());
    let change = |from: &str, to: &str| -> Vec<(String, String)> {
        let all =
            generated.iter().map(|(name, text)| (name.clone(), text.replace(from, to))).collect::<Vec<_>>();
        assert_ne!(all, generated, "{from}");
        all
    };
    for (documents, name, found) in [
        (change("oidc-provider/issuer.example\"", "oidc-provider/issuer.example/\""), "policy", "it trusts the provider"),
        (change("issuer.example:sub", "Issuer.example:sub"), "policy", "it tests \"Issuer.example:sub\""),
        (change("https://issuer.example\"", "https://issuer.example/\""), "provider", "its URL is \"https://issuer.example/\""),
        (change("[\"sts.amazonaws.com\"]", "[\"sts.amazonaws.com\",\"x\"]"), "provider", "client ids"),
        (change(&certificates.top(), &"0".repeat(40)), "provider", "top of the chain is not among"),
        (change(&certificates.top(), &certificates.top().to_uppercase()), "provider", "a thumbprint is none"),
        (vec![("x.json".to_owned(), "{".to_owned())], "policy", "x.json: document: error: unreadable"),
        (vec![("x.json".to_owned(), "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"sts:AssumeRole\"}]}".to_owned())], "policy", "any_principal"),
    ] {
        let diagnosis = server.doctor().examine(&documents).await;
        let all: Vec<_> = diagnosis.checks.iter().filter(|check| check.name == name && check.verdict == Verdict::Wrong).collect();
        assert!(all.iter().any(|check| check.found.contains(found)), "{found}: {diagnosis}");
        assert!(!diagnosis.holds());
    }
}

#[tokio::test]
async fn r35_an_issuer_that_aws_does_not_register_is_wrong_though_it_answers() {
    let certificates = Certificates::good();
    let server = Server::healthy(&certificates, answers(discovery(), jwks())).await;
    let issuer = Issuer::parse(&format!("https://localhost:{}", server.address.port())).unwrap();
    let diagnosis =
        Doctor::new(issuer, Roots::only(server.root.clone()).unwrap()).unwrap().examine(&[]).await;
    wrong(&diagnosis, "issuer", "without a port");
    // found by name and without help: the chain, and a document for another issuer
    assert_eq!(check(&diagnosis, "tls").verdict, Verdict::Ok);
    wrong(&diagnosis, "discovery", "another one");
    assert!(
        Roots::only("no certificate").is_err()
            && Roots::only("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n").is_err()
    );
}

#[tokio::test]
async fn the_program_says_it_in_lines_and_in_json_and_by_its_status() {
    let certificates = Certificates::good();
    let place = Arc::new(Mutex::new(String::new()));
    let told = place.clone();
    let date = httpdate::fmt_http_date(SystemClock::new().now().unwrap().to_system_time().unwrap());
    let own: Answers = Box::new(move |path| {
        let (issuer, headers) =
            (told.lock().unwrap().clone(), JSON.replace("Fri, 15 Jan 2027 08:00:00 GMT", &date));
        let body = if path.ends_with("jwks.json") {
            jwks()
        } else {
            json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks.json") })
        };
        (200, headers, body.to_string())
    });
    let server = Server::healthy(&certificates, own).await;
    let issuer = format!("https://localhost:{}", server.address.port());
    *place.lock().unwrap() = issuer.clone();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("doctor");
    std::fs::create_dir_all(&folder).unwrap();
    let (ca, open) = (folder.join("ca.pem"), folder.join("open.json"));
    std::fs::write(&ca, &server.root).unwrap();
    std::fs::write(&open, "{}").unwrap();
    let run = async |arguments: Vec<String>| {
        let deps = std::env::current_exe().unwrap();
        let path = deps.parent().unwrap().parent().unwrap().join("examples").join("doctor");
        assert!(path.exists(), "not built: run `cargo test -p agentkeys-examples` without choosing targets");
        let ran = tokio::task::spawn_blocking(move || {
            Command::new(path).args(arguments).env_clear().output().unwrap()
        });
        let output = tokio::time::timeout(Duration::from_secs(60), ran).await.unwrap().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let ca = ca.to_str().unwrap().to_owned();
    let arguments = vec![issuer.clone(), "--ca".to_owned(), ca.clone(), open.to_str().unwrap().to_owned()];
    let (status, stdout, stderr) = run(arguments.clone()).await;
    assert_eq!((status, stderr.as_str()), (Some(1), ""));
    // a port is all that is wrong with the issuer, and an empty object is no policy
    assert!(
        stdout.contains(" wrong issuer")
            && stdout.contains(" ok    discovery")
            && stdout.contains(" wrong policy"),
        "{stdout}"
    );
    assert!(stdout.ends_with("doctor: 5 ok, 0 to look at, 2 wrong\n"), "{stdout}");
    let (status, stdout, _) = run([arguments, vec!["--json".to_owned()]].concat()).await;
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (status, report["issuer"].as_str(), report["checks"][0]["verdict"].as_str()),
        (Some(1), Some(issuer.as_str()), Some("wrong"))
    );
    for bad in [
        vec![],
        vec!["--quiet".to_owned()],
        vec!["http://issuer.example".to_owned()],
        vec!["--ca".to_owned()],
        vec![issuer.clone(), "--ca".to_owned(), "/no/such/file".to_owned()],
        vec![issuer, "--ca".to_owned(), ca, "/no/such/document".to_owned()],
    ] {
        let (status, stdout, stderr) = run(bad.clone()).await;
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{bad:?}");
        assert!(stderr.starts_with("doctor: "), "{stderr}");
    }
}
