//! What appraising evidence costs, beside the bare verification of a JWT with the same rules.
//!
//! - `stsweb` and `spire`: the attestor with keys that are known, over 4096 distinct tokens, beside
//!   `Verifier::verify` of the same token without its private claims (`verify`);
//! - `aws_sts_parse`: everything but the network and STS itself: evidence read, request written anew, a fixed
//!   answer read; beside the bare verification of an `stsweb` token.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use agentkeys_attest::aws::StsEndpoint;
use agentkeys_attest::aws_sts::{AWS_STS, AwsStsAttestor, AwsStsPins, StsRole};
use agentkeys_attest::aws_stsweb::{AWS_STSWEB, StsWebAttestor, StsWebPins};
use agentkeys_attest::spire::{SPIFFE_SVID, SpireAttestor, SpirePins};
use agentkeys_benches::{Candidate, Outcome, Plan, compare, run};
use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::{FakeHttp, FakeIssuer, ManualClock};
use agentkeys_core::{
    Attestor, Clock, Evidence, HttpClient, HttpError, HttpRequest, HttpResponse, Issuer, KeySource, NoClaims,
    Profile, ReplayError, ReplayGuard, StaticKeys, Timestamp, UseId, Verifier,
};
use async_trait::async_trait;
use serde_json::{Value, json};

/// 2027-01-15 08:00:00 UTC.
const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://0a1b2c3d-0000-4000-8000-000000000000.tokens.sts.global.api.aws";
const ROLE: &str = "arn:aws:iam::123456789012:role/team/agents";
const CLUSTER: &str = "arn:aws:eks:us-east-1:123456789012:cluster/prod";
const PLAN: Plan = Plan { items: 4096, slice: 64, rounds: 127 };

/// Nothing here waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waited"),
    }
}

fn clock() -> Arc<dyn Clock> {
    ManualClock::new(Timestamp::from_unix(NOW))
}

fn keys(issuer: &FakeIssuer) -> Arc<dyn KeySource> {
    Arc::new(StaticKeys::new(issuer.key_set()))
}

fn stsweb_claims(at: usize) -> Value {
    json!({
        "iss": ISSUER, "aud": "agentkeys", "sub": ROLE, "iat": NOW, "exp": NOW + 300,
        "jti": format!("6e1b9c40-2f0e-4b43-8a53-{at:012}"),
        "https://sts.amazonaws.com/": {
            "aws_account": "123456789012", "source_region": "us-east-1", "principal_id": ROLE,
            "principal_tags": {
                "kubernetes-pod-name": format!("agent-{at:08}-pod"),
                "kubernetes-pod-uid": format!("7f0c3a52-51d7-4b0f-9d0e-{at:012}"),
                "kubernetes-namespace": "agents", "kubernetes-service-account": "agent",
                "eks-cluster-name": "prod", "eks-cluster-arn": CLUSTER,
            },
        },
    })
}

fn bare(issuer: &FakeIssuer) -> Verifier {
    let profile = Profile::oidc(issuer.issuer().clone(), keys(issuer));
    Verifier::new(profile, "agentkeys".parse().unwrap()).with_clock(clock())
}

fn stsweb_tokens(issuer: &FakeIssuer) -> Vec<String> {
    (0..PLAN.items).map(|at| issuer.sign(Algorithm::Rs256, &stsweb_claims(at))).collect()
}

fn beside_verify(
    case: &'static str,
    attestor: &dyn Attestor,
    evidence: &[Evidence],
    verifier: &Verifier,
    tokens: &[String],
) -> Outcome {
    compare(
        case,
        PLAN,
        vec![
            Candidate::new("agentkeys", |at| {
                black_box(ready(attestor.attest(&evidence[at])).unwrap());
            }),
            Candidate::new("verify", |at| {
                black_box(ready(verifier.verify::<NoClaims>(&tokens[at])).unwrap());
            }),
        ],
    )
}

fn stsweb(issuer: &FakeIssuer) -> Outcome {
    let tokens = stsweb_tokens(issuer);
    let evidence: Vec<Evidence> =
        tokens.iter().map(|token| Evidence::new(AWS_STSWEB, token.as_str()).unwrap()).collect();
    let pins = StsWebPins {
        issuer: ISSUER.parse().unwrap(),
        audience: "agentkeys".parse().unwrap(),
        account: "123456789012".parse().unwrap(),
        role: ROLE.parse().unwrap(),
        cluster: CLUSTER.parse().unwrap(),
        namespace: "agents".parse().unwrap(),
        service_account: "agent".parse().unwrap(),
        pod_suffix: "-pod".parse().unwrap(),
    };
    let attestor = StsWebAttestor::new(pins, FakeHttp::new()).unwrap();
    let attestor = attestor.with_keys(keys(issuer)).with_clock(clock());
    let verifier = bare(issuer);
    beside_verify("stsweb", &attestor, &evidence, &verifier, &tokens)
}

