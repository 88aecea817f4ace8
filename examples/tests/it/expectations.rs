//! The table of requests before the evaluator of local-aws; `examples/e2e/policies.sh` puts the same table
//! before one that nobody here wrote.

use std::collections::BTreeSet;
use std::path::Path;

use agentkeys_examples::{Deployment, Document};
use serde_json::Value;

/// The deployment of `examples/deployment.toml`, and its test stack.
pub(crate) fn both_stacks() -> [Deployment; 2] {
    let sample = include_str!("../../deployment.toml");
    let test = sample
        .replace("stack = \"production\"", "stack = \"test\"")
        .replace("https://broker.example.org", "https://test.example.org");
    assert_ne!(test, sample);
    [sample, &test].map(|text| Deployment::parse(text, Path::new(".")).unwrap())
}

pub(crate) fn documents(deployment: &Deployment) -> Value {
    serde_json::to_value(deployment.documents().unwrap()).unwrap()
}

#[test]
fn r48_r53_r56_r58_r59_r104_r105_r115_l26_every_request_of_the_table_is_decided_as_it_must_be() {
    for deployment in both_stacks() {
        let (documents, table) = (documents(&deployment), deployment.expectations());
        for row in &table {
            let document = Document::parse(&row.document, documents.pointer(&row.document).unwrap()).unwrap();
            assert_eq!(row.decide(&document).unwrap(), row.allowed, "{row:?}");
        }
        let named: BTreeSet<_> = table.iter().map(|row| row.document.as_str()).collect();
        // 4 roles that tokens open and 1 that EKS does, each with both of its policies; the session role; 3 buckets
        assert_eq!(named.len(), 2 * 5 + 1 + 3);
        for document in named {
            let of = |allowed| {
                table.iter().filter(|row| row.document == document && row.allowed == allowed).count()
            };
            assert!(of(true) >= 1 && of(false) >= 5, "{document}");
        }
    }
}

/// Nothing of the table is true for the sample alone.
#[test]
fn the_table_fits_any_deployment() {
    let sample = include_str!("../../deployment.toml");
    let other = sample
        .replace("partition = \"aws\"", "partition = \"aws-cn\"")
        .replace("name = \"agentkeys\"", "name = \"other\"")
        .replace("123456789012", "210987654321")
        .replace("[\"data\", \"vault\", \"memory\"]", "[\"config\"]")
        .replace("https://broker.example.org", "https://issuer.example.com/path/")
        .replace("spiffe-svid/spiffe:%2F%2Fexample.org/acme/*", "oidc/https:%2F%2Fi.example/*/*");
    let deployment = Deployment::parse(&other, Path::new(".")).unwrap();
    let (documents, table) = (documents(&deployment), deployment.expectations());
    assert!(table.len() > 200 && !documents.to_string().contains("arn:aws:iam"));
    for row in &table {
        let document = Document::parse(&row.document, documents.pointer(&row.document).unwrap()).unwrap();
        assert_eq!(row.decide(&document).unwrap(), row.allowed, "{row:?}");
    }
}

#[test]
fn r51_nothing_of_one_stack_opens_anything_of_the_other() {
    let [production, test] = both_stacks();
    for (asks, owns) in [(&production, &test), (&test, &production)] {
        let documents = documents(owns);
        let pointers: BTreeSet<_> = owns.expectations().into_iter().map(|row| row.document).collect();
        let mut asked = 0;
        // whatever one stack allows, asked of every document of the other
        let kind = |pointer: &str| pointer.rsplit('/').next().unwrap().to_owned();
        for pointer in pointers.iter().filter(|pointer| !pointer.contains("pods-role")) {
            let document = Document::parse(pointer, documents.pointer(pointer).unwrap()).unwrap();
            // whatever one stack allows, asked of every document of the other; EKS is the same for both
            let allowed = asks.expectations().into_iter().filter(|row| row.allowed);
            for row in allowed.filter(|row| kind(&row.document) == kind(pointer)) {
                assert!(!row.decide(&document).unwrap(), "{pointer}: {row:?}");
                asked += 1;
            }
        }
        assert!(asked > 50, "{asked}");
    }
}
