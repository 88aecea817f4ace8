//! `AssumeRoleWithWebIdentity`: which tokens count. Which of them a role takes is in `web_identity_policy`.

use std::time::Duration;

use agentkeys_local_aws::{LocalAws, Role};
use http::StatusCode;
use serde_json::{Value, json};

use crate::issuer::{DISCOVERY, Issuer, JWKS};
use crate::support::{
    ACCOUNT, ADMIN, Key, Reply, pod_session, role_arn, s3, send, signed_call, start, sts, trust,
    unsigned_call,
};

/// A server with a role that trusts the issuer in everything.
pub(crate) async fn trusting() -> (LocalAws, Issuer) {
    let (aws, issuer) = (start(json!({})).await, Issuer::start().await);
    let provider = aws.register_provider(issuer.url.parse().unwrap(), ["sts.amazonaws.com", "second"]);
    let actions = json!(["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"]);
    put_role(&aws, trust(json!({"Federated": provider}), actions, json!({})));
    (aws, issuer)
}

/// The role `agent`, which may do to its tenant's objects what `pod` may.
pub(crate) fn put_role(aws: &LocalAws, trust_policy: Value) {
    let mut role = Role::new("agent".parse().unwrap(), serde_json::from_value(trust_policy).unwrap());
    role.path = "/agents/".parse().unwrap();
    let pod = aws.state().roles.into_iter().find(|role| role.name.as_str() == "pod").unwrap();
    role.policies = pod.policies;
    assert_eq!(aws.put_role(role), role_arn("agents/agent"));
}

pub(crate) async fn exchange(aws: &LocalAws, token: &str, changes: &[(&str, &str)]) -> Reply {
    let arn = role_arn("agents/agent");
    let mut pairs = vec![
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", arn.as_str()),
        ("RoleSessionName", "agent-1"),
        ("WebIdentityToken", token),
    ];
    for (name, value) in changes {
        pairs.retain(|(other, _)| other != name);
        pairs.push((name, value));
    }
    send(unsigned_call(aws, &pairs)).await
}

#[tokio::test]
async fn a_token_becomes_credentials_that_work() {
    let (aws, issuer) = trusting().await;
    let token = issuer.token(json!({
        "https://aws.amazon.com/tags": {"principal_tags": {"tenant": ["a"]}, "transitive_tag_keys": ["tenant"]},
        "https://aws.amazon.com/source_identity": "alice",
    }));
    let answer = sts(&aws, Key { id: "none", secret: "none", token: None })
        .assume_role_with_web_identity()
        .role_arn(role_arn("agents/agent"))
        .role_session_name("agent-1")
        .web_identity_token(token)
        .duration_seconds(900)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.subject_from_web_identity_token(), Some("agent/1"));
    assert_eq!(answer.audience(), Some("sts.amazonaws.com"));
    assert_eq!(answer.source_identity(), Some("alice"));
    assert!(
        answer.provider().unwrap().starts_with(&format!("arn:aws:iam::{ACCOUNT}:oidc-provider/127.0.0.1:"))
    );
    let user = answer.assumed_role_user().unwrap();
    assert_eq!(user.arn(), "arn:aws:sts::123456789012:assumed-role/agent/agent-1");
    let credentials = answer.credentials().unwrap();
    let key = Key {
        id: credentials.access_key_id(),
        secret: credentials.secret_access_key(),
        token: Some(credentials.session_token()),
    };
    let identity = sts(&aws, key).get_caller_identity().send().await.unwrap();
    assert_eq!(identity.user_id(), Some(user.assumed_role_id()));
    let client = s3(&aws, key);
    assert!(client.get_object().bucket("data").key("a/1.txt").send().await.is_ok());
    assert!(client.get_object().bucket("data").key("b/3.txt").send().await.is_err());

    let exchange = aws
        .requests()
        .into_iter()
        .find(|request| request.sts_action.as_deref() == Some("AssumeRoleWithWebIdentity"));
    assert!(!exchange.unwrap().has_authorization, "the exchange is not signed");
}

