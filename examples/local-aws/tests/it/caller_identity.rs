//! `GetCallerIdentity`, and every way in which a signature or a session token can be wrong.

use std::time::{Duration, SystemTime};

use agentkeys_local_aws::{LocalAws, Secret, User};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::support::{
    ADMIN, CALLER_IDENTITY, Key, NOBODY, Signing, get, pod_session, send, signed, signed_call, start, sts,
    unsigned_call,
};

/// A presigned `GET` of the session `pod/pod-1`, in which these headers are signed too.
async fn presigned_by_a_pod(
    aws: &LocalAws,
    headers: &[(&'static str, &'static str)],
) -> Request<Full<Bytes>> {
    let session = pod_session(aws, &[]);
    let url = format!("{}/?Action=GetCallerIdentity&Version=2011-06-15", aws.endpoint());
    let signing =
        Signing { presigned: Some(Duration::from_secs(60)), ..Signing::new("sts", (&session).into()) };
    let mut request = get(&url);
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    signed(request, signing).await
}

#[tokio::test]
async fn a_session_is_known_by_role_and_session_name() {
    let aws = start(json!({})).await;
    let session = pod_session(&aws, &[]);
    let answer = sts(&aws, (&session).into()).get_caller_identity().send().await.unwrap();
    assert_eq!(answer.arn(), Some("arn:aws:sts::123456789012:assumed-role/pod/pod-1"));
    assert_eq!(answer.account(), Some("123456789012"));
    let (role_id, name) = answer.user_id().unwrap().split_once(':').unwrap();
    assert!(role_id.starts_with("AROA") && role_id.len() == 21);
    assert_eq!(name, "pod-1");
}

#[tokio::test]
async fn a_user_is_known_by_its_path_and_needs_no_permission() {
    let aws = start(json!({})).await;
    let answer = sts(&aws, ADMIN).get_caller_identity().send().await.unwrap();
    assert_eq!(answer.arn(), Some("arn:aws:iam::123456789012:user/ops/admin"));
    assert!(answer.user_id().unwrap().starts_with("AIDA"));
    let answer = sts(&aws, NOBODY).get_caller_identity().send().await.unwrap();
    assert_eq!(answer.arn(), Some("arn:aws:iam::123456789012:user/nobody"));
}

#[tokio::test]
async fn a_presigned_get_is_answered_in_json_on_request() {
    let aws = start(json!({})).await;
    let mut request = presigned_by_a_pod(&aws, &[("x-k8s-aws-id", "cluster")]).await;
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    let reply = send(request).await;
    let result = &reply.json()["GetCallerIdentityResponse"]["GetCallerIdentityResult"];
    assert_eq!(result["Arn"], "arn:aws:sts::123456789012:assumed-role/pod/pod-1", "{}", reply.body);
    assert_eq!(result["Account"], "123456789012");
}

/// What a verifier of such requests relies on: a header that was signed must come, and come as it was.
#[tokio::test]
async fn a_presigned_get_is_good_with_the_headers_that_were_signed_and_with_no_other_value() {
    let aws = start(json!({})).await;
    let headers = [("x-agentkeys-audience", "agentkeys"), ("x-agentkeys-challenge", "challenge")];
    let mut good = presigned_by_a_pod(&aws, &headers).await;
    let query = good.uri().query().unwrap();
    assert!(
        query.contains("X-Amz-SignedHeaders=host%3Bx-agentkeys-audience%3Bx-agentkeys-challenge"),
        "{query}"
    );
    assert!(query.len() < 2048, "{} bytes", query.len());
    good.headers_mut().insert("accept", "text/xml".parse().unwrap());

    let reply = send(good.clone()).await;
    assert_eq!(reply.status, 200);
    let head = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                <GetCallerIdentityResult><Arn>";
    assert!(reply.body.starts_with(head), "{}", reply.body);
    assert_eq!(reply.element("Arn"), "arn:aws:sts::123456789012:assumed-role/pod/pod-1");
    assert!(reply.element("UserId").ends_with(":pod-1"));
    assert_eq!(reply.element("Account"), "123456789012");

    for name in ["x-agentkeys-audience", "x-agentkeys-challenge"] {
        let mut other = good.clone();
        other.headers_mut().insert(name, "other".parse().unwrap());
        send(other).await.refused(403, "SignatureDoesNotMatch");
        let mut without = good.clone();
        without.headers_mut().remove(name);
        send(without).await.refused(403, "SignatureDoesNotMatch");
    }
    // sorted anew, the parameters are still the same
    let (address, query) =
        good.uri().to_string().split_once('?').map(|(a, q)| (a.to_owned(), q.to_owned())).unwrap();
    let mut pairs: Vec<_> = query.split('&').collect();
    pairs.sort_unstable();
    pairs.reverse();
    *good.uri_mut() = format!("{address}?{}", pairs.join("&")).parse().unwrap();
    assert_eq!(send(good).await.status, 200);
}

