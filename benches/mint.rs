//! Minting a token with session tags beside the same work in jsonwebtoken and beside the bare signature.
//!
//! ES256 only: nothing here signs ES384. All peers write the same claims with a key that was read beforehand.

use std::collections::BTreeMap;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agentkeys_benches::{Candidate, Outcome, Plan, compare, run};
use agentkeys_core::{
    AgentId, Assurance, AttestedIdentity, Audience, Clock as _, EvidenceKind, ExtraClaims, Issuer, KeyRing,
    LocalSigner, MintRequest, Minter, SystemClock, SystemRandom, TokenSigner as _,
};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom as RawRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use josekit::jws::JwsHeader;
use josekit::jwt::JwtPayload;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use jwt_simple::prelude::{Claims, ECDSAP256KeyPairLike as _, ES256KeyPair};
use serde::{Deserialize, Serialize};

const ISSUER: &str = "https://oidc.example.com/tenants/agents-production";
const AUDIENCE: &str = "sts.amazonaws.com";
const TAGS: &str = "https://aws.amazon.com/tags";

#[derive(Serialize)]
struct Tags<'t> {
    principal_tags: BTreeMap<&'t str, [&'t str; 1]>,
    transitive_tag_keys: [&'t str; 2],
}

fn tags(agent: &str) -> Tags<'_> {
    let principal_tags = BTreeMap::from([("tenant", ["acme-production-europe"]), ("agent", [agent])]);
    Tags { principal_tags, transitive_tag_keys: ["tenant", "agent"] }
}

/// What jsonwebtoken's users write.
#[derive(Serialize)]
struct All<'c> {
    iss: &'c str,
    sub: &'c str,
    aud: &'c str,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
    #[serde(rename = "https://aws.amazon.com/tags")]
    tags: Tags<'c>,
}

/// What jwt-simple's users write; it must also be readable for it.
#[derive(Serialize, Deserialize)]
struct Private<T> {
    #[serde(rename = "https://aws.amazon.com/tags")]
    tags: T,
}

/// A key in this process never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("minting waited"),
    }
}

fn es256() -> Outcome {
    let plan = Plan { items: 1024, slice: 8, rounds: 1023 };
    let audience = Audience::parse(AUDIENCE).unwrap();
    let (signer, pem) = LocalSigner::generate(&SystemRandom::new()).unwrap();
    let kid = signer.public_jwk().kid().as_str().to_owned();
    let minter = Minter::new(Issuer::parse(ISSUER).unwrap(), KeyRing::new(Arc::new(signer)));
    let der = STANDARD
        .decode(pem.expose().lines().filter(|line| !line.starts_with('-')).collect::<String>())
        .unwrap();
    let raw = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).unwrap();
    let random = RawRandom::new();
    let theirs = EncodingKey::from_ec_der(&der);
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(kid.clone());
    let josekit = josekit::jws::ES256.signer_from_der(&der).unwrap();
    let mut josekit_header = JwsHeader::new();
    josekit_header.set_token_type("JWT");
    josekit_header.set_key_id(&kid);
    let simple = ES256KeyPair::from_der(&der).unwrap().with_key_id(&kid);

    let clock = SystemClock::new();
    let now = clock.now().unwrap();
    let kind = EvidenceKind::from_static("aws-stsweb");
    let identities: Vec<AttestedIdentity> = (0..plan.items)
        .map(|at| {
            let agent = AgentId::parse(&format!("agent-{at:08}")).unwrap();
            let root = "arn:aws:eks:eu-central-1:111122223333:cluster/prod".parse().unwrap();
            let not_after = now.plus(Duration::from_secs(3000));
            AttestedIdentity::assertion(
                kind.clone(),
                root,
                agent,
                Assurance::PlatformAttested,
                now,
                not_after,
            )
            .unwrap()
        })
        .collect();
    let subjects: Vec<String> =
        identities.iter().map(|identity| identity.subject().as_str().into()).collect();
    let agents: Vec<String> = identities.iter().map(|identity| identity.agent().as_str().into()).collect();
    // the same bytes that the others sign, their claims written before
    let inputs: Vec<String> = identities
        .iter()
        .zip(&agents)
        .map(|(identity, agent)| {
            let extra = ExtraClaims::new().with(TAGS, tags(agent)).unwrap();
            let request = MintRequest::new(audience.clone()).with_claims(extra);
            let token = ready(minter.mint(identity, request)).unwrap();
            token.expose().rsplit_once('.').unwrap().0.to_owned()
        })
        .collect();

    compare(
        "es256",
        plan,
        vec![
            Candidate::new("agentkeys", |at| {
                let extra = ExtraClaims::new().with(TAGS, tags(&agents[at])).unwrap();
                let request = MintRequest::new(audience.clone()).with_claims(extra);
                black_box(ready(minter.mint(&identities[at], request)).unwrap());
            }),
            Candidate::new("raw", |at| {
                black_box(raw.sign(&random, inputs[at].as_bytes()).unwrap());
            }),
            Candidate::new("jsonwebtoken", |at| {
                let now = clock.now().unwrap().as_unix();
                let mut jti = [0; 16];
                random.fill(&mut jti).unwrap();
                let claims = All {
                    iss: ISSUER,
                    sub: &subjects[at],
                    aud: AUDIENCE,
                    iat: now,
                    nbf: now - 5,
                    exp: now + 300,
                    jti: URL_SAFE_NO_PAD.encode(jti),
                    tags: tags(&agents[at]),
                };
                black_box(jsonwebtoken::encode(&header, &claims, &theirs).unwrap());
            }),
            Candidate::new("josekit", |at| {
                let mut payload = JwtPayload::new();
                let now = std::time::SystemTime::now();
                let mut jti = [0; 16];
                random.fill(&mut jti).unwrap();
                payload.set_issuer(ISSUER);
                payload.set_subject(&subjects[at]);
                payload.set_audience(vec![AUDIENCE]);
                payload.set_issued_at(&now);
                payload.set_not_before(&(now - Duration::from_secs(5)));
                payload.set_expires_at(&(now + Duration::from_secs(300)));
                payload.set_jwt_id(URL_SAFE_NO_PAD.encode(jti));
                let tags = serde_json::to_value(tags(&agents[at])).unwrap();
                payload.set_claim(TAGS, Some(tags)).unwrap();
                black_box(josekit::jwt::encode_with_signer(&payload, &josekit_header, &josekit).unwrap());
            }),
            Candidate::new("jwt-simple", |at| {
                let mut jti = [0; 16];
                random.fill(&mut jti).unwrap();
                let private = Private { tags: tags(&agents[at]) };
                let claims =
                    Claims::with_custom_claims(private, jwt_simple::prelude::Duration::from_secs(300))
                        .with_issuer(ISSUER)
                        .with_subject(&subjects[at])
                        .with_audience(AUDIENCE)
                        .with_jwt_id(URL_SAFE_NO_PAD.encode(jti));
                black_box(simple.sign(claims).unwrap());
            }),
        ],
    )
}

fn main() {
    run("mint", [Box::new(es256) as Box<dyn FnOnce() -> Outcome>]);
}
