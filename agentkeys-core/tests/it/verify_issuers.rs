//! The tokens of real issuers are accepted: one file each, after the issuer's own documentation, with times
//! and key names of the tests.

use std::sync::Arc;

use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{Audience, Issuer, KeySource, Profile, StaticKeys, TrustDomain, Verifier};
use serde_json::{Map, Value};

use crate::support::{NOW, at};

fn accepted(file: &str) {
    let vector: Value = serde_json::from_str(file).unwrap();
    let text = |name: &str| vector[name].as_str().unwrap();
    assert!(text("source").starts_with("https://"));
    let issuer = FakeIssuer::new(Issuer::parse(text("issuer")).unwrap());
    let keys: Arc<dyn KeySource> = Arc::new(StaticKeys::new(issuer.key_set()));
    let profile = match text("profile") {
        "oidc" => Profile::oidc(issuer.issuer().clone(), keys),
        "jwt_svid" => Profile::jwt_svid([(TrustDomain::parse("example.org").unwrap(), keys)]),
        other => panic!("{other}"),
    };
    let verifier = Verifier::new(profile, Audience::parse(text("audience")).unwrap());
    let algorithm = Algorithm::from_name(text("algorithm")).unwrap();
    let token = issuer.sign_raw(algorithm, &vector["header"].to_string(), &vector["claims"].to_string());
    let verified = verifier.verify_with_known_keys::<Map<String, Value>>(&token, at(NOW)).unwrap();

    assert_eq!(verified.subject(), vector["claims"]["sub"]);
    let registered = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];
    let private = vector["claims"].as_object().unwrap().iter();
    let private: Map<_, _> = private
        .filter(|(name, _)| !registered.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    assert_eq!(*verified.claims(), private);
}

#[test]
fn a_github_actions_token() {
    accepted(include_str!("../data/issuers/github_actions.json"));
}

#[test]
fn a_gitlab_id_token() {
    accepted(include_str!("../data/issuers/gitlab.json"));
}

#[test]
fn a_kubernetes_projected_token() {
    accepted(include_str!("../data/issuers/kubernetes.json"));
}

#[test]
fn a_gcp_instance_identity_token() {
    accepted(include_str!("../data/issuers/gcp.json"));
}

#[test]
fn an_aws_outbound_token() {
    accepted(include_str!("../data/issuers/aws_outbound.json"));
}

#[test]
fn a_spire_jwt_svid() {
    accepted(include_str!("../data/issuers/spire.json"));
}
