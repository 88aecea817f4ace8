//! Tables of tokens: a good one, changed, and what becomes of it.

use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::FakeIssuer;
use serde::Deserialize;
use serde_json::{Map, Value};

/// One row.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// The numbers of the requirements and weaknesses that the row is for.
    pub(crate) rules: Vec<String>,
    /// Whose token it is, where there are several issuers.
    #[serde(default)]
    pub(crate) issuer: String,
    /// Signed with this instead of RS256.
    pub(crate) algorithm: Option<String>,
    /// A rule for the organization of the account,
    pub(crate) organization: Option<String>,
    /// and one for its organizational unit.
    pub(crate) unit: Option<String>,
    /// Another form of the whole SPIFFE ID's path.
    pub(crate) template: Option<String>,
    /// Signed by `stranger`, whose keys have the same names.
    pub(crate) signer: Option<String>,
    /// The header's text instead of the usual one.
    header: Option<String>,
    /// A merge patch (RFC 7396) to the claims.
    pub(crate) patch: Option<Value>,
    /// Then a piece of the claims' text and what stands there instead, to write what no serialiser would.
    pub(crate) replace: Option<(String, String)>,
    /// The agent that it proves.
    pub(crate) agent: Option<String>,
    /// Or the whole subject,
    pub(crate) subject: Option<String>,
    /// or the code of its refusal,
    pub(crate) refused: Option<String>,
    /// and how the refusal's text ends.
    pub(crate) detail: Option<String>,
}

impl Case {
    /// The settings that stand over the usual ones, under the names that the published vectors have.
    pub(crate) fn settings(&self) -> Map<String, Value> {
        let own = [("organization", &self.organization), ("unit", &self.unit), ("template", &self.template)];
        own.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.as_deref()?.into()))).collect()
    }

    /// Whether it proves somebody.
    const fn is_good(&self) -> bool {
        self.agent.is_some() || self.subject.is_some()
    }

    fn algorithm(&self) -> Algorithm {
        Algorithm::from_name(self.algorithm.as_deref().unwrap_or("RS256")).unwrap()
    }

    /// The header's text.
    pub(crate) fn header(&self) -> String {
        let (algorithm, kid) = (self.algorithm(), FakeIssuer::kid(self.algorithm()));
        let usual = format!(r#"{{"alg":"{algorithm}","kid":"{kid}","typ":"JWT"}}"#);
        self.header.clone().unwrap_or(usual)
    }

    /// The claims' text.
    pub(crate) fn claims(&self, good: &Value) -> String {
        let mut claims = good.clone();
        if let Some(patch) = &self.patch {
            merge(&mut claims, patch);
        }
        claims.sort_all_objects();
        let text = claims.to_string();
        let Some((old, new)) = &self.replace else { return text };
        assert!(text.contains(old.as_str()), "{}: {old} is not in the claims", self.name);
        text.replace(old, new)
    }

    pub(crate) fn token(&self, signer: &FakeIssuer, good: &Value) -> String {
        signer.sign_raw(self.algorithm(), &self.header(), &self.claims(good))
    }
}

pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let object = target.as_object_mut().unwrap();
    for (name, value) in members {
        if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Refusals are many, each row says why it is there, and no two have one name.
pub(crate) fn assert_sound(cases: &[Case]) {
    let mut names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "two rows of one name");
    for case in cases {
        assert!(!case.rules.is_empty(), "{}", case.name);
        let outcomes = [&case.agent, &case.subject, &case.refused];
        assert_eq!(outcomes.into_iter().flatten().count(), 1, "{}", case.name);
        assert!(case.patch.is_some() as u8 + case.replace.is_some() as u8 <= 1, "{}", case.name);
    }
    let good = cases.iter().filter(|case| case.is_good()).count();
    assert!(good * 5 < cases.len(), "{good} of {}", cases.len());
}
