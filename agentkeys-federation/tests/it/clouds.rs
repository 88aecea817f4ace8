//! The exchangers of the other clouds, against doubles that answer as those clouds' own models say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::testing::{FakeHttp, ManualClock, SeededRandom};
use agentkeys_core::{
    Assurance, AttestedIdentity, EvidenceKind, HttpMethod, HttpRequest, Issuer, KeyRing, LocalSigner,
    MintRequest, Minter, SystemRandom, Token, TokenLifetime,
};
use agentkeys_federation::{
    ALIBABA_TOKEN_AGE, AlibabaCredentials, AlibabaExchanger, AlibabaSession, AlibabaSts, CloudSession,
    ExchangeError, Exchanger, GcpAccessToken, GcpError, GcpExchanger, GcpSession, MAX_GCP_SUBJECT,
    SessionDuration, TencentCredentials, TencentExchanger, TencentIdentityKey, TencentSession,
};
use serde_json::{Value, json};

use crate::support::{Always, NOW, claims_of};

pub(crate) const ALIBABA: &str = "https://sts.cn-hangzhou.aliyuncs.com/?Action=AssumeRoleWithOIDC&Format=JSON&\
                       Timestamp=2027-01-15T08%3A00%3A00Z&Version=2015-04-01";
pub(crate) const TENCENT: &str = "https://sts.tencentcloudapi.com/";
pub(crate) const GCP: &str = "https://sts.googleapis.com/v1/token";
pub(crate) const GCP_ACCOUNT: &str = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/\
                           agents@my-project.iam.gserviceaccount.com:generateAccessToken";
const PROVIDER: &str =
    "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/agents/providers/keys";

/// 900 seconds after `NOW`.
const IN_TIME: &str = "2027-01-15T08:15:00Z";

pub(crate) fn alibaba() -> AlibabaSession {
    AlibabaSession::new(
        "acs:ram::1135115445850000:role/testoidc".parse().unwrap(),
        "acs:ram::1135115445850000:oidc-provider/TestOidcIdp".parse().unwrap(),
        "agentkeys:testoidc".parse().unwrap(),
    )
}

pub(crate) fn tencent() -> TencentSession {
    TencentSession::new(
        "qcs::cam::uin/100000000001:roleName/agents".parse().unwrap(),
        "test-oidc".parse().unwrap(),
        "agentkeys:agents".parse().unwrap(),
    )
}

pub(crate) fn gcp() -> GcpSession {
    GcpSession::new(
        "agents@my-project.iam.gserviceaccount.com".parse().unwrap(),
        PROVIDER.parse().unwrap(),
        "https://www.googleapis.com/auth/devstorage.read_only".parse().unwrap(),
    )
}

pub(crate) struct Clouds {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) http: Arc<FakeHttp>,
    pub(crate) minter: Minter,
    pub(crate) identity: AttestedIdentity,
    pub(crate) alibaba: AlibabaExchanger,
    pub(crate) tencent: TencentExchanger,
    pub(crate) gcp: GcpExchanger,
}

impl Clouds {
    pub(crate) fn new() -> Self {
        let (clock, http) = (ManualClock::new(NOW), FakeHttp::new());
        let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let issuer = Issuer::parse("https://broker.example.org").unwrap();
        let minter = Minter::new(issuer, KeyRing::new(Arc::new(signer)))
            .with_clock(clock.clone())
            .with_random(SeededRandom::new(7));
        let sts = AlibabaSts::of("cn-hangzhou").unwrap();
        let region = "ap-guangzhou".parse().unwrap();
        let jitter = Arc::new(Always(0));
        Self {
            identity: identity("blue"),
            alibaba: AlibabaExchanger::new(&sts, http.clone())
                .with_clock(clock.clone())
                .with_random(jitter.clone()),
            tencent: TencentExchanger::new(region, http.clone())
                .with_clock(clock.clone())
                .with_random(jitter.clone()),
            gcp: GcpExchanger::new(http.clone()).with_clock(clock.clone()).with_random(jitter),
            clock,
            http,
            minter,
        }
    }

    pub(crate) async fn mint(&self, request: MintRequest) -> Token {
        self.minter.mint(&self.identity, request).await.unwrap()
    }

