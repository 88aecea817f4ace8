use agentkeys_core::Issuer;
use agentkeys_federation::{Severity, Thumbprint, lint};
use serde_json::Value;

use super::{Check, shown};

/// A document of AWS's: the parameters of a provider, or a policy of any kind.
pub(super) fn check(name: &str, text: &str, issuer: &Issuer, top: Option<&Thumbprint>) -> Vec<Check> {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    if document.get("Url").is_some_and(Value::is_string) {
        return vec![provider(name, &document, issuer, top)];
    }
    let findings = lint(text);
    let mut checks: Vec<_> = findings
        .iter()
        .map(|finding| {
            let (found, mend) = (format!("{name}: {finding}"), "compare it with the generated document");
            match finding.severity() {
                Severity::Warning => Check::warn(POLICY, found, mend),
                _ => Check::wrong(POLICY, found, mend),
            }
        })
        .collect();
    checks.extend(strangers(name, &document, issuer));
    if checks.is_empty() {
        checks.push(Check::ok(POLICY, format!("{name}: nothing found")));
    }
    checks
}

/// What a policy says of providers must be of this issuer, byte for byte (R36).
fn strangers(name: &str, document: &Value, issuer: &Issuer) -> Vec<Check> {
    let own = issuer.without_scheme();
    let mend = format!("name the provider …:oidc-provider/{own} and the keys {own}:aud and {own}:sub");
    let mut strange = Vec::new();
    for statement in one_or_many(document.get("Statement")) {
        for provider in one_or_many(statement.pointer("/Principal/Federated")) {
            let provider = provider.as_str().unwrap_or_default();
            if provider.split_once(":oidc-provider/").is_some_and(|(_, host)| host != own) {
                strange.push(format!("{name}: it trusts the provider {}", shown(provider)));
            }
        }
        let operators = statement.get("Condition").and_then(Value::as_object).into_iter().flatten();
        for key in operators.filter_map(|(_, tests)| tests.as_object()).flat_map(|tests| tests.keys()) {
            let host = key.strip_suffix(":aud").or_else(|| key.strip_suffix(":sub"));
            if host.is_some_and(|host| host != own && !GLOBAL.contains(&host)) {
                strange.push(format!("{name}: it tests {}", shown(key)));
            }
        }
    }
    strange.into_iter().map(|found| Check::wrong(POLICY, found, mend.clone())).collect()
}

/// `CreateOpenIDConnectProvider`'s parameters, or what `GetOpenIDConnectProvider` says.
fn provider(name: &str, document: &Value, issuer: &Issuer, top: Option<&Thumbprint>) -> Check {
    const NAME: &str = "provider";
    let url = document.get("Url").and_then(Value::as_str).unwrap_or_default();
    // IAM gives the URL back without its scheme
    if url != issuer.as_str() && url != issuer.without_scheme() {
        let mend = format!("make a provider for {issuer}: a provider's URL cannot be changed");
        return Check::wrong(NAME, format!("{name}: its URL is {}", shown(url)), mend);
    }
    let list = |member: &str| -> Vec<&str> {
        one_or_many(document.get(member)).into_iter().filter_map(Value::as_str).collect()
    };
    if list("ClientIDList") != [AUDIENCE] {
        let found = format!("{name}: its client ids are not {AUDIENCE} alone");
        return Check::wrong(NAME, found, format!("set ClientIDList to [\"{AUDIENCE}\"]"));
    }
    let thumbprints = list("ThumbprintList");
    if thumbprints.iter().any(|text| text.parse::<Thumbprint>().is_err()) {
        let mend = "a thumbprint is 40 lower-case hex digits, a SHA-1 without colons";
        return Check::wrong(NAME, format!("{name}: a thumbprint is none"), mend);
    }
    match top {
        _ if thumbprints.is_empty() => Check::ok(NAME, format!("{name}: AWS fetches the thumbprint itself")),
        Some(top) if !thumbprints.contains(&top.as_str()) => Check::wrong(
            NAME,
            format!("{name}: the top of the chain is not among its thumbprints"),
            format!("add {top}; AWS needs it where its own authorities do not vouch for the server"),
        ),
        Some(_) => Check::ok(NAME, format!("{name}: URL, client id and thumbprint fit")),
        None => {
            Check::warn(NAME, format!("{name}: no chain to compare its thumbprints with"), "mend TLS first")
        }
    }
}

fn one_or_many(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(many)) => many.iter().collect(),
        Some(one) => vec![one],
    }
}

const POLICY: &str = "policy";
const AUDIENCE: &str = "sts.amazonaws.com";
/// What else may stand before `:aud` and `:sub`.
const GLOBAL: [&str; 2] = ["aws", "sts"];
