//! The session broker: what it asks of the STS, what it refuses to ask, and which answers it takes.

use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::testing::{FakeHttp, ManualClock};
use agentkeys_core::{
    AttestedIdentity, Clock, ClockError, ErrorKind, HttpMethod, HttpRequest, SystemRandom, Timestamp,
};
use agentkeys_federation::{
    AssumeError, AttributedSession, AuditCode, AuditId, AuditSink as _, AwsCredentials, BaseCredentials,
    ExchangeError, Exchanger as _, Intent, Outcome, OutcomeKind, RoleArn, SessionBroker, SessionDuration,
    SourceIdentity,
};

use crate::audit::{Mints, memory, text};
use crate::support::{Always, NOW, STS, World, failure, success};

/// 2027-01-15T08:15:00Z: 900 seconds after `NOW`.
pub(crate) const IN_TIME: &str = "2027-01-15T08:15:00Z";

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) broker: SessionBroker,
    pub(crate) session: AttributedSession,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let broker = SessionBroker::new("us-east-1".parse().unwrap(), world.http.clone())
            .with_clock(world.clock.clone());
        let session = AttributedSession::new(role("acme-session"), Mints::new(3).id(), agent("acme", "7"));
        Self { world, broker, session }
    }

    async fn assume(&self, base: &BaseCredentials) -> Result<AwsCredentials, AssumeError> {
        self.broker.assume(&self.world.identity, base, &self.session).await
    }

    fn clock(&self) -> &ManualClock {
        &self.world.clock
    }

    fn http(&self) -> &FakeHttp {
        &self.world.http
    }

    fn lasting(&mut self, seconds: u32) {
        let duration = SessionDuration::from_secs(seconds).unwrap();
        self.session = self.session.clone().with_duration(duration);
    }
}

/// The clock of a machine that was never told the time.
#[derive(Debug)]
struct Unset;

impl Clock for Unset {
    fn now(&self) -> Result<Timestamp, ClockError> {
        Err(ClockError::new())
    }
}

fn role(name: &str) -> RoleArn {
    format!("arn:aws:iam::123456789012:role/tenants/{name}").parse().unwrap()
}

fn agent(tenant: &str, session: &str) -> SourceIdentity {
    SourceIdentity::agent(tenant, session).unwrap()
}

/// Credentials of a session that ends 600 seconds after `NOW`.
fn session_credentials() -> AwsCredentials {
    let ends = NOW.plus(Duration::from_secs(600));
    AwsCredentials::new("ASIABASE", "MARKED-base-secret".into(), "MARKED-base-session".into(), ends)
}

pub(crate) fn exchanged() -> BaseCredentials {
    BaseCredentials::exchanged(session_credentials())
}

pub(crate) fn long_lived() -> BaseCredentials {
    BaseCredentials::long_lived("AKIABASE", "MARKED-base-secret".into())
}

/// AWS's answer to AssumeRole, shortened.
pub(crate) fn answer(session: &AttributedSession, expiration: &str) -> String {
    let (name, source) = (session.name(), session.source_identity());
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <AssumedRoleUser><Arn>{}</Arn><AssumedRoleId>AROAEXAMPLE:{name}</AssumedRoleId></AssumedRoleUser>\
         <Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>MARKED-secret</SecretAccessKey>\
         <SessionToken>MARKED-session</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
         <SourceIdentity>{source}</SourceIdentity></AssumeRoleResult></AssumeRoleResponse>",
        session.role().session_arn(&name)
    )
}