    async fn alibaba_token(&self) -> Token {
        self.mint(alibaba().mint_request()).await
    }

    async fn tencent_token(&self) -> Token {
        self.mint(tencent().mint_request()).await
    }

    async fn gcp_token(&self) -> Token {
        self.mint(gcp().mint_request(&self.identity).unwrap()).await
    }

    async fn at_alibaba(&self, token: &Token, answer: &Value) -> Result<AlibabaCredentials, ExchangeError> {
        self.http.answer(ALIBABA, 200, answer.to_string());
        self.alibaba.exchange(token, &alibaba()).await
    }

    async fn at_tencent(&self, token: &Token, answer: &Value) -> Result<TencentCredentials, ExchangeError> {
        self.http.answer(TENCENT, 200, answer.to_string());
        self.tencent.exchange(token, &tencent()).await
    }

    async fn at_gcp(
        &self,
        token: &Token,
        federated: &Value,
        answer: &Value,
    ) -> Result<GcpAccessToken, ExchangeError> {
        self.http.answer(GCP, 200, federated.to_string());
        self.http.answer(GCP_ACCOUNT, 200, answer.to_string());
        self.gcp.exchange(token, &gcp()).await
    }
}

pub(crate) fn identity(name: &str) -> AttestedIdentity {
    identity_in("demo", name)
}

pub(crate) fn identity_in(cluster: &str, name: &str) -> AttestedIdentity {
    AttestedIdentity::assertion(
        EvidenceKind::from_static("aws-stsweb"),
        format!("arn:aws:eks:us-east-1:123456789012:cluster/{cluster}").parse().unwrap(),
        name.parse().unwrap(),
        Assurance::PlatformAttested,
        NOW,
        NOW.plus(Duration::from_secs(7200)),
    )
    .unwrap()
}

/// What a cloud's own documents say: its answer and its refusals.
fn model(text: &str) -> Value {
    let model: Value = serde_json::from_str(text).unwrap();
    assert!(
        model["sources"].as_array().unwrap().iter().all(|url| url.as_str().unwrap().starts_with("https://"))
    );
    model
}

pub(crate) fn alibaba_answer(token: &Token) -> Value {
    let claims = claims_of(token);
    let text = include_str!("../data/clouds/alibaba.json")
        .replace("{session}", &format!("ak-{}", token.jti()))
        .replace("{sub}", claims["sub"].as_str().unwrap())
        .replace("{aud}", claims["aud"].as_str().unwrap())
        .replace("{expiration}", IN_TIME);
    model(&text)["answer"].clone()
}

pub(crate) fn tencent_answer() -> Value {
    model(include_str!("../data/clouds/tencent.json"))["answer"].clone()
}

pub(crate) fn gcp_answers() -> [Value; 2] {
    let model = model(&include_str!("../data/clouds/gcp.json").replace("{expiration}", IN_TIME));
    [model["answer"].clone(), model["access_token"].clone()]
}

/// `answer` with one field changed, or taken out where the new value is null.
fn with(answer: &Value, field: &str, value: Value) -> Value {
    let mut changed = answer.clone();
    let (parent, name) = field.rsplit_once('/').unwrap();
    let parent = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    assert!(parent.contains_key(name) || !value.is_null(), "{field}");
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.to_owned(), value);
    }
    changed
}

fn only(requests: &[HttpRequest]) -> &HttpRequest {
    let [request] = requests else { panic!("one request, not {}", requests.len()) };
    request
}

fn header<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn body(request: &HttpRequest) -> String {
    String::from_utf8(request.body.expose().clone()).unwrap()
}

fn fields(text: &str) -> Vec<(String, String)> {
    let plain = |text: &str| text.replace("%3A", ":").replace("%2F", "/");
    text.split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (plain(name), plain(value)))
        .collect()
}

fn names(headers: &HttpRequest) -> Vec<&str> {
    headers.headers.iter().map(|(name, _)| name.as_str()).collect()
}

// --- what is sent

