//! An attestor of presigned requests, and an STS that answers whatever it is told to. Nothing here waits.

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use agentkeys_attest::aws::StsEndpoint;
use agentkeys_attest::aws_sts::{AWS_STS, AwsStsAttestor, AwsStsPins, StsRole};
use agentkeys_core::testing::ManualClock;
use agentkeys_core::{
    AttestError, AttestedIdentity, Attestor as _, Evidence, HttpClient, HttpError, HttpRequest, HttpResponse,
    MemoryReplayGuard, Timestamp,
};
use async_trait::async_trait;

/// 2027-01-15T08:00:00Z
pub(crate) const NOW: u64 = 1_800_000_000;

#[derive(Debug)]
struct Sts {
    answer: HttpResponse,
    asked: Mutex<Vec<HttpRequest>>,
}

#[async_trait]
impl HttpClient for Sts {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.asked.lock().unwrap().push(request);
        Ok(self.answer.clone())
    }
}

/// What becomes of evidence, and what was asked because of it.
pub(crate) fn attest(
    content: &[u8],
    answer: HttpResponse,
) -> (Result<AttestedIdentity, AttestError>, Vec<HttpRequest>) {
    let clock = ManualClock::new(Timestamp::from_unix(NOW));
    let sts = Arc::new(Sts { answer, asked: Mutex::default() });
    let pins = AwsStsPins {
        endpoints: vec![StsEndpoint::regional("eu-west-1".parse().unwrap()).unwrap(), StsEndpoint::global()],
        audience: "agentkeys".parse().unwrap(),
        roles: vec![
            StsRole::named("arn:aws:iam::123456789012:role/agents".parse().unwrap(), "blue".parse().unwrap()),
            StsRole::with_self_asserted_session_names(
                "arn:aws:iam::123456789012:role/launcher".parse().unwrap(),
            ),
        ],
    };
    let guard = Arc::new(MemoryReplayGuard::new(clock.clone(), NonZeroUsize::MIN));
    let attestor = AwsStsAttestor::new(pins, sts.clone(), guard).unwrap().with_clock(clock);
    let Ok(evidence) = Evidence::new(AWS_STS, content) else {
        return (Err(AttestError::UnknownKind), Vec::new());
    };
    let found = now(attestor.attest(&evidence));
    let asked = sts.asked.lock().unwrap().clone();
    (found, asked)
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let Poll::Ready(value) = pin!(future).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("nothing here waits");
    };
    value
}
