//! Requests as fast as they are answered, and what was let go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Client, Whole};
use crate::Failure;
use crate::broker::LoadAws;

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    /// A token, with a session that is there: rows in PostgreSQL.
    Token,
    /// A session, with evidence that is good once: Redis. Then credentials, of an agent that is new.
    Session,
    Credentials,
}

/// One answer: when, for what, and what was wrong.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at: Instant,
    pub(super) asked: Asked,
    pub(super) failed: Option<String>,
}

/// Load that goes on until it is ended.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    pub(super) told: Arc<Told>,
    workers: JoinSet<Result<(), Failure>>,
}

/// What happened so far.
#[derive(Default)]
pub(super) struct Told {
    pub(super) events: Mutex<Vec<Event>>,
    /// The ids of what was let go.
    pub(super) jtis: Mutex<BTreeSet<String>>,
    pub(super) access_keys: Mutex<BTreeSet<String>>,
    /// The last tokens, for who verifies them.
    pub(super) tokens: Mutex<Vec<String>>,
}

impl Told {
    fn event(&self, asked: Asked, failed: Option<String>) {
        let event = Event { at: Instant::now(), asked, failed };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn take_tokens(&self) -> Vec<String> {
        std::mem::take(&mut *self.tokens.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn token(&self, token: String) {
        let payload = token.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
        let jti = payload.and_then(|payload| {
            let claims: Value = serde_json::from_slice(&payload).ok()?;
            Some(claims.get("jti")?.as_str()?.to_owned())
        });
        self.jtis.lock().unwrap_or_else(PoisonError::into_inner).extend(jti);
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(token);
    }
}

impl Load {
    /// Begins, through the balancer: `minters` clients that ask for tokens, and if so one that attests.
    pub(super) async fn begin(whole: &Whole, minters: usize, attests: bool) -> Result<Self, Failure> {
        let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Told::default()));
        let mut workers = JoinSet::new();
        for number in 0..minters {
            let session = session(&whole.aws, whole.balancer, &format!("minter-{number}")).await?;
            let (stop, told, mut client) = (stop.clone(), told.clone(), Client::new(whole.balancer));
            workers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.with_session("/v1/mint-oidc-jwt", &session).await;
                    match answer.text("jwt") {
                        Some(token) => {
                            told.token(token);
                            told.event(Asked::Token, None);
                        }
                        None => {
                            told.event(Asked::Token, Some(answer.why()));
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
                Ok(())
            });
        }
        if attests {
            let (stop, told, aws, port) = (stop.clone(), told.clone(), whole.aws.clone(), whole.balancer);
            workers.spawn(async move { attesting(&aws, port, &stop, &told).await });
        }
        Ok(Self { stop, told, workers })
    }

    pub(super) async fn end(mut self) -> Result<Arc<Told>, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.workers.join_next().await {
            done??;
        }
        Ok(self.told)
    }
}

/// Sessions of agent green, whose evidence is good once, and credentials of pods that are new each time.
async fn attesting(aws: &LoadAws, port: u16, stop: &AtomicBool, told: &Told) -> Result<(), Failure> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut client = Client::new(port);
    while !stop.load(Ordering::Relaxed) {
        let asked = client.challenge().await;
        let Some(challenge) = asked.text("challenge") else {
            told.event(Asked::Session, Some(asked.why()));
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // a session signs once in a second
        let evidence = aws.green()?.fetch_with_challenge(&challenge).await?;
        let answer = client.attest("aws-sts", std::str::from_utf8(evidence.expose())?).await;
        let failed = (answer.status != 200).then(|| answer.why());
        let well = failed.is_none();
        told.event(Asked::Session, failed);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let pod = aws.evidence(&format!("pod-{number}")).await?;
        let answer = client.attest("aws-stsweb", std::str::from_utf8(pod.expose())?).await;
        if let Some(session) = answer.text("session") {
            let answer = client.with_session("/v1/mint-aws-creds", &session).await;
            match answer.text("access_key_id") {
                Some(id) => {
                    told.access_keys.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                    told.event(Asked::Credentials, None);
                }
                None => told.event(Asked::Credentials, Some(answer.why())),
            }
        }
        if !well {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// A session of a pod's agent.
async fn session(aws: &LoadAws, port: u16, agent: &str) -> Result<String, Failure> {
    let evidence = aws.evidence(agent).await?;
    let answer = Client::new(port).attest("aws-stsweb", std::str::from_utf8(evidence.expose())?).await;
    Ok(answer.text("session").ok_or_else(|| answer.why())?)
}

/// Three replicas that share, beside three that do not, alternating: tokens a second through a balancer.
pub(super) async fn compare(
    shared: &Whole,
    apart: &Whole,
    rounds: usize,
    say: &impl Fn(&str),
) -> Result<(), Failure> {
    let (mut ratios, mut rates) =
        (Vec::new(), BTreeMap::from([("shared", Vec::new()), ("apart", Vec::new())]));
    for round in 0..rounds {
        let mut found = BTreeMap::new();
        let mut order = [("shared", shared), ("apart", apart)];
        if round % 2 == 1 {
            order.reverse();
        }
        for (name, whole) in order {
            let load = Load::begin(whole, CLIENTS, false).await?;
            tokio::time::sleep(WARM).await;
            let (begun, before) = (Instant::now(), load.told.events().len());
            tokio::time::sleep(ROUND).await;
            let rate = (load.told.events().len() - before) as f64 / begun.elapsed().as_secs_f64();
            let told = load.end().await?;
            if let Some(event) = told.events().into_iter().find(|event| event.failed.is_some()) {
                return Err(format!("a request failed: {:?}", event.failed).into());
            }
            found.insert(name, rate);
            rates.entry(name).or_default().push(rate);
        }
        let of = |name| found.get(name).copied().unwrap_or_default();
        ratios.push(of("shared") / of("apart"));
        say(&format!("round {round}: shared {:.0}/s, apart {:.0}/s", of("shared"), of("apart")));
    }
    let rate = |name| median(rates.get(name).cloned().unwrap_or_default());
    let ratio = median(ratios.clone());
    let spread =
        ratios.iter().fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
    say(&format!(
        "throughput: three replicas on one Redis and PostgreSQL {:.0}/s, three with a database each {:.0}/s: ratio {ratio:.3} \
         (median of {rounds} rounds, {:.3} to {:.3})",
        rate("shared"),
        rate("apart"),
        spread.0,
        spread.1
    ));
    Ok(())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// How long somebody waits who was refused.
const PAUSE: Duration = Duration::from_millis(10);
const CLIENTS: usize = 48;
const WARM: Duration = Duration::from_millis(300);
const ROUND: Duration = Duration::from_secs(2);