#[tokio::test]
async fn r90_alibaba_is_asked_unsigned_for_exactly_this_session_and_the_token_is_in_no_url() {
    let clouds = Clouds::new();
    let token = clouds.alibaba_token().await;
    let credentials = clouds.at_alibaba(&token, &alibaba_answer(&token)).await.unwrap();
    assert_eq!(credentials.access_key_id(), "STS.NUgYrLnoC37mZZCNnAbez");
    assert_eq!(credentials.access_key_secret().expose(), "MARKED-secret");
    assert_eq!(credentials.security_token().expose(), "MARKED-session");
    assert_eq!(credentials.expires_at().as_unix(), 1_800_000_900);
    let requests = clouds.http.requests();
    let request = only(&requests);
    assert_eq!((request.method, request.url.as_str()), (HttpMethod::Post, ALIBABA));
    assert_eq!(names(request), ["accept", "content-type"]);
    assert_eq!(header(request, "content-type"), Some("application/x-www-form-urlencoded"));
    let expected = [
        ("DurationSeconds", "900".to_owned()),
        ("OIDCProviderArn", "acs:ram::1135115445850000:oidc-provider/TestOidcIdp".to_owned()),
        ("OIDCToken", token.expose().to_owned()),
        ("RoleArn", "acs:ram::1135115445850000:role/testoidc".to_owned()),
        ("RoleSessionName", format!("ak-{}", token.jti())),
    ];
    assert_eq!(fields(&body(request)), expected.map(|(name, value)| (name.to_owned(), value)));
}

#[tokio::test]
async fn r90_tencent_is_asked_with_skip_where_a_signature_would_stand_and_always_for_a_duration() {
    let clouds = Clouds::new();
    let token = clouds.tencent_token().await;
    let credentials = clouds.at_tencent(&token, &tencent_answer()).await.unwrap();
    assert_eq!(credentials.secret_id(), "AKIDexampleexampleexample");
    assert_eq!(credentials.secret_key().expose(), "MARKED-secret");
    assert_eq!(credentials.token().expose(), "MARKED-session");
    assert_eq!(credentials.expires_at().as_unix(), 1_800_000_900);
    let requests = clouds.http.requests();
    let request = only(&requests);
    assert_eq!((request.method, request.url.as_str()), (HttpMethod::Post, TENCENT));
    for (name, value) in [
        ("authorization", "SKIP"),
        ("content-type", "application/json"),
        ("x-tc-action", "AssumeRoleWithWebIdentity"),
        ("x-tc-region", "ap-guangzhou"),
        ("x-tc-timestamp", "1800000000"),
        ("x-tc-version", "2018-08-13"),
    ] {
        assert_eq!(header(request, name), Some(value), "{name}");
    }
    assert_eq!(request.headers.len(), 7, "{:?}", names(request));
    let sent: Value = serde_json::from_str(&body(request)).unwrap();
    assert_eq!(
        sent,
        json!({
            "DurationSeconds": 900,
            "ProviderId": "test-oidc",
            "RoleArn": "qcs::cam::uin/100000000001:roleName/agents",
            "RoleSessionName": format!("ak-{}", token.jti()),
            "WebIdentityToken": token.expose(),
        })
    );
}

