//! A server with a known account, clients for it, and requests made by hand.

use std::time::{Duration, SystemTime};

use agentkeys_local_aws::names::{BucketName, RoleName};
use agentkeys_local_aws::{LocalAws, SessionCredentials, State, Tags};
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const ADMIN: Key<'_> = Key { id: "AKIAADMINADMINADMIN0", secret: "admin-secret", token: None };
pub(crate) const NOBODY: Key<'_> = Key { id: "AKIANOBODYNOBODY0000", secret: "nobody-secret", token: None };

/// Credentials to sign with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'k> {
    pub(crate) id: &'k str,
    pub(crate) secret: &'k str,
    pub(crate) token: Option<&'k str>,
}

impl<'k> From<&'k SessionCredentials> for Key<'k> {
    fn from(session: &'k SessionCredentials) -> Self {
        Self {
            id: session.access_key_id.as_str(),
            secret: session.secret_access_key.expose(),
            token: Some(session.session_token.expose()),
        }
    }
}

impl From<Key<'_>> for Credentials {
    fn from(key: Key<'_>) -> Self {
        Self::new(key.id, key.secret, key.token.map(str::to_owned), None, "test")
    }
}

pub(crate) fn allow(action: Value, resource: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]})
}

pub(crate) fn trust(principal: Value, action: Value, condition: Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": principal, "Action": action, "Condition": condition},
    ]})
}

pub(crate) fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

