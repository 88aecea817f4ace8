use super::condition::{Operator, Test};
use super::json::Json;

/// A policy document, taken apart.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) kind: Kind,
    pub(super) statements: Vec<Statement>,
    /// Whether its version has policy variables.
    pub(super) has_variables: bool,
}

/// Told by the elements: only a resource's policy has principals, and a trust policy names no resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Identity,
    Resource,
    Trust,
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) allows: bool,
    pub(super) principals: Option<Principals>,
    pub(super) actions: Listed,
    pub(super) resources: Option<Listed>,
    pub(super) tests: Vec<Test>,
}

/// `Principal`, or `NotPrincipal`, which names nobody and so is everybody.
#[derive(Debug, Default)]
pub(super) struct Principals {
    pub(super) anybody: bool,
    /// Whether somebody is left out.
    pub(super) excepts: bool,
    pub(super) aws: Vec<String>,
    pub(super) federated: Vec<String>,
    pub(super) services: Vec<String>,
}

/// `Action` and `NotAction`, `Resource` and `NotResource`.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) negated: bool,
    pub(super) patterns: Vec<String>,
}

impl Listed {
    /// Whether an action is among them, whatever its case.
    pub(super) fn covers(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        self.patterns.iter().any(|pattern| glob(pattern.to_ascii_lowercase().as_bytes(), action.as_bytes()))
            != self.negated
    }
}

impl Document {
    /// None for what is no policy.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_DOCUMENT {
            return None;
        }
        let Json::Object(members) = serde_json::from_str(text).ok()? else { return None };
        let (mut version, mut statements) = (None, None);
        for (name, value) in members {
            match (name.as_str(), value) {
                ("Version", Json::Scalar(value)) => version = Some(value),
                ("Id", Json::Scalar(_)) => {}
                ("Statement", Json::Array(all)) => statements = Some(all),
                ("Statement", one @ Json::Object(_)) => statements = Some(vec![one]),
                _ => return None,
            }
        }
        let has_variables = match version.as_deref() {
            Some("2012-10-17") => true,
            Some("2008-10-17") | None => false,
            Some(_) => return None,
        };
        let statements: Vec<_> = statements?.into_iter().map(Statement::parse).collect::<Option<_>>()?;
        let with_principals = statements.iter().filter(|statement| statement.principals.is_some()).count();
        let with_resources = statements.iter().filter(|statement| statement.resources.is_some()).count();
        let all = statements.len();
        let kind = match (with_principals, with_resources) {
            _ if all == 0 => return None,
            (0, resources) if resources == all => Kind::Identity,
            (principals, 0) if principals == all => Kind::Trust,
            (principals, resources) if principals == all && resources == all => Kind::Resource,
            _ => return None,
        };
        Some(Self { kind, statements, has_variables })
    }

    pub(super) fn allows(&self) -> impl Iterator<Item = (usize, &Statement)> {
        self.statements.iter().enumerate().filter(|(_, statement)| statement.allows)
    }

    pub(super) fn denies(&self) -> impl Iterator<Item = &Statement> {
        self.statements.iter().filter(|statement| !statement.allows)
    }

    /// Whether any allow covers the action.
    pub(super) fn allows_action(&self, action: &str) -> bool {
        self.allows().any(|(_, statement)| statement.actions.covers(action))
    }
}

impl Statement {
    fn parse(json: Json) -> Option<Self> {
        let Json::Object(members) = json else { return None };
        let (mut allows, mut principals, mut actions, mut resources, mut tests) =
            (None, None, None, None, None);
        for (name, value) in members {
            let doubled = match name.as_str() {
                "Sid" => !matches!(value, Json::Scalar(_)),
                "Effect" => match value {
                    Json::Scalar(effect) if effect == "Allow" => allows.replace(true).is_some(),
                    Json::Scalar(effect) if effect == "Deny" => allows.replace(false).is_some(),
                    _ => return None,
                },
                "Principal" => principals.replace(Principals::parse(value)?).is_some(),
                "NotPrincipal" => {
                    Principals::parse(value)?;
                    principals
                        .replace(Principals { anybody: true, excepts: true, ..Principals::default() })
                        .is_some()
                }
                "Action" => actions.replace(Listed { negated: false, patterns: texts(value)? }).is_some(),
                "NotAction" => actions.replace(Listed { negated: true, patterns: texts(value)? }).is_some(),
                "Resource" => resources.replace(Listed { negated: false, patterns: texts(value)? }).is_some(),
                "NotResource" => {
                    resources.replace(Listed { negated: true, patterns: texts(value)? }).is_some()
                }
                "Condition" => tests.replace(conditions(value)?).is_some(),
                _ => return None,
            };
            if doubled {
                return None;
            }
        }
        let (allows, actions) = (allows?, actions?);
        Some(Self { allows, principals, actions, resources, tests: tests.unwrap_or_default() })
    }
}