#[tokio::test]
async fn r90_google_is_asked_without_authorization_and_then_for_the_service_accounts_token() {
    let clouds = Clouds::new();
    let token = clouds.gcp_token().await;
    let [federated, answer] = gcp_answers();
    let credentials = clouds.at_gcp(&token, &federated, &answer).await.unwrap();
    assert_eq!(credentials.token().expose(), "MARKED-secret");
    assert_eq!(credentials.expires_at().as_unix(), 1_800_000_900);
    let requests = clouds.http.requests();
    let [exchange, generate] = requests.as_slice() else { panic!("two requests, not {}", requests.len()) };
    assert_eq!((exchange.method, exchange.url.as_str()), (HttpMethod::Post, GCP));
    assert_eq!(names(exchange), ["accept", "content-type"]);
    let expected = [
        ("audience", PROVIDER),
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("scope", "https://www.googleapis.com/auth/iam"),
        ("subject_token", token.expose()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ];
    assert_eq!(fields(&body(exchange)), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((generate.method, generate.url.as_str()), (HttpMethod::Post, GCP_ACCOUNT));
    assert_eq!(header(generate, "authorization"), Some("Bearer MARKED-federated"));
    assert_eq!(header(generate, "content-type"), Some("application/json"));
    let sent: Value = serde_json::from_str(&body(generate)).unwrap();
    assert_eq!(
        sent,
        json!({
            "lifetime": "900s",
            "scope": ["https://www.googleapis.com/auth/devstorage.read_only"],
        })
    );
    assert!(!body(generate).contains(token.expose()), "our token goes to the STS alone");
}

#[tokio::test]
async fn r93_what_a_target_says_is_what_is_asked_for() {
    let clouds = Clouds::new();
    let hour = SessionDuration::from_secs(3600).unwrap();
    let minute = TokenLifetime::from_secs(60).unwrap();
    let targets = (alibaba().with_duration(hour), tencent().with_duration(hour), gcp().with_duration(hour));
    let token = clouds.alibaba_token().await;
    clouds.http.answer(ALIBABA, 200, alibaba_answer(&token).to_string());
    clouds.alibaba.exchange(&token, &targets.0).await.unwrap();
    let token = clouds.tencent_token().await;
    clouds.http.answer(TENCENT, 200, tencent_answer().to_string());
    clouds.tencent.exchange(&token, &targets.1).await.unwrap();
    let token = clouds.gcp_token().await;
    let [federated, answer] = gcp_answers();
    clouds.http.answer(GCP, 200, federated.to_string());
    clouds.http.answer(GCP_ACCOUNT, 200, answer.to_string());
    let scope = "https://www.googleapis.com/auth/logging.write";
    clouds.gcp.exchange(&token, &targets.2.with_scope(scope.parse().unwrap())).await.unwrap();
    let bodies: Vec<_> = clouds.http.requests().iter().map(body).collect();
    for (text, at) in
        [("DurationSeconds=3600", 0), ("\"DurationSeconds\":3600", 1), ("\"3600s\"", 3), (scope, 3)]
    {
        assert!(bodies[at].contains(text), "{text}");
    }
    for request in [
        alibaba().with_token_lifetime(minute).mint_request(),
        tencent().with_token_lifetime(minute).mint_request(),
        gcp().with_token_lifetime(minute).mint_request(&clouds.identity).unwrap(),
    ] {
        assert_eq!(clouds.mint(request).await.expires_at(), NOW.plus(Duration::from_secs(60)));
    }
}

// --- what the token says

#[tokio::test]
async fn r90_a_token_is_for_one_cloud_and_carries_nothing_of_another() {
    let clouds = Clouds::new();
    for (token, audience) in [
        (clouds.alibaba_token().await, "agentkeys:testoidc".to_owned()),
        (clouds.tencent_token().await, "agentkeys:agents".to_owned()),
        (clouds.gcp_token().await, format!("https:{PROVIDER}")),
    ] {
        let claims = claims_of(&token);
        assert_eq!(claims["aud"], audience.as_str());
        assert_eq!(claims["sub"], clouds.identity.subject().as_str());
        let names: BTreeSet<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["aud", "exp", "iat", "iss", "jti", "nbf", "sub"]));
    }
}

#[tokio::test]
async fn r90_a_token_for_another_audience_is_sent_to_nobody() {
    let clouds = Clouds::new();
    let (alibaba_token, gcp_token) = (clouds.alibaba_token().await, clouds.gcp_token().await);
    let aws = crate::support::World::new();
    let aws_token = clouds.mint(aws.session.mint_request().unwrap()).await;
    for token in [&gcp_token, &aws_token] {
        let refused = clouds.alibaba.exchange(token, &alibaba()).await.unwrap_err();
        assert_eq!(refused, ExchangeError::TokenInvalid);
        let refused = clouds.tencent.exchange(token, &tencent()).await.unwrap_err();
        assert_eq!(refused, ExchangeError::TokenInvalid);
    }
    for token in [&alibaba_token, &aws_token] {
        let refused = clouds.gcp.exchange(token, &gcp()).await.unwrap_err();
        assert_eq!(refused, ExchangeError::TokenInvalid);
    }
    assert!(clouds.http.requests().is_empty());
}

