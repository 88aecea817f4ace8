//! An STS that checks every signature with aws-sigv4, and a signer that can be told to do everything wrong.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use agentkeys_attest::aws::StsEndpoint;
use agentkeys_attest::aws_sts::{AWS_STS, AwsStsAttestor, AwsStsPins, StsRole};
use agentkeys_core::testing::ManualClock;
use agentkeys_core::{
    AttestError, AttestedIdentity, Attestor as _, Challenges, Evidence, HttpClient, HttpError, HttpMethod,
    HttpRequest, HttpResponse, MemoryReplayGuard, ReplayGuard, Secret, Timestamp,
};
use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value, json};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ORIGIN: &str = "https://sts.eu-west-1.amazonaws.com";
pub(crate) const ACCESS_KEY: &str = "ASIAQ3EGZ5EXAMPLEKEY";
pub(crate) const SECRET: &str = "MARKED/secret+key/of/the/role/session=XX";
pub(crate) const TOKEN: &str = "MARKEDtoken//////////wEaCXVzLWVhc3QtMSJHMEUCIQ+/abc==";
pub(crate) const ARN: &str = "arn:aws:sts::123456789012:assumed-role/agents/pod-7";
pub(crate) const USER_ID: &str = "AROADBQP57FF2AEXAMPLE:pod-7";

/// What is signed; by default what a good source signs.
#[derive(Clone, Debug)]
pub(crate) struct Signing {
    pub(crate) origin: String,
    pub(crate) path: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) at: u64,
    pub(crate) expires: u64,
    pub(crate) token: Option<String>,
    pub(crate) secret: String,
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            origin: ORIGIN.to_owned(),
            path: "/".to_owned(),
            region: "eu-west-1".to_owned(),
            service: "sts".to_owned(),
            headers: vec![("x-agentkeys-audience".to_owned(), "agentkeys".to_owned())],
            parameters: [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            at: NOW,
            expires: 60,
            token: Some(TOKEN.to_owned()),
            secret: SECRET.to_owned(),
        }
    }
}

impl Signing {
    pub(crate) fn challenged(challenge: &str) -> Self {
        let mut signing = Self::default();
        signing.headers.push(("x-agentkeys-challenge".to_owned(), challenge.to_owned()));
        signing
    }

    pub(crate) fn at_origin(origin: &str) -> Self {
        Self { origin: origin.to_owned(), region: "us-east-1".to_owned(), ..Self::default() }
    }

    /// The presigned URL, its parameters in their canonical order.
    pub(crate) fn url(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let credentials = Credentials::new(ACCESS_KEY, &self.secret, self.token.clone(), None, "test");
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(self.expires));
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(self.at))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let query = |pairs: &[(String, String)]| {
            let pairs = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
            pairs.collect::<Vec<_>>().join("&")
        };
        let unsigned = format!("{}{}?{}", self.origin, self.path, query(&self.parameters));
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new("GET", unsigned, headers, SignableBody::Bytes(b"")).unwrap();
        let signed = sign(request, &parameters).unwrap().into_parts().0;
        let mut pairs = self.parameters.clone();
        pairs.extend(signed.params().iter().map(|(name, value)| ((*name).to_owned(), value.to_string())));
        pairs.sort();
        format!("{}{}?{}", self.origin, self.path, query(&pairs))
    }

    pub(crate) fn evidence(&self) -> Evidence {
        let challenge = self.headers.iter().find(|(name, _)| name == "x-agentkeys-challenge");
        match challenge {
            Some((_, challenge)) => {
                content(&json!({ "url": self.url(), "challenge": challenge }).to_string())
            }
            None => content(&json!({ "url": self.url() }).to_string()),
        }
    }
}

pub(crate) fn content(text: &str) -> Evidence {
    Evidence::new(AWS_STS, text).unwrap()
}