fn header<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn r98_the_request_is_signed_with_the_base_and_asks_for_exactly_the_attributed_session() {
    for (base, key, token) in [
        (exchanged(), "ASIABASE", Some("MARKED-base-session")),
        (BaseCredentials::temporary(session_credentials()), "ASIABASE", Some("MARKED-base-session")),
        (long_lived(), "AKIABASE", None),
    ] {
        let scene = Scene::new();
        scene.http().answer(STS, 200, answer(&scene.session, IN_TIME));
        let credentials = scene.assume(&base).await.unwrap();
        assert_eq!(credentials.access_key_id(), "ASIAEXAMPLE");
        assert_eq!(credentials.secret_access_key().expose(), "MARKED-secret");
        assert_eq!(credentials.session_token().expose(), "MARKED-session");
        assert_eq!(credentials.expires_at().as_unix(), 1_800_000_900);
        assert_eq!(credentials.source_identity(), Some(scene.session.source_identity()));

        let requests = scene.http().requests();
        let [request] = requests.as_slice() else { panic!("one request, not {}", requests.len()) };
        assert_eq!((request.method, request.url.as_str()), (HttpMethod::Post, STS));
        let authorization = header(request, "authorization").unwrap();
        // the date is that of our clock
        let scope = format!("AWS4-HMAC-SHA256 Credential={key}/20270115/us-east-1/sts/aws4_request, ");
        assert!(authorization.starts_with(&scope), "{authorization}");
        assert_eq!(header(request, "x-amz-date"), Some("20270115T080000Z"));
        assert_eq!(header(request, "x-amz-security-token"), token);
        let body = String::from_utf8(request.body.expose().clone()).unwrap();
        let mut pairs: Vec<_> = body.split('&').collect();
        pairs.sort_unstable();
        let name = format!("RoleSessionName={}", scene.session.id());
        let expected = [
            "Action=AssumeRole",
            "DurationSeconds=900",
            "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Ftenants%2Facme-session",
            name.as_str(),
            "SourceIdentity=agent%2Bacme%2B7",
            "Version=2011-06-15",
        ];
        assert_eq!(pairs, expected);
    }
}

#[tokio::test]
async fn r102_another_source_identity_than_the_bases_own_is_refused_before_sts_is_called() {
    let scene = Scene::new();
    let of = |identity| session_credentials().with_source_identity(identity);
    for fixed in [
        agent("acme", "8"),
        agent("globex", "7"),
        SourceIdentity::digest("acme", "7").unwrap(),
        SourceIdentity::verbatim("jane").unwrap(),
    ] {
        for base in [BaseCredentials::exchanged(of(fixed.clone())), BaseCredentials::temporary(of(fixed))] {
            let refused = scene.assume(&base).await.unwrap_err();
            assert_eq!((refused, refused.kind()), (AssumeError::SourceIdentityFixed, ErrorKind::Denied));
            assert_eq!(refused.retry_after(), None);
        }
    }
    assert_eq!(scene.http().requests().len(), 0);
    scene.http().answer(STS, 200, answer(&scene.session, IN_TIME));
    scene.assume(&BaseCredentials::exchanged(of(agent("acme", "7")))).await.unwrap();
}

#[tokio::test]
async fn r102_what_an_exchange_or_an_assumption_gave_remembers_whose_it_is() {
    let mut scene = Scene::new();
    let (first, second) = (agent("acme", "7"), agent("acme", "8"));
    let target = scene.world.session.clone().with_source_identity(first.clone());
    let token = scene.world.token().await;
    let end = "</AssumeRoleWithWebIdentityResult>";
    let said = format!("<SourceIdentity>{first}</SourceIdentity>{end}");
    scene.http().answer(STS, 200, success(&token, target.role(), IN_TIME).replace(end, &said));
    let exchanged = scene.world.exchanger.exchange(&token, &target).await.unwrap();
    assert_eq!(exchanged.source_identity(), Some(&first));

    scene.http().answer(STS, 200, answer(&scene.session, IN_TIME));
    let assumed = scene.assume(&BaseCredentials::exchanged(exchanged.clone())).await.unwrap();
    let asked = scene.http().requests().len();
    scene.session = AttributedSession::new(role("acme-session"), Mints::new(4).id(), second);
    for base in [exchanged, assumed] {
        let refused = scene.assume(&BaseCredentials::exchanged(base)).await.unwrap_err();
        assert_eq!(refused, AssumeError::SourceIdentityFixed);
    }
    assert_eq!(scene.http().requests().len(), asked);

    // and one without says so
    scene.http().answer(STS, 200, success(&token, scene.world.session.role(), IN_TIME));
    let nobodys = scene.world.exchanger.exchange(&token, &scene.world.session).await.unwrap();
    assert_eq!(nobodys.source_identity(), None);
}

