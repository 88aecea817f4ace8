//! The table of cases in `tests/data/policy-cases.json`, of which each names the page of AWS's
//! documentation that it is taken from.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;

const TABLE: &str = include_str!("../../tests/data/policy-cases.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    source: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    evaluate: Evaluate,
    policies: Vec<Value>,
    resource_policy: Option<Value>,
    session: Option<Vec<Value>>,
    request: CaseRequest,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Evaluate {
    Identity,
    Resource,
    Trust,
    SameAccount,
    AssumeRole,
}

#[derive(Deserialize, PartialEq, Debug)]
enum Expect {
    Allow,
    ExplicitDeny,
    ImplicitDeny,
    ParseError,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseRequest {
    principal: CasePrincipal,
    action: String,
    resource: String,
    context: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum CasePrincipal {
    Aws { account: String, arns: Vec<String> },
    Federated(String),
    Service(String),
    Anonymous,
}

impl CaseRequest {
    fn request(&self) -> Request {
        let mut context = Context::new();
        for (key, values) in &self.context {
            context.insert(key, values.iter().cloned());
        }
        Request {
            principal: match &self.principal {
                CasePrincipal::Aws { account, arns } => {
                    Principal::Aws { account: account.clone(), arns: arns.clone() }
                }
                CasePrincipal::Federated(name) => Principal::Federated(name.clone()),
                CasePrincipal::Service(name) => Principal::Service(name.clone()),
                CasePrincipal::Anonymous => Principal::Anonymous,
            },
            action: self.action.clone(),
            resource: self.resource.clone(),
            context,
        }
    }
}

/// Parses a policy, which a string gives as its text, and checks that it survives a round trip.
fn parse<T>(value: &Value, parse: fn(&str) -> Result<T, PolicyError>) -> Result<T, PolicyError>
where
    T: Serialize + PartialEq + Debug,
{
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let policy = parse(&text)?;
    let again = serde_json::to_string(&policy).unwrap();
    assert_eq!(parse(&again).unwrap(), policy, "{again}");
    Ok(policy)
}

fn decide(case: &Case) -> Result<Decision, PolicyError> {
    let request = case.request.request();
    let identity = |policies: &[Value]| -> Result<Vec<IdentityPolicy>, PolicyError> {
        policies.iter().map(|policy| parse(policy, IdentityPolicy::parse)).collect()
    };
    let session = match &case.session {
        Some(policies) => Some(identity(policies)?),
        None => None,
    };
    Ok(match case.evaluate {
        Evaluate::Identity => evaluate_identity(&identity(&case.policies)?, &request),
        Evaluate::Resource => {
            let policy = parse(&case.policies[0], ResourcePolicy::parse)?;
            evaluate_resource(&policy, &request)
        }
        Evaluate::Trust => {
            let policy = parse(&case.policies[0], TrustPolicy::parse)?;
            evaluate_trust(&policy, &request)
        }
        Evaluate::SameAccount => {
            let resource = match &case.resource_policy {
                Some(policy) => Some(parse(policy, ResourcePolicy::parse)?),
                None => None,
            };
            decide_same_account(&identity(&case.policies)?, resource.as_ref(), session.as_deref(), &request)
        }
        Evaluate::AssumeRole => {
            let trust = parse(case.resource_policy.as_ref().unwrap(), TrustPolicy::parse)?;
            decide_assume_role(&identity(&case.policies)?, &trust, session.as_deref(), &request)
        }
    })
}

#[test]
fn documented_cases() {
    let cases: Vec<Case> = serde_json::from_str(TABLE).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let got = match decide(case) {
            Ok(Decision::Allow) => Expect::Allow,
            Ok(Decision::ExplicitDeny) => Expect::ExplicitDeny,
            Ok(Decision::ImplicitDeny) => Expect::ImplicitDeny,
            Err(error) => {
                assert!(error.line() > 0, "{}: {error} has no position", case.name);
                Expect::ParseError
            }
        };
        if got != case.expect {
            let error = decide(case).err();
            wrong.push(format!("{}: {got:?}, not {:?} ({error:?})", case.name, case.expect));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_denies_more_than_it_allows() {
    let cases: Vec<Case> = serde_json::from_str(TABLE).unwrap();
    let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "a name is used twice");
    assert!(cases.iter().all(|case| case.source.starts_with("https://docs.aws.amazon.com/")));
    let count = |expect| cases.iter().filter(|case| case.expect == expect).count();
    let denied = count(Expect::ExplicitDeny) + count(Expect::ImplicitDeny);
    assert!(cases.len() >= 70);
    assert!(denied > count(Expect::Allow));
}