pub(crate) fn answer_of(arn: &str, user_id: &str, account: &str) -> String {
    format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  \
         <GetCallerIdentityResult>\n    <Arn>{arn}</Arn>\n    <UserId>{user_id}</UserId>\n    \
         <Account>{account}</Account>\n  </GetCallerIdentityResult>\n  <ResponseMetadata>\n    \
         <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>\n  </ResponseMetadata>\n\
         </GetCallerIdentityResponse>\n"
    )
}

pub(crate) fn error_of(code: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>MARKED</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
}

pub(crate) fn xml(status: u16, body: impl Into<Vec<u8>>) -> HttpResponse {
    HttpResponse::new(status, vec![("content-type".to_owned(), "text/xml".to_owned())], body)
}

/// An STS of every host: what it is asked must be signed by the one key it knows, for that very host.
#[derive(Debug)]
pub(crate) struct FakeSts {
    clock: Arc<ManualClock>,
    requests: Mutex<Vec<HttpRequest>>,
    good: Mutex<HttpResponse>,
    always: Mutex<Option<HttpResponse>>,
    down: Mutex<bool>,
}

impl FakeSts {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Arc<Self> {
        let good = Mutex::new(xml(200, answer_of(ARN, USER_ID, "123456789012")));
        let (requests, always, down) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { clock, requests, good, always, down })
    }

    /// What a good signature is answered with.
    pub(crate) fn knows(&self, arn: &str, user_id: &str, account: &str) {
        *self.good.lock().unwrap() = xml(200, answer_of(arn, user_id, account));
    }

    /// What everything is answered with, or no more.
    pub(crate) fn always(&self, answer: Option<HttpResponse>) {
        *self.always.lock().unwrap() = answer;
    }

    pub(crate) fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    pub(crate) fn requests(&self) -> Vec<HttpRequest> {
        self.requests.lock().unwrap().clone()
    }

    /// What is answered when it is not down.
    pub(crate) fn answer_to(&self, request: &HttpRequest) -> HttpResponse {
        if let Some(answer) = &*self.always.lock().unwrap() {
            return answer.clone();
        }
        if self.verifies(request) {
            return self.good.lock().unwrap().clone();
        }
        xml(403, error_of("SignatureDoesNotMatch"))
    }

    /// The request as it would have to be, had the key signed it with the headers that it has.
    fn verifies(&self, request: &HttpRequest) -> bool {
        let (address, query) = request.url.split_once('?').unwrap();
        let pairs: Vec<(String, String)> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (decode(name), decode(value)))
            .collect();
        let of = |name: &str| pairs.iter().find(|(known, _)| known == name).unwrap().1.clone();
        let date = of("X-Amz-Date");
        let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
        let at = time::PrimitiveDateTime::parse(&date, format).unwrap().assume_utc().unix_timestamp();
        let at = u64::try_from(at).unwrap();
        let now = agentkeys_core::Clock::now(&*self.clock).unwrap().as_unix();
        let host = address.strip_prefix("https://").unwrap().strip_suffix('/').unwrap();
        let region = host.split('.').find(|label| label.ends_with(char::is_numeric)).unwrap_or("us-east-1");
        let own = |(name, _): &&(String, String)| ["Action", "Version"].contains(&name.as_str());
        let expected = Signing {
            origin: format!("https://{host}"),
            region: region.to_owned(),
            headers: request.headers.iter().filter(|(name, _)| name.starts_with("x-")).cloned().collect(),
            parameters: pairs.iter().filter(own).cloned().collect(),
            at,
            expires: of("X-Amz-Expires").parse().unwrap(),
            ..Signing::default()
        };
        request.method == HttpMethod::Get && now.abs_diff(at) <= 900 && expected.url() == request.url
    }
}

#[async_trait]
impl HttpClient for FakeSts {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.requests.lock().unwrap().push(request.clone());
        tokio::task::yield_now().await;
        if *self.down.lock().unwrap() {
            return Err(HttpError::Timeout);
        }
        Ok(self.answer_to(&request))
    }
}