#[tokio::test]
async fn r90_a_token_that_has_expired_is_sent_to_nobody() {
    let clouds = Clouds::new();
    let tokens = (clouds.alibaba_token().await, clouds.tencent_token().await, clouds.gcp_token().await);
    clouds.clock.advance(Duration::from_secs(300));
    let expired = ExchangeError::TokenExpired;
    assert_eq!(clouds.alibaba.exchange(&tokens.0, &alibaba()).await.unwrap_err(), expired);
    assert_eq!(clouds.tencent.exchange(&tokens.1, &tencent()).await.unwrap_err(), expired);
    assert_eq!(clouds.gcp.exchange(&tokens.2, &gcp()).await.unwrap_err(), expired);
    assert!(clouds.http.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn r90_a_token_that_alibaba_would_find_too_old_is_minted_again_instead_of_sent() {
    let clouds = Clouds::new();
    let hour = TokenLifetime::from_secs(3600).unwrap();
    let token = clouds.mint(alibaba().with_token_lifetime(hour).mint_request()).await;
    clouds.clock.advance(ALIBABA_TOKEN_AGE);
    // old enough to be sent still: nobody answers
    let refused = clouds.alibaba.exchange(&token, &alibaba()).await.unwrap_err();
    assert_eq!((refused, clouds.http.requests().len()), (ExchangeError::Unavailable, 3));
    clouds.clock.advance(Duration::from_secs(1));
    let refused = clouds.alibaba.exchange(&token, &alibaba()).await.unwrap_err();
    assert_eq!((refused, clouds.http.requests().len()), (ExchangeError::TokenExpired, 3));
    assert!(
        ALIBABA_TOKEN_AGE < Duration::from_secs(3600) && token.expires_at() > NOW.plus(ALIBABA_TOKEN_AGE)
    );
}

#[tokio::test]
async fn r90_a_subject_that_google_would_refuse_gets_no_token_and_is_sent_to_nobody() {
    let clouds = Clouds::new();
    let room = MAX_GCP_SUBJECT - clouds.identity.subject().as_str().len() + "demo".len();
    let in_cluster = |length: usize| identity_in(&"d".repeat(length), "blue");
    let (longest, longer) = (in_cluster(room), in_cluster(room + 1));
    assert_eq!(longest.subject().as_str().len(), 127);
    assert!(gcp().mint_request(&longest).is_ok());
    assert_eq!(gcp().mint_request(&longer).unwrap_err(), GcpError::Subject);
    // a token that was minted for such an identity all the same
    let request = gcp().mint_request(&longest).unwrap();
    let token = clouds.minter.mint(&longer, request).await.unwrap();
    assert_eq!(clouds.gcp.exchange(&token, &gcp()).await.unwrap_err(), ExchangeError::TokenInvalid);
    assert!(clouds.http.requests().is_empty());
}

#[tokio::test]
async fn r90_a_sessions_name_is_in_both_clouds_charsets() {
    let clouds = Clouds::new();
    for _ in 0..200 {
        let token = clouds.alibaba_token().await;
        let name = agentkeys_federation::AuditId::of_token(&token);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".@-_".contains(&byte);
        assert!((2..=64).contains(&name.as_str().len()) && name.as_str().bytes().all(allowed), "{name}");
    }
}

#[test]
fn r90_the_identity_key_is_the_published_keys_in_base64() {
    let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
    let (next, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
    let ring = KeyRing::new(Arc::new(signer));
    let before = TencentIdentityKey::of(&ring);
    let ring = ring.with_next(Arc::new(next));
    let after = TencentIdentityKey::of(&ring);
    assert_ne!(before, after, "the next key is in it before it signs");
    // the two have different lengths, so that one of them ends in padding
    assert_eq!(base64(before.as_str())["keys"].as_array().unwrap().len(), 1);
    let document = base64(after.as_str());
    assert_eq!(document, serde_json::to_value(ring.jwks()).unwrap());
    assert_eq!(document["keys"].as_array().unwrap().len(), 2);
    assert!(!document.to_string().contains("\"d\""));
    assert_eq!(after.to_string(), after.as_str());
}

/// Decodes with a decoder that is not ours.
fn base64(text: &str) -> Value {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = Vec::new();
    for byte in text.trim_end_matches('=').bytes() {
        let value = alphabet.iter().position(|known| *known == byte).unwrap();
        bits.extend((0..6).rev().map(|at| (value >> at) & 1));
    }
    assert_eq!(text.len() % 4, 0);
    let bytes: Vec<u8> =
        bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | *bit as u8)).collect();
    serde_json::from_slice(&bytes).unwrap()
}

// --- what is answered

#[tokio::test]
async fn w81_an_answer_of_alibaba_that_does_not_fit_the_request_is_refused() {
    let clouds = Clouds::new();
    let token = clouds.alibaba_token().await;
    let good = alibaba_answer(&token);
    let session = format!("ak-{}", token.jti());
    for (field, value) in [
        ("/AssumedRoleUser/Arn", json!(format!("acs:ram::1135115445850000:role/other/{session}"))),
        ("/AssumedRoleUser/Arn", json!(format!("acs:ram::5115445850000113:role/testoidc/{session}"))),
        ("/AssumedRoleUser/Arn", json!("acs:ram::1135115445850000:role/testoidc/alice")),
        ("/AssumedRoleUser/Arn", json!("")),
        ("/AssumedRoleUser/Arn", Value::Null),
        ("/AssumedRoleUser", Value::Null),
        ("/OIDCTokenInfo/Subject", json!("aws-stsweb/x//red")),
        ("/OIDCTokenInfo/Issuer", json!("https://evil.example.org")),
        ("/OIDCTokenInfo/ClientIds", json!("agentkeys:other")),
        ("/SourceIdentity", json!("alice")),
        ("/Credentials/AccessKeyId", json!("")),
        ("/Credentials/AccessKeySecret", json!("")),
        ("/Credentials/SecurityToken", json!("")),
        ("/Credentials/SecurityToken", Value::Null),
        ("/Credentials", Value::Null),
        ("/Credentials/Expiration", json!("2027-01-15T08:00:00Z")),
        ("/Credentials/Expiration", json!("2027-01-15T08:20:01Z")),
        ("/Credentials/Expiration", json!("soon")),
        ("/Credentials/Expiration", json!(1_800_000_900)),
        ("/Credentials/Expiration", Value::Null),
    ] {
        let refused = clouds.at_alibaba(&token, &with(&good, field, value.clone())).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Answer(_)), "{field} {value}: {refused:?}");
    }
    for text in ["", "{}", "[]", "null", "<xml/>", "{\"Code\":\"AuthenticationFail.NoPermission\"}"] {
        clouds.http.answer(ALIBABA, 200, text);
        let refused = clouds.alibaba.exchange(&token, &alibaba()).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Answer(_)), "{text}: {refused:?}");
    }
    for (field, value) in [
        ("/OIDCTokenInfo", Value::Null),
        ("/OIDCTokenInfo/ClientIds", Value::Null),
        ("/SourceIdentity", json!("")),
        ("/Credentials/Expiration", json!("2027-01-15T08:20:00Z")),
    ] {
        clouds.at_alibaba(&token, &with(&good, field, value)).await.unwrap();
    }
}

