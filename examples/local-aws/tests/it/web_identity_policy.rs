//! `AssumeRoleWithWebIdentity`: which tokens a role takes, and what their sessions may do.

use agentkeys_local_aws::LocalAws;
use serde_json::{Value, json};

use crate::issuer::Issuer;
use crate::support::{Key, Reply, allow, role_arn, s3, sts, trust};
use crate::web_identity::{exchange, put_role, trusting};

const ALL: [&str; 3] = ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"];

fn provider(issuer: &Issuer) -> Value {
    let host = issuer.url.trim_start_matches("http://");
    json!({"Federated": format!("arn:aws:iam::123456789012:oidc-provider/{host}")})
}

fn tags(pairs: Value) -> Value {
    json!({"https://aws.amazon.com/tags": {"principal_tags": pairs}})
}

async fn ask(aws: &LocalAws, issuer: &Issuer, claims: Value) -> Reply {
    exchange(aws, &issuer.token(claims), &[]).await
}

#[tokio::test]
async fn every_action_has_to_be_allowed() {
    let (aws, issuer) = trusting().await;
    let with_tags = tags(json!({"tenant": ["a"]}));
    let with_source = json!({"https://aws.amazon.com/source_identity": "alice"});
    for (missing, claims) in ALL.into_iter().zip([json!({}), with_tags, with_source]) {
        let rest: Vec<&str> = ALL.into_iter().filter(|action| *action != missing).collect();
        put_role(&aws, trust(provider(&issuer), json!(rest), json!({})));
        let reply = ask(&aws, &issuer, claims.clone()).await;
        reply.refused(403, "AccessDenied");
        assert_eq!(reply.element("Message"), format!("Not authorized to perform {missing}"));
        put_role(&aws, trust(provider(&issuer), json!(ALL), json!({})));
        assert_eq!(ask(&aws, &issuer, claims).await.status, 200);
    }
}

#[tokio::test]
async fn another_provider_or_no_role_is_denied() {
    let (aws, issuer) = trusting().await;
    let other = json!({"Federated": "arn:aws:iam::123456789012:oidc-provider/127.0.0.1:1"});
    put_role(&aws, trust(other, json!(ALL), json!({})));
    ask(&aws, &issuer, json!({})).await.refused(403, "AccessDenied");
    for arn in [role_arn("none"), role_arn("agent"), "arn:aws:iam::999999999999:role/agents/agent".to_owned()]
    {
        exchange(&aws, &issuer.token(json!({})), &[("RoleArn", &arn)]).await.refused(403, "AccessDenied");
    }
}