fn spire(issuer: &FakeIssuer) -> Outcome {
    let tokens: Vec<String> = (0..PLAN.items)
        .map(|at| {
            let sub = format!("spiffe://example.org/agent/acme/user-7/coder/agent-{at:08}");
            let claims = json!({ "sub": sub, "aud": "agentkeys", "iat": NOW, "exp": NOW + 300 });
            issuer.sign(Algorithm::Es256, &claims)
        })
        .collect();
    let evidence: Vec<Evidence> =
        tokens.iter().map(|token| Evidence::new(SPIFFE_SVID, token.as_str()).unwrap()).collect();
    let pins = SpirePins {
        trust_domain: "example.org".parse().unwrap(),
        audience: "agentkeys".parse().unwrap(),
        template: "/agent/{tenant}/{user}/{type}/{agent}".parse().unwrap(),
    };
    let attestor = SpireAttestor::new(pins, keys(issuer)).unwrap().with_clock(clock());
    let profile = Profile::jwt_svid([("example.org".parse().unwrap(), keys(issuer))]);
    let verifier = Verifier::new(profile, "agentkeys".parse().unwrap()).with_clock(clock());
    beside_verify("spire", &attestor, &evidence, &verifier, &tokens)
}

/// An STS that always knows who this is.
#[derive(Debug)]
struct Sts(HttpResponse);

#[async_trait]
impl HttpClient for Sts {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        black_box(request);
        Ok(self.0.clone())
    }
}

/// Remembers nothing, so that a round may use the evidence of the last.
#[derive(Debug)]
struct Forgetful;

#[async_trait]
impl ReplayGuard for Forgetful {
    async fn first_use(&self, _: &UseId, _: Timestamp) -> Result<(), ReplayError> {
        Ok(())
    }
}

fn aws_sts_parse(issuer: &FakeIssuer) -> Outcome {
    let body = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  \
        <GetCallerIdentityResult>\n    <Arn>arn:aws:sts::123456789012:assumed-role/blue/session</Arn>\n    \
        <UserId>AROAEXAMPLEEXAMPLE123:session</UserId>\n    <Account>123456789012</Account>\n  \
        </GetCallerIdentityResult>\n  <ResponseMetadata>\n    \
        <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>\n  </ResponseMetadata>\n\
        </GetCallerIdentityResponse>\n";
    let answer = HttpResponse::new(200, vec![("content-type".to_owned(), "text/xml".to_owned())], body);
    let pins = AwsStsPins {
        endpoints: vec![StsEndpoint::regional("eu-west-1".parse().unwrap()).unwrap()],
        audience: "agentkeys".parse().unwrap(),
        roles: vec![StsRole::named(
            "arn:aws:iam::123456789012:role/blue".parse().unwrap(),
            "blue".parse().unwrap(),
        )],
    };
    let attestor = AwsStsAttestor::new(pins, Arc::new(Sts(answer)), Arc::new(Forgetful)).unwrap();
    let attestor = attestor.with_clock(clock());
    let session_token = "IQoJb3JpZ2luX2VjE".repeat(40);
    let evidence: Vec<Evidence> = (0..PLAN.items)
        .map(|at| {
            let url = format!(
                "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15\
                 &X-Amz-Algorithm=AWS4-HMAC-SHA256\
                 &X-Amz-Credential=ASIAEXAMPLEEXAMPLE12%2F20270115%2Feu-west-1%2Fsts%2Faws4_request\
                 &X-Amz-Date=20270115T080000Z&X-Amz-Expires=60\
                 &X-Amz-SignedHeaders=host%3Bx-agentkeys-audience\
                 &X-Amz-Security-Token={session_token}&X-Amz-Signature={at:064x}"
            );
            Evidence::new(AWS_STS, json!({ "url": url }).to_string()).unwrap()
        })
        .collect();
    let (tokens, verifier) = (stsweb_tokens(issuer), bare(issuer));
    beside_verify("aws_sts_parse", &attestor, &evidence, &verifier, &tokens)
}

fn main() {
    let issuer = Arc::new(FakeIssuer::new(Issuer::parse(ISSUER).unwrap()));
    let cases = [stsweb, spire, aws_sts_parse].map(|case| {
        let issuer = Arc::clone(&issuer);
        Box::new(move || case(&issuer)) as Box<dyn FnOnce() -> Outcome>
    });
    run("attest", cases);
}