/// The account that most tests start from; changes replace its members.
pub(crate) fn state(changes: Value) -> State {
    let pods = json!({"Service": "pods.eks.amazonaws.com"});
    let prefix = "${aws:PrincipalTag/tenant}";
    let mut state = json!({
        "account": ACCOUNT,
        "region": "us-east-1",
        "users": [
            {
                "name": "admin", "path": "/ops/", "policies": [allow(json!("*"), "*")],
                "access_keys": [{"access_key_id": ADMIN.id, "secret_access_key": ADMIN.secret}],
            },
            {
                "name": "nobody",
                "access_keys": [{"access_key_id": NOBODY.id, "secret_access_key": NOBODY.secret}],
            },
        ],
        "roles": [
            {
                "name": "pod", "path": "/workloads/", "max_session_duration": 43200,
                "tags": {"Stage": "prod", "Team": "from-the-role"},
                "trust_policy": trust(pods.clone(), json!("sts:AssumeRole"), json!({})),
                "policies": [
                    allow(json!("sts:*"), "*"),
                    {"Version": "2012-10-17", "Statement": [
                        {
                            "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::data",
                            "Condition": {"StringLike": {"s3:prefix": format!("{prefix}/*")}},
                        },
                        {
                            "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                            "Resource": format!("arn:aws:s3:::data/{prefix}/*"),
                        },
                    ]},
                ],
            },
            {"name": "powerless", "trust_policy": trust(pods, json!("sts:AssumeRole"), json!({}))},
        ],
        "buckets": [{
            "name": "data",
            "objects": {
                "a/1.txt": {"body": {"text": "one"}, "content_type": "text/plain"},
                "a/2.txt": {"body": {"text": "two"}},
                "b/3.txt": {"body": {"text": "three"}},
            },
        }],
    });
    for (name, value) in changes.as_object().expect("an object") {
        state[name] = value.clone();
    }
    State::parse(&state.to_string(), "test state").expect("a state")
}

pub(crate) async fn start(changes: Value) -> LocalAws {
    LocalAws::start(state(changes)).await.expect("a server")
}

pub(crate) fn pod_session(aws: &LocalAws, tags: &[(&str, &str)]) -> SessionCredentials {
    session_of(aws, "pod", tags, Duration::from_secs(6 * 3600))
}

pub(crate) fn session_of(
    aws: &LocalAws,
    role: &str,
    tags: &[(&str, &str)],
    duration: Duration,
) -> SessionCredentials {
    let role: RoleName = role.parse().expect("a role name");
    let tags = Tags::parse(tags.iter().copied()).expect("tags");
    aws.workload_session(&role, &"pod-1".parse().expect("a name"), tags, duration).expect("a session")
}

pub(crate) fn data() -> BucketName {
    "data".parse().expect("a bucket name")
}

pub(crate) fn sts(aws: &LocalAws, key: Key<'_>) -> aws_sdk_sts::Client {
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(aws.endpoint())
        .credentials_provider(Credentials::from(key))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_sts::Client::from_conf(config)
}

pub(crate) fn s3(aws: &LocalAws, key: Key<'_>) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(aws.endpoint())
        .force_path_style(true)
        .credentials_provider(Credentials::from(key))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

impl Reply {
    /// The text of the first element of this name.
    pub(crate) fn element(&self, name: &str) -> &str {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let inner = || self.body.split_once(&open)?.1.split_once(&close).map(|(inner, _)| inner);
        inner().unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// Asserts a refusal: status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.element("Code")), (status, code), "{}", self.body);
    }
}

pub(crate) async fn send(request: Request<Full<Bytes>>) -> Reply {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.expect("an answer");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    Reply { status, body: String::from_utf8_lossy(&body).into_owned() }
}

pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

pub(crate) const CALLER_IDENTITY: &[(&str, &str)] =
    &[("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];

pub(crate) fn unsigned_call(aws: &LocalAws, pairs: &[(&str, &str)]) -> Request<Full<Bytes>> {
    Request::post(format!("{}/", aws.endpoint()))
        .header("host", aws.endpoint().trim_start_matches("http://"))
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(Full::from(form(pairs)))
        .expect("a request")
}

/// How a request is signed; by default as it should be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signing<'s> {
    pub(crate) key: Key<'s>,
    pub(crate) region: &'s str,
    pub(crate) service: &'s str,
    pub(crate) at: SystemTime,
    /// In the query, good for so long; in the header if `None`.
    pub(crate) presigned: Option<Duration>,
}

impl<'s> Signing<'s> {
    pub(crate) fn new(service: &'s str, key: Key<'s>) -> Self {
        Self { key, region: "us-east-1", service, at: SystemTime::now(), presigned: None }
    }
}

/// Signs a request of which the body is known; the headers that it has are signed too.
pub(crate) async fn signed(mut request: Request<Full<Bytes>>, signing: Signing<'_>) -> Request<Full<Bytes>> {
    let body = request.body().clone().collect().await.expect("a body").to_bytes();
    let mut settings = SigningSettings::default();
    if signing.service == "s3" {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    if signing.presigned.is_some() {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = signing.presigned;
    }
    let identity = Credentials::from(signing.key).into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(signing.region)
        .name(signing.service)
        .time(signing.at)
        .settings(settings)
        .build()
        .expect("parameters")
        .into();
    let uri = request.uri().to_string();
    let headers: Vec<(String, String)> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
        .collect();
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let presigned_s3 = signing.presigned.is_some() && signing.service == "s3";
    let signable_body = if presigned_s3 { SignableBody::UnsignedPayload } else { SignableBody::Bytes(&body) };
    let signable = SignableRequest::new(request.method().as_str(), &uri, headers, signable_body)
        .expect("a signable request");
    let (instructions, _) = sign(signable, &params).expect("a signature").into_parts();
    instructions.apply_to_request_http1x(&mut request);
    request
}

/// A signed `GetCallerIdentity` in a POST.
pub(crate) async fn signed_call(aws: &LocalAws, pairs: &[(&str, &str)], key: Key<'_>) -> Reply {
    send(signed(unsigned_call(aws, pairs), Signing::new("sts", key)).await).await
}

pub(crate) fn get(url: &str) -> Request<Full<Bytes>> {
    let authority = url.parse::<http::Uri>().expect("a URL").authority().expect("an authority").to_string();
    Request::builder()
        .method(Method::GET)
        .uri(url)
        .header("host", authority)
        .body(Full::default())
        .expect("a request")
}