impl Principals {
    fn parse(json: Json) -> Option<Self> {
        let mut all = Self::default();
        match json {
            Json::Scalar(star) if star == "*" => all.anybody = true,
            Json::Object(members) if !members.is_empty() => {
                for (kind, value) in members {
                    let names = texts(value)?;
                    let star = names.iter().any(|name| name == "*");
                    all.anybody |= star;
                    // every provider is not everybody
                    all.excepts |= star && kind != "AWS";
                    match kind.as_str() {
                        "AWS" | "CanonicalUser" => all.aws.extend(names),
                        "Federated" => all.federated.extend(names),
                        "Service" => all.services.extend(names),
                        _ => return None,
                    }
                }
            }
            _ => return None,
        }
        Some(all)
    }

    /// Whether a name is neither `*` nor free of wildcards.
    pub(super) fn has_wildcard(&self) -> bool {
        let mut names = self.aws.iter().chain(&self.federated).chain(&self.services);
        names.any(|name| name != "*" && name.contains(['*', '?']))
    }

    pub(super) fn count(&self) -> usize {
        self.aws.len() + self.federated.len() + self.services.len() + usize::from(self.anybody)
    }
}

fn conditions(json: Json) -> Option<Vec<Test>> {
    let Json::Object(operators) = json else { return None };
    let mut tests = Vec::new();
    for (name, keys) in operators {
        let Json::Object(keys) = keys else { return None };
        for (key, values) in keys {
            // names of keys have no case
            let (operator, key) = (Operator::parse(&name), key.to_lowercase());
            tests.push(Test { operator, key, values: texts(values)? });
        }
    }
    Some(tests)
}

/// One text or several, never none.
fn texts(json: Json) -> Option<Vec<String>> {
    let one = |json| match json {
        Json::Scalar(text) => Some(text),
        _ => None,
    };
    match json {
        Json::Array(all) if !all.is_empty() => all.into_iter().map(one).collect(),
        json => one(json).map(|text| vec![text]),
    }
}

/// `*` for any characters, `?` for one.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // where to go on after the last star, with one more character given to it
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', rest)), _) => {
                retry = text.get(1..).map(|fewer| (pattern, fewer));
                pattern = rest;
            }
            (Some((&wanted, rest)), Some((&found, left))) if wanted == b'?' || wanted == found => {
                (pattern, text) = (rest, left);
            }
            (None, None) => return true,
            _ => match retry.take() {
                Some(again) => (pattern, text) = again,
                None => return false,
            },
        }
    }
}

/// IAM takes less. <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const MAX_DOCUMENT: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w80_wildcards_of_actions_are_matched_whole() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("*", "sts:x", true),
            ("sts:assume*", "sts:assumerole", true),
            ("sts:*identity", "sts:setsourceidentity", true),
            ("s*:*role*", "sts:assumerolewithsaml", true),
            ("sts:assume????", "sts:assumerole", true),
            ("*a*b*c", "xaxbxxbc", true),
            ("sts:assume???", "sts:assumerole", false),
            ("sts:assumerole", "sts:assumerolewithsaml", false),
            ("assumerole", "sts:assumerole", false),
            ("*a*b*c", "xaxbxxb", false),
            ("", "s", false),
            ("?", "", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), matches, "{pattern} {text}");
        }
        let negated = Listed { negated: true, patterns: vec!["s3:*".to_owned()] };
        assert!(negated.covers("sts:AssumeRole") && !negated.covers("S3:GetObject"));
    }
}
