//! `GetWebIdentityToken` and the documents of its issuer.

use std::time::Duration;

use agentkeys_local_aws::LocalAws;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value, json};

use crate::support::{
    ADMIN, Key, NOBODY, Reply, allow, get, pod_session, role_arn, send, session_of, signed_call, start, sts,
};

const AWS: &str = "https://sts.amazonaws.com/";

/// Verifies a token with the keys that its issuer publishes.
async fn verified(aws: &LocalAws, token: &str) -> (Option<String>, Map<String, Value>) {
    let issuer = aws.outbound_issuer();
    let discovery = send(get(&format!("{issuer}/.well-known/openid-configuration"))).await.json();
    assert_eq!(discovery["issuer"], json!(issuer));
    let keys = send(get(discovery["jwks_uri"].as_str().unwrap())).await;
    let keys: JwkSet = serde_json::from_str(&keys.body).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = DecodingKey::from_jwk(keys.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.validate_aud = false;
    let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation).unwrap().claims;
    (header.kid, claims)
}

async fn ask(aws: &LocalAws, key: Key<'_>, parameters: &[(&str, &str)]) -> Reply {
    let mut pairs = vec![("Action", "GetWebIdentityToken"), ("Version", "2011-06-15")];
    pairs.extend(parameters);
    signed_call(aws, &pairs, key).await
}

const SOUND: [(&str, &str); 2] = [("Audience.member.1", "broker"), ("SigningAlgorithm", "ES384")];

#[tokio::test]
async fn a_token_says_what_aws_says() {
    let aws = start(json!({"organization": {"org_id": "o-1", "ou_path": ["o-1/r-1/ou-1/"]}})).await;
    let session = pod_session(&aws, &[("team", "payments"), ("run", "7")]);
    for (algorithm, kid) in [("RS256", "RSA_0"), ("ES384", "EC384_0")] {
        let answer = sts(&aws, (&session).into())
            .get_web_identity_token()
            .audience("broker")
            .signing_algorithm(algorithm)
            .send()
            .await
            .unwrap();
        let (used, claims) = verified(&aws, answer.web_identity_token().unwrap()).await;
        assert_eq!(used.as_deref(), Some(kid));
        let mut names: Vec<&String> = claims.keys().collect();
        names.sort();
        assert_eq!(names, ["aud", "exp", AWS, "iat", "iss", "jti", "sub"]);
        assert_eq!(claims["iss"], json!(aws.outbound_issuer()));
        assert_eq!(claims["aud"], "broker");
        assert_eq!(claims["sub"], json!(role_arn("workloads/pod")));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
        assert_eq!(answer.expiration().unwrap().secs(), claims["exp"].as_i64().unwrap());
        let ours = &claims[AWS];
        assert_eq!(ours["aws_account"], "123456789012");
        assert_eq!(ours["source_region"], "us-east-1");
        assert_eq!(ours["principal_id"], claims["sub"]);
        // The session's tag wins, whatever its case, with its own spelling.
        assert_eq!(ours["principal_tags"], json!({"Stage": "prod", "team": "payments", "run": "7"}));
        assert_eq!(ours["org_id"], "o-1");
        assert_eq!(ours["ou_path"], json!(["o-1/r-1/ou-1/"]));
        assert!(ours["original_session_exp"].as_str().unwrap().ends_with('Z'));
        for absent in ["request_tags", "source_identity", "federated_provider"] {
            assert!(ours.get(absent).is_none(), "{absent}");
        }
    }
}

