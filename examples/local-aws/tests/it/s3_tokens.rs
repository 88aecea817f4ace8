//! S3: signatures and session tokens, in the header and in the query.

use std::time::{Duration, SystemTime};

use agentkeys_local_aws::LocalAws;
use serde_json::json;

use crate::support::{ADMIN, Key, Reply, Signing, get, pod_session, send, signed, start};

/// One request, signed in the header and in the query.
async fn both(aws: &LocalAws, signing: Signing<'_>) -> [Reply; 2] {
    let url = format!("{}/data/a/1.txt", aws.endpoint());
    let presigned = Signing { presigned: Some(Duration::from_secs(60)), ..signing };
    [send(signed(get(&url), signing).await).await, send(signed(get(&url), presigned).await).await]
}

#[tokio::test]
async fn the_session_token_must_be_the_one_of_the_key() {
    let aws = start(json!({})).await;
    let session = pod_session(&aws, &[("tenant", "a")]);
    let other = pod_session(&aws, &[("tenant", "a")]);
    let sound = Key::from(&session);
    for reply in both(&aws, Signing::new("s3", sound)).await {
        assert_eq!(reply.body, "one");
    }
    let altered = format!("{}A", session.session_token.expose());
    let foreign = other.session_token.expose();
    for (key, status, code) in [
        (Key { token: None, ..sound }, 403, "InvalidAccessKeyId"),
        (Key { token: Some(&altered), ..sound }, 400, "InvalidToken"),
        (Key { token: Some(foreign), ..sound }, 400, "InvalidToken"),
        (Key { token: Some(foreign), ..ADMIN }, 400, "InvalidToken"),
    ] {
        for reply in both(&aws, Signing::new("s3", key)).await {
            reply.refused(status, code);
        }
    }
}

#[tokio::test]
async fn a_session_ends() {
    let aws = start(json!({})).await;
    let session = pod_session(&aws, &[("tenant", "a")]);
    aws.clock().advance(Duration::from_secs(6 * 3600 + 1));
    for reply in both(&aws, Signing::new("s3", (&session).into())).await {
        reply.refused(400, "ExpiredToken");
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let aws = start(json!({})).await;
    for (key, code) in [
        (Key { secret: "other", ..ADMIN }, "SignatureDoesNotMatch"),
        (Key { id: "AKIAUNKNOWNUNKNOWN00", ..ADMIN }, "InvalidAccessKeyId"),
    ] {
        for reply in both(&aws, Signing::new("s3", key)).await {
            reply.refused(403, code);
        }
    }
}

#[tokio::test]
async fn another_region_or_service_is_refused() {
    let aws = start(json!({})).await;
    let sound = Signing::new("s3", ADMIN);
    let codes = ["AuthorizationHeaderMalformed", "AuthorizationQueryParametersError"];
    for (reply, code) in both(&aws, Signing { region: "eu-west-1", ..sound }).await.iter().zip(codes) {
        reply.refused(400, code);
    }
    let for_sts = Signing { service: "sts", ..sound };
    let reply = send(signed(get(&format!("{}/data/a/1.txt", aws.endpoint())), for_sts).await).await;
    reply.refused(400, "AuthorizationHeaderMalformed");
}

#[tokio::test]
async fn a_stale_or_early_date_is_refused() {
    let aws = start(json!({})).await;
    let off = Duration::from_secs(16 * 60);
    for at in [SystemTime::now() - off, SystemTime::now() + off] {
        let [header, query] = both(&aws, Signing { at, ..Signing::new("s3", ADMIN) }).await;
        header.refused(403, "RequestTimeTooSkewed");
        assert_eq!(query.status, 403, "{}", query.body);
    }
}

#[tokio::test]
async fn a_presigned_url_ends_and_lasts_a_week_at_most() {
    let aws = start(json!({})).await;
    let url = format!("{}/data/a/1.txt", aws.endpoint());
    let minute = Duration::from_secs(60);
    let sound = Signing::new("s3", ADMIN);
    let past = Signing { at: SystemTime::now() - 2 * minute, presigned: Some(minute), ..sound };
    send(signed(get(&url), past).await).await.refused(403, "AccessDenied");
    let long = Signing { presigned: Some(Duration::from_secs(604_801)), ..sound };
    send(signed(get(&url), long).await).await.refused(400, "AuthorizationQueryParametersError");
}

#[tokio::test]
async fn aws_headers_must_be_signed() {
    let aws = start(json!({})).await;
    let url = format!("{}/data/a/1.txt", aws.endpoint());
    let mut request = signed(get(&url), Signing::new("s3", ADMIN)).await;
    request.headers_mut().insert("x-amz-meta-late", "1".parse().unwrap());
    send(request).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn version_2_signatures_are_refused() {
    let aws = start(json!({})).await;
    let url = format!("{}/data/a/1.txt", aws.endpoint());
    let mut header = get(&url);
    let signature = "AWS AKIAADMINADMINADMIN0:c2lnbmF0dXJl";
    header.headers_mut().insert("authorization", signature.parse().unwrap());
    send(header).await.refused(400, "InvalidRequest");
    let query = "AWSAccessKeyId=AKIAADMINADMINADMIN0&Signature=c2ln&Expires=4000000000";
    send(get(&format!("{url}?{query}"))).await.refused(400, "InvalidRequest");
}

#[tokio::test]
async fn two_signatures_are_one_too_many() {
    let aws = start(json!({})).await;
    let url = format!("{}/data/a/1.txt", aws.endpoint());
    let signing = Signing::new("s3", ADMIN);
    let presigned = Signing { presigned: Some(Duration::from_secs(60)), ..signing };
    let in_query = signed(get(&url), presigned).await;
    let in_both = signed(get(&in_query.uri().to_string()), signing).await;
    assert!(send(in_both).await.status.is_client_error());
}

#[tokio::test]
async fn what_is_decided_on_is_what_is_listed() {
    let aws = start(json!({})).await;
    let session = pod_session(&aws, &[("tenant", "a")]);
    let signing = Signing::new("s3", (&session).into());
    for query in ["prefix=a/&prefix=b/", "prefix=b/&prefix=a/", "prefix=a/&prefix="] {
        let url = format!("{}/data?list-type=2&{query}", aws.endpoint());
        let reply = send(signed(get(&url), signing).await).await;
        assert!(reply.status.is_client_error(), "{query}: {}", reply.body);
        assert!(!reply.body.contains("3.txt"));
    }
}
