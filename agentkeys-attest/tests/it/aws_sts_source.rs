use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::aws_sts::{AWS_STS, AwsStsLifetime, AwsStsSource};
use agentkeys_core::testing::ManualClock;
use agentkeys_core::{
    Attestor as _, Clock, ClockError, ErrorKind, EvidenceSource as _, SourceError, Timestamp,
};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use serde_json::Value;

use crate::aws_sts_support::{ACCESS_KEY, NOW, SECRET, Signing, TOKEN, World, endpoint};
use crate::support::told;

fn credentials() -> Credentials {
    Credentials::new(ACCESS_KEY, SECRET, Some(TOKEN.to_owned()), None, "test")
}

fn source(credentials: impl ProvideCredentials + 'static, clock: Arc<dyn Clock>) -> AwsStsSource {
    let (endpoint, audience) = (endpoint("regional:eu-west-1"), "agentkeys".parse().unwrap());
    AwsStsSource::new(credentials, endpoint, audience).with_clock(clock)
}

fn clock() -> Arc<ManualClock> {
    ManualClock::new(Timestamp::from_unix(NOW))
}

/// The other signer of these tests, which is told what to do word for word, signs the same.
#[tokio::test]
async fn w7_w8_w23_the_source_signs_its_one_audience_for_a_minute() {
    let source = source(credentials(), clock());
    let evidence = source.fetch().await.unwrap();
    assert_eq!(evidence.kind(), &AWS_STS);
    let content: Value = serde_json::from_slice(evidence.expose()).unwrap();
    assert_eq!(content.as_object().unwrap().len(), 1);
    let mut pairs: Vec<_> = content["url"].as_str().unwrap().split_once('?').unwrap().1.split('&').collect();
    pairs.sort_unstable();
    let usual = Signing::default().url();
    assert_eq!(pairs.join("&"), usual.split_once('?').unwrap().1);
    assert!(usual.contains("X-Amz-Expires=60&"));

    let ten = source.with_lifetime(AwsStsLifetime::from_seconds(10).unwrap()).fetch().await.unwrap();
    assert!(String::from_utf8_lossy(ten.expose()).contains("X-Amz-Expires=10&"));
}

#[tokio::test]
async fn r19_what_the_source_signs_the_attestor_lets_in() {
    let world = World::new();
    let source = source(credentials(), world.clock.clone());
    assert_eq!(world.attestor.attest(&source.fetch().await.unwrap()).await.unwrap().agent().as_str(), "blue");

    let (world, challenges) = World::challenging();
    let challenge = challenges.issue().unwrap();
    let evidence = source.fetch_with_challenge(challenge.as_str()).await.unwrap();
    assert_eq!(world.attestor.attest(&evidence).await.unwrap().agent().as_str(), "blue");
    let without = world.attestor.attest(&source.fetch().await.unwrap()).await.unwrap_err();
    assert_eq!(without.code(), "evidence_incomplete");
}

#[tokio::test]
async fn the_longest_and_the_shortest_life_are_let_in_and_no_other_can_be_asked_for() {
    let world = World::new();
    for seconds in [1, 300] {
        let source = source(credentials(), world.clock.clone())
            .with_lifetime(AwsStsLifetime::from_seconds(seconds).unwrap());
        assert!(world.attestor.attest(&source.fetch().await.unwrap()).await.is_ok());
    }
    for seconds in [0, 301, u16::MAX] {
        assert!(AwsStsLifetime::from_seconds(seconds).is_err());
    }
}

/// One after the other in one second, each is another and each is let in; then it is enough for now.
#[tokio::test]
async fn w8_no_two_pieces_of_evidence_of_a_source_are_the_same() {
    let world = World::new();
    let source = source(credentials(), world.clock.clone());
    for _ in 0..10 {
        assert!(world.attestor.attest(&source.clone().fetch().await.unwrap()).await.is_ok());
    }
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(told(&error), "the platform does not answer: too much was signed in these seconds");
    world.clock.advance(Duration::from_secs(1));
    assert!(world.attestor.attest(&source.fetch().await.unwrap()).await.is_ok());
    assert!(source.fetch().await.is_err());
    world.clock.advance(Duration::from_secs(3600));
    assert!(world.attestor.attest(&source.fetch().await.unwrap()).await.is_ok());
}

#[derive(Debug)]
struct Failing(fn() -> CredentialsError);

impl ProvideCredentials for Failing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err((self.0)()))
    }
}