#[tokio::test]
async fn audiences_tags_and_source_identity_go_in() {
    let aws = start(json!({})).await;
    let session = aws
        .workload_session_as(
            &"pod".parse().unwrap(),
            &"pod-1".parse().unwrap(),
            agentkeys_local_aws::Tags::default(),
            Some("alice".parse().unwrap()),
            Duration::from_secs(3600),
        )
        .unwrap();
    let reply = ask(
        &aws,
        (&session).into(),
        &[
            ("Audience.member.1", "a"),
            ("Audience.member.2", "b"),
            ("SigningAlgorithm", "RS256"),
            ("DurationSeconds", "60"),
            ("Tags.member.1.Key", "aws:task"),
            ("Tags.member.1.Value", "t-1"),
        ],
    )
    .await;
    let (_, claims) = verified(&aws, reply.element("WebIdentityToken")).await;
    assert_eq!(claims["aud"], json!(["a", "b"]));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    assert_eq!(claims[AWS]["request_tags"], json!({"aws:task": "t-1"}));
    assert_eq!(claims[AWS]["source_identity"], "alice");
}

#[tokio::test]
async fn a_user_has_no_session_to_speak_of() {
    let aws = start(json!({})).await;
    let reply = ask(&aws, ADMIN, &SOUND).await;
    let (_, claims) = verified(&aws, reply.element("WebIdentityToken")).await;
    assert_eq!(claims["sub"], "arn:aws:iam::123456789012:user/ops/admin");
    assert_eq!(
        claims[AWS],
        json!({"aws_account": "123456789012", "source_region": "us-east-1", "principal_id": claims["sub"]})
    );
}

#[tokio::test]
async fn keys_verify_one_algorithm_each() {
    let aws = start(json!({})).await;
    let keys = send(get(&format!("{}/.well-known/jwks.json", aws.outbound_issuer()))).await.json();
    assert_eq!(keys["keys"][0]["kid"], "RSA_0");
    assert!(keys["keys"][0].get("alg").is_none());
    assert_eq!(keys["keys"][1]["alg"], "ES384");
    let reply = ask(&aws, ADMIN, &SOUND).await;
    assert_eq!(jsonwebtoken::decode_header(reply.element("WebIdentityToken")).unwrap().alg, Algorithm::ES384);
}

#[tokio::test]
async fn the_issuer_has_two_documents_and_no_more() {
    let aws = start(json!({})).await;
    let issuer = aws.outbound_issuer();
    for path in ["", "/", "/.well-known", "/.well-known/jwks", "/.well-known/jwks.json/x"] {
        assert_ne!(send(get(&format!("{issuer}{path}"))).await.status, 200, "{path}");
    }
    let mut post = get(&format!("{issuer}/.well-known/jwks.json"));
    *post.method_mut() = http::Method::POST;
    assert_eq!(send(post).await.status, 405);
}

#[tokio::test]
async fn parameters_have_constraints() {
    let aws = start(json!({})).await;
    let long = "a".repeat(1001);
    let eleven: Vec<(String, &str)> = (1..=11).map(|n| (format!("Audience.member.{n}"), "a")).collect();
    let mut eleven: Vec<(&str, &str)> = eleven.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    eleven.push(("SigningAlgorithm", "ES384"));
    for parameters in [
        &[("SigningAlgorithm", "ES384")][..],
        &[("Audience.member.1", "a")],
        &[("Audience.member.1", "a"), ("SigningAlgorithm", "ES256")],
        &[("Audience.member.1", ""), ("SigningAlgorithm", "ES384")],
        &[("Audience.member.1", &long), ("SigningAlgorithm", "ES384")],
        &eleven,
        &[SOUND[0], SOUND[1], ("DurationSeconds", "59")],
        &[SOUND[0], SOUND[1], ("DurationSeconds", "3601")],
        &[SOUND[0], SOUND[1], ("DurationSeconds", "x")],
        &[SOUND[0], SOUND[1], ("Tags.member.1.Key", "k")],
    ] {
        ask(&aws, ADMIN, parameters).await.refused(400, "ValidationError");
    }
    let twice = [
        SOUND[0],
        SOUND[1],
        ("Tags.member.1.Key", "k"),
        ("Tags.member.1.Value", "v"),
        ("Tags.member.2.Key", "K"),
        ("Tags.member.2.Value", "w"),
    ];
    ask(&aws, ADMIN, &twice).await.refused(400, "InvalidParameterValue");
}

