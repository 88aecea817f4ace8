//! Evidence that is good once is taken once, whichever replicas see it.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::{Client, Whole};
use crate::Failure;

/// Presents pieces of evidence [`EACH`] times each, to all replicas and the balancer at the same time.
pub(super) async fn prove(whole: &Whole, replays: usize, say: &impl Fn(&str)) -> Result<(), Failure> {
    let ports: Vec<_> = whole.replicas.iter().map(|replica| replica.public).chain([whole.balancer]).collect();
    let next = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let pieces = replays.div_ceil(EACH);
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (aws, next, ports) = (whole.aws.clone(), next.clone(), ports.clone());
        workers.spawn(async move {
            let (mut accepted, mut refused) = (BTreeMap::new(), BTreeMap::new());
            let mut clients: Vec<_> = (0..EACH).map(|at| Client::new(port(&ports, at))).collect();
            loop {
                let piece = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if piece >= pieces {
                    return Ok::<_, Failure>((accepted, refused));
                }
                // a session of its own signs each: one signs once in a second
                // the challenge is of one replica, and redeemed at all of them
                let asked = Client::new(port(&ports, piece)).challenge().await;
                let challenge = asked.text("challenge").ok_or_else(|| asked.why())?;
                let evidence = aws.green()?.fetch_with_challenge(&challenge).await?;
                let evidence = String::from_utf8(evidence.expose().to_vec())?;
                let mut all = JoinSet::new();
                for mut client in clients.drain(..) {
                    let evidence = evidence.clone();
                    all.spawn(async move {
                        let answer = client.attest("aws-sts", &evidence).await;
                        (client, answer)
                    });
                }
                let mut sessions = 0_usize;
                for (client, answer) in all.join_all().await {
                    clients.push(client);
                    match answer.status {
                        200 => sessions += 1,
                        _ => *refused.entry(answer.why()).or_insert(0_usize) += 1,
                    }
                }
                *accepted.entry(sessions).or_insert(0_usize) += 1;
            }
        });
    }
    let (mut accepted, mut refused) = (BTreeMap::new(), BTreeMap::new());
    while let Some(done) = workers.join_next().await {
        let (more_accepted, more_refused) = done??;
        for (times, pieces) in more_accepted {
            *accepted.entry(times).or_insert(0) += pieces;
        }
        for (why, times) in more_refused {
            *refused.entry(why).or_insert(0) += times;
        }
    }
    let twice: usize = accepted.iter().filter(|(times, _)| **times > 1).map(|(_, pieces)| pieces).sum();
    say(&format!(
        "replays: {} presentations of {pieces} pieces of evidence to 3 replicas: {twice} accepted twice; \
         accepted (times: pieces) {accepted:?}; refused {refused:?}",
        pieces * EACH
    ));
    let known = refused.keys().all(|why| why == "evidence_replayed");
    if accepted.keys().eq(&[1]) && known {
        Ok(())
    } else {
        Err("a piece of evidence was not taken just once".into())
    }
}

fn port(ports: &[u16], at: usize) -> u16 {
    ports.get(at % ports.len().max(1)).copied().unwrap_or_default()
}

/// How often each piece is presented.
const EACH: usize = 20;
const WORKERS: usize = 4;
