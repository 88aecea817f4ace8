//! The vectors whose evidence is a signed token.

use std::collections::BTreeMap;

use agentkeys_core::jose::Compact;
use serde_json::{Value, json};

use super::{File, Vector, writing};
use crate::cases::Case;
use crate::oidc_support::{ISSUERS, TABLE};
use crate::support::{ISSUED, claims};
use crate::{oidc_support, spire, stsweb};

/// A table of tokens, and the claims that each row changes.
struct Rows<'c> {
    cases: &'c [Case],
    good: &'c dyn Fn(&Case) -> Value,
}

impl<'c> Rows<'c> {
    fn short(&self) -> impl Iterator<Item = &'c Case> {
        self.cases.iter().filter(|case| case.claims(&(self.good)(case)).len() <= MAX_CLAIMS)
    }

    /// Writes a new file of the rows that are not too long, signed with this run's keys.
    async fn write_to(&self, mut file: File, token: impl Fn(&Case) -> String) {
        for case in self.short() {
            let (name, rules, settings) = (case.name.clone(), case.rules.clone(), case.settings());
            let evidence = token(case);
            let (request, sts, identity, error) = (None, None, None, None);
            file.push(Vector { name, rules, settings, evidence, request, sts, identity, error }).await;
        }
        file.write();
    }

    /// The vectors of `file` are those rows, in their order, letter for letter.
    fn are(&self, file: &File) {
        assert_eq!(file.vectors.len(), self.short().count());
        for (vector, case) in file.vectors.iter().zip(self.short()) {
            let name = &case.name;
            assert_eq!((&vector.name, &vector.rules), (name, &case.rules));
            assert_eq!(vector.settings, case.settings(), "{name}");
            let compact = Compact::split(&vector.evidence).unwrap();
            assert_eq!(*compact.header_json().unwrap(), *case.header().as_bytes(), "{name}");
            assert_eq!(*compact.payload().unwrap(), *case.claims(&(self.good)(case)).as_bytes(), "{name}");
            assert_eq!(vector.error, case.refused, "{name}");
            for (member, expected) in [("agent", &case.agent), ("subject", &case.subject)] {
                if let Some(expected) = expected {
                    assert_eq!(vector.identity.as_ref().unwrap()[member], expected.as_str(), "{name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn r16_the_published_vectors_of_aws_stsweb_hold() {
    let rows = Rows { cases: &stsweb::cases(), good: &|_| claims() };
    if writing() {
        let settings = json!({
            "issuer": ISSUED.issuer().as_str(),
            "audience": "agentkeys",
            "account": "123456789012",
            "role": "arn:aws:iam::123456789012:role/team/agents",
            "cluster": "arn:aws:eks:us-east-1:123456789012:cluster/prod",
            "namespace": "agents",
            "service_account": "agent",
            "pod_suffix": "-pod",
        });
        let keys = BTreeMap::from([(ISSUED.issuer().to_string(), ISSUED.jwks())]);
        rows.write_to(File::new("aws-stsweb", settings, keys), stsweb::token).await;
    }
    let file = File::read("aws-stsweb");
    file.holds().await;
    rows.are(&file);
}

#[tokio::test]
async fn r16_the_published_vectors_of_oidc_hold() {
    let rows = Rows { cases: &TABLE.cases, good: &|case| TABLE.claims[&case.issuer].clone() };
    if writing() {
        let settings = json!({ "issuers": TABLE.settings.values().collect::<Vec<_>>() });
        let keys = ISSUERS.values().map(|issuer| (issuer.issuer().to_string(), issuer.jwks())).collect();
        rows.write_to(File::new("oidc", settings, keys), oidc_support::token).await;
    }
    let file = File::read("oidc");
    file.holds().await;
    rows.are(&file);
}

#[tokio::test]
async fn r16_the_published_vectors_of_spire_hold() {
    let rows = Rows { cases: &spire::cases(), good: &|_| spire::claims() };
    if writing() {
        let settings = json!({
            "trust_domain": "example.org",
            "audience": "agentkeys",
            "template": spire::TEMPLATE,
        });
        let keys = BTreeMap::from([("example.org".to_owned(), ISSUED.jwks())]);
        rows.write_to(File::new("spiffe-svid", settings, keys), spire::svid).await;
    }
    let file = File::read("spiffe-svid");
    file.holds().await;
    rows.are(&file);
}

/// Longer claims are left out of the files: they say nothing that a shorter row does not.
const MAX_CLAIMS: usize = 4096;