#[tokio::test]
async fn permission_is_needed_for_tokens_and_for_tags() {
    let aws = start(json!({})).await;
    ask(&aws, NOBODY, &SOUND).await.refused(403, "AccessDenied");

    let key = Key { id: "AKIAONLYTOKENS000000", secret: "s", token: None };
    let aws = start(json!({"users": [{
        "name": "tokens",
        "policies": [allow(json!("sts:GetWebIdentityToken"), "arn:aws:sts::123456789012:self")],
        "access_keys": [{"access_key_id": key.id, "secret_access_key": key.secret}],
    }]}))
    .await;
    assert_eq!(ask(&aws, key, &SOUND).await.status, 200);
    let tagged = [SOUND[0], SOUND[1], ("Tags.member.1.Key", "k"), ("Tags.member.1.Value", "v")];
    ask(&aws, key, &tagged).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn a_policy_pins_the_audiences() {
    let key = Key { id: "AKIAPINNED0000000000", secret: "s", token: None };
    let aws = start(json!({"users": [{
        "name": "pinned",
        "policies": [{"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*",
            "Condition": {
                "ForAllValues:StringEquals": {"sts:IdentityTokenAudience": "broker"},
                "Null": {"sts:IdentityTokenAudience": "false"},
                "StringEquals": {"sts:SigningAlgorithm": "ES384"},
                "NumericLessThanEquals": {"sts:DurationSeconds": "300"},
            },
        }]}],
        "access_keys": [{"access_key_id": key.id, "secret_access_key": key.secret}],
    }]}))
    .await;
    assert_eq!(ask(&aws, key, &SOUND).await.status, 200);
    for parameters in [
        &[("Audience.member.1", "other"), SOUND[1]][..],
        &[SOUND[0], ("Audience.member.2", "other"), SOUND[1]],
        &[SOUND[0], ("SigningAlgorithm", "RS256")],
        &[SOUND[0], SOUND[1], ("DurationSeconds", "301")],
    ] {
        ask(&aws, key, parameters).await.refused(403, "AccessDenied");
    }
}

#[tokio::test]
async fn a_token_does_not_outlive_its_session() {
    let aws = start(json!({})).await;
    let session = session_of(&aws, "pod", &[], Duration::from_secs(200));
    ask(&aws, (&session).into(), &SOUND).await.refused(403, "SessionDurationEscalationException");
    let shorter = [SOUND[0], SOUND[1], ("DurationSeconds", "60")];
    assert_eq!(ask(&aws, (&session).into(), &shorter).await.status, 200);
}

#[tokio::test]
async fn an_account_without_outbound_federation_issues_nothing_new() {
    let aws = start(json!({"outbound_federation": {"enabled": false}})).await;
    ask(&aws, ADMIN, &SOUND).await.refused(403, "OutboundWebIdentityFederationDisabledException");
    // Keys stay published, so that tokens of before can still be verified.
    let keys = send(get(&format!("{}/.well-known/jwks.json", aws.outbound_issuer()))).await;
    assert_eq!(keys.status, 200);
    aws.set_outbound_federation(true);
    assert_eq!(ask(&aws, ADMIN, &SOUND).await.status, 200);
}

#[tokio::test]
async fn a_payload_has_a_size() {
    let aws = start(json!({})).await;
    let value = "v".repeat(256);
    let names: Vec<[String; 2]> =
        (1..=50).map(|n| [format!("Tags.member.{n}.Key"), format!("Tags.member.{n}.Value")]).collect();
    let keys: Vec<String> = (1..=50).map(|n| format!("{n}{}", "k".repeat(100))).collect();
    let mut parameters = SOUND.to_vec();
    for ([key_name, value_name], key) in names.iter().zip(&keys) {
        parameters.push((key_name, key));
        parameters.push((value_name, &value));
    }
    ask(&aws, ADMIN, &parameters).await.refused(400, "JWTPayloadSizeExceededException");
}
