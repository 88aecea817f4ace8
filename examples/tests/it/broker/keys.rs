//! The keys at work: rotation without a restart, TLS, `x5c`.

use std::path::Path;

use agentkeys_core::{
    Clock as _, HttpClient as _, HttpRequest, HttpSettings, KeyRing, Oidc, ReqwestClient, RotationTimes,
    Session, SystemClock, SystemRandom, TrustStore,
};
use agentkeys_examples::broker::{Command, Config, Running};
use rcgen::{CertificateParams, KeyPair};

use super::support::{Folder, World, ask};

async fn jwks(world: &World) -> Vec<String> {
    let body = world.get("/.well-known/jwks.json", &[]).await.json();
    body["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn w42_a_rotation_ends_no_session_and_every_token_finds_its_key() {
    let world = World::start().await;
    let old = jwks(&world).await;
    let session = world.session("blue").await;
    let (oidc, sessions) =
        (world.folder().join("oidc-keypair.json"), world.folder().join("session-keypair.json"));
    let (now, times) =
        (SystemClock::new().now().unwrap(), RotationTimes::new(std::time::Duration::from_secs(5)));
    let later = now.plus(std::time::Duration::from_secs(6));
    KeyRing::<Oidc>::update(&oidc, |ring| ring.stage(&SystemRandom::new(), now)).unwrap();
    KeyRing::<Session>::update(&sessions, |ring| ring.stage(&SystemRandom::new(), now)).unwrap();
    world.demo.reload_keys().unwrap();
    let staged = jwks(&world).await;
    assert_eq!((staged.len(), &staged[0]), (2, &old[0]));

    KeyRing::<Oidc>::update(&oidc, |ring| ring.promote(later, times)).unwrap();
    KeyRing::<Session>::update(&sessions, |ring| ring.promote(later, times)).unwrap();
    world.demo.reload_keys().unwrap();
    // the key that signs is the first, for consumers that try no other
    assert_eq!(jwks(&world).await, [staged[1].clone(), staged[0].clone()]);
    for session in [&session, &world.session("blue").await] {
        assert_eq!(world.mint("/v1/mint-aws-creds/memory", session).await.status, 200);
        let token = world.mint("/v1/mint-oidc-jwt", session).await.json();
        let header = token["jwt"].as_str().unwrap().split('.').next().unwrap().to_owned();
        use base64::Engine as _;
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
        assert!(String::from_utf8(header).unwrap().contains(&staged[1]));
    }
    assert_eq!(ask(world.operator(), "GET", "/readyz", &[], b"").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_is_broken_changes_nothing() {
    let world = World::start().await;
    let old = jwks(&world).await;
    std::fs::write(world.folder().join("oidc-keypair.json"), "{}").unwrap();
    assert!(world.demo.reload_keys().is_err());
    assert_eq!(jwks(&world).await, old);
    let session = world.session("blue").await;
    assert_eq!(world.mint("/v1/mint-oidc-jwt", &session).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn w43_one_key_does_not_sign_both_tokens_and_sessions() {
    let world = World::start().await;
    let oidc = std::fs::read_to_string(world.folder().join("oidc-keypair.json")).unwrap();
    std::fs::write(world.folder().join("session-keypair.json"), oidc.replace("\"oidc\"", "\"session\""))
        .unwrap();
    assert!(world.demo.reload_keys().is_err());
}

/// A folder with all that a broker needs, and its settings.
async fn configured(folder: &Path, more: &str) -> String {
    for arguments in [["keygen", "oidc", "oidc-keypair.json"], ["keygen", "session", "session-keypair.json"]]
    {
        let file = folder.join(arguments[2]);
        let arguments = [arguments[0], arguments[1], file.to_str().unwrap()];
        Command::parse(&arguments).unwrap().run(|_| {}).await.unwrap();
    }
    let audit = folder.join("audit.db");
    Command::parse(&["audit", audit.to_str().unwrap()]).unwrap().run(|_| {}).await.unwrap();
    let sample = include_str!("../../../broker.toml").replace(":8440", ":0").replace(":8441", ":0");
    format!("{more}\n{sample}")
}

async fn start(folder: &Path, text: &str) -> Result<Running, String> {
    let config = Config::parse(text, folder, &std::collections::BTreeMap::new()).unwrap();
    Running::start(&config).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_the_public_listener_speaks_tls_and_nothing_else() {
    let folder = Folder::new();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.0.join("tls.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.0.join("tls-key.pem"), key.serialize_pem()).unwrap();
    let text = configured(&folder.0, "certificate = \"tls.pem\"\nprivate_key = \"tls-key.pem\"").await;
    let running = start(&folder.0, &text).await.unwrap();
    let port = running.public().port();
    let client = ReqwestClient::new(HttpSettings::new(TrustStore::only(certificate.pem()))).unwrap();
    let url = format!("https://localhost:{port}/.well-known/openid-configuration");
    let answer = client.send(HttpRequest::get(&url, 10_000)).await.unwrap();
    // the issuer is what is configured, not what was asked
    assert!(String::from_utf8(answer.body).unwrap().contains("\"https://broker.example.org\""));
    let stranger = ReqwestClient::new(HttpSettings::new(TrustStore::nobody())).unwrap();
    assert!(stranger.send(HttpRequest::get(&url, 10_000)).await.is_err());
    let plain = super::support::send(running.public(), b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(super::support::parse(&plain).is_none());
    running.shutdown().await.unwrap();
    // another's key
    std::fs::write(folder.0.join("tls-key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(start(&folder.0, &text).await.unwrap_err().contains("the certificate is not of the private key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn x5c_is_published_where_it_is_asked_for_and_only_of_the_key_itself() {
    let folder = Folder::new();
    let text = configured(&folder.0, "x5c = \"certificate.pem\"").await;
    let file = std::fs::read_to_string(folder.0.join("oidc-keypair.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&file).unwrap();
    let key = KeyPair::from_pem(file["keys"][0]["private_key_pem"].as_str().unwrap()).unwrap();
    let params = CertificateParams::new(vec!["broker.example.org".to_owned()]).unwrap();
    let foreign = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.0.join("certificate.pem"), foreign.pem()).unwrap();
    assert!(start(&folder.0, &text).await.unwrap_err().contains("a certificate of none of the keys"));

    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(folder.0.join("certificate.pem"), certificate.pem()).unwrap();
    let running = start(&folder.0, &text).await.unwrap();
    let published = ask(running.public(), "GET", "/.well-known/jwks.json", &[], b"").await.json();
    use base64::Engine as _;
    let der = base64::engine::general_purpose::STANDARD.encode(certificate.der());
    assert_eq!(published["keys"][0]["x5c"], serde_json::json!([der]));
    running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn l8_a_configured_broker_asks_for_challenges() {
    let folder = Folder::new();
    let text = configured(&folder.0, "").await;
    let running = start(&folder.0, &text).await.unwrap();
    // pods' tokens have no place for one
    assert_eq!(ask(running.public(), "POST", "/v1/attest/challenge", &[], b"").await.status, 404);
    running.shutdown().await.unwrap();

    let (before, rest) = text.split_once("[attestor]").unwrap();
    let (_, tenants) = rest.split_once("[[tenants]]").unwrap();
    let attestor = "[attestor]\nATTESTOR = \"aws-sts\"\nAWSSTS_AUDIENCE = \"agentkeys\"\n\
                    AWSSTS_REGIONS = \"us-east-1\"\nAWSSTS_ROLES = \"blue=arn:aws:iam::123456789012:role/blue\"\n";
    let running = start(&folder.0, &format!("{before}{attestor}[[tenants]]{tenants}")).await.unwrap();
    assert_eq!(ask(running.public(), "POST", "/v1/attest/challenge", &[], b"").await.status, 200);
    let keys = aws_credential_types::Credentials::new(
        "ASIAIOSFODNN7EXAMPLE",
        "secret",
        Some("token".to_owned()),
        None,
        "test",
    );
    let endpoint = agentkeys_attest::aws::StsEndpoint::regional("us-east-1".parse().unwrap()).unwrap();
    let source = agentkeys_attest::aws_sts::AwsStsSource::new(keys, endpoint, "agentkeys".parse().unwrap());
    let evidence = agentkeys_core::EvidenceSource::fetch(&source).await.unwrap();
    let evidence = std::str::from_utf8(evidence.expose()).unwrap();
    let body = serde_json::json!({ "kind": "aws-sts", "evidence": evidence }).to_string();
    let answer = ask(running.public(), "POST", "/v1/attest", &[super::support::JSON], body.as_bytes()).await;
    assert_eq!(answer.refusal(), (401, "unauthorized".into(), "evidence_incomplete".into()));
    running.shutdown().await.unwrap();
}
