use agentkeys_examples::broker::BrokerDemo;
use agentkeys_examples::own_prefix;
use agentkeys_federation::DataClass;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client as S3;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use serde_json::{Value, json};

use super::support::{Answer, World, ask, claims, members};

/// What an unmodified SDK is with these credentials.
fn s3(demo: &BrokerDemo, credentials: &Value) -> S3 {
    let text = |key: &str| credentials[key].as_str().unwrap().to_owned();
    let (id, secret) = (text("access_key_id"), text("secret_access_key"));
    let keys = Credentials::new(id, secret, Some(text("session_token")), None, "broker");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .endpoint_url(demo.aws().endpoint())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .force_path_style(true);
    S3::from_conf(config.build())
}

async fn code_of_list(s3: &S3, bucket: &str, prefix: &str) -> String {
    match s3.list_objects_v2().bucket(bucket).prefix(prefix).send().await {
        Ok(listed) => format!("{} objects", listed.key_count().unwrap_or_default()),
        Err(error) => error.code().unwrap_or("no code").to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r31_l22_the_documents_are_the_issuers_whatever_host_a_request_names() {
    let world = World::start().await;
    let issuer = format!("http://{}", world.public());
    let mut bodies = Vec::new();
    for (path, forged) in
        [("/.well-known/openid-configuration", "x-forwarded-host"), ("/.well-known/jwks.json", "forwarded")]
    {
        let plain = world.get(path, &[]).await;
        let other = world.get(path, &[("x-forwarded-proto", "https"), (forged, "evil.example")]).await;
        assert_eq!((plain.status, &plain.body), (200, &other.body));
        assert_eq!(plain.header("content-type"), Some("application/json"));
        assert_eq!(plain.header("cache-control"), Some("public, max-age=5"));
        bodies.push(plain.json());
    }
    assert_eq!(bodies[0]["issuer"], issuer);
    assert_eq!(bodies[0]["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
    let keys = bodies[1]["keys"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["alg"], &keys[0]["crv"]), (1, &json!("ES256"), &json!("P-256")));
    assert!(keys[0].get("d").is_none() && keys[0].get("x5c").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_that_did_not_change_is_not_sent_again() {
    let world = World::start().await;
    let first = world.get("/.well-known/jwks.json", &[]).await;
    let etag = first.header("etag").unwrap();
    let again = world.get("/.well-known/jwks.json", &[("if-none-match", etag)]).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(world.get("/.well-known/jwks.json", &[("if-none-match", "\"other\"")]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn r62_the_wire_shape_of_credentials_is_the_known_one() {
    let world = World::start().await;
    let session = world.session("blue").await;
    for path in ["/v1/mint-aws-creds", "/v1/mint-aws-creds/data", "/v1/mint-aws-creds/vault"] {
        let answer = world.mint(path, &session).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let shape = ["access_key_id", "secret_access_key", "session_token", "expiration", "wallet"];
        let (body, mut shape) = (answer.json(), shape.to_vec());
        shape.sort_unstable();
        assert_eq!(members(&body), shape);
        assert!(body["expiration"].is_u64() && body["wallet"].is_null());
        assert!(body["access_key_id"].as_str().unwrap().starts_with("ASIA"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let minted = world.mint("/v1/mint-oidc-jwt", &session).await;
    assert_eq!(members(&minted.json()), ["expiration", "jwt", "wallet"]);
    assert_eq!(minted.header("cache-control"), Some("no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn r68_credentials_of_the_broker_open_the_agents_own_prefix_and_no_other() {
    let world = World::start().await;
    let other = own_prefix(&world.demo.identity("red").await.unwrap(), DataClass::Memory);
    let own = own_prefix(&world.demo.identity("blue").await.unwrap(), DataClass::Memory);
    let bucket = world.demo.bucket(DataClass::Memory).to_owned();
    let session = world.session("blue").await;
    let credentials = world.mint("/v1/mint-aws-creds/memory", &session).await.json();
    let memory = s3(&world.demo, &credentials);
    assert_eq!(code_of_list(&memory, &bucket, &own).await, "1 objects");
    assert_eq!(code_of_list(&memory, &bucket, &other).await, "AccessDenied");
    // another class's role does not open it, and without a path the class is data
    let data = s3(&world.demo, &world.mint("/v1/mint-aws-creds", &session).await.json());
    assert_eq!(code_of_list(&data, &bucket, &own).await, "AccessDenied");
    let data_bucket = world.demo.bucket(DataClass::Data);
    let data_prefix = own.replace("/memory/", "/data/");
    assert_eq!(code_of_list(&data, data_bucket, &data_prefix).await, "1 objects");
}

#[tokio::test(flavor = "multi_thread")]
async fn r40_each_mint_needs_a_session_of_this_broker() {
    let world = World::start().await;
    let session = world.session("blue").await;
    let token = world.mint("/v1/mint-oidc-jwt", &session).await.json()["jwt"].as_str().unwrap().to_owned();
    let evidence = world.evidence("blue").await;
    let mut changed = session.clone();
    changed.replace_range(session.len() - 4.., if session.ends_with("AAAA") { "BBBB" } else { "AAAA" });
    let other = World::start().await.session("blue").await;
    for path in ["/v1/mint-oidc-jwt", "/v1/mint-aws-creds", "/v1/mint-aws-creds/memory"] {
        let missing = world.post(path, &[], "").await;
        assert_eq!(missing.refusal(), (401, "unauthorized".into(), "authorization_missing".into()));
        assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
        // a token for a cloud, evidence, a changed session, another broker's session, a word
        for shown in [&token, &evidence, &changed, &other, "word"] {
            let answer = world.mint(path, shown).await;
            assert_eq!((answer.status, answer.refusal().1.as_str()), (401, "unauthorized"), "{answer:?}");
            assert!(!answer.body.contains(shown) || shown == "word");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r57_a_session_opens_the_classes_of_its_tenant_and_no_other() {
    let world = World::start().await;
    let session = world.session("blue").await;
    for path in ["/v1/mint-aws-creds/config", "/v1/mint-oidc-jwt/config"] {
        let refused = world.mint(path, &session).await.refusal();
        assert_eq!(refused, (403, "forbidden".into(), "class_not_allowed".into()));
    }
    for path in ["/v1/mint-aws-creds/Memory", "/v1/mint-aws-creds/other", "/v1/mint-aws-creds/memory/x"] {
        assert_eq!(world.mint(path, &session).await.status, 404, "{path}");
    }
    let roles = |answer: &Answer| {
        let jwt = answer.json()["jwt"].as_str().unwrap().to_owned();
        claims(&jwt).to_string().matches(":role/agentkeys-memory-role").count()
    };
    assert_eq!(roles(&world.mint("/v1/mint-oidc-jwt/memory", &session).await), 1);
    assert_eq!(roles(&world.mint("/v1/mint-oidc-jwt", &session).await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_intent_is_refused_by_name() {
    let world = World::start().await;
    let session = world.session("blue").await;
    let authorization = ("authorization", &*format!("Bearer {session}"));
    let intent = json!({ "request_id": "1", "issued_at": 1, "intent": {}, "auth": {} }).to_string();
    let answer = world.post("/v1/mint-aws-creds", &[authorization], &intent).await;
    assert_eq!(answer.refusal(), (400, "bad_request".into(), "signed_intent_unsupported".into()));
    let answer = world.post("/v1/mint-aws-creds", &[authorization], "memory").await;
    assert_eq!(answer.refusal(), (400, "bad_request".into(), "body_unexpected".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn l8_evidence_of_a_role_is_signed_with_a_challenge_and_good_once() {
    let world = World::start().await;
    let source = world.demo.green().unwrap();
    let challenge = world.post("/v1/attest/challenge", &[], "").await;
    let challenge = challenge.json()["challenge"].as_str().unwrap().to_owned();
    let evidence = source.fetch_with_challenge(&challenge).await.unwrap();
    let evidence = String::from_utf8(evidence.expose().to_vec()).unwrap();
    let answer = world.attest("aws-sts", &evidence).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["agent"], &body["issuer"]), (200, &json!("green"), &json!("aws-sts")));
    let session = body["session"].as_str().unwrap();
    assert_eq!(world.mint("/v1/mint-aws-creds/vault", session).await.status, 200);
    assert_eq!(world.attest("aws-sts", &evidence).await.refusal().2, "evidence_replayed");
    // signed without one, or with one that this broker did not give
    let unasked = agentkeys_core::EvidenceSource::fetch(&source).await.unwrap();
    let unasked = String::from_utf8(unasked.expose().to_vec()).unwrap();
    assert_eq!(world.attest("aws-sts", &unasked).await.refusal().2, "evidence_incomplete");
    let foreign = source.fetch_with_challenge(&"A".repeat(challenge.len())).await.unwrap();
    let foreign = String::from_utf8(foreign.expose().to_vec()).unwrap();
    assert_eq!(
        world.attest("aws-sts", &foreign).await.refusal(),
        (401, "unauthorized".into(), "use_expired".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn w63_readiness_names_each_part_to_the_operator_and_says_yes_or_no_to_others() {
    let world = World::start().await;
    assert_eq!(world.get("/healthz", &[]).await.body, r#"{"status":"ok"}"#);
    assert_eq!(world.get("/readyz", &[]).await.body, r#"{"ready":true}"#);
    let detail = ask(world.operator(), "GET", "/readyz", &[], b"").await.json();
    assert_eq!(detail["ready"], true);
    assert_eq!(members(&detail["components"]), ["audit", "clock", "jwks", "keys"]);
    assert!(detail["components"].as_object().unwrap().values().all(|part| part["ready"] == true));
    // what is the operator's is not on the public listener, and the other way round
    assert_eq!(world.get("/metrics", &[]).await.status, 404);
    assert_eq!(ask(world.operator(), "POST", "/v1/mint-aws-creds", &[], b"").await.status, 404);
    let metrics = ask(world.operator(), "GET", "/metrics", &[], b"").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.contains("agentkeys_http_requests_total{route=\"/readyz\",status=\"200\"} "));
}