#[tokio::test]
async fn a_presigned_get_lasts_a_quarter_of_an_hour_whatever_it_says() {
    let aws = start(json!({})).await;
    let url = format!("{}/?Action=GetCallerIdentity&Version=2011-06-15", aws.endpoint());
    let presigned = |age: u64, expires: u64| {
        let at = SystemTime::now() - Duration::from_secs(age);
        signed(
            get(&url),
            Signing { presigned: Some(Duration::from_secs(expires)), at, ..Signing::new("sts", ADMIN) },
        )
    };
    assert_eq!(send(presigned(600, 1).await).await.status, 200);
    send(presigned(1000, 3600).await).await.refused(403, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn an_unsigned_request_is_refused() {
    let aws = start(json!({})).await;
    send(unsigned_call(&aws, CALLER_IDENTITY)).await.refused(403, "MissingAuthenticationToken");
    let mut request = unsigned_call(&aws, CALLER_IDENTITY);
    request.headers_mut().insert("authorization", "Bearer x".parse().unwrap());
    send(request).await.refused(400, "IncompleteSignature");
}

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let aws = start(json!({})).await;
    let wrong_secret = Key { secret: "other", ..ADMIN };
    signed_call(&aws, CALLER_IDENTITY, wrong_secret).await.refused(403, "SignatureDoesNotMatch");
    let unknown = Key { id: "AKIAUNKNOWNUNKNOWN00", ..ADMIN };
    signed_call(&aws, CALLER_IDENTITY, unknown).await.refused(403, "InvalidClientTokenId");
}

#[tokio::test]
async fn a_signature_covers_the_body() {
    let aws = start(json!({})).await;
    let request = signed(unsigned_call(&aws, CALLER_IDENTITY), Signing::new("sts", ADMIN)).await;
    let other =
        crate::support::form(&[("Action", "GetCallerIdentity"), ("Version", "2011-06-15"), ("X", "1")]);
    let request = request.map(|_| Full::from(other));
    send(request).await.refused(403, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn a_stale_or_early_date_is_refused() {
    let aws = start(json!({})).await;
    let off = Duration::from_secs(16 * 60);
    for (at, word) in [(SystemTime::now() - off, "expired"), (SystemTime::now() + off, "not yet current")] {
        let signing = Signing { at, ..Signing::new("sts", ADMIN) };
        let reply = send(signed(unsigned_call(&aws, CALLER_IDENTITY), signing).await).await;
        reply.refused(403, "SignatureDoesNotMatch");
        assert!(reply.element("Message").contains(word), "{}", reply.body);
    }
}

#[tokio::test]
async fn another_region_or_service_is_refused() {
    let aws = start(json!({})).await;
    let sound = Signing::new("sts", ADMIN);
    for signing in [Signing { region: "eu-west-1", ..sound }, Signing { service: "s3", ..sound }] {
        let reply = send(signed(unsigned_call(&aws, CALLER_IDENTITY), signing).await).await;
        reply.refused(403, "SignatureDoesNotMatch");
        assert!(reply.element("Message").starts_with("Credential should be scoped"), "{}", reply.body);
    }
}

/// Absent, altered, of another session, and where none belongs; in the header and in the query.
#[tokio::test]
async fn the_session_token_must_be_the_one_of_the_key() {
    let aws = start(json!({})).await;
    let (session, other) = (pod_session(&aws, &[]), pod_session(&aws, &[]));
    let sound = Key::from(&session);
    let altered = format!("{}A", session.session_token.expose());
    let url = format!("{}/?Action=GetCallerIdentity&Version=2011-06-15", aws.endpoint());
    for key in [
        Key { token: None, ..sound },
        Key { token: Some(&altered), ..sound },
        Key { token: Some(""), ..sound },
        Key { token: Some(other.session_token.expose()), ..sound },
        Key { token: Some(other.session_token.expose()), ..ADMIN },
    ] {
        signed_call(&aws, CALLER_IDENTITY, key).await.refused(403, "InvalidClientTokenId");
        let presigned = Signing { presigned: Some(Duration::from_secs(60)), ..Signing::new("sts", key) };
        send(signed(get(&url), presigned).await).await.refused(403, "InvalidClientTokenId");
    }
    assert_eq!(signed_call(&aws, CALLER_IDENTITY, sound).await.status, 200);
}

#[tokio::test]
async fn an_unsigned_session_token_is_refused() {
    let aws = start(json!({})).await;
    let session = pod_session(&aws, &[]);
    let bare = Key { token: None, ..Key::from(&session) };
    let mut request = signed(unsigned_call(&aws, CALLER_IDENTITY), Signing::new("sts", bare)).await;
    let token = session.session_token.expose().parse().unwrap();
    request.headers_mut().insert("x-amz-security-token", token);
    send(request).await.refused(403, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn a_session_ends() {
    let aws = start(json!({})).await;
    let session = pod_session(&aws, &[]);
    aws.clock().advance(Duration::from_secs(6 * 3600 + 1));
    signed_call(&aws, CALLER_IDENTITY, (&session).into()).await.refused(403, "ExpiredToken");
    let url = format!("{}/?Action=GetCallerIdentity&Version=2011-06-15", aws.endpoint());
    let presigned =
        Signing { presigned: Some(Duration::from_secs(60)), ..Signing::new("sts", (&session).into()) };
    send(signed(get(&url), presigned).await).await.refused(403, "ExpiredToken");
}

#[tokio::test]
async fn an_unknown_action_or_version_is_refused() {
    let aws = start(json!({})).await;
    for (action, version) in [("GetCallerIdentity", "2011-06-16"), ("GetSessionToken", "2011-06-15")] {
        let reply = signed_call(&aws, &[("Action", action), ("Version", version)], ADMIN).await;
        reply.refused(400, "InvalidAction");
    }
    signed_call(&aws, &[("Version", "2011-06-15")], ADMIN).await.refused(400, "MissingParameter");
    let twice = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15"), ("Version", "2011-06-15")];
    signed_call(&aws, &twice, ADMIN).await.refused(404, "MalformedQueryString");
}

#[tokio::test]
async fn a_huge_body_is_refused() {
    let aws = start(json!({})).await;
    let filler = "x".repeat(128 * 1024);
    let pairs = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15"), ("Filler", filler.as_str())];
    signed_call(&aws, &pairs, ADMIN).await.refused(413, "RequestEntityTooLarge");
}

#[tokio::test]
async fn refusals_have_the_shape_of_aws() {
    let aws = start(json!({})).await;
    let reply = send(unsigned_call(&aws, CALLER_IDENTITY)).await;
    let head = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                <Code>MissingAuthenticationToken</Code><Message>";
    assert!(reply.body.starts_with(head), "{}", reply.body);
    assert_eq!(reply.element("RequestId").len(), 36);
    let mut request = unsigned_call(&aws, CALLER_IDENTITY);
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    let reply = send(request).await.json();
    assert_eq!(reply["Error"]["Type"], "Sender");
    assert_eq!(reply["Error"]["Code"], "MissingAuthenticationToken");
}

#[tokio::test]
async fn users_come_and_go_at_run_time() {
    let aws = start(json!({})).await;
    let key = Key { id: "AKIALATERLATER000000", secret: "later", token: None };
    signed_call(&aws, CALLER_IDENTITY, key).await.refused(403, "InvalidClientTokenId");
    let user = |name: &str| User::new(name.parse().unwrap());
    let with_key = |name: &str| user(name).with_access_key(key.id.parse().unwrap(), Secret::new(key.secret));
    aws.put_user(with_key("later")).unwrap();
    let reply = signed_call(&aws, CALLER_IDENTITY, key).await;
    assert_eq!(reply.element("Arn"), "arn:aws:iam::123456789012:user/later");
    assert!(aws.put_user(with_key("thief")).is_err());
    aws.put_user(user("later")).unwrap();
    signed_call(&aws, CALLER_IDENTITY, key).await.refused(403, "InvalidClientTokenId");
}

#[tokio::test]
async fn nothing_that_can_be_printed_holds_a_secret() {
    let aws = start(json!({})).await;
    let session = pod_session(&aws, &[]);
    let reply = signed_call(&aws, CALLER_IDENTITY, (&session).into()).await;
    let printed = format!("{aws:?} {:?} {:?} {session:?} {reply:?}", aws.requests(), aws.state());
    for secret in [session.secret_access_key.expose(), session.session_token.expose(), ADMIN.secret] {
        assert!(!printed.contains(secret));
    }
}