#[tokio::test]
async fn w81_an_answer_of_tencent_that_is_not_whole_or_ends_at_another_time_is_refused() {
    let clouds = Clouds::new();
    let token = clouds.tencent_token().await;
    let good = tencent_answer();
    for (field, value) in [
        ("/Response/Credentials/TmpSecretId", json!("")),
        ("/Response/Credentials/TmpSecretKey", json!("")),
        ("/Response/Credentials/Token", json!("")),
        ("/Response/Credentials/Token", Value::Null),
        ("/Response/Credentials", Value::Null),
        ("/Response/ExpiredTime", json!(1_800_000_000)),
        ("/Response/ExpiredTime", json!(1_800_001_201)),
        ("/Response/ExpiredTime", json!(1_800_007_200)),
        ("/Response/ExpiredTime", json!(-1)),
        ("/Response/ExpiredTime", json!("1800000900")),
        ("/Response/ExpiredTime", Value::Null),
        ("/Response", Value::Null),
    ] {
        let refused = clouds.at_tencent(&token, &with(&good, field, value.clone())).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Answer(_)), "{field} {value}: {refused:?}");
    }
    for text in ["", "{}", "[]", "<html>"] {
        clouds.http.answer(TENCENT, 200, text);
        let refused = clouds.tencent.exchange(&token, &tencent()).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Answer(_)), "{text}: {refused:?}");
    }
    // an error beside credentials is an error
    let both =
        with(&good, "/Response/Error", json!({ "Code": "UnauthorizedOperation", "Message": "MARKED" }));
    assert_eq!(clouds.at_tencent(&token, &both).await.unwrap_err(), ExchangeError::Denied);
    let latest = with(&good, "/Response/ExpiredTime", json!(1_800_001_200));
    assert_eq!(clouds.at_tencent(&token, &latest).await.unwrap().expires_at().as_unix(), 1_800_001_200);
}