pub(crate) struct World {
    pub(crate) sts: Arc<FakeSts>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) guard: Arc<dyn ReplayGuard>,
    pub(crate) attestor: AwsStsAttestor,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(pins(), 100)
    }

    pub(crate) fn with(pins: AwsStsPins, room: usize) -> Self {
        let clock = ManualClock::new(Timestamp::from_unix(NOW));
        let sts = FakeSts::new(clock.clone());
        let guard: Arc<dyn ReplayGuard> =
            Arc::new(MemoryReplayGuard::new(clock.clone(), NonZeroUsize::new(room).unwrap()));
        let attestor =
            AwsStsAttestor::new(pins, sts.clone(), guard.clone()).unwrap().with_clock(clock.clone());
        Self { sts, clock, guard, attestor }
    }

    /// The same, asking for challenges.
    pub(crate) fn challenging() -> (Self, Challenges) {
        let mut world = Self::new();
        let challenges =
            Challenges::new(world.guard.clone(), &Secret::new([7; 32])).with_clock(world.clock.clone());
        world.attestor = world.attestor.with_challenges(challenges.clone());
        (world, challenges)
    }

    pub(crate) async fn attest(&self, signing: &Signing) -> Result<AttestedIdentity, AttestError> {
        self.attestor.attest(&signing.evidence()).await
    }
}

pub(crate) fn pins() -> AwsStsPins {
    from_settings(&usual_settings())
}

/// The verifier's settings as the published vectors have them.
pub(crate) fn usual_settings() -> Map<String, Value> {
    let endpoints = ["regional:eu-west-1", "global:us-east-1"].map(endpoint_settings);
    let roles = json!([
        { "role": "arn:aws:iam::123456789012:role/team/agents", "agent": "blue", "unique_id": null },
        { "role": "arn:aws:iam::123456789012:role/launcher", "agent": null, "unique_id": null },
    ]);
    [("endpoints", json!(endpoints)), ("audience", "agentkeys".into()), ("roles", roles)]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// An endpoint as the published vectors have it.
pub(crate) fn endpoint_settings(text: &str) -> Value {
    let endpoint = endpoint(text);
    json!({
        "host": endpoint.host(),
        "region": endpoint.region().as_str(),
        "partition": endpoint.partition().as_str(),
    })
}

pub(crate) fn from_settings(settings: &Map<String, Value>) -> AwsStsPins {
    let list = |name: &str| settings[name].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let endpoints = list("endpoints").map(|endpoint| {
        let [partition, region] = ["partition", "region"].map(|name| text(&endpoint[name]));
        let (partition, region) = (partition.parse().unwrap(), region.parse().unwrap());
        StsEndpoint::at_host(partition, region, endpoint["host"].as_str().unwrap()).unwrap()
    });
    let roles = list("roles").map(|rule| {
        let role = text(&rule["role"]).parse().unwrap();
        let role = match &rule["agent"] {
            Value::Null => StsRole::with_self_asserted_session_names(role),
            agent => StsRole::named(role, text(agent).parse().unwrap()),
        };
        match &rule["unique_id"] {
            Value::Null => role,
            unique_id => role.with_unique_id(text(unique_id).parse().unwrap()),
        }
    });
    AwsStsPins {
        endpoints: endpoints.collect(),
        audience: text(&settings["audience"]).parse().unwrap(),
        roles: roles.collect(),
    }
}

/// `regional:eu-west-1`, `fips:…`, `dual-stack:…`, `fips-dual-stack:…` or `global:us-east-1`.
pub(crate) fn endpoint(text: &str) -> StsEndpoint {
    let (variant, region) = text.split_once(':').unwrap();
    let region = region.parse().unwrap();
    match variant {
        "regional" => StsEndpoint::regional(region).unwrap(),
        "fips" => StsEndpoint::fips(region).unwrap(),
        "dual-stack" => StsEndpoint::dual_stack(region).unwrap(),
        "fips-dual-stack" => StsEndpoint::fips_dual_stack(region).unwrap(),
        other => {
            assert_eq!(other, "global");
            StsEndpoint::global()
        }
    }
}

pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