#[tokio::test]
async fn five_algorithms_are_taken() {
    let (aws, issuer) = trusting().await;
    for (algorithm, kid) in
        [("RS256", "rsa"), ("RS384", "rsa"), ("RS512", "rsa"), ("ES256", "p256"), ("ES384", "p384")]
    {
        let token =
            issuer.sign(&json!({"alg": algorithm, "kid": kid}), &issuer.claims(json!({})).to_string());
        assert_eq!(exchange(&aws, &token, &[]).await.status, 200, "{algorithm}");
    }
    for algorithm in ["none", "HS256", "PS256", "EdDSA", "ES512"] {
        let token =
            issuer.sign(&json!({"alg": algorithm, "kid": "p256"}), &issuer.claims(json!({})).to_string());
        exchange(&aws, &token, &[]).await.refused(400, "InvalidIdentityToken");
    }
}

#[tokio::test]
async fn a_forged_or_altered_token_is_refused() {
    let (aws, issuer) = trusting().await;
    let stranger = Issuer::start().await;
    let forged =
        stranger.sign(&json!({"alg": "ES256", "kid": "p256"}), &issuer.claims(json!({})).to_string());
    exchange(&aws, &forged, &[]).await.refused(400, "InvalidIdentityToken");
    let sound = issuer.token(json!({}));
    let (head, _) = sound.rsplit_once('.').unwrap();
    exchange(&aws, &format!("{head}."), &[]).await.refused(400, "InvalidIdentityToken");
    for text in ["abcd", "a.b.c", "...."] {
        exchange(&aws, text, &[]).await.refused(400, "InvalidIdentityToken");
    }
    // The kid of one key, the algorithm of another.
    let confused = issuer.sign(&json!({"alg": "ES256", "kid": "rsa"}), &issuer.claims(json!({})).to_string());
    exchange(&aws, &confused, &[]).await.refused(400, "InvalidIdentityToken");
}

#[tokio::test]
async fn an_issuer_must_be_registered() {
    let (aws, issuer) = trusting().await;
    let stranger = Issuer::start().await;
    let reply = exchange(&aws, &stranger.token(json!({})), &[]).await;
    reply.refused(400, "InvalidIdentityToken");
    assert!(
        reply
            .element("Message")
            .starts_with("No OpenIDConnect provider found in your account for http://127")
    );
    let slash = issuer.token(json!({"iss": format!("{}/", issuer.url)}));
    exchange(&aws, &slash, &[]).await.refused(400, "InvalidIdentityToken");
}

#[tokio::test]
async fn tokens_of_the_account_itself_are_never_taken() {
    let (aws, _issuer) = trusting().await;
    aws.register_provider(aws.outbound_issuer().parse().unwrap(), ["sts.amazonaws.com"]);
    let call = [
        ("Action", "GetWebIdentityToken"),
        ("Version", "2011-06-15"),
        ("Audience.member.1", "sts.amazonaws.com"),
        ("SigningAlgorithm", "ES384"),
    ];
    let token = signed_call(&aws, &call, ADMIN).await;
    let reply = exchange(&aws, token.element("WebIdentityToken"), &[]).await;
    reply.refused(400, "InvalidIdentityToken");
    assert!(reply.element("Message").contains("outbound"), "{}", reply.body);
}

#[tokio::test]
async fn the_audience_must_be_a_client_id() {
    let (aws, issuer) = trusting().await;
    for claims in [
        json!({"aud": "second"}),
        json!({"aud": ["second"]}),
        json!({"aud": ["other", "x"], "azp": "second"}),
    ] {
        assert_eq!(exchange(&aws, &issuer.token(claims), &[]).await.status, 200);
    }
    for claims in [
        json!({"aud": "third"}),
        json!({"aud": ["sts.amazonaws.com", "second"]}),
        json!({"aud": "sts.amazonaws.com", "azp": "third"}),
    ] {
        exchange(&aws, &issuer.token(claims), &[]).await.refused(400, "InvalidIdentityToken");
    }
}

