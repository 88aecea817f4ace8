use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentkeys_attest::aws::Region;
use agentkeys_attest::aws_stsweb::{AWS_STSWEB, StsWebAlgorithm, StsWebLifetime, StsWebSource};
use agentkeys_core::{ErrorKind, EvidenceSource as _, MAX_EVIDENCE_BYTES, SourceError};
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;

use crate::support::told;

/// An STS that gives one answer to everything, and keeps what it was asked.
#[derive(Clone, Debug)]
pub(crate) struct FakeSts {
    answer: Answer,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone, Debug)]
enum Answer {
    Http(u16, String),
    Silence,
    Refused,
    UserError,
}

#[derive(Clone, Debug)]
struct Asked {
    method: String,
    url: String,
    body: String,
    authorization: String,
}

impl FakeSts {
    pub(crate) fn answers(status: u16, body: impl Into<String>) -> Self {
        Self::new(Answer::Http(status, body.into()))
    }

    fn new(answer: Answer) -> Self {
        Self { answer, asked: Arc::default() }
    }

    fn sdk(&self) -> aws_types::sdk_config::Builder {
        let credentials = Credentials::new(
            "AKIDMARKED",
            "MARKED-secret-key",
            Some("MARKED-session".to_owned()),
            None,
            "test",
        );
        SdkConfig::builder()
            .http_client(self.clone())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
    }

    pub(crate) fn source(&self) -> StsWebSource {
        let region = Region::parse("eu-west-1").unwrap();
        StsWebSource::new(&self.sdk().build(), &region, "agentkeys".parse().unwrap())
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl HttpConnector for FakeSts {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.asked.lock().unwrap().push(Asked {
            method: request.method().to_owned(),
            url: request.uri().to_owned(),
            body: String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap(),
            authorization: request.headers().get("authorization").unwrap_or_default().to_owned(),
        });
        let failed = |error| HttpConnectorFuture::ready(Err(error));
        match &self.answer {
            Answer::Http(status, body) => {
                let answer = HttpResponse::new((*status).try_into().unwrap(), SdkBody::from(body.as_str()));
                HttpConnectorFuture::ready(Ok(answer))
            }
            Answer::Silence => HttpConnectorFuture::new(std::future::pending()),
            Answer::Refused => failed(ConnectorError::io("MARKED-connection refused".into())),
            Answer::UserError => failed(ConnectorError::user("MARKED-no such scheme".into())),
        }
    }
}

impl HttpClient for FakeSts {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

pub(crate) fn token_answer(token: &str) -> String {
    format!(
        "<GetWebIdentityTokenResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <GetWebIdentityTokenResult><WebIdentityToken>{token}</WebIdentityToken>\
         <Expiration>2027-01-15T08:05:00Z</Expiration></GetWebIdentityTokenResult>\
         <ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></GetWebIdentityTokenResponse>"
    )
}

pub(crate) fn error_answer(code: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>MARKED-message</Message></Error><RequestId>MARKED-id</RequestId></ErrorResponse>"
    )
}

#[tokio::test(start_paused = true)]
async fn r5_r7_w22_w23_the_request_names_one_audience_five_minutes_and_no_tags() {
    let sts = FakeSts::answers(200, token_answer("a.b.c"));
    let evidence = sts.source().fetch().await.unwrap();
    assert_eq!((evidence.kind(), evidence.expose()), (&AWS_STSWEB, &b"a.b.c"[..]));
    let asked = sts.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].method, "POST");
    assert_eq!(asked[0].url, "https://sts.eu-west-1.amazonaws.com/");
    assert!(asked[0].authorization.contains("/eu-west-1/sts/aws4_request"), "{}", asked[0].authorization);
    assert_eq!(
        asked[0].body,
        "Action=GetWebIdentityToken&Version=2011-06-15&Audience.member.1=agentkeys\
         &DurationSeconds=300&SigningAlgorithm=RS256"
    );
}

