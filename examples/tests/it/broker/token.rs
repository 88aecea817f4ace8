//! `/token`: RFC 8693, RFC 7523, and the errors of RFC 6749.

use serde_json::json;

use super::support::{Answer, FORM, World, claims};

const EXCHANGE: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
const SESSION: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ASSERTION: (&str, &str) =
    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
const CLIENT: (&str, &str) = ("grant_type", "client_credentials");

/// Status, error, and the parameters that they answer.
type Row<'a> = (u16, &'a str, Vec<(&'a str, &'a str)>);

async fn token(world: &World, parameters: &[(&str, &str)]) -> Answer {
    let pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    world.post("/token", &[FORM], &pairs.join("&")).await
}

fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn error(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    let members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["error", "error_description"], "{answer:?}");
    let description = body["error_description"].as_str().unwrap();
    // https://www.rfc-editor.org/rfc/rfc6749#section-5.2
    assert!(description.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    (answer.status, body["error"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_or_evidence_is_exchanged_for_a_token_as_rfc_8693_says() {
    let world = World::start().await;
    let (session, evidence) = (world.session("blue").await, world.evidence("blue").await);
    for (shown, kind) in [(&session, SESSION), (&evidence, JWT)] {
        let subject = [EXCHANGE, ("subject_token", shown), ("subject_token_type", kind)];
        let answer = token(&world, &subject).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        assert_eq!((&body["issued_token_type"], &body["token_type"]), (&json!(JWT), &json!("N_A")));
        assert_eq!(body["scope"], "data");
        assert!((200..=300).contains(&body["expires_in"].as_u64().unwrap()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let issued = claims(body["access_token"].as_str().unwrap());
        assert_eq!(
            (&issued["aud"], &issued["iss"]),
            (&json!("sts.amazonaws.com"), &json!(format!("http://{}", world.public())))
        );

        let more = [
            ("requested_token_type", JWT),
            ("audience", "sts.amazonaws.com"),
            ("resource", "https://sts.amazonaws.com"),
            ("scope", "memory"),
            ("unknown_to_us", "ignored"),
        ];
        let answer = token(&world, &[&subject[..], &more].concat()).await;
        assert_eq!((answer.status, &answer.json()["scope"]), (200, &json!("memory")), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_assertion_of_rfc_7523_gives_a_session() {
    let world = World::start().await;
    let evidence = world.evidence("red").await;
    let assertion = [CLIENT, ASSERTION, ("client_assertion", &evidence)];
    let subject = [
        EXCHANGE,
        ("subject_token", &evidence),
        ("subject_token_type", JWT),
        ("requested_token_type", SESSION),
    ];
    for asked in [&assertion[..], &subject] {
        let body = token(&world, asked).await.json();
        assert_eq!(body["token_type"], "Bearer", "{body}");
        let session = body["access_token"].as_str().unwrap();
        assert_eq!(world.mint("/v1/mint-oidc-jwt", session).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r88_every_error_of_the_token_endpoint_is_of_its_rfc() {
    let world = World::start().await;
    let (session, evidence) = (world.session("blue").await, world.evidence("blue").await);
    let jwt = world.mint("/v1/mint-oidc-jwt", &session).await.json()["jwt"].as_str().unwrap().to_owned();
    let of_session = [EXCHANGE, ("subject_token", &session), ("subject_token_type", SESSION)];
    let with = |more: &[(&'static str, &'static str)]| -> Vec<(&str, &str)> {
        of_session.iter().copied().chain(more.iter().copied()).collect()
    };
    let assertion = [CLIENT, ASSERTION];
    let table: Vec<Row<'_>> = vec![
        (400, "invalid_request", vec![]),
        (400, "invalid_request", vec![("grant_type", "")]),
        (400, "unsupported_grant_type", vec![("grant_type", "authorization_code")]),
        (400, "unsupported_grant_type", vec![("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")]),
        (400, "invalid_request", vec![EXCHANGE]),
        (400, "invalid_request", vec![EXCHANGE, ("subject_token", &session)]),
        (400, "invalid_request", vec![EXCHANGE, ("subject_token_type", SESSION)]),
        (400, "invalid_request", vec![EXCHANGE, ("subject_token", ""), ("subject_token_type", SESSION)]),
        // each thing is what its type says, and nothing is tried as another
        (400, "invalid_request", vec![EXCHANGE, ("subject_token", &session), ("subject_token_type", JWT)]),
        (
            400,
            "invalid_request",
            vec![EXCHANGE, ("subject_token", &evidence), ("subject_token_type", SESSION)],
        ),
        (400, "invalid_request", vec![EXCHANGE, ("subject_token", &jwt), ("subject_token_type", JWT)]),
        (400, "invalid_request", vec![EXCHANGE, ("subject_token", &jwt), ("subject_token_type", SESSION)]),
        (
            400,
            "invalid_request",
            vec![EXCHANGE, ("subject_token", &session), ("subject_token_type", "saml2")],
        ),
        (400, "invalid_request", with(&[("actor_token", "a"), ("actor_token_type", JWT)])),
        (400, "invalid_request", with(&[ASSERTION, ("client_assertion", "a")])),
        (400, "invalid_request", with(&[("requested_token_type", SESSION)])),
        (400, "invalid_request", with(&[("requested_token_type", "urn:ietf:params:oauth:token-type:saml2")])),
        (400, "invalid_target", with(&[("audience", "https://other.example")])),
        (400, "invalid_target", with(&[("audience", "STS.amazonaws.com")])),
        (400, "invalid_target", with(&[("resource", "https://other.example")])),
        (400, "invalid_target", with(&[("resource", "sts.amazonaws.com")])),
        (
            400,
            "invalid_target",
            with(&[("requested_token_type", SESSION), ("audience", "sts.amazonaws.com")]),
        ),
        (400, "invalid_scope", with(&[("scope", "everything")])),
        (400, "invalid_scope", with(&[("scope", "data memory")])),
        (400, "invalid_scope", with(&[("requested_token_type", SESSION), ("scope", "data")])),
        // the tenant has no role for it
        (400, "invalid_request", with(&[("scope", "config")])),
        (401, "invalid_client", vec![CLIENT]),
        (401, "invalid_client", vec![CLIENT, ("client_id", "blue"), ("client_secret", "guess")]),
        (401, "invalid_client", assertion.to_vec()),
        (
            401,
            "invalid_client",
            vec![CLIENT, ("client_assertion_type", "other"), ("client_assertion", &evidence)],
        ),
        (401, "invalid_client", vec![CLIENT, ASSERTION, ("client_assertion", "word")]),
        (401, "invalid_client", vec![CLIENT, ASSERTION, ("client_assertion", &session)]),
        (401, "invalid_client", vec![CLIENT, ASSERTION, ("client_assertion", &jwt)]),
        (400, "invalid_scope", vec![CLIENT, ASSERTION, ("client_assertion", &evidence), ("scope", "data")]),
    ];
    for (status, name, parameters) in table {
        let answer = token(&world, &parameters).await;
        assert_eq!(error(&answer), (status, name.to_owned()), "{parameters:?}");
        for (_, value) in
            parameters.iter().filter(|(_, value)| value.len() > 60 && !value.starts_with("urn:"))
        {
            assert!(!answer.body.contains(value));
        }
    }
    // doubled, and not a form
    let doubled =
        world.post("/token", &[FORM], "grant_type=client_credentials&grant_type=client_credentials").await;
    assert_eq!(error(&doubled), (400, "invalid_request".into()));
    let json = world.post("/token", &[("content-type", "application/json")], "{}").await;
    assert_eq!(error(&json), (415, "invalid_request".into()));
}
