use agentkeys_core::HttpResponse;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::aws_sts_support::{
    ARN, NOW, Signing, USER_ID, World, answer_of, content, endpoint_settings, from_settings, usual_settings,
};
use crate::support::told;

/// One row of `tests/data/aws-sts-cases.json`: good evidence, changed before or after it is signed, what
/// STS says to it, and what becomes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// The numbers of the requirements, weaknesses and lessons that the row is for.
    pub(crate) rules: Vec<String>,
    /// What is signed instead of the usual.
    sign: Option<Sign>,
    /// Then a piece of the URL and what stands there instead. In the new piece `{old}` is the old one.
    replace: Option<(String, String)>,
    /// Then the content around the URL, which is `{url}` in it.
    content: Option<String>,
    /// The verifier's endpoints instead of eu-west-1's and the global one.
    endpoints: Option<Vec<String>>,
    /// The verifier's one role instead of its two: the ARN of the agent `blue`.
    role: Option<String>,
    /// And its unique id.
    unique_id: Option<String>,
    /// Whom STS knows the key as.
    arn: Option<String>,
    user_id: Option<String>,
    account: Option<String>,
    /// What STS answers to whatever it is asked.
    answer: Option<Answer>,
    /// The agent that it proves.
    pub(crate) agent: Option<String>,
    /// Or the code of its refusal,
    pub(crate) refused: Option<String>,
    /// and how the refusal's text ends.
    detail: Option<String>,
    /// Refused, but not before STS was asked.
    #[serde(default)]
    asked: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    origin: Option<String>,
    path: Option<String>,
    region: Option<String>,
    service: Option<String>,
    headers: Option<Vec<(String, String)>>,
    parameters: Option<Vec<(String, String)>>,
    /// Seconds ago.
    age: Option<i64>,
    expires: Option<u64>,
    token: Option<String>,
    #[serde(default)]
    without_token: bool,
    secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: Option<Vec<(String, String)>>,
    #[serde(default)]
    body: String,
    /// Pieces of the good answer and what stands there instead; instead of `body`.
    replace: Option<(String, String)>,
}

const fn ok() -> u16 {
    200
}

impl Case {
    fn signing(&self) -> Signing {
        let usual = Signing::default();
        let Some(sign) = &self.sign else { return usual };
        let at = i64::try_from(NOW).unwrap() - sign.age.unwrap_or(0);
        Signing {
            origin: sign.origin.clone().unwrap_or(usual.origin),
            path: sign.path.clone().unwrap_or(usual.path),
            region: sign.region.clone().unwrap_or(usual.region),
            service: sign.service.clone().unwrap_or(usual.service),
            headers: sign.headers.clone().unwrap_or(usual.headers),
            parameters: sign.parameters.clone().unwrap_or(usual.parameters),
            at: u64::try_from(at).unwrap(),
            expires: sign.expires.unwrap_or(usual.expires),
            token: if sign.without_token { None } else { sign.token.clone().or(usual.token) },
            secret: sign.secret.clone().unwrap_or(usual.secret),
        }
    }

    /// The evidence.
    pub(crate) fn content(&self) -> String {
        let mut url = self.signing().url();
        if let Some((old, new)) = &self.replace {
            assert!(url.contains(old.as_str()), "{}: {old} is not in {url}", self.name);
            url = url.replacen(old, &new.replace("{old}", old), 1);
        }
        self.content.as_deref().unwrap_or(r#"{"url":"{url}"}"#).replace("{url}", &url)
    }

    /// Whether STS must be asked, and once.
    pub(crate) const fn is_asked(&self) -> bool {
        self.agent.is_some() || self.asked
    }

    /// The settings that stand over the usual ones, under the names that the published vectors have.
    pub(crate) fn settings(&self) -> Map<String, Value> {
        let mut settings = Map::new();
        if let Some(endpoints) = &self.endpoints {
            let endpoints: Vec<_> = endpoints.iter().map(|text| endpoint_settings(text)).collect();
            settings.insert("endpoints".to_owned(), endpoints.into());
        }
        if let Some(role) = &self.role {
            let rule = json!({ "role": role, "agent": "blue", "unique_id": self.unique_id });
            settings.insert("roles".to_owned(), json!([rule]));
        }
        settings
    }

    pub(crate) fn world(&self) -> World {
        let mut settings = usual_settings();
        settings.extend(self.settings());
        let world = World::with(from_settings(&settings), 100);
        let or = |text: &Option<String>, usual: &str| text.clone().unwrap_or_else(|| usual.to_owned());
        let (arn, account) = (or(&self.arn, ARN), or(&self.account, "123456789012"));
        world.sts.knows(&arn, &or(&self.user_id, USER_ID), &account);
        if let Some(answer) = &self.answer {
            let mut body = answer.body.clone();
            if let Some((old, new)) = &answer.replace {
                body = answer_of(ARN, USER_ID, "123456789012");
                assert!(body.contains(old.as_str()), "{}: {old} is not in the answer", self.name);
                body = body.replacen(old, &new.replace("{old}", old), 1);
            }
            let usual = vec![("content-type".to_owned(), "text/xml".to_owned())];
            let headers = answer.headers.clone().unwrap_or(usual);
            world.sts.always(Some(HttpResponse::new(answer.status, headers, body)));
        }
        world
    }
}

pub(crate) fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../data/aws-sts-cases.json")).unwrap()
}

#[tokio::test]
async fn the_table_of_presigned_requests() {
    use agentkeys_core::Attestor as _;

    let mut wrong = Vec::new();
    for case in cases() {
        let world = case.world();
        let found = match world.attestor.attest(&content(&case.content())).await {
            Ok(identity) => (Some(identity.agent().to_string()), None, String::new()),
            Err(error) => (None, Some(error.code().to_owned()), told(&error)),
        };
        let (agent, refused, text) = found;
        let detail_ok = case.detail.as_deref().is_none_or(|detail| text.ends_with(detail));
        let asked = world.sts.requests().len();
        let asked_ok = asked == usize::from(case.is_asked());
        if agent != case.agent || refused != case.refused || !detail_ok || !asked_ok {
            wrong
                .push(format!("{} {:?}: {agent:?} {refused:?} {text}, asked {asked}", case.name, case.rules));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_presigned_requests_refuses_far_more_than_it_lets_in_and_says_why() {
    let cases = cases();
    let mut names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "two rows of one name");
    for case in &cases {
        assert!(!case.rules.is_empty(), "{}", case.name);
        assert!(case.agent.is_some() != case.refused.is_some(), "{}", case.name);
        assert!(case.refused.is_none() || case.detail.is_some(), "{}", case.name);
    }
    let good = cases.iter().filter(|case| case.agent.is_some()).count();
    assert!(cases.len() >= 100 && good * 4 < cases.len(), "{good} of {}", cases.len());
}