#[tokio::test]
async fn conditions_see_the_token() {
    let (aws, issuer) = trusting().await;
    let host = issuer.url.trim_start_matches("http://");
    let sound = json!({
        "sub": "agent/7",
        "amr": ["mfa", "pwd"],
        "https://aws.amazon.com/tags": {"principal_tags": {"Tenant": ["a"]}, "transitive_tag_keys": ["Tenant"]},
        "https://aws.amazon.com/source_identity": "alice",
        "https://aws.amazon.com/roles": [role_arn("agents/agent")],
    });
    for (operator, key, right, wrong) in [
        ("StringEquals", &*format!("{host}:aud"), "sts.amazonaws.com", "second"),
        ("StringLike", &*format!("{host}:sub"), "agent/*", "bot/*"),
        ("ForAnyValue:StringEquals", &*format!("{host}:amr"), "mfa", "sms"),
        ("StringEquals", "aws:RequestTag/tenant", "a", "b"),
        ("ForAllValues:StringEquals", "aws:TagKeys", "Tenant", "other"),
        ("ForAnyValue:StringEquals", "sts:TransitiveTagKeys", "Tenant", "other"),
        ("StringEquals", "sts:SourceIdentity", "alice", "bob"),
        ("StringLike", "sts:RoleSessionName", "agent-*", "bot-*"),
        ("Bool", "sts:RoleAuthorizedByIdp", "true", "false"),
    ] {
        for (value, status) in [(right, 200), (wrong, 403)] {
            put_role(&aws, trust(provider(&issuer), json!(ALL), json!({operator: {key: value}})));
            let reply = ask(&aws, &issuer, sound.clone()).await;
            assert_eq!(reply.status.as_u16(), status, "{operator} {key} {value}: {}", reply.body);
        }
    }
    put_role(
        &aws,
        trust(provider(&issuer), json!(ALL), json!({"Bool": {"sts:RoleAuthorizedByIdp": "true"}})),
    );
    ask(&aws, &issuer, json!({})).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn malformed_tags_and_source_identities_are_refused() {
    let (aws, issuer) = trusting().await;
    let (long_key, long_value) = ("k".repeat(129), "v".repeat(257));
    let many: serde_json::Map<String, Value> = (0..51).map(|n| (format!("k{n}"), json!(["v"]))).collect();
    for claims in [
        tags(json!({"tenant": "a"})),
        tags(json!({"tenant": ["a", "b"]})),
        tags(json!({"tenant": [1]})),
        tags(json!({"aws:tenant": ["a"]})),
        tags(json!({"tenant": ["a"], "TENANT": ["b"]})),
        tags(json!({"ten*nt": ["a"]})),
        tags(json!({long_key: ["a"]})),
        tags(json!({"tenant": [long_value]})),
        tags(Value::Object(many)),
        json!({"https://aws.amazon.com/source_identity": "a"}),
        json!({"https://aws.amazon.com/source_identity": ""}),
        json!({"https://aws.amazon.com/source_identity": ["alice"]}),
        json!({"https://aws.amazon.com/roles": ""}),
        json!({"https://aws.amazon.com/roles": []}),
        json!({"https://aws.amazon.com/roles": [role_arn("agents/other")]}),
        json!({"https://aws.amazon.com/roles": role_arn("agent")}),
    ] {
        ask(&aws, &issuer, claims).await.refused(400, "InvalidIdentityToken");
    }
}

#[tokio::test]
async fn a_pinned_role_may_be_one_of_several() {
    let (aws, issuer) = trusting().await;
    let (ours, other) = (role_arn("agents/agent"), role_arn("agents/other"));
    for roles in [json!([other, ours]), json!(format!("{other};{ours}")), json!(null)] {
        assert_eq!(ask(&aws, &issuer, json!({"https://aws.amazon.com/roles": roles})).await.status, 200);
    }
}

#[tokio::test]
async fn flattened_tags_count_too() {
    let (aws, issuer) = trusting().await;
    let token = issuer.token(json!({"https://aws.amazon.com/tags/principal_tags/tenant": "b"}));
    let reply = exchange(&aws, &token, &[]).await;
    let client = s3(&aws, key_of(&reply));
    assert!(client.get_object().bucket("data").key("b/3.txt").send().await.is_ok());
    assert!(client.get_object().bucket("data").key("a/1.txt").send().await.is_err());
}

#[tokio::test]
async fn too_many_tags_do_not_pack() {
    let (aws, issuer) = trusting().await;
    let value = "v".repeat(256);
    let claims = tags(json!({"a": [value], "b": [value]}));
    ask(&aws, &issuer, claims).await.refused(400, "PackedPolicyTooLarge");
}

#[tokio::test]
async fn a_session_policy_limits() {
    let (aws, issuer) = trusting().await;
    let token = issuer.token(tags(json!({"tenant": ["a"]})));
    let policy = allow(json!("s3:GetObject"), "*").to_string();
    let reply = exchange(&aws, &token, &[("Policy", &policy)]).await;
    assert!((1..=100).contains(&reply.element("PackedPolicySize").parse().unwrap()));
    let client = s3(&aws, key_of(&reply));
    assert!(client.get_object().bucket("data").key("a/1.txt").send().await.is_ok());
    assert!(client.get_object().bucket("data").key("b/3.txt").send().await.is_err());
    assert!(client.delete_object().bucket("data").key("a/1.txt").send().await.is_err());
}

#[tokio::test]
async fn the_session_speaks_of_its_provider() {
    let (aws, issuer) = trusting().await;
    let reply = ask(&aws, &issuer, json!({"https://aws.amazon.com/source_identity": "alice"})).await;
    let answer = sts(&aws, key_of(&reply))
        .get_web_identity_token()
        .audience("broker")
        .signing_algorithm("ES384")
        .send()
        .await
        .unwrap();
    let claims: Value =
        jsonwebtoken::dangerous::insecure_decode(answer.web_identity_token().unwrap()).unwrap().claims;
    let ours = &claims["https://sts.amazonaws.com/"];
    assert_eq!(ours["federated_provider"], provider(&issuer)["Federated"]);
    assert_eq!(ours["source_identity"], "alice");
}

fn key_of(reply: &Reply) -> Key<'_> {
    assert_eq!(reply.status, 200, "{}", reply.body);
    Key {
        id: reply.element("AccessKeyId"),
        secret: reply.element("SecretAccessKey"),
        token: Some(reply.element("SessionToken")),
    }
}
