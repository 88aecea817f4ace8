//! Whatever claims the account's STS would sign: an identity has the pod's own name, and only under the pins.
//!
//! An input is the claims' JSON, which is signed. What passes is read again the slow way. Rules for organization
//! and unit only take away, and asking for request tags changes nothing about the identity.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use agentkeys_attest::aws_stsweb::{AWS_STSWEB, StsWebAttestor, StsWebPins};
use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::{FakeHttp, FakeIssuer, ManualClock};
use agentkeys_core::{
    AttestError, AttestedIdentity, Attestor as _, ErrorKind, Evidence, StaticKeys, Timestamp,
};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://0a1b2c3d-0000-4000-8000-000000000000.tokens.sts.global.api.aws";
const ROLE: &str = "arn:aws:iam::123456789012:role/team/agents";
const CLUSTER: &str = "arn:aws:eks:us-east-1:123456789012:cluster/prod";
const ORGANIZATION: &str = "o-a1b2c3d4e5";
const UNIT: &str = "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/";

struct World {
    issuer: FakeIssuer,
    plain: StsWebAttestor,
    ruled: StsWebAttestor,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let issuer = FakeIssuer::new(ISSUER.parse().unwrap());
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
    let plain = StsWebAttestor::new(pins, FakeHttp::new()).unwrap();
    let plain = plain.with_keys(Arc::new(StaticKeys::new(issuer.key_set())));
    let plain = plain.with_clock(ManualClock::new(Timestamp::from_unix(NOW)));
    let ruled = plain.clone().with_organization(ORGANIZATION.parse().unwrap());
    let ruled = ruled.with_unit(UNIT.parse().unwrap());
    World { issuer, plain, ruled }
});

/// With keys that are given nothing is waited for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn passes(found: Result<AttestedIdentity, AttestError>) -> Option<AttestedIdentity> {
    match found {
        Ok(identity) => Some(identity),
        Err(refused) => {
            // nothing here may be blamed on the host or on the network
            assert!(matches!(refused.kind(), ErrorKind::Invalid | ErrorKind::Denied), "{refused:?}");
            None
        }
    }
}

type Object = BTreeMap<String, Box<RawValue>>;

fn object(json: &str) -> Object {
    serde_json::from_str(json).expect("it passed, so it is an object")
}

fn text(object: &Object, name: &str) -> String {
    serde_json::from_str(object[name].get()).expect("it passed, so it is text")
}

/// The rules once more, read the slow way.
fn keeps_the_rules(claims: &str, identity: &AttestedIdentity) {
    let top = object(claims);
    assert_eq!((text(&top, "iss").as_str(), text(&top, "sub").as_str()), (ISSUER, ROLE));
    let sts = object(top["https://sts.amazonaws.com/"].get());
    assert_eq!(text(&sts, "aws_account"), "123456789012");
    let tags: BTreeMap<String, String> =
        serde_json::from_str(sts["principal_tags"].get()).expect("text to text");
    assert_eq!(tags["kubernetes-pod-name"], format!("{}-pod", identity.agent()));
    assert_eq!(identity.instance().map(|uid| uid.as_str()), Some(tags["kubernetes-pod-uid"].as_str()));
    assert_eq!(tags["eks-cluster-arn"], CLUSTER);
    assert_eq!(tags["eks-cluster-name"], "prod");
    assert_eq!(tags["kubernetes-namespace"], "agents");
    assert_eq!(tags["kubernetes-service-account"], "agent");
    let lower: BTreeSet<_> = tags.keys().map(|name| name.to_ascii_lowercase()).collect();
    assert_eq!(lower.len(), tags.len());
    assert_eq!(identity.trust_root().as_str(), CLUSTER);
}

fuzz_target!(|claims: &str| {
    let world = &*WORLD;
    let header = r#"{"alg":"ES384","kid":"EC384_0"}"#;
    let token = world.issuer.sign_raw(Algorithm::Es384, header, claims);
    let Ok(evidence) = Evidence::new(AWS_STSWEB, token) else { return };
    let plain = passes(now(world.plain.attest(&evidence)));
    let ruled = passes(now(world.ruled.attest(&evidence)));
    if let Ok((identity, _)) = now(world.plain.attest_with_request_tags(&evidence)) {
        assert_eq!(Some(&identity), plain.as_ref());
    }
    if let Some(identity) = &plain {
        keeps_the_rules(claims, identity);
    }
    if let Some(identity) = ruled {
        assert_eq!(Some(identity), plain);
        let sts = object(object(claims)["https://sts.amazonaws.com/"].get());
        assert_eq!(text(&sts, "org_id"), ORGANIZATION);
        let paths = sts["ou_path"].get();
        let paths: Vec<String> = serde_json::from_str(paths)
            .or_else(|_| serde_json::from_str(paths).map(|path| vec![path]))
            .expect("text or an array of texts");
        assert!(!paths.is_empty() && paths.iter().all(|path| path.starts_with(UNIT)));
    }
});