#[tokio::test]
async fn w62_a_chained_session_of_more_than_an_hour_is_refused_before_sts_is_called() {
    let mut scene = Scene::new();
    for seconds in [3601, 43_200] {
        scene.lasting(seconds);
        for base in [exchanged(), BaseCredentials::temporary(session_credentials())] {
            let refused = scene.assume(&base).await.unwrap_err();
            assert_eq!((refused, refused.kind()), (AssumeError::Duration, ErrorKind::Misconfigured));
        }
    }
    assert_eq!(scene.http().requests().len(), 0);
    for (base, seconds) in [(exchanged(), 3600), (long_lived(), 3601), (long_lived(), 43_200)] {
        scene.lasting(seconds);
        scene.http().answer(STS, 200, answer(&scene.session, IN_TIME));
        scene.assume(&base).await.unwrap();
        let body = scene.http().requests().last().unwrap().body.expose().clone();
        assert!(String::from_utf8(body).unwrap().contains(&format!("DurationSeconds={seconds}&")));
    }
}

#[tokio::test]
async fn expired_base_credentials_are_refused_before_sts_is_called() {
    let scene = Scene::new();
    scene.http().answer(STS, 200, answer(&scene.session, "2027-01-15T08:24:00Z"));
    scene.clock().advance(Duration::from_secs(599));
    scene.assume(&exchanged()).await.unwrap();
    scene.clock().advance(Duration::from_secs(1));
    for base in [exchanged(), BaseCredentials::temporary(session_credentials())] {
        let refused = scene.assume(&base).await.unwrap_err();
        assert_eq!((refused, refused.kind()), (ExchangeError::BaseExpired.into(), ErrorKind::Invalid));
    }
    assert_eq!(scene.http().requests().len(), 1);
    scene.assume(&long_lived()).await.unwrap();
}

#[tokio::test]
async fn r41_nobody_but_a_current_identity_gets_an_attributed_session() {
    let scene = Scene::new();
    scene.http().answer(STS, 200, answer(&scene.session, IN_TIME));
    let expired: AttestedIdentity =
        scene.world.identity_from("blue", Timestamp::from_unix(NOW.as_unix() - 1800));
    let refused = scene.broker.assume(&expired, &long_lived(), &scene.session).await.unwrap_err();
    assert_eq!((refused, refused.kind()), (AssumeError::IdentityExpired, ErrorKind::Invalid));
    assert_eq!(scene.http().requests().len(), 0);

    // one that ends while the STS is asked gets nothing either
    let gate = scene.http().hold().await;
    let ends = async {
        while scene.http().requests().is_empty() {
            tokio::task::yield_now().await;
        }
        scene.clock().advance(Duration::from_secs(1800));
        drop(gate);
    };
    let base = long_lived();
    let (refused, ()) = tokio::join!(scene.assume(&base), ends);
    let refused = refused.unwrap_err();
    assert_eq!((refused, refused.kind()), (AssumeError::IdentityEnded, ErrorKind::Invalid));
    assert_eq!(scene.http().requests().len(), 1);
    // the row says that there were credentials
    assert_eq!(Outcome::of_assumption(NOW, refused).kind(), OutcomeKind::Withheld);
}