#[tokio::test]
async fn times_are_checked_by_the_clock() {
    let (aws, issuer) = trusting().await;
    let token = issuer.token(json!({}));
    aws.clock().advance(Duration::from_secs(600 + 290));
    assert_eq!(exchange(&aws, &token, &[]).await.status, 200, "five minutes of tolerance");
    aws.clock().advance(Duration::from_secs(20));
    exchange(&aws, &token, &[]).await.refused(400, "ExpiredTokenException");
}

#[tokio::test]
async fn odd_times_and_subjects_are_refused() {
    let (aws, issuer) = trusting().await;
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    for claims in [
        json!({"exp": now as f64 + 100.5}),
        json!({"iat": now as f64 - 0.5}),
        json!({"nbf": now + 400}),
        json!({"iat": now + 400}),
        json!({"exp": "soon"}),
    ] {
        exchange(&aws, &issuer.token(claims), &[]).await.refused(400, "InvalidIdentityToken");
    }
    exchange(&aws, &issuer.token(json!({"sub": null})), &[]).await.refused(500, "InternalFailure");
    let reply = exchange(&aws, &issuer.token(json!({"sub": 42})), &[]).await;
    assert_eq!(reply.element("SubjectFromWebIdentityToken"), "42");
    for required in ["iss", "sub", "aud", "iat", "exp"] {
        let mut claims = issuer.claims(json!({}));
        claims.as_object_mut().unwrap().remove(required);
        let token = issuer.sign(&json!({"alg": "ES256", "kid": "p256"}), &claims.to_string());
        exchange(&aws, &token, &[]).await.refused(400, "InvalidIdentityToken");
    }
}

#[tokio::test]
async fn of_two_claims_with_one_name_the_later_counts() {
    let (aws, issuer) = trusting().await;
    let claims = issuer.claims(json!({})).to_string();
    let doubled = format!("{},\"sub\":\"later\"}}", claims.trim_end_matches('}'));
    let token = issuer.sign(&json!({"alg": "ES256", "kid": "p256"}), &doubled);
    assert_eq!(exchange(&aws, &token, &[]).await.element("SubjectFromWebIdentityToken"), "later");
}

#[tokio::test]
async fn keys_follow_the_rules_of_aws() {
    let (aws, issuer) = trusting().await;
    let key = issuer.keys().remove(0);
    let with = |member: &str, value: Value| {
        let mut key = key.clone();
        key[member] = value;
        key
    };
    let token = issuer.token(json!({}));
    let without_kid = issuer.sign(&json!({"alg": "ES256"}), &issuer.claims(json!({})).to_string());
    exchange(&aws, &without_kid, &[]).await.refused(400, "InvalidIdentityToken");
    issuer.publish(JWKS, &json!({"keys": [key]}));
    assert_eq!(exchange(&aws, &without_kid, &[]).await.status, 200, "the only key there is");
    issuer.publish(JWKS, &json!({"keys": [with("alg", json!("ES384"))]}));
    assert_eq!(exchange(&aws, &token, &[]).await.status, 200, "the key's alg has no say");
    for unusable in
        [with("key_ops", json!(["verify"])), with("use", json!("enc")), with("kid", json!("other"))]
    {
        issuer.publish(JWKS, &json!({"keys": [unusable]}));
        exchange(&aws, &token, &[]).await.refused(400, "InvalidIdentityToken");
    }
}

