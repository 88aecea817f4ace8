//! Objects: through the SDK, under identity policies and bucket policies.

use std::time::Duration;

use agentkeys_local_aws::{Bucket, LocalAws, SessionCredentials};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};

use crate::support::{ADMIN, Key, NOBODY, data, get, pod_session, s3, send, start};

async fn tenant(name: &str) -> (LocalAws, SessionCredentials) {
    let aws = start(json!({})).await;
    let session = pod_session(&aws, &[("tenant", name)]);
    (aws, session)
}

/// The code of a refusal; empty if there was none.
fn code<T, E: ProvideErrorMetadata>(result: Result<T, SdkError<E>>) -> String {
    match result {
        Ok(_) => String::new(),
        Err(error) => error.code().unwrap_or("?").to_owned(),
    }
}

async fn read(client: &Client, key: &str) -> Result<Vec<u8>, SdkError<GetObjectError>> {
    let object = client.get_object().bucket("data").key(key).send().await?;
    Ok(object.body.collect().await.unwrap().to_vec())
}

fn set_policy(aws: &LocalAws, statement: Value) {
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]});
    let mut bucket = aws.state().buckets.remove(0);
    bucket.policy = Some(serde_json::from_value(policy).unwrap());
    aws.put_bucket(&bucket);
}

#[tokio::test]
async fn a_tenant_works_in_its_own_prefix() {
    let (aws, session) = tenant("a").await;
    let client = s3(&aws, (&session).into());
    let listed = client.list_objects_v2().bucket("data").prefix("a/").send().await.unwrap();
    let keys: Vec<&str> = listed.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["a/1.txt", "a/2.txt"]);
    assert_eq!(read(&client, "a/1.txt").await.unwrap(), b"one");

    let body = ByteStream::from_static(b"new");
    client.put_object().bucket("data").key("a/ new ü.txt").body(body).send().await.unwrap();
    assert_eq!(aws.object(&data(), "a/ new ü.txt").unwrap().as_ref(), b"new");
    let head = client.head_object().bucket("data").key("a/1.txt").send().await.unwrap();
    assert_eq!((head.content_length(), head.content_type()), (Some(3), Some("text/plain")));
    client.delete_object().bucket("data").key("a/1.txt").send().await.unwrap();
    assert!(!aws.object_exists(&data(), "a/1.txt"));
}

#[tokio::test]
async fn a_tenant_does_nothing_elsewhere() {
    let (aws, session) = tenant("a").await;
    let client = s3(&aws, (&session).into());
    assert_eq!(code(client.list_objects_v2().bucket("data").prefix("b/").send().await), "AccessDenied");
    assert_eq!(code(client.list_objects_v2().bucket("data").prefix("a").send().await), "AccessDenied");
    assert_eq!(code(client.list_objects_v2().bucket("data").send().await), "AccessDenied");
    assert_eq!(code(read(&client, "b/3.txt").await), "AccessDenied");
    assert_eq!(code(client.put_object().bucket("data").key("b/x").send().await), "AccessDenied");
    assert_eq!(code(client.delete_object().bucket("data").key("b/3.txt").send().await), "AccessDenied");
    assert!(aws.object_exists(&data(), "b/3.txt") && !aws.object_exists(&data(), "b/x"));
    assert_eq!(code(client.list_buckets().send().await), "AccessDenied");
    let head = client.head_object().bucket("data").key("b/3.txt").send().await.unwrap_err();
    assert_eq!(head.raw_response().unwrap().status().as_u16(), 403);
    assert_eq!(code(read(&s3(&aws, NOBODY), "a/1.txt").await), "AccessDenied");
}

#[tokio::test]
async fn a_session_without_the_tag_sees_nothing() {
    let aws = start(json!({})).await;
    let session = pod_session(&aws, &[]);
    let client = s3(&aws, (&session).into());
    assert_eq!(code(read(&client, "a/1.txt").await), "AccessDenied");
    assert_eq!(code(read(&client, "/1.txt").await), "AccessDenied");
}

#[tokio::test]
async fn who_may_list_learns_what_is_missing() {
    let (aws, session) = tenant("a").await;
    let client = s3(&aws, (&session).into());
    assert_eq!(code(read(&client, "a/none").await), "AccessDenied");
    assert_eq!(code(read(&s3(&aws, ADMIN), "a/none").await), "NoSuchKey");
    let admin = s3(&aws, ADMIN);
    let status = |error: SdkError<_>| error.raw_response().map(|raw| raw.status().as_u16());
    let head = client.head_object().bucket("data").key("a/none").send().await.unwrap_err();
    assert_eq!(status(head), Some(403));
    let head = admin.head_object().bucket("data").key("a/none").send().await.unwrap_err();
    assert_eq!(status(head), Some(404));
    assert_eq!(code(admin.get_object().bucket("none").key("x").send().await), "NoSuchBucket");
    assert_eq!(code(admin.list_objects_v2().bucket("none").send().await), "NoSuchBucket");
    assert!(admin.head_bucket().bucket("data").send().await.is_ok());
    assert!(admin.head_bucket().bucket("none").send().await.is_err());
}

