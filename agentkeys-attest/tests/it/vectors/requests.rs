//! The vectors whose evidence is a presigned request, and what STS says to it.

use std::collections::BTreeMap;

use agentkeys_core::HttpRequest;
use serde_json::Value;

use super::{Answer, File, Request, Vector, writing};
use crate::aws_sts_support::usual_settings;
use crate::aws_sts_table::{Case, cases};

/// The request that a row must send, read off its evidence: the same parameters in the one order that
/// their names have, and the verifier's own headers.
fn expected(case: &Case) -> HttpRequest {
    let content: Value = serde_json::from_str(&case.content()).unwrap();
    let (address, query) = content["url"].as_str().unwrap().split_once('?').unwrap();
    let mut pairs: Vec<_> = query.split('&').collect();
    pairs.sort_unstable();
    HttpRequest::get(format!("{address}?{}", pairs.join("&")), 0)
        .with_header("accept", "text/xml")
        .with_header("x-agentkeys-audience", "agentkeys")
}

/// The vector of a row, without its outcome.
fn vector(case: &Case) -> Vector {
    let asked = case.is_asked().then(|| expected(case));
    Vector {
        name: case.name.clone(),
        rules: case.rules.clone(),
        settings: case.settings(),
        evidence: case.content(),
        request: asked.as_ref().map(Request::from),
        sts: asked.map(|request| Answer::from(case.world().sts.answer_to(&request))),
        identity: None,
        error: None,
    }
}

#[tokio::test]
async fn r16_the_published_vectors_of_aws_sts_hold() {
    let cases = cases();
    if writing() {
        let mut file = File::new("aws-sts", usual_settings().into(), BTreeMap::new());
        for case in &cases {
            file.push(vector(case)).await;
        }
        file.write();
    }
    let file = File::read("aws-sts");
    file.holds().await;

    // the vectors are the rows, in their order, letter for letter
    assert_eq!(file.settings, usual_settings());
    assert_eq!(file.vectors.len(), cases.len());
    for (found, case) in file.vectors.iter().zip(&cases) {
        let (row, name) = (vector(case), &case.name);
        assert_eq!((&found.name, &found.rules), (&row.name, &row.rules));
        assert_eq!((&found.settings, &found.evidence), (&row.settings, &row.evidence), "{name}");
        assert_eq!((&found.request, &found.sts), (&row.request, &row.sts), "{name}");
        let agent = found.identity.as_ref().and_then(|identity| identity["agent"].as_str());
        assert_eq!((agent, &found.error), (case.agent.as_deref(), &case.refused), "{name}");
    }
}
