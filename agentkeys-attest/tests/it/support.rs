use std::sync::{Arc, LazyLock};

use agentkeys_attest::aws_stsweb::{AWS_STSWEB, StsWebAttestor, StsWebPins};
use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::{FakeHttp, FakeIssuer, ManualClock};
use agentkeys_core::{AttestError, AttestedIdentity, Attestor as _, Evidence, Timestamp};
use serde_json::{Value, json};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://0a1b2c3d-0000-4000-8000-000000000000.tokens.sts.global.api.aws";

/// The account's STS.
pub(crate) static ISSUED: LazyLock<FakeIssuer> = LazyLock::new(|| FakeIssuer::new(ISSUER.parse().unwrap()));

/// Somebody with keys of the same names, who says to be the same issuer.
pub(crate) static STRANGER: LazyLock<FakeIssuer> = LazyLock::new(|| FakeIssuer::new(ISSUER.parse().unwrap()));

pub(crate) struct World {
    pub(crate) http: Arc<FakeHttp>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) attestor: StsWebAttestor,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_pins(pins())
    }

    pub(crate) fn with_pins(pins: StsWebPins) -> Self {
        let (http, clock) = (FakeHttp::new(), ManualClock::new(Timestamp::from_unix(NOW)));
        ISSUED.publish(&http);
        let attestor = StsWebAttestor::new(pins, http.clone()).unwrap().with_clock(clock.clone());
        Self { http, clock, attestor }
    }

    pub(crate) async fn attest(&self, token: &str) -> Result<AttestedIdentity, AttestError> {
        self.attestor.attest(&evidence(token)).await
    }
}

pub(crate) fn evidence(token: &str) -> Evidence {
    Evidence::new(AWS_STSWEB, token).unwrap()
}

pub(crate) fn pins() -> StsWebPins {
    StsWebPins {
        issuer: ISSUER.parse().unwrap(),
        audience: "agentkeys".parse().unwrap(),
        account: "123456789012".parse().unwrap(),
        role: "arn:aws:iam::123456789012:role/team/agents".parse().unwrap(),
        cluster: "arn:aws:eks:us-east-1:123456789012:cluster/prod".parse().unwrap(),
        namespace: "agents".parse().unwrap(),
        service_account: "agent".parse().unwrap(),
        pod_suffix: "-pod".parse().unwrap(),
    }
}

/// The claims of a good token, as real ones have them.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": "agentkeys",
        "sub": "arn:aws:iam::123456789012:role/team/agents",
        "iat": NOW,
        "exp": NOW + 300,
        "jti": "6e1b9c40-2f0e-4b43-8a53-0f2f5f6f0f11",
        "https://sts.amazonaws.com/": {
            "aws_account": "123456789012",
            "source_region": "us-east-1",
            "principal_id": "arn:aws:iam::123456789012:role/team/agents",
            "principal_tags": {
                "kubernetes-pod-name": "blue-pod",
                "kubernetes-pod-uid": "7f0c3a52-51d7-4b0f-9d0e-0d9f6a1c2b3e",
                "kubernetes-namespace": "agents",
                "kubernetes-service-account": "agent",
                "eks-cluster-name": "prod",
                "eks-cluster-arn": "arn:aws:eks:us-east-1:123456789012:cluster/prod",
            },
        },
    })
}

pub(crate) fn good_token() -> String {
    ISSUED.sign(Algorithm::Rs256, &claims())
}

/// An error and everything behind it, as a log would show it.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