#[tokio::test]
async fn an_issuer_must_answer() {
    let (aws, issuer) = trusting().await;
    let token = issuer.token(json!({}));
    let key_set = json!({"keys": issuer.keys()});
    let huge = format!("{{\"issuer\": \"{}\", \"x\": \"{}\"}}", issuer.url, "x".repeat(600_000));
    for (status, body) in [
        (StatusCode::NOT_FOUND, ""),
        (StatusCode::FOUND, ""),
        (StatusCode::INTERNAL_SERVER_ERROR, "{}"),
        (StatusCode::OK, "not json"),
        (StatusCode::OK, "{}"),
        (StatusCode::OK, &huge),
    ] {
        issuer.answer(JWKS, status, body);
        let reply = exchange(&aws, &token, &[]).await;
        reply.refused(400, "InvalidIdentityToken");
        assert!(
            reply.element("Message").starts_with("Couldn&apos;t retrieve verification key"),
            "{}",
            reply.body
        );
    }
    issuer.publish(JWKS, &key_set);
    for discovery in [
        json!({"issuer": "http://127.0.0.1:1", "jwks_uri": format!("{}{JWKS}", issuer.url)}),
        json!({"issuer": issuer.url}),
        json!({"issuer": issuer.url, "jwks_uri": "http://issuer.example.com/keys"}),
        json!({"issuer": issuer.url, "jwks_uri": "file:///etc/passwd"}),
        json!({"issuer": issuer.url, "jwks_uri": 7}),
    ] {
        issuer.publish(DISCOVERY, &discovery);
        exchange(&aws, &token, &[]).await.refused(400, "InvalidIdentityToken");
    }
}

#[tokio::test]
async fn an_unreachable_issuer_is_a_communication_error() {
    let (aws, issuer) = trusting().await;
    // A port that was free a moment ago, and a host that is never asked.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [format!("http://{gone}"), "https://issuer.example.com".to_owned()] {
        aws.register_provider(url.parse().unwrap(), ["sts.amazonaws.com"]);
        let token = issuer.token(json!({"iss": url}));
        exchange(&aws, &token, &[]).await.refused(400, "IDPCommunicationError");
    }
}

#[tokio::test]
async fn parameters_have_constraints() {
    let (aws, issuer) = trusting().await;
    let token = issuer.token(json!({}));
    let (long_name, long_token, long_policy) = ("n".repeat(65), "t".repeat(20_001), " ".repeat(2049));
    for change in [
        ("RoleArn", "short"),
        ("RoleArn", "arn:aws:iam::123456789012:user/somebody"),
        ("RoleSessionName", "a"),
        ("RoleSessionName", "a b"),
        ("RoleSessionName", &long_name),
        ("WebIdentityToken", "abc"),
        ("WebIdentityToken", &long_token),
        ("DurationSeconds", "899"),
        ("DurationSeconds", "43201"),
        ("DurationSeconds", "3601"),
        ("DurationSeconds", "1h"),
        ("Policy", &long_policy),
    ] {
        exchange(&aws, &token, &[change]).await.refused(400, "ValidationError");
    }
    exchange(&aws, &token, &[("ProviderId", "www.amazon.com")]).await.refused(400, "InvalidIdentityToken");
    exchange(&aws, &token, &[("Policy", "{}")]).await.refused(400, "MalformedPolicyDocument");
    let arns = [("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnlyAccess")];
    exchange(&aws, &token, &arns).await.refused(501, "NotImplemented");
}

#[tokio::test]
async fn an_authorization_header_is_ignored_and_remembered() {
    let (aws, issuer) = trusting().await;
    let token = issuer.token(json!({}));
    let pairs = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", "arn:aws:iam::123456789012:role/agents/agent"),
        ("RoleSessionName", "agent-1"),
        ("WebIdentityToken", &token),
    ];
    assert_eq!(signed_call(&aws, &pairs, ADMIN).await.status, 200);
    let session = pod_session(&aws, &[]);
    assert_eq!(signed_call(&aws, &pairs, (&session).into()).await.status, 200);
    assert!(aws.requests().iter().all(|request| request.has_authorization));
}