#[tokio::test]
async fn w81_an_answer_of_google_that_is_no_bearer_token_or_ends_at_another_time_is_refused() {
    let clouds = Clouds::new();
    let token = clouds.gcp_token().await;
    let [federated, good] = gcp_answers();
    for (field, value) in [
        ("/issued_token_type", json!("urn:ietf:params:oauth:token-type:jwt")),
        ("/issued_token_type", Value::Null),
        ("/token_type", json!("N_A")),
        ("/token_type", Value::Null),
        ("/expires_in", json!(0)),
        ("/expires_in", json!(-1)),
        ("/expires_in", Value::Null),
        ("/access_token", json!("")),
        ("/access_token", json!("a b")),
        ("/access_token", json!("a\r\nx-evil: 1")),
        ("/access_token", Value::Null),
    ] {
        let sent = clouds.http.requests().len();
        let refused =
            clouds.at_gcp(&token, &with(&federated, field, value.clone()), &good).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Answer(_)), "{field} {value}: {refused:?}");
        assert_eq!(clouds.http.requests().len(), sent + 1, "{field}: nothing is sent after it");
    }
    for (field, value) in [
        ("/accessToken", json!("")),
        ("/accessToken", json!("a\nb")),
        ("/accessToken", Value::Null),
        ("/expireTime", json!("2027-01-15T08:00:00Z")),
        ("/expireTime", json!("2027-01-15T08:20:01Z")),
        ("/expireTime", json!("2027-01-15T09:00:00Z")),
        ("/expireTime", json!("")),
        ("/expireTime", Value::Null),
    ] {
        let refused =
            clouds.at_gcp(&token, &federated, &with(&good, field, value.clone())).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Answer(_)), "{field} {value}: {refused:?}");
    }
    let lower = with(&federated, "/token_type", json!("bearer"));
    let latest = with(&good, "/expireTime", json!("2027-01-15T08:20:00Z"));
    assert_eq!(clouds.at_gcp(&token, &lower, &latest).await.unwrap().expires_at().as_unix(), 1_800_001_200);
}

// --- what is refused