#[tokio::test]
async fn listings_fold_and_have_pages() {
    let aws = start(json!({})).await;
    let admin = s3(&aws, ADMIN);
    let folded = admin.list_objects_v2().bucket("data").delimiter("/").send().await.unwrap();
    let prefixes: Vec<&str> = folded.common_prefixes().iter().filter_map(|common| common.prefix()).collect();
    assert_eq!((prefixes, folded.contents().len()), (vec!["a/", "b/"], 0));
    let mut pages = admin.list_objects_v2().bucket("data").max_keys(2).into_paginator().send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.unwrap().contents().len());
    }
    assert_eq!(sizes, [2, 1]);
    let buckets = admin.list_buckets().send().await.unwrap();
    assert_eq!(buckets.buckets()[0].name(), Some("data"));
}

#[tokio::test]
async fn a_deny_of_the_bucket_wins() {
    let (aws, session) = tenant("a").await;
    let client = s3(&aws, (&session).into());
    assert!(read(&client, "a/1.txt").await.is_ok());
    set_policy(
        &aws,
        json!({
            "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/a/1.txt",
        }),
    );
    assert_eq!(code(read(&client, "a/1.txt").await), "AccessDenied");
    assert_eq!(code(read(&s3(&aws, ADMIN), "a/1.txt").await), "AccessDenied");
    assert!(read(&client, "a/2.txt").await.is_ok());
}

#[tokio::test]
async fn the_bucket_can_let_in_whom_it_names() {
    let aws = start(json!({})).await;
    let session = crate::support::session_of(&aws, "powerless", &[("team", "x")], Duration::from_secs(3600));
    let client = s3(&aws, (&session).into());
    assert_eq!(code(read(&client, "a/1.txt").await), "AccessDenied");
    for (principal, allowed) in [
        (json!({"AWS": "arn:aws:iam::123456789012:role/powerless"}), true),
        (json!({"AWS": "arn:aws:sts::123456789012:assumed-role/powerless/pod-1"}), true),
        (json!("*"), true),
        (json!({"AWS": "arn:aws:sts::123456789012:assumed-role/powerless/pod-2"}), false),
        (json!({"AWS": "arn:aws:iam::123456789012:role/workloads/pod"}), false),
        // The account as a whole leaves it to the identity's own policies, and it has none.
        (json!({"AWS": "arn:aws:iam::123456789012:root"}), false),
    ] {
        let statement = json!({
            "Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/a/*",
        });
        set_policy(&aws, statement);
        assert_eq!(read(&client, "a/1.txt").await.is_ok(), allowed, "{principal}");
        assert!(read(&client, "b/3.txt").await.is_err());
    }
}

#[tokio::test]
async fn bucket_conditions_see_the_caller() {
    let aws = start(json!({})).await;
    let session = crate::support::session_of(&aws, "powerless", &[("team", "x")], Duration::from_secs(3600));
    let client = s3(&aws, (&session).into());
    for (operator, key, right, wrong) in [
        ("StringEquals", "aws:PrincipalTag/Team", "x", "y"),
        ("StringEquals", "aws:PrincipalAccount", "123456789012", "999999999999"),
        (
            "ArnEquals",
            "aws:PrincipalArn",
            "arn:aws:iam::123456789012:role/powerless",
            "arn:aws:iam::1:role/x",
        ),
        ("StringLike", "aws:userid", "*:pod-1", "*:pod-2"),
        ("Bool", "aws:SecureTransport", "false", "true"),
        ("StringEquals", "s3:authType", "REST-HEADER", "REST-QUERY-STRING"),
        ("IpAddress", "aws:SourceIp", "127.0.0.0/8", "10.0.0.0/8"),
    ] {
        for (value, allowed) in [(right, true), (wrong, false)] {
            set_policy(
                &aws,
                json!({
                    "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*",
                    "Condition": {operator: {key: value}},
                }),
            );
            assert_eq!(read(&client, "a/1.txt").await.is_ok(), allowed, "{operator} {key} {value}");
        }
    }
}

