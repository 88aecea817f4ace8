//! `AssumeRole`: trust, tags that stay, source identities that cannot change, and chains.

use std::time::Duration;

use agentkeys_local_aws::{LocalAws, Role, SessionCredentials, Tags};
use serde_json::{Value, json};

use crate::support::{
    ACCOUNT, ADMIN, Key, NOBODY, Reply, allow, pod_session, role_arn, s3, signed_call, start, sts, trust,
};

const ALL: [&str; 3] = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"];

fn root() -> Value {
    json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:root")})
}

fn put(aws: &LocalAws, name: &str, trust_policy: Value) {
    let mut role = Role::new(name.parse().unwrap(), serde_json::from_value(trust_policy).unwrap());
    role.policies = vec![serde_json::from_value(allow(json!("sts:*"), "*")).unwrap()];
    role.max_session_duration = 7200.try_into().unwrap();
    aws.put_role(role);
}

async fn open() -> LocalAws {
    let aws = start(json!({})).await;
    put(&aws, "target", trust(root(), json!(ALL), json!({})));
    aws
}

async fn assume(aws: &LocalAws, key: Key<'_>, changes: &[(&str, &str)]) -> Reply {
    let arn = role_arn("target");
    let mut pairs = vec![
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", arn.as_str()),
        ("RoleSessionName", "hop-1"),
    ];
    for (name, value) in changes {
        pairs.retain(|(other, _)| other != name);
        pairs.push((name, value));
    }
    signed_call(aws, &pairs, key).await
}

fn key_of(reply: &Reply) -> Key<'_> {
    assert_eq!(reply.status, 200, "{}", reply.body);
    Key {
        id: reply.element("AccessKeyId"),
        secret: reply.element("SecretAccessKey"),
        token: Some(reply.element("SessionToken")),
    }
}

fn pod_as(aws: &LocalAws, source_identity: &str) -> SessionCredentials {
    let (role, name) = ("pod".parse().unwrap(), "pod-1".parse().unwrap());
    let source_identity = Some(source_identity.parse().unwrap());
    aws.workload_session_as(&role, &name, Tags::default(), source_identity, Duration::from_secs(3600))
        .unwrap()
}

#[tokio::test]
async fn a_role_is_assumed() {
    let aws = open().await;
    let answer = sts(&aws, ADMIN)
        .assume_role()
        .role_arn(role_arn("target"))
        .role_session_name("hop-1")
        .source_identity("alice")
        .duration_seconds(7200)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.source_identity(), Some("alice"));
    assert_eq!(
        answer.assumed_role_user().unwrap().arn(),
        "arn:aws:sts::123456789012:assumed-role/target/hop-1"
    );
    let credentials = answer.credentials().unwrap();
    let left = credentials.expiration().secs() - time::OffsetDateTime::now_utc().unix_timestamp();
    assert!((7190..=7200).contains(&left));
}