#[tokio::test(start_paused = true)]
async fn w22_algorithm_and_lifetime_are_the_only_settings() {
    let sts = FakeSts::answers(200, token_answer("a.b.c"));
    let source = sts
        .source()
        .with_algorithm(StsWebAlgorithm::Es384)
        .with_lifetime(StsWebLifetime::from_seconds(60).unwrap());
    source.fetch().await.unwrap();
    assert!(sts.asked()[0].body.ends_with("&DurationSeconds=60&SigningAlgorithm=ES384"));
    assert!(!sts.asked()[0].body.contains("Tags"));
    for seconds in [0, 59, 3601, u16::MAX] {
        assert!(StsWebLifetime::from_seconds(seconds).is_err(), "{seconds}");
    }
    assert!(StsWebLifetime::from_seconds(3600).is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_hosts_endpoint_is_respected_and_its_region_is_not() {
    let sts = FakeSts::answers(200, token_answer("a.b.c"));
    let host =
        sts.sdk().endpoint_url("http://127.0.0.1:4599").region(aws_types::region::Region::new("aws-global"));
    let region = Region::parse("eu-west-1").unwrap();
    StsWebSource::new(&host.build(), &region, "agentkeys".parse().unwrap()).fetch().await.unwrap();
    let host = sts.sdk().region(aws_types::region::Region::new("aws-global"));
    StsWebSource::new(&host.build(), &region, "agentkeys".parse().unwrap()).fetch().await.unwrap();
    let urls: Vec<_> = sts.asked().into_iter().map(|asked| asked.url).collect();
    assert_eq!(urls, ["http://127.0.0.1:4599/", "https://sts.eu-west-1.amazonaws.com/"]);
}

#[tokio::test(start_paused = true)]
async fn r28_each_refusal_of_sts_says_what_to_do() {
    use ErrorKind::{Denied, Misconfigured, Unavailable};
    let http = |status, code: &str| Answer::Http(status, error_answer(code));
    for (answer, kind, text, tries) in [
        (
            http(403, "OutboundWebIdentityFederationDisabledException"),
            Misconfigured,
            "evidence cannot be had: outbound web identity federation is not enabled in this account",
            1,
        ),
        (
            http(403, "SessionDurationEscalationException"),
            Misconfigured,
            "evidence cannot be had: the evidence would outlive the session that asks for it",
            1,
        ),
        (
            http(400, "JWTPayloadSizeExceededException"),
            Misconfigured,
            "evidence cannot be had: the role's and the session's tags do not fit into a token",
            1,
        ),
        (
            http(400, "ValidationError"),
            Misconfigured,
            "evidence cannot be had: STS does not take the request",
            1,
        ),
        (http(403, "AccessDenied"), Denied, "the platform refuses evidence to this workload", 1),
        (http(400, "AccessDenied"), Denied, "the platform refuses evidence to this workload", 1),
        (http(403, "MARKED-unknown"), Denied, "the platform refuses evidence to this workload", 1),
        (http(400, "ThrottlingException"), Unavailable, "the platform does not answer", 3),
        (http(400, "ExpiredTokenException"), Unavailable, "the platform does not answer", 1),
        (http(429, "MARKED-unknown"), Unavailable, "the platform does not answer", 1),
        (http(500, "InternalFailure"), Unavailable, "the platform does not answer", 3),
        (http(503, "MARKED-unknown"), Unavailable, "the platform does not answer", 3),
        (Answer::Http(502, "MARKED-not xml".to_owned()), Unavailable, "the platform does not answer", 3),
        (Answer::Refused, Unavailable, "the platform does not answer", 3),
        (Answer::Silence, Unavailable, "the platform does not answer", 3),
        (Answer::UserError, Misconfigured, "evidence cannot be had: the SDK cannot send the request", 1),
        (
            Answer::Http(200, "MARKED-not xml".to_owned()),
            Misconfigured,
            "the platform's answer is not evidence",
            1,
        ),
        (Answer::Http(200, token_answer("")), Misconfigured, "the platform's answer is not evidence", 1),
        (
            Answer::Http(200, token_answer(&"a".repeat(MAX_EVIDENCE_BYTES + 1))),
            Misconfigured,
            "the platform's answer is not evidence",
            1,
        ),
    ] {
        let sts = FakeSts::new(answer.clone());
        let error = sts.source().fetch().await.unwrap_err();
        let answer = format!("{answer:?}").chars().take(80).collect::<String>();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, text), "{answer}");
        assert_eq!(error.retry_after().is_some(), kind == Unavailable, "{answer}");
        assert_eq!(sts.asked().len(), tries, "{answer}");
        assert!(!format!("{error:?} {}", told(&error)).contains("MARKED"), "{answer}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tries_and_time_are_bounded_whatever_the_host_sets() {
    for answer in [Answer::Silence, Answer::Refused] {
        let sts = FakeSts::new(answer);
        let host = sts
            .sdk()
            .retry_config(RetryConfig::standard().with_max_attempts(9))
            .timeout_config(TimeoutConfig::disabled())
            .build();
        let region = Region::parse("eu-west-1").unwrap();
        let source = StsWebSource::new(&host, &region, "agentkeys".parse().unwrap());
        let fetched = tokio::time::timeout(Duration::from_millis(14_500), source.fetch()).await;
        let error = fetched.expect("within 14 seconds").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(sts.asked().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_workload_without_credentials_is_told_so_and_asks_nothing() {
    let sts = FakeSts::answers(200, token_answer("a.b.c"));
    let sdk = SdkConfig::builder().http_client(sts.clone()).build();
    let region = Region::parse("eu-west-1").unwrap();
    let error = StsWebSource::new(&sdk, &region, "agentkeys".parse().unwrap()).fetch().await.unwrap_err();
    assert_eq!(
        told(&error),
        "the platform does not answer: the request cannot be signed; are there credentials?"
    );
    assert!(sts.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn r28_the_cause_names_the_code_and_the_status() {
    let error = FakeSts::answers(403, error_answer("AccessDenied")).source().fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::Denied(_)));
    assert_eq!(
        told(&error),
        "the platform refuses evidence to this workload: STS denies the request (status 403, code AccessDenied)"
    );
}
