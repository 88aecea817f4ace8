use agentkeys_core::{ErrorKind, HttpMethod};
use agentkeys_federation::{ExchangeError, Exchanger};

use crate::support::{STS, World, failure, success};

/// 2027-01-15T08:15:00Z: 900 seconds after `NOW`.
const IN_TIME: &str = "2027-01-15T08:15:00Z";

#[tokio::test]
async fn r64_the_request_is_unsigned_and_asks_for_exactly_the_role_session() {
    let world = World::new();
    let token = world.token().await;
    world.http.answer(STS, 200, success(&token, world.session.role(), IN_TIME));
    let credentials = world.exchanger.exchange(&token, &world.session).await.unwrap();
    assert_eq!(credentials.access_key_id(), "ASIAEXAMPLE");
    assert_eq!(credentials.secret_access_key().expose(), "MARKED-secret");
    assert_eq!(credentials.expires_at().as_unix(), 1_800_000_900);

    let requests = world.http.requests();
    let [request] = requests.as_slice() else { panic!("one request, not {}", requests.len()) };
    assert_eq!((request.method, request.url.as_str()), (HttpMethod::Post, STS));
    for (name, _) in &request.headers {
        assert!(!["authorization", "x-amz-security-token", "x-amz-date"].contains(&name.as_str()), "{name}");
    }
    let body = String::from_utf8(request.body.expose().clone()).unwrap();
    let mut names: Vec<_> = body.split('&').map(|pair| pair.split('=').next().unwrap()).collect();
    names.sort_unstable();
    let expected = ["Action", "DurationSeconds", "RoleArn", "RoleSessionName", "Version", "WebIdentityToken"];
    assert_eq!(names, expected);
    assert!(body.contains("Action=AssumeRoleWithWebIdentity&Version=2011-06-15"));
    assert!(body.contains("DurationSeconds=900"));
    assert!(body.contains(&format!("RoleSessionName=ak-{}", token.jti())));
    assert!(body.contains(&format!("WebIdentityToken={}", token.expose())));
}

#[tokio::test]
async fn l25_w47_the_token_carries_tags_and_the_role_pin() {
    let world = World::new();
    let token = world.token().await;
    let payload = token.expose().split('.').nth(1).unwrap();
    let claims = decoded(payload);
    assert_eq!(claims["aud"], "sts.amazonaws.com");
    assert_eq!(claims["https://aws.amazon.com/roles"], serde_json::json!([world.session.role().as_str()]));
    let tags = &claims["https://aws.amazon.com/tags"];
    let omni = agentkeys_federation::ActorOmni::of(&world.identity);
    assert_eq!(tags["principal_tags"], serde_json::json!({ "agentkeys_actor_omni": [omni.as_str()] }));
    assert_eq!(tags["transitive_tag_keys"], serde_json::json!(["agentkeys_actor_omni"]));
}

/// Decodes a payload with a decoder that is not ours.
fn decoded(segment: &str) -> serde_json::Value {
    let mut bits = Vec::new();
    for byte in segment.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            .iter()
            .position(|known| *known == byte)
            .unwrap();
        bits.extend((0..6).rev().map(|at| (value >> at) & 1));
    }
    let bytes: Vec<u8> =
        bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | *bit as u8)).collect();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn w64_every_code_of_aws_has_its_own_error_and_kind() {
    for (status, code, error, kind) in [
        (403, "AccessDenied", ExchangeError::Denied, ErrorKind::Denied),
        (400, "ExpiredTokenException", ExchangeError::TokenExpired, ErrorKind::Invalid),
        (400, "ExpiredToken", ExchangeError::TokenExpired, ErrorKind::Invalid),
        (400, "IDPCommunicationError", ExchangeError::IssuerUnreachable, ErrorKind::Unavailable),
        (403, "IDPRejectedClaim", ExchangeError::TokenRejected, ErrorKind::Denied),
        (400, "InvalidIdentityToken", ExchangeError::TokenInvalid, ErrorKind::Misconfigured),
        (400, "MalformedPolicyDocument", ExchangeError::PolicyMalformed, ErrorKind::Misconfigured),
        (400, "PackedPolicyTooLarge", ExchangeError::PolicyTooLarge, ErrorKind::Misconfigured),
        (403, "RegionDisabledException", ExchangeError::RegionDisabled, ErrorKind::Misconfigured),
        (400, "ValidationError", ExchangeError::Refused, ErrorKind::Misconfigured),
        (400, "Throttling", ExchangeError::Throttled, ErrorKind::Unavailable),
        (500, "InternalFailure", ExchangeError::Unavailable, ErrorKind::Unavailable),
        (418, "NobodyKnows", ExchangeError::Refused, ErrorKind::Misconfigured),
    ] {
        let world = World::new();
        let token = world.token().await;
        world.http.answer(STS, status, failure(code));
        let refused = world.exchanger.exchange(&token, &world.session).await.unwrap_err();
        assert_eq!((refused, refused.kind()), (error, kind), "{code}");
        assert_eq!(refused.retry_after().is_some(), kind == ErrorKind::Unavailable, "{code}");
        assert!(!format!("{refused} {refused:?}").contains("MARKED"), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn w64_what_may_mend_itself_is_tried_three_times_and_a_refusal_once() {
    for (status, code, tries) in [(400, "IDPCommunicationError", 3), (403, "AccessDenied", 1)] {
        let world = World::new();
        let token = world.token().await;
        world.http.answer(STS, status, failure(code));
        world.exchanger.exchange(&token, &world.session).await.unwrap_err();
        assert_eq!(world.http.requests().len(), tries, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_sts_that_cannot_be_reached_is_unavailable() {
    let world = World::new();
    let token = world.token().await;
    let refused = world.exchanger.exchange(&token, &world.session).await.unwrap_err();
    assert_eq!(refused, ExchangeError::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn w81_an_answer_that_does_not_fit_the_request_is_refused() {
    let other = "arn:aws:iam::123456789012:role/agents/agentkeys-vault-role".parse().unwrap();
    let elsewhere = "arn:aws:iam::210987654321:role/agents/agentkeys-memory-role".parse().unwrap();
    let world = World::new();
    let token = world.token().await;
    let good = success(&token, world.session.role(), IN_TIME);
    for (name, answer) in [
        ("another role", success(&token, &other, IN_TIME)),
        ("another account", success(&token, &elsewhere, IN_TIME)),
        ("another session", good.replace("/ak-", "/ak-x")),
        ("expired", success(&token, world.session.role(), "2027-01-15T08:00:00Z")),
        ("far longer than asked", success(&token, world.session.role(), "2027-01-15T08:25:01Z")),
        ("no key id", good.replace("ASIAEXAMPLE", "")),
        ("no secret", good.replace("MARKED-secret", "")),
        ("no session token", good.replace("MARKED-session", "")),
        ("no role", good.replace("AssumedRoleUser", "Unknown")),
        ("no credentials", good.replace("Credentials>", "Unknown>")),
        ("not XML", "{}".to_owned()),
        ("empty", String::new()),
    ] {
        world.http.answer(STS, 200, answer);
        let refused = world.exchanger.exchange(&token, &world.session).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Answer(_)), "{name}: {refused:?}");
    }
    world.http.answer(STS, 200, good);
    world.exchanger.exchange(&token, &world.session).await.unwrap();
}