#[tokio::test]
async fn both_sides_have_to_agree() {
    let aws = open().await;
    assume(&aws, NOBODY, &[]).await.refused(403, "AccessDenied");
    assert_eq!(assume(&aws, ADMIN, &[]).await.status, 200);
    // The role names the user: that is enough by itself.
    put(
        &aws,
        "target",
        trust(json!({"AWS": "arn:aws:iam::123456789012:user/nobody"}), json!(ALL), json!({})),
    );
    assert_eq!(assume(&aws, NOBODY, &[]).await.status, 200);
    // The role trusts somebody else: no policy of the caller helps.
    assume(&aws, ADMIN, &[]).await.refused(403, "AccessDenied");
    put(&aws, "target", trust(json!({"Service": "pods.eks.amazonaws.com"}), json!(ALL), json!({})));
    assume(&aws, ADMIN, &[]).await.refused(403, "AccessDenied");
    assume(&aws, ADMIN, &[("RoleArn", &role_arn("none"))]).await.refused(403, "AccessDenied");
    let foreign = "arn:aws:iam::999999999999:role/target";
    assume(&aws, ADMIN, &[("RoleArn", foreign)]).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn a_trust_policy_sees_the_request() {
    let aws = open().await;
    for (key, right, wrong) in [
        ("sts:RoleSessionName", "hop-1", "hop-2"),
        ("sts:SourceIdentity", "alice", "bob"),
        ("sts:ExternalId", "external", "other"),
        ("aws:RequestTag/team", "a", "b"),
        (
            "aws:PrincipalArn",
            "arn:aws:iam::123456789012:user/ops/admin",
            "arn:aws:iam::123456789012:user/admin",
        ),
        ("aws:username", "admin", "nobody"),
    ] {
        for (value, status) in [(right, 200), (wrong, 403)] {
            put(&aws, "target", trust(root(), json!(ALL), json!({"StringEquals": {key: value}})));
            let reply = assume(
                &aws,
                ADMIN,
                &[
                    ("SourceIdentity", "alice"),
                    ("ExternalId", "external"),
                    ("Tags.member.1.Key", "team"),
                    ("Tags.member.1.Value", "a"),
                ],
            )
            .await;
            assert_eq!(reply.status.as_u16(), status, "{key} {value}: {}", reply.body);
        }
    }
}

#[tokio::test]
async fn tags_and_source_identities_need_their_own_permission() {
    let aws = open().await;
    put(&aws, "target", trust(root(), json!("sts:AssumeRole"), json!({})));
    assert_eq!(assume(&aws, ADMIN, &[]).await.status, 200);
    let tags = [("Tags.member.1.Key", "k"), ("Tags.member.1.Value", "v")];
    assume(&aws, ADMIN, &tags).await.refused(403, "AccessDenied");
    assume(&aws, ADMIN, &[("SourceIdentity", "alice")]).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn a_source_identity_stays_through_a_chain() {
    let aws = open().await;
    let pod = pod_as(&aws, "alice");
    assume(&aws, (&pod).into(), &[("SourceIdentity", "bob")]).await.refused(403, "AccessDenied");
    let first = assume(&aws, (&pod).into(), &[]).await;
    assert_eq!(first.element("SourceIdentity"), "alice");
    assume(&aws, key_of(&first), &[("SourceIdentity", "bob")]).await.refused(403, "AccessDenied");
    let second = assume(&aws, key_of(&first), &[("SourceIdentity", "alice")]).await;
    assert_eq!(second.element("SourceIdentity"), "alice");
    // A role that does not let it be set cannot be reached with one.
    put(&aws, "target", trust(root(), json!("sts:AssumeRole"), json!({})));
    assume(&aws, (&pod).into(), &[]).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn a_trust_policy_sees_the_source_identity_that_is_passed_and_the_one_that_stays_apart() {
    let aws = open().await;
    let pod = pod_as(&aws, "alice");
    for (key, passed, status) in [
        ("sts:SourceIdentity", Some("alice"), 200),
        ("sts:SourceIdentity", None, 403),
        ("aws:SourceIdentity", Some("alice"), 200),
        ("aws:SourceIdentity", None, 200),
    ] {
        put(&aws, "target", trust(root(), json!(ALL), json!({"StringEquals": {key: "alice"}})));
        let passed: Vec<_> = passed.map(|value| ("SourceIdentity", value)).into_iter().collect();
        let reply = assume(&aws, (&pod).into(), &passed).await;
        assert_eq!(reply.status.as_u16(), status, "{key} {passed:?}: {}", reply.body);
    }
}

#[tokio::test]
async fn the_record_says_who_acted_and_under_which_source_identity() {
    let aws = open().await;
    let told = || {
        let last = aws.requests().pop().unwrap();
        (last.caller().map(str::to_owned), last.source_identity().map(str::to_owned))
    };
    let is = |arn: &str, identity: Option<&str>| (Some(arn.to_owned()), identity.map(str::to_owned));
    let first = assume(&aws, ADMIN, &[("SourceIdentity", "alice")]).await;
    assert_eq!(told(), is("arn:aws:iam::123456789012:user/ops/admin", None));
    let hop = "arn:aws:sts::123456789012:assumed-role/target/hop-1";
    sts(&aws, key_of(&first)).get_caller_identity().send().await.unwrap();
    assert_eq!(told(), is(hop, Some("alice")));
    s3(&aws, key_of(&first)).list_objects_v2().bucket("data").send().await.unwrap_err();
    assert_eq!(told(), is(hop, Some("alice")), "a refused call is recorded as well");
    let second = assume(&aws, key_of(&first), &[("RoleSessionName", "hop-2")]).await;
    assert_eq!(told(), is(hop, Some("alice")));
    s3(&aws, key_of(&second)).list_objects_v2().bucket("data").send().await.unwrap_err();
    assert_eq!(told(), is("arn:aws:sts::123456789012:assumed-role/target/hop-2", Some("alice")));

    // who is not who they say is nobody
    let forged = Key { secret: "other", ..key_of(&first) };
    assume(&aws, forged, &[]).await.refused(403, "SignatureDoesNotMatch");
    assert_eq!(told(), (None, None));
    s3(&aws, Key { token: Some("other"), ..key_of(&first) }).list_buckets().send().await.unwrap_err();
    assert_eq!(told(), (None, None));
    aws.clock().advance(Duration::from_secs(3601));
    assume(&aws, key_of(&first), &[]).await.refused(403, "ExpiredToken");
    assert_eq!(told(), (None, None));
}

#[tokio::test]
async fn a_server_may_give_shorter_sessions_than_were_asked_for() {
    let aws = start(json!({"session_seconds": 90})).await;
    put(&aws, "target", trust(root(), json!(ALL), json!({})));
    let session = assume(&aws, ADMIN, &[("DurationSeconds", "3600")]).await;
    aws.clock().advance(Duration::from_secs(80));
    sts(&aws, key_of(&session)).get_caller_identity().send().await.unwrap();
    aws.clock().advance(Duration::from_secs(11));
    assume(&aws, key_of(&session), &[]).await.refused(403, "ExpiredToken");
    // what is not a session of a role is as long as it was
    assume(&aws, (&pod_session(&aws, &[])).into(), &[]).await.element("AccessKeyId");
}

#[tokio::test]
async fn transitive_tags_stay_and_cannot_be_overridden() {
    let aws = open().await;
    let pod = pod_session(&aws, &[("kubernetes-namespace", "payments")]);
    let clash = [("Tags.member.1.Key", "Kubernetes-Namespace"), ("Tags.member.1.Value", "other")];
    assume(&aws, (&pod).into(), &clash).await.refused(400, "InvalidParameterValue");
    let first =
        assume(&aws, (&pod).into(), &[("Tags.member.1.Key", "task"), ("Tags.member.1.Value", "t1")]).await;
    let second =
        assume(&aws, key_of(&first), &[("Tags.member.1.Key", "task"), ("Tags.member.1.Value", "t2")]).await;
    assume(&aws, key_of(&second), &clash).await.refused(400, "InvalidParameterValue");
    let answer = sts(&aws, key_of(&second))
        .get_web_identity_token()
        .audience("broker")
        .signing_algorithm("ES384")
        .send()
        .await
        .unwrap();
    let claims: Value =
        jsonwebtoken::dangerous::insecure_decode(answer.web_identity_token().unwrap()).unwrap().claims;
    let tags = &claims["https://sts.amazonaws.com/"]["principal_tags"];
    assert_eq!(*tags, json!({"kubernetes-namespace": "payments", "task": "t2"}));
}

#[tokio::test]
async fn tags_that_are_not_transitive_end_with_their_session() {
    let aws = open().await;
    let tags = [("Tags.member.1.Key", "task"), ("Tags.member.1.Value", "t1")];
    let first = assume(&aws, ADMIN, &tags).await;
    put(&aws, "target", trust(root(), json!(ALL), json!({"Null": {"aws:PrincipalTag/task": "false"}})));
    let second = assume(&aws, key_of(&first), &[]).await;
    assume(&aws, key_of(&second), &[]).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn a_chained_session_lasts_an_hour_at_most() {
    let aws = open().await;
    let pod = pod_session(&aws, &[]);
    assume(&aws, (&pod).into(), &[("DurationSeconds", "3601")]).await.refused(400, "ValidationError");
    assert_eq!(assume(&aws, (&pod).into(), &[("DurationSeconds", "3600")]).await.status, 200);
    assert_eq!(assume(&aws, ADMIN, &[("DurationSeconds", "3601")]).await.status, 200);
    assume(&aws, ADMIN, &[("DurationSeconds", "7201")]).await.refused(400, "ValidationError");
}

#[tokio::test]
async fn parameters_have_constraints() {
    let aws = open().await;
    for change in [
        ("RoleArn", "target"),
        ("RoleSessionName", "x"),
        ("DurationSeconds", "899"),
        ("SourceIdentity", "x"),
        ("SourceIdentity", "aws:x"),
        ("ExternalId", "x"),
        ("Tags.member.1.Key", "k"),
    ] {
        assume(&aws, ADMIN, &[change]).await.refused(400, "ValidationError");
    }
    let reserved = [("Tags.member.1.Key", "aws:k"), ("Tags.member.1.Value", "v")];
    assume(&aws, ADMIN, &reserved).await.refused(400, "InvalidParameterValue");
    assume(&aws, ADMIN, &[("TransitiveTagKeys.member.1", "k")]).await.refused(400, "InvalidParameterValue");
    assume(&aws, ADMIN, &[("Policy", "[]")]).await.refused(400, "MalformedPolicyDocument");
    for unsupported in ["PolicyArns.member.1.arn", "SerialNumber", "ProvidedContexts.member.1.ProviderArn"] {
        assume(&aws, ADMIN, &[(unsupported, "x")]).await.refused(501, "NotImplemented");
    }
}

#[tokio::test]
async fn an_unsigned_call_is_refused() {
    let aws = open().await;
    let wrong = Key { secret: "other", ..ADMIN };
    assume(&aws, wrong, &[]).await.refused(403, "SignatureDoesNotMatch");
}
