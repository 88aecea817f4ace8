//! The sidecar before a broker that follows a script, in virtual time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentkeys_attest::aws::StsEndpoint;
use agentkeys_attest::aws_sts::AwsStsSource;
use agentkeys_core::testing::{ManualClock, SeededRandom};
use agentkeys_core::{
    Clock, ClockError, ErrorKind, Evidence, EvidenceKind, EvidenceSource, HttpClient, HttpError, HttpRequest,
    HttpResponse, Issuer, SourceError, Timestamp,
};
use agentkeys_examples::sidecar::{BrokerClient, Keeper, KeeperError, MAX_BACK_OFF, PATIENCE, Prover};
use agentkeys_federation::{DataClass, MIN_LEFT};
use async_trait::async_trait;
use aws_credential_types::Credentials;
use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) const NOW: u64 = 1_800_000_000;
const MARK: &str = "MARKED-MARKED-MARKED";

/// tokio's time as a clock: it moves when nothing else can.
#[derive(Debug)]
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Result<Timestamp, ClockError> {
        Ok(Timestamp::from_unix(NOW).plus(self.0.elapsed()))
    }
}

type Answer = Result<(u16, Value), HttpError>;
type Answering = Box<dyn FnMut(&str) -> Answer + Send>;

/// Answers as it is told, path by path, and keeps what was asked.
pub(crate) struct Script {
    answer: Mutex<Answering>,
    asked: Mutex<Vec<HttpRequest>>,
    takes: Duration,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(crate) fn new(answer: impl FnMut(&str) -> Answer + Send + 'static) -> Arc<Self> {
        Self::slow(Duration::ZERO, answer)
    }

    fn slow(takes: Duration, answer: impl FnMut(&str) -> Answer + Send + 'static) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(Box::new(answer)), asked: Mutex::default(), takes })
    }

    fn becomes(&self, answer: impl FnMut(&str) -> Answer + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    fn paths(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|request| request.url.replace("https://broker.example.org", "")).collect()
    }
}

#[async_trait]
impl HttpClient for Script {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let path = request.url.replace("https://broker.example.org", "");
        self.asked.lock().unwrap().push(request);
        tokio::time::sleep(self.takes).await;
        let (status, body) = (self.answer.lock().unwrap())(&path)?;
        let body = if let Value::String(raw) = body { raw } else { body.to_string() };
        Ok(HttpResponse::new(status, vec![("retry-after".to_owned(), "2".to_owned())], body))
    }
}

#[derive(Debug, Default)]
struct Source(AtomicUsize);

#[async_trait]
impl EvidenceSource for Source {
    async fn fetch(&self) -> Result<Evidence, SourceError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Evidence::new(EvidenceKind::from_static("oidc"), "evidence").unwrap())
    }
}

pub(crate) fn session(ends: u64) -> Answer {
    let session = json!({ "session": "session-token", "expiration": ends, "agent": "blue", "tenant": null });
    Ok((200, session))
}

pub(crate) fn credentials(ends: u64) -> Answer {
    let credentials = json!({
        "access_key_id": "ASIAEXAMPLE", "secret_access_key": "secret", "session_token": "token",
        "expiration": ends, "wallet": null,
    });
    Ok((200, credentials))
}

fn down() -> Answer {
    Err(HttpError::Connection("refused".into()))
}

fn refused(status: u16, reason: &str) -> Answer {
    Ok((status, json!({ "error": "forbidden", "reason": reason, "message": MARK })))
}

/// A broker whose sessions live five minutes and whose credentials live `lives` from when they are asked for.
fn healthy(clock: Arc<dyn Clock>, lives: u64) -> impl FnMut(&str) -> Answer + Send + 'static {
    move |path| {
        let now = clock.now().unwrap().as_unix();
        if path == "/v1/attest" { session(now + 300) } else { credentials(now + lives) }
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(VirtualClock(Instant::now()))
}

fn client(script: &Arc<Script>) -> BrokerClient {
    BrokerClient::new(&Issuer::parse("https://broker.example.org").unwrap(), script.clone())
}