#[tokio::test(start_paused = true)]
async fn w64_every_code_of_aws_has_its_own_error_and_kind_for_an_assumption() {
    use ExchangeError as E;
    for (status, code, error, kind) in [
        (403, "AccessDenied", E::Denied, ErrorKind::Denied),
        (403, "ExpiredToken", E::BaseExpired, ErrorKind::Invalid),
        (400, "ExpiredTokenException", E::BaseExpired, ErrorKind::Invalid),
        (400, "IncompleteSignature", E::BaseInvalid, ErrorKind::Misconfigured),
        (403, "InvalidAccessKeyId", E::BaseInvalid, ErrorKind::Misconfigured),
        (403, "InvalidClientTokenId", E::BaseInvalid, ErrorKind::Misconfigured),
        (403, "MissingAuthenticationToken", E::BaseInvalid, ErrorKind::Misconfigured),
        (400, "RequestExpired", E::BaseInvalid, ErrorKind::Misconfigured),
        (403, "SignatureDoesNotMatch", E::BaseInvalid, ErrorKind::Misconfigured),
        (403, "UnrecognizedClientException", E::BaseInvalid, ErrorKind::Misconfigured),
        (400, "MalformedPolicyDocument", E::PolicyMalformed, ErrorKind::Misconfigured),
        (400, "PackedPolicyTooLarge", E::PolicyTooLarge, ErrorKind::Misconfigured),
        (403, "RegionDisabledException", E::RegionDisabled, ErrorKind::Misconfigured),
        (400, "ValidationError", E::Refused, ErrorKind::Misconfigured),
        (400, "InvalidParameterValue", E::Refused, ErrorKind::Misconfigured),
        (400, "Throttling", E::Throttled, ErrorKind::Unavailable),
        (500, "InternalFailure", E::Unavailable, ErrorKind::Unavailable),
        (503, "ServiceUnavailable", E::Unavailable, ErrorKind::Unavailable),
        // codes of the other call, which have no meaning here
        (400, "InvalidIdentityToken", E::Refused, ErrorKind::Misconfigured),
        (400, "IDPCommunicationError", E::Refused, ErrorKind::Misconfigured),
        (403, "IDPRejectedClaim", E::Refused, ErrorKind::Misconfigured),
        (418, "NobodyKnows", E::Refused, ErrorKind::Misconfigured),
    ] {
        let scene = Scene::new();
        scene.http().answer(STS, status, failure(code));
        let refused = scene.assume(&exchanged()).await.unwrap_err();
        assert_eq!((refused, refused.kind()), (error.into(), kind), "{code}");
        assert_eq!(refused.code(), error.code(), "{code}");
        assert_eq!(refused.retry_after(), error.retry_after(), "{code}");
        assert!(!format!("{refused} {refused:?}").contains("MARKED"), "{code}");
        // each try is one request, and only what may mend itself is tried again
        let tries = if kind == ErrorKind::Unavailable { 3 } else { 1 };
        assert_eq!(scene.http().requests().len(), tries, "{code}");
        assert_eq!(
            Outcome::of_assumption(NOW, refused).kind(),
            if tries == 3 { OutcomeKind::Failed } else { OutcomeKind::Refused }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn w64_an_assumption_waits_with_jitter_and_never_longer_than_twenty_seconds() {
    for (code, byte, waited) in [
        ("InternalFailure", 0, 300..=302),
        ("InternalFailure", 255, 599..=602),
        ("Throttling", 0, 1500..=1502),
        ("Throttling", 255, 2999..=3002),
    ] {
        let mut scene = Scene::new();
        scene.broker = scene.broker.with_random(Arc::new(Always(byte)));
        scene.http().answer(STS, 500, failure(code));
        let begun = tokio::time::Instant::now();
        scene.assume(&exchanged()).await.unwrap_err();
        assert!(waited.contains(&begun.elapsed().as_millis()), "{code} {:?}", begun.elapsed());
    }
    let scene = Scene::new();
    scene.http().answer(STS, 200, answer(&scene.session, IN_TIME));
    let _held = scene.http().hold().await;
    let begun = tokio::time::Instant::now();
    let refused = scene.assume(&exchanged()).await.unwrap_err();
    assert_eq!((refused, begun.elapsed().as_secs()), (ExchangeError::Unavailable.into(), 20));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_not_set_and_an_sts_that_is_not_there_give_nothing() {
    let mut scene = Scene::new();
    let refused = scene.assume(&exchanged()).await.unwrap_err();
    assert_eq!(refused, ExchangeError::Unavailable.into());
    let asked = scene.http().requests().len();
    scene.broker = scene.broker.with_clock(Arc::new(Unset));
    let refused = scene.assume(&exchanged()).await.unwrap_err();
    assert_eq!((refused, refused.kind()), (ClockError::new().into(), ErrorKind::Misconfigured));
    assert_eq!(scene.http().requests().len(), asked);
}

#[tokio::test(start_paused = true)]
async fn w81_each_lie_of_the_sts_about_an_assumption_is_refused() {
    let scene = Scene::new();
    let good = answer(&scene.session, IN_TIME);
    let other = |role, id, source| answer(&AttributedSession::new(role, id, source), IN_TIME);
    let (own, id, source) = (role("acme-session"), scene.session.id().clone(), agent("acme", "7"));
    let elsewhere: RoleArn = "arn:aws:iam::210987654321:role/tenants/acme-session".parse().unwrap();
    let element = format!("<SourceIdentity>{source}</SourceIdentity>");
    let packed =
        |name: &str, value: &str| good.replace(&element, &format!("{element}<{name}>{value}</{name}>"));
    for (name, lie) in [
        ("another role", other(role("globex-session"), id.clone(), source.clone())),
        ("another account", other(elsewhere, id.clone(), source.clone())),
        ("another session name", other(own.clone(), Mints::new(4).id(), source.clone())),
        ("a longer session name", good.replace("</Arn>", "x</Arn>")),
        ("the role's own ARN", good.replace(":sts:", ":iam:")),
        ("another source identity", other(own.clone(), id.clone(), agent("acme", "8"))),
        ("another tenant's", other(own, id, agent("globex", "7"))),
        ("in other letters", good.replace("agent+acme+7<", "agent+Acme+7<")),
        ("an empty source identity", good.replace("agent+acme+7<", "<")),
        ("no source identity", good.replace(&element, "")),
        ("expired", answer(&scene.session, "2027-01-15T08:00:00Z")),
        ("far longer than asked", answer(&scene.session, "2027-01-15T08:20:01Z")),
        ("before there was time", answer(&scene.session, "1969-12-31T23:59:59Z")),
        ("no key id", good.replace("ASIAEXAMPLE", "")),
        ("no secret", good.replace("MARKED-secret", "")),
        ("no session token", good.replace("MARKED-session", "")),
        ("no role", good.replace("AssumedRoleUser", "Unknown")),
        ("no credentials", good.replace("Credentials>", "Unknown>")),
        ("no end", good.replace("Expiration", "Unknown")),
        ("more than all", packed("PackedPolicySize", "101")),
        ("less than nothing", packed("PackedPolicySize", "-1")),
        ("more than all, in the newer field", packed("SessionTokenUtilization", "101")),
        ("the other call's answer", good.replace("AssumeRoleRes", "AssumeRoleWithWebIdentityRes")),
        ("not XML", "{}".to_owned()),
        ("empty", String::new()),
    ] {
        assert_ne!(lie, good, "{name}");
        scene.http().answer(STS, 200, lie);
        let refused = scene.assume(&exchanged()).await.unwrap_err();
        assert!(matches!(refused, AssumeError::Sts(ExchangeError::Answer(_))), "{name}: {refused:?}");
    }
    for truth in [good.clone(), answer(&scene.session, "2027-01-15T08:20:00Z")] {
        scene.http().answer(STS, 200, truth);
        scene.assume(&exchanged()).await.unwrap();
    }
}

#[tokio::test]
async fn l24_what_the_sts_says_of_the_packed_size_is_passed_on() {
    let scene = Scene::new();
    let said = |fields: &str| {
        let end = "</AssumeRoleResult>";
        answer(&scene.session, IN_TIME).replace(end, &format!("{fields}{end}"))
    };
    let (older, newer) = ("PackedPolicySize", "SessionTokenUtilization");
    for (fields, percent, near) in [
        (String::new(), None, false),
        (format!("<{older}>74</{older}>"), Some(74), false),
        (format!("<{older}>75</{older}>"), Some(75), true),
        (format!("<{older}>0</{older}>"), Some(0), false),
        (format!("<{older}>100</{older}>"), Some(100), true),
        (format!("<{older}>12</{older}><{newer}>80</{newer}>"), Some(80), true),
    ] {
        scene.http().answer(STS, 200, said(&fields));
        let size = scene.assume(&exchanged()).await.unwrap().packed_size();
        assert_eq!(size.map(|size| size.percent()), percent, "{fields}");
        assert_eq!(size.is_some_and(|size| size.is_near_the_limit()), near, "{fields}");
    }
}

#[tokio::test]
async fn r103_r109_the_row_of_an_assumption_is_of_the_session_and_always_attributed() {
    let scene = Scene::new();
    let digest = SourceIdentity::digest("acme", "a-long-session").unwrap();
    for (session, preimage) in [
        (scene.session.clone(), None),
        (
            AttributedSession::new(role("acme-session"), Mints::new(4).id(), digest),
            Some("agent+acme+a-long-session"),
        ),
    ] {
        for (base, path) in [
            (exchanged(), "oidc_jwt+sts+assume_role"),
            (BaseCredentials::temporary(session_credentials()), "legacy_assume_role"),
            (long_lived(), "legacy_assume_role"),
        ] {
            let audit = memory(1);
            let intent = Intent::assume(NOW, &scene.world.identity, &session, &base);
            assert_eq!(intent.id(), session.id());
            let _receipt = audit.intent(&intent).await.unwrap();
            let (rows, _) = audit.rows();
            for (column, value) in [
                ("id", Some(session.id().as_str())),
                ("path", Some(path)),
                ("agent", Some("blue")),
                ("jti", None),
                ("role_arn", Some(session.role().as_str())),
                ("session_name", Some(session.id().as_str())),
                ("attribution", Some("source_identity")),
                ("source_identity", Some(session.source_identity().as_str())),
                ("source_identity_preimage", preimage),
            ] {
                assert_eq!(text(&rows[0], column), value, "{column}");
            }
        }
    }
}

#[test]
fn errors_before_the_sts_have_codes_of_their_own() {
    for (error, code) in [
        (AssumeError::Clock(ClockError::new()), "assume_clock"),
        (AssumeError::Duration, "assume_duration"),
        (AssumeError::IdentityEnded, "assume_identity_ended"),
        (AssumeError::IdentityExpired, "assume_identity_expired"),
        (AssumeError::SourceIdentityFixed, "assume_source_identity_fixed"),
        (ExchangeError::BaseExpired.into(), "sts_base_expired"),
        (ExchangeError::BaseInvalid.into(), "sts_base_invalid"),
    ] {
        assert_eq!(AuditCode::from(error).as_str(), code);
        assert_eq!(AuditCode::new(code), Ok(error.into()));
        assert_eq!(error.retry_after(), None, "{code}");
    }
}

#[test]
fn w54_a_sessions_name_is_its_audit_id_whole() {
    let id = AuditId::generate(&SystemRandom::new()).unwrap();
    let session = AttributedSession::new(role("acme-session"), id.clone(), agent("acme", "7"));
    assert_eq!(session.name(), id.as_str().parse().unwrap());
    assert_eq!(session.duration(), SessionDuration::MIN);
}