#[tokio::test(start_paused = true)]
async fn w64_every_code_of_alibabas_model_has_its_own_error() {
    let model = model(include_str!("../data/clouds/alibaba.json"));
    for refusal in model["refusals"].as_array().unwrap() {
        let clouds = Clouds::new();
        let token = clouds.alibaba_token().await;
        let status = u16::try_from(refusal[0].as_u64().unwrap()).unwrap();
        let body = json!({
            "RequestId": "1", "HostId": "sts.aliyuncs.com", "Code": refusal[1], "Message": "MARKED-upstream",
            "Recommend": "https://MARKED.example",
        });
        clouds.http.answer(ALIBABA, status, body.to_string());
        let error = clouds.alibaba.exchange(&token, &alibaba()).await.unwrap_err();
        assert_refused(error, refusal, clouds.http.requests().len());
    }
    for (status, body) in [(403, ""), (403, "<html>MARKED</html>"), (400, "[]"), (302, "{}"), (201, "{}")] {
        let clouds = Clouds::new();
        let token = clouds.alibaba_token().await;
        clouds.http.answer(ALIBABA, status, body);
        let error = clouds.alibaba.exchange(&token, &alibaba()).await.unwrap_err();
        assert_eq!(error, ExchangeError::Refused, "{status} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn w64_every_code_of_tencents_model_has_its_own_error() {
    let model = model(include_str!("../data/clouds/tencent.json"));
    for refusal in model["refusals"].as_array().unwrap() {
        let clouds = Clouds::new();
        let token = clouds.tencent_token().await;
        let status = u16::try_from(refusal[0].as_u64().unwrap()).unwrap();
        let error = json!({ "Code": refusal[1], "Message": "MARKED-upstream" });
        let body = json!({ "Response": { "Error": error, "RequestId": "1" } });
        clouds.http.answer(TENCENT, status, body.to_string());
        let error = clouds.tencent.exchange(&token, &tencent()).await.unwrap_err();
        assert_refused(error, refusal, clouds.http.requests().len());
    }
}

#[tokio::test(start_paused = true)]
async fn w64_every_code_of_googles_models_has_its_own_error_at_both_services() {
    let model = model(include_str!("../data/clouds/gcp.json"));
    let [federated, _] = gcp_answers();
    for refusal in model["refusals"].as_array().unwrap() {
        for second in [false, true] {
            let clouds = Clouds::new();
            let token = clouds.gcp_token().await;
            let status = u16::try_from(refusal[0].as_u64().unwrap()).unwrap();
            clouds.http.answer(GCP, 200, federated.to_string());
            clouds.http.answer(if second { GCP_ACCOUNT } else { GCP }, status, refusal[1].to_string());
            let error = clouds.gcp.exchange(&token, &gcp()).await.unwrap_err();
            let requests = clouds.http.requests().len();
            assert_refused(error, refusal, if second { requests / 2 } else { requests });
        }
    }
}

fn assert_refused(error: ExchangeError, refusal: &Value, tries: usize) {
    assert_eq!(error.code(), refusal[2].as_str().unwrap(), "{refusal}");
    assert_eq!(tries, error.tries() as usize, "{refusal}");
    assert!(!format!("{error} {error:?}").contains("MARKED"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn w64_a_cloud_that_hangs_is_unavailable_after_twenty_seconds() {
    let clouds = Clouds::new();
    let tokens = (clouds.alibaba_token().await, clouds.tencent_token().await, clouds.gcp_token().await);
    let _held = clouds.http.hold().await;
    let begun = tokio::time::Instant::now();
    let (alibaba_error, tencent_error, gcp_error) = tokio::join!(
        async { clouds.alibaba.exchange(&tokens.0, &alibaba()).await.unwrap_err() },
        async { clouds.tencent.exchange(&tokens.1, &tencent()).await.unwrap_err() },
        async { clouds.gcp.exchange(&tokens.2, &gcp()).await.unwrap_err() },
    );
    assert_eq!([alibaba_error, tencent_error, gcp_error], [ExchangeError::Unavailable; 3]);
    assert_eq!(begun.elapsed().as_secs(), 20);
}

// --- what is shown

#[tokio::test]
async fn l29_nothing_of_the_other_clouds_shows_a_secret() {
    fn shown(value: &impl std::fmt::Debug) -> String {
        format!("{value:?} {value:#?}")
    }
    fn session<T: CloudSession>(session: &T) -> String {
        shown(session)
    }
    let clouds = Clouds::new();
    let tokens = (clouds.alibaba_token().await, clouds.tencent_token().await, clouds.gcp_token().await);
    let [federated, answer] = gcp_answers();
    let mut text = shown(&clouds.at_alibaba(&tokens.0, &alibaba_answer(&tokens.0)).await.unwrap());
    text += &shown(&clouds.at_tencent(&tokens.1, &tencent_answer()).await.unwrap());
    text += &shown(&clouds.at_gcp(&tokens.2, &federated, &answer).await.unwrap());
    assert!(text.contains("STS.NUgYrLnoC37mZZCNnAbez") && text.contains("AKIDexample"), "ids are no secrets");
    text += &(session(&alibaba()) + &session(&tencent()) + &session(&gcp()));
    text += &(shown(&clouds.alibaba) + &shown(&clouds.tencent) + &shown(&clouds.gcp));
    text += &shown(&clouds.http.requests());
    for token in [&tokens.0, &tokens.1, &tokens.2] {
        assert!(!text.contains(token.expose().rsplit('.').next().unwrap()), "a token is shown");
    }
    assert!(!text.contains("MARKED"), "{text}");
}