#[tokio::test]
async fn every_failure_says_what_to_do_and_shows_nothing() {
    for (failing, kind, text) in [
        (
            Failing(|| CredentialsError::not_loaded("MARKED")),
            ErrorKind::Misconfigured,
            "evidence cannot be had: there are no AWS credentials here",
        ),
        (
            Failing(|| CredentialsError::invalid_configuration("MARKED")),
            ErrorKind::Misconfigured,
            "evidence cannot be had: the AWS credentials are not set up rightly",
        ),
        (
            Failing(|| CredentialsError::provider_timed_out(Duration::from_secs(1))),
            ErrorKind::Unavailable,
            "the platform does not answer: the credentials provider takes too long",
        ),
        (
            Failing(|| CredentialsError::provider_error("MARKED")),
            ErrorKind::Unavailable,
            "the platform does not answer: the credentials provider fails",
        ),
    ] {
        let error = source(failing, clock()).fetch().await.unwrap_err();
        assert_eq!((error.kind(), told(&error).as_str()), (kind, text));
        assert!(!format!("{error:?}").contains("MARKED"));
    }
}

#[tokio::test]
async fn w6_credentials_of_a_user_are_not_signed_with() {
    for token in [None, Some(String::new())] {
        let user = Credentials::new(ACCESS_KEY, SECRET, token, None, "test");
        let error = source(user, clock()).fetch().await.unwrap_err();
        assert!(matches!(error, SourceError::Misconfigured { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_session_token_that_no_attestor_would_read_is_said_at_once() {
    let long = Credentials::new(ACCESS_KEY, SECRET, Some("A".repeat(4000)), None, "test");
    let error = source(long, clock()).fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::Misconfigured { .. }), "{error:?}");
}

#[tokio::test]
async fn l8_only_a_challenge_is_signed_as_one() {
    let source = source(credentials(), clock());
    for bad in ["", "a b", "a\r\nx-evil: 1", "\u{e9}", &"a".repeat(129)] {
        let error = source.fetch_with_challenge(bad).await.unwrap_err();
        assert!(matches!(error, SourceError::Misconfigured { .. }), "{bad}");
    }
    assert!(source.fetch_with_challenge(&"a".repeat(128)).await.is_ok());
}

#[tokio::test]
async fn w46_without_a_clock_nothing_is_signed() {
    #[derive(Debug)]
    struct Stopped;
    impl Clock for Stopped {
        fn now(&self) -> Result<Timestamp, ClockError> {
            Err(ClockError::new())
        }
    }
    let error = source(credentials(), Arc::new(Stopped)).fetch().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
}

#[tokio::test]
async fn l29_neither_source_nor_evidence_shows_credentials() {
    let source = source(credentials(), clock());
    let evidence = source.fetch_with_challenge("MARKED").await.unwrap();
    let shown = format!("{source:?} {source:#?} {evidence:?} {evidence:#?}");
    for secret in ["MARKED", ACCESS_KEY, SECRET, TOKEN, "X-Amz"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(!String::from_utf8_lossy(evidence.expose()).contains("MARKED/secret"));
}

/// The table of hosts is the SDK's own, region by region, as far as it has the same regions.
#[cfg(feature = "aws-sdk")]
#[tokio::test]
async fn w10_l4_the_hosts_are_those_that_awss_own_sdk_calls() {
    use agentkeys_attest::aws::StsEndpoint;
    use aws_sdk_sts::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};

    let resolver = DefaultResolver::new();
    for name in [
        "us-east-1",
        "us-west-2",
        "eu-central-1",
        "ap-southeast-7",
        "sa-east-1",
        "ca-west-1",
        "me-central-1",
        "af-south-1",
        "il-central-1",
        "mx-central-1",
        "ap-southeast-12",
        "cn-north-1",
        "cn-northwest-1",
        "us-gov-east-1",
        "us-gov-west-1",
        "eusc-de-east-1",
        "us-iso-east-1",
        "us-iso-west-1",
        "us-isob-east-1",
        "us-isob-west-1",
        "eu-isoe-west-1",
        "us-isof-south-1",
        "us-isof-east-1",
    ] {
        let region = || name.parse().unwrap();
        for (ours, fips, dual_stack) in [
            (StsEndpoint::regional(region()), false, false),
            (StsEndpoint::fips(region()), true, false),
            (StsEndpoint::dual_stack(region()), false, true),
            (StsEndpoint::fips_dual_stack(region()), true, true),
        ] {
            let asked = Params::builder().region(name).use_fips(fips).use_dual_stack(dual_stack);
            let theirs = resolver.resolve_endpoint(&asked.build().unwrap()).await.unwrap();
            assert_eq!(ours.unwrap().origin(), theirs.url());
        }
    }
}