pub(crate) fn keeper(script: &Arc<Script>, clock: Arc<dyn Clock>) -> Keeper {
    let prover = Prover::Source(Arc::new(Source::default()));
    Keeper::new(client(script), prover, DataClass::Memory, |_| ())
        .with_clock_and_random(clock, SeededRandom::new(0))
}

fn code(outcome: Result<agentkeys_federation::AwsCredentials, KeeperError>) -> &'static str {
    outcome.map_or_else(|error| error.code(), |_| "credentials")
}

#[tokio::test(start_paused = true)]
async fn w74_credentials_are_renewed_before_they_end_and_there_are_always_some() {
    let clock = clock();
    let script = Script::new(healthy(clock.clone(), 900));
    let keeper = keeper(&script, clock.clone());
    tokio::spawn(keeper.clone().run());
    let mut ends = Vec::new();
    for _ in 0..720 {
        let held = keeper.credentials().await.unwrap();
        let left = held.expires_at().since(clock.now().unwrap());
        assert!(left > MIN_LEFT, "{left:?} left");
        ends.push(held.expires_at().as_unix());
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    ends.dedup();
    // two hours of what lives a quarter of one and is renewed five minutes before its end
    assert!((11..=14).contains(&ends.len()), "{ends:?}");
    // a session of five minutes is over when credentials are renewed
    assert_eq!(script.paths().len(), 2 * ends.len());
    let asked = script.asked.lock().unwrap();
    // as serde_json writes it: sorted, or in this order where another crate of the build asks for that
    let body = json!({ "kind": "oidc", "evidence": "evidence" }).to_string();
    assert_eq!(asked[0].body.expose(), body.as_bytes());
    let bearer = ("authorization".to_owned(), "Bearer session-token".to_owned());
    assert!(asked[1].headers.contains(&bearer) && asked[1].body.expose().is_empty());
    assert!(asked[1].url.ends_with("/v1/mint-aws-creds/memory"));
}

#[tokio::test(start_paused = true)]
async fn what_is_still_good_is_served_while_the_broker_is_down_and_nothing_after() {
    let clock = clock();
    let script = Script::new(healthy(clock.clone(), 900));
    let keeper = keeper(&script, clock.clone());
    tokio::spawn(keeper.clone().run());
    keeper.credentials().await.unwrap();
    script.becomes(|_| down());
    for second in (0..1200).step_by(5) {
        let found = keeper.credentials().await;
        let over = clock.now().unwrap() >= Timestamp::from_unix(NOW + 900).minus(MIN_LEFT);
        match found {
            Ok(_) => assert!(!over, "served at {second}"),
            Err(error) => {
                assert!(over, "{error} at {second}");
                assert!(matches!(error.code(), "broker_unreachable" | "credentials_pending"), "{error}");
                assert_eq!(error.kind(), ErrorKind::Unavailable);
            }
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    // from 570 s on, at first soon after one another and then once in half a minute to a minute
    let tries = script.paths().len() - 2;
    assert!((8..=40).contains(&tries), "{tries}");
    script.becomes(healthy(clock.clone(), 900));
    tokio::time::sleep(MAX_BACK_OFF).await;
    assert_eq!(code(keeper.credentials().await), "credentials");
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_has_nothing_of_before() {
    for (status, kind) in
        [(403, ErrorKind::Denied), (401, ErrorKind::Invalid), (404, ErrorKind::Misconfigured)]
    {
        let clock = clock();
        let script = Script::new(healthy(clock.clone(), 900));
        let keeper = keeper(&script, clock.clone());
        let running = tokio::spawn(keeper.clone().run());
        keeper.credentials().await.unwrap();
        script.becomes(move |_| refused(status, "tenant_unknown"));
        tokio::time::sleep(Duration::from_secs(600)).await;
        // the credentials of before would be good for almost five minutes
        let error = keeper.credentials().await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, "broker_refused"));
        assert_eq!(error.to_string(), format!("the broker refused with status {status} (tenant_unknown)"));
        let before = script.paths().len();
        for _ in 0..100 {
            assert!(keeper.credentials().await.is_err());
        }
        tokio::time::sleep(Duration::from_secs(300)).await;
        let tries = script.paths().len() - before;
        assert!((5..=11).contains(&tries), "{tries}");
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_share_one_attempt_and_wait_no_longer_than_an_sdk() {
    let clock = clock();
    let script = Script::slow(Duration::from_secs(2), healthy(clock.clone(), 900));
    let keeper = keeper(&script, clock.clone());
    tokio::spawn(keeper.clone().run());
    let begun = Instant::now();
    let callers: Vec<_> = (0..50)
        .map(|_| {
            tokio::spawn({
                let keeper = keeper.clone();
                async move { keeper.credentials().await }
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(code(caller.await.unwrap()), "credentials_pending");
    }
    assert_eq!(begun.elapsed(), PATIENCE);
    assert_eq!(script.paths(), ["/v1/attest"]);
    assert_eq!(code(keeper.first_credentials(Duration::from_secs(10)).await), "credentials");
    assert_eq!(script.paths().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_broker_forgot_is_replaced_in_the_same_attempt() {
    let clock = clock();
    let (times, mut minted) = (clock.clone(), 0);
    let script = Script::new(move |path| {
        let now = times.now().unwrap().as_unix();
        match path {
            "/v1/attest" => session(now + 3600),
            _ => {
                minted += 1;
                if minted == 2 { refused(401, "token_signature") } else { credentials(now + 900) }
            }
        }
    });
    let keeper = keeper(&script, clock);
    tokio::spawn(keeper.clone().run());
    keeper.credentials().await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(code(keeper.credentials().await), "credentials");
    let minting = "/v1/mint-aws-creds/memory";
    assert_eq!(script.paths(), ["/v1/attest", minting, minting, "/v1/attest", minting]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_ran_ahead_of_the_timer_is_believed() {
    let clock = ManualClock::new(Timestamp::from_unix(NOW));
    let script = Script::new(healthy(clock.clone(), 900));
    let keeper = keeper(&script, clock.clone());
    tokio::spawn(keeper.clone().run());
    keeper.credentials().await.unwrap();
    // the machine slept: no timer ran, and the credentials are over
    clock.advance(Duration::from_secs(10_000));
    let begun = Instant::now();
    assert_eq!(keeper.credentials().await.unwrap().expires_at().as_unix(), NOW + 10_900);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_over_or_almost_are_not_served() {
    for ends in [0, NOW, NOW + 60] {
        let script = Script::new(
            move |path| {
                if path == "/v1/attest" { session(NOW + 300) } else { credentials(ends) }
            },
        );
        let keeper = keeper(&script, ManualClock::new(Timestamp::from_unix(NOW)));
        assert_eq!(code(keeper.obtain_once().await), "credentials_over");
        tokio::spawn(keeper.clone().run());
        assert_eq!(code(keeper.credentials().await), "credentials_over");
    }
}

#[tokio::test(start_paused = true)]
async fn evidence_that_is_signed_holds_the_brokers_challenge() {
    let clock = ManualClock::new(Timestamp::from_unix(NOW));
    let script = Script::new(|path| match path {
        "/v1/attest/challenge" => Ok((200, json!({ "challenge": "c2-challenge", "expiration": NOW + 60 }))),
        "/v1/attest" => session(NOW + 300),
        _ => credentials(NOW + 900),
    });
    let own = Credentials::new("ASIAOWN", "own-secret", Some("own-token".to_owned()), None, "test");
    let endpoint = StsEndpoint::regional("eu-west-1".parse().unwrap()).unwrap();
    let source = AwsStsSource::new(own, endpoint, "agentkeys".parse().unwrap()).with_clock(clock.clone());
    let keeper = Keeper::new(client(&script), Prover::Challenged(source), DataClass::Vault, |_| ())
        .with_clock_and_random(clock, SeededRandom::new(0));
    assert_eq!(code(keeper.obtain_once().await), "credentials");
    assert_eq!(script.paths(), ["/v1/attest/challenge", "/v1/attest", "/v1/mint-aws-creds/vault"]);
    let body: Value = serde_json::from_slice(script.asked.lock().unwrap()[1].body.expose()).unwrap();
    assert_eq!(body["kind"], "aws-sts");
    let evidence: Value = serde_json::from_str(body["evidence"].as_str().unwrap()).unwrap();
    assert_eq!(evidence["challenge"], "c2-challenge");
}

#[tokio::test(start_paused = true)]
async fn l29_w60_nothing_of_an_answer_that_is_none_is_kept_or_shown() {
    let long = "a".repeat(200);
    let good = credentials(NOW + 900).unwrap().1;
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        Ok((200, changed))
    };
    let doubled = format!("{{\"session_token\":\"{MARK}\",{}", &good.to_string()[1..]);
    let cases: Vec<(&str, Answer)> = vec![
        ("broker_malformed", Ok((200, MARK.into()))),
        ("broker_malformed", Ok((200, format!("<html>{MARK}</html>").into()))),
        ("broker_malformed", Ok((200, json!([MARK])))),
        ("broker_malformed", Ok((200, json!({ "access_key_id": MARK })))),
        ("broker_malformed", Ok((200, doubled.into()))),
        ("broker_malformed", with("secret_access_key", "".into())),
        ("broker_malformed", with("secret_access_key", json!({ "MARKED": 1 }))),
        ("broker_malformed", with("session_token", format!("{MARK}\n").into())),
        ("broker_malformed", with("access_key_id", format!("{MARK} ").into())),
        ("broker_malformed", with("access_key_id", format!("{MARK}\u{e9}").into())),
        ("broker_malformed", with("expiration", "2027-01-15T08:00:00Z".into())),
        ("broker_malformed", with("expiration", (-1).into())),
        ("broker_refused", Ok((201, good.clone()))),
        ("broker_refused", Ok((302, good.clone()))),
        ("broker_refused", Ok((500, MARK.into()))),
        ("broker_refused", refused(403, MARK)),
        ("broker_refused", refused(403, &format!("{}; rm", MARK.to_lowercase()))),
        ("broker_refused", refused(403, &long)),
    ];
    for (wanted, answer) in cases {
        let answer = Mutex::new(Some(answer));
        let script = Script::new(move |path| match path {
            "/v1/attest" => session(NOW + 300),
            _ => answer.lock().unwrap().take().unwrap_or_else(down),
        });
        let keeper = keeper(&script, ManualClock::new(Timestamp::from_unix(NOW)));
        let error = keeper.obtain_once().await.unwrap_err();
        assert_eq!(error.code(), wanted);
        let shown = format!("{error} {error:?} {keeper:?}").to_lowercase();
        assert!(!shown.contains("marked") && !shown.contains("aaaa"), "{shown}");
    }
    for answer in
        [json!({ "session": "", "expiration": 1 }), json!({ "session": "a b", "expiration": 1 }), json!({})]
    {
        let script = Script::new(move |path| match path {
            "/v1/attest" => Ok((200, answer.clone())),
            _ => credentials(NOW + 900),
        });
        let keeper = keeper(&script, ManualClock::new(Timestamp::from_unix(NOW)));
        assert_eq!(code(keeper.obtain_once().await), "broker_malformed");
    }
}

#[tokio::test(start_paused = true)]
async fn l29_no_log_line_and_no_debug_shows_a_secret() {
    let lines = Arc::new(Mutex::new(String::new()));
    let script = Script::new(|path| match path {
        "/v1/attest" => Ok((200, json!({ "session": MARK, "expiration": NOW + 300 }))),
        _ => Ok((
            200,
            json!({ "access_key_id": "ASIAEXAMPLE", "secret_access_key": MARK, "session_token": MARK,
            "expiration": NOW + 900 }),
        )),
    });
    let log = lines.clone();
    let keeper = Keeper::new(
        client(&script),
        Prover::Source(Arc::new(Source::default())),
        DataClass::Data,
        move |line| {
            log.lock().unwrap().push_str(line);
        },
    )
    .with_clock_and_random(ManualClock::new(Timestamp::from_unix(NOW)), SeededRandom::new(0));
    tokio::spawn(keeper.clone().run());
    let held = keeper.credentials().await.unwrap();
    let shown = format!("{keeper:?} {held:?} {}", lines.lock().unwrap());
    assert!(shown.contains("ASIAEXAMPLE until") && !shown.contains(MARK), "{shown}");
}