#[tokio::test]
async fn anybody_reads_only_what_everybody_may() {
    let aws = start(json!({})).await;
    let url = format!("{}/data/a/1.txt", aws.endpoint());
    send(get(&url)).await.refused(403, "AccessDenied");
    set_policy(
        &aws,
        json!({
            "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/a/*",
        }),
    );
    assert_eq!(send(get(&url)).await.body, "one");
    send(get(&format!("{}/data/b/3.txt", aws.endpoint()))).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn a_presigned_url_opens_one_object() {
    let (aws, session) = tenant("a").await;
    let client = s3(&aws, (&session).into());
    let presigning = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let presigned = client.get_object().bucket("data").key("a/1.txt").presigned(presigning).await.unwrap();
    assert_eq!(send(get(presigned.uri())).await.body, "one");
    let other = presigned.uri().replace("a/1.txt", "a/2.txt");
    send(get(&other)).await.refused(403, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn ranges_are_cut_out() {
    let aws = start(json!({})).await;
    let admin = s3(&aws, ADMIN);
    let part = admin.get_object().bucket("data").key("b/3.txt").range("bytes=1-2").send().await.unwrap();
    assert_eq!(part.content_range(), Some("bytes 1-2/5"));
    assert_eq!(part.body.collect().await.unwrap().to_vec(), b"hr");
    let beyond = admin.get_object().bucket("data").key("b/3.txt").range("bytes=9-").send().await;
    assert_eq!(code(beyond), "InvalidRange");
}

#[tokio::test]
async fn a_wrong_checksum_stores_nothing() {
    let aws = start(json!({})).await;
    let admin = s3(&aws, ADMIN);
    let put = || admin.put_object().bucket("data").key("x").body(ByteStream::from_static(b"content"));
    assert_eq!(code(put().checksum_crc32("AAAAAA==").send().await), "BadDigest");
    assert_eq!(code(put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await), "BadDigest");
    assert!(!aws.object_exists(&data(), "x"));
    assert_eq!(code(put().if_none_match("*").send().await), "");
    assert_eq!(code(put().if_none_match("*").send().await), "PreconditionFailed");
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let aws = start(json!({})).await;
    let admin = s3(&aws, ADMIN);
    assert_eq!(code(admin.create_bucket().bucket("other").send().await), "NotImplemented");
    assert_eq!(code(admin.get_bucket_policy().bucket("data").send().await), "NotImplemented");
    assert_eq!(
        code(admin.put_object().bucket("data").key("x").tagging("a=b").send().await),
        "NotImplemented"
    );
    assert_eq!(code(admin.create_multipart_upload().bucket("data").key("x").send().await), "NotImplemented");
    let owner = admin.get_object().bucket("data").key("a/1.txt").expected_bucket_owner("999999999999");
    assert_eq!(code(owner.send().await), "AccessDenied");
}

#[tokio::test]
async fn buckets_are_added_at_run_time() {
    let aws = start(json!({})).await;
    let name: agentkeys_local_aws::names::BucketName = "later".parse().unwrap();
    assert!(aws.put_object(&name, "k", "v").is_err());
    aws.put_bucket(&Bucket::new(name.clone(), None));
    aws.put_object(&name, "k", "v").unwrap();
    let object = s3(&aws, ADMIN).get_object().bucket("later").key("k").send().await.unwrap();
    assert_eq!(object.body.collect().await.unwrap().to_vec(), b"v");
    let wrong = Key { secret: "other", ..ADMIN };
    assert_eq!(code(read(&s3(&aws, wrong), "a/1.txt").await), "SignatureDoesNotMatch");
}

#[tokio::test]
async fn metadata_stays_with_its_object() {
    let aws = start(json!({})).await;
    let admin = s3(&aws, ADMIN);
    let put = admin.put_object().bucket("data").key("m").metadata("run", "7").content_type("text/x");
    put.send().await.unwrap();
    // Through a state file and back.
    let again = LocalAws::start(aws.state()).await.unwrap();
    let head = s3(&again, ADMIN).head_object().bucket("data").key("m").send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["run"], "7");
    assert_eq!(head.content_type(), Some("text/x"));
}

#[tokio::test]
async fn listing_conditions_see_the_listing() {
    let aws = start(json!({})).await;
    let session = crate::support::session_of(&aws, "powerless", &[], Duration::from_secs(3600));
    let client = s3(&aws, (&session).into());
    for (operator, key, right, wrong) in [
        ("StringEquals", "s3:prefix", "a/", "b/"),
        ("StringEquals", "s3:delimiter", "/", "-"),
        ("NumericLessThanEquals", "s3:max-keys", "10", "9"),
        ("StringEquals", "aws:ResourceAccount", "123456789012", "999999999999"),
    ] {
        for (value, allowed) in [(right, true), (wrong, false)] {
            set_policy(
                &aws,
                json!({
                    "Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::data",
                    "Condition": {operator: {key: value}},
                }),
            );
            let list = client.list_objects_v2().bucket("data").prefix("a/").delimiter("/").max_keys(10);
            assert_eq!(list.send().await.is_ok(), allowed, "{operator} {key} {value}");
        }
    }
    // A prefix in the query of another operation decides nothing there.
    set_policy(
        &aws,
        json!({
            "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*",
            "Condition": {"StringEquals": {"s3:prefix": "a/"}},
        }),
    );
    let url = format!("{}/data/b/3.txt?prefix=a/", aws.endpoint());
    send(get(&url)).await.refused(403, "AccessDenied");
}
