use agentkeys_core::{ErrorKind, HttpMethod};
use agentkeys_federation::{ExchangeError, Exchanger, SourceIdentity, TagsForm};

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
    assert!(claims.get("https://aws.amazon.com/tags/principal_tags").is_none());
    let omni = agentkeys_federation::ActorOmni::of(&world.identity);
    assert_eq!(tags["principal_tags"], serde_json::json!({ "agentkeys_actor_omni": [omni.as_str()] }));
    assert_eq!(tags["transitive_tag_keys"], serde_json::json!(["agentkeys_actor_omni"]));
}

#[tokio::test]
async fn w47_the_flat_form_of_the_tags_is_for_targets_that_read_no_other() {
    let mut world = World::new();
    world.session = world.session.clone().with_tags_form(TagsForm::Flat);
    let token = world.token().await;
    let claims = decoded(token.expose().split('.').nth(1).unwrap());
    let omni = agentkeys_federation::ActorOmni::of(&world.identity);
    let flat = "https://aws.amazon.com/tags";
    assert_eq!(
        claims[format!("{flat}/principal_tags")],
        serde_json::json!({ "agentkeys_actor_omni": omni.as_str() })
    );
    assert_eq!(claims[format!("{flat}/transitive_tag_keys")], serde_json::json!(["agentkeys_actor_omni"]));
    assert!(claims.get(flat).is_none());
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
        (403, "InvalidClientTokenId", ExchangeError::Refused, ErrorKind::Misconfigured),
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
async fn w64_what_may_mend_itself_is_tried_again_with_jitter_and_a_refusal_is_not() {
    // the tries, and between which milliseconds they end
    for (status, code, tries, waited) in [
        (400, "IDPCommunicationError", 3, 300..=602),
        (400, "Throttling", 3, 1500..=3002),
        (500, "InternalFailure", 3, 300..=602),
        (400, "InvalidIdentityToken", 2, 100..=201),
        (403, "AccessDenied", 1, 0..=0),
        (400, "ExpiredTokenException", 1, 0..=0),
        (403, "IDPRejectedClaim", 1, 0..=0),
        (400, "PackedPolicyTooLarge", 1, 0..=0),
        (400, "MalformedPolicyDocument", 1, 0..=0),
        (403, "RegionDisabledException", 1, 0..=0),
        (400, "NobodyKnows", 1, 0..=0),
    ] {
        let world = World::new();
        let token = world.token().await;
        world.http.answer(STS, status, failure(code));
        let begun = tokio::time::Instant::now();
        let error = world.exchanger.exchange(&token, &world.session).await.unwrap_err();
        assert!(waited.contains(&begun.elapsed().as_millis()), "{code} {:?}", begun.elapsed());
        assert_eq!(world.http.requests().len(), tries, "{code}");
        assert_eq!(error.tries() as usize, tries, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn w64_a_second_try_that_succeeds_is_a_success() {
    let world = World::new();
    let token = world.token().await;
    world.http.answer(STS, 400, failure("InvalidIdentityToken"));
    let mend = async {
        while world.http.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        world.http.answer(STS, 200, success(&token, world.session.role(), IN_TIME));
    };
    let (exchanged, ()) = tokio::join!(world.exchanger.exchange(&token, &world.session), mend);
    assert_eq!(exchanged.unwrap().access_key_id(), "ASIAEXAMPLE");
}

#[tokio::test(start_paused = true)]
async fn w64_an_sts_that_hangs_is_unavailable_after_twenty_seconds() {
    let world = World::new();
    let token = world.token().await;
    world.http.answer(STS, 200, success(&token, world.session.role(), IN_TIME));
    let _held = world.http.hold().await;
    let begun = tokio::time::Instant::now();
    let refused = world.exchanger.exchange(&token, &world.session).await.unwrap_err();
    assert_eq!((refused, begun.elapsed().as_secs()), (ExchangeError::Unavailable, 20));
}

#[tokio::test(start_paused = true)]
async fn w64_errors_of_s3_compatible_servers_are_read_empty_messages_and_bodies_too() {
    let s3 =
        |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message></Message></Error>");
    for (status, body, error) in [
        (403, s3("AccessDenied"), ExchangeError::Denied),
        (400, s3("InvalidIdentityToken"), ExchangeError::TokenInvalid),
        (503, s3("SlowDown"), ExchangeError::Throttled),
        (403, s3("SignatureDoesNotMatch"), ExchangeError::Refused),
        (403, String::new(), ExchangeError::Denied),
        (400, String::new(), ExchangeError::Refused),
        (503, String::new(), ExchangeError::Unavailable),
        (502, "<html>MARKED</html>".to_owned(), ExchangeError::Unavailable),
    ] {
        let world = World::new();
        let token = world.token().await;
        world.http.answer(STS, status, body.clone());
        let refused = world.exchanger.exchange(&token, &world.session).await.unwrap_err();
        assert_eq!(refused, error, "{status} {body}");
    }
}

#[test]
fn r65_every_failed_exchange_is_sts_error_and_502_to_a_hosts_callers() {
    use ExchangeError as E;
    for error in [
        E::Answer("x"),
        E::BaseExpired,
        E::BaseInvalid,
        E::Denied,
        E::IssuerUnreachable,
        E::PolicyMalformed,
        E::PolicyTooLarge,
        E::RegionDisabled,
        E::Refused,
        E::Throttled,
        E::TokenExpired,
        E::TokenInvalid,
        E::TokenRejected,
        E::Unavailable,
    ] {
        assert_eq!((error.wire_name(), error.wire_status()), ("sts_error", 502), "{error:?}");
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
    let named = |name: &str, text: &str| {
        let result = "</AssumeRoleWithWebIdentityResult>";
        good.replace(result, &format!("<{name}>{text}</{name}>{result}"))
    };
    let provider = |account: &str, host: &str| format!("arn:aws:iam::{account}:oidc-provider/{host}");
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
        ("another audience", named("Audience", "agentkeys")),
        ("another issuer", named("Provider", "https://evil.example.org")),
        ("another issuer's provider", named("Provider", &provider("123456789012", "evil.example.org"))),
        ("another account's provider", named("Provider", &provider("210987654321", "broker.example.org"))),
        ("half a provider", named("Provider", "broker.example.org")),
        ("another subject", named("SubjectFromWebIdentityToken", "aws-stsweb/x//red")),
        ("a source identity that nobody set", named("SourceIdentity", "alice")),
        ("not XML", "{}".to_owned()),
        ("empty", String::new()),
    ] {
        world.http.answer(STS, 200, answer);
        let refused = world.exchanger.exchange(&token, &world.session).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Answer(_)), "{name}: {refused:?}");
    }
    let subject = world.identity.subject();
    for answer in [
        named("Audience", "sts.amazonaws.com"),
        named("Provider", &provider("123456789012", "broker.example.org")),
        named("Provider", "https://broker.example.org"),
        named("SubjectFromWebIdentityToken", subject.as_str()),
        named("SourceIdentity", ""),
        good.clone(),
    ] {
        world.http.answer(STS, 200, answer);
        world.exchanger.exchange(&token, &world.session).await.unwrap();
    }

    // one that was asked for must be what AWS says it set: silence is no attribution
    let source = SourceIdentity::agent("acme", "one").unwrap();
    let attributed = world.session.clone().with_source_identity(source.clone());
    for (name, said) in [("nobody", ""), ("alice", "alice"), ("another session", "agent+acme+two")] {
        world.http.answer(STS, 200, named("SourceIdentity", said));
        let refused = world.exchanger.exchange(&token, &attributed).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Answer(_)), "{name}: {refused:?}");
    }
    world.http.answer(STS, 200, named("SourceIdentity", source.as_str()));
    world.exchanger.exchange(&token, &attributed).await.unwrap();
}

#[tokio::test]
async fn l24_what_the_sts_says_of_an_exchanges_packed_size_is_passed_on() {
    let world = World::new();
    let token = world.token().await;
    let end = "</AssumeRoleWithWebIdentityResult>";
    let said =
        |fields: &str| success(&token, world.session.role(), IN_TIME).replace(end, &format!("{fields}{end}"));
    for (fields, percent) in [
        ("", None),
        ("<PackedPolicySize>74</PackedPolicySize>", Some(74)),
        ("<SessionTokenUtilization>80</SessionTokenUtilization>", Some(80)),
    ] {
        world.http.answer(STS, 200, said(fields));
        let credentials = world.exchanger.exchange(&token, &world.session).await.unwrap();
        assert_eq!(credentials.packed_size().map(|size| size.percent()), percent, "{fields}");
    }
    for lie in ["<PackedPolicySize>101</PackedPolicySize>", "<PackedPolicySize>-1</PackedPolicySize>"] {
        world.http.answer(STS, 200, said(lie));
        let refused = world.exchanger.exchange(&token, &world.session).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Answer(_)), "{lie}: {refused:?}");
    }
}
