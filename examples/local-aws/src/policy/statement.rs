//! Statements.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::condition::{Condition, RawCondition};
use super::document::{Kind, fill};
use super::evaluate::Effect;
use super::one_or_many::{OneOrMany, Text};
use super::principal::PrincipalSet;
use super::template::{Template, Token, Version, Wildcards, glob};

/// A pattern of an action, which is not case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActionPattern {
    source: String,
    pub(super) tokens: Vec<Token>,
}

impl Serialize for ActionPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

impl ActionPattern {
    fn parse(source: String) -> Result<Self, String> {
        let vendor = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '?');
        let valid = source == "*"
            || source.split_once(':').is_some_and(|(service, action)| {
                !service.is_empty()
                    && service.chars().all(vendor)
                    && !action.is_empty()
                    && action.chars().all(name)
            });
        if !valid {
            return Err(format!("{source:?} is no action"));
        }
        let tokens = glob(&source.to_ascii_lowercase());
        Ok(Self { source, tokens })
    }
}

/// An element or its negation, such as `Action` or `NotAction`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Element<T> {
    pub(super) negated: bool,
    pub(super) value: T,
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    sid: Option<String>,
    pub(super) effect: Effect,
    pub(super) principal: Option<Element<PrincipalSet>>,
    pub(super) action: Element<OneOrMany<ActionPattern>>,
    pub(super) resource: Option<Element<OneOrMany<Template>>>,
    pub(super) condition: Option<Condition>,
}

impl Serialize for Statement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn entry<M: SerializeMap, T: Serialize>(
            map: &mut M,
            names: [&str; 2],
            element: &Element<T>,
        ) -> Result<(), M::Error> {
            let [plain, negated] = names;
            let name = if element.negated { negated } else { plain };
            map.serialize_entry(name, &element.value)
        }
        let mut map = serializer.serialize_map(None)?;
        if let Some(sid) = &self.sid {
            map.serialize_entry("Sid", sid)?;
        }
        map.serialize_entry(
            "Effect",
            match self.effect {
                Effect::Allow => "Allow",
                Effect::Deny => "Deny",
            },
        )?;
        if let Some(principal) = &self.principal {
            entry(&mut map, ["Principal", "NotPrincipal"], principal)?;
        }
        entry(&mut map, ["Action", "NotAction"], &self.action)?;
        if let Some(resource) = &self.resource {
            entry(&mut map, ["Resource", "NotResource"], resource)?;
        }
        if let Some(condition) = &self.condition {
            map.serialize_entry("Condition", condition)?;
        }
        map.end()
    }
}

/// A statement whose strings have not been parsed: how depends on the version, which may stand
/// after it.
#[derive(Debug, Default)]
pub(super) struct RawStatement {
    pub(super) sid: Option<String>,
    effect: Option<Effect>,
    principal: Option<Element<PrincipalSet>>,
    action: Option<Element<OneOrMany<Text>>>,
    resource: Option<Element<OneOrMany<Text>>>,
    condition: Option<RawCondition>,
}

impl RawStatement {
    pub(super) fn build(self, kind: Kind, version: Version) -> Result<Statement, String> {
        let effect = self.effect.ok_or("no Effect")?;
        check_principal(kind, effect, self.principal.as_ref())?;
        let action = self.action.ok_or("neither Action nor NotAction")?;
        let action = Element {
            negated: action.negated,
            value: action.value.try_map(|Text(source)| ActionPattern::parse(source))?,
        };
        let resource = match (kind, self.resource) {
            (Kind::Trust, Some(_)) => return Err("a trust policy has no Resource".to_owned()),
            (Kind::Trust, None) => None,
            (_, None) => return Err("neither Resource nor NotResource".to_owned()),
            (_, Some(element)) => Some(Element {
                negated: element.negated,
                value: element.value.try_map(|Text(source)| parse_resource(source, version))?,
            }),
        };
        let condition = match self.condition {
            Some(condition) => Some(condition.build(version)?),
            None => None,
        };
        Ok(Statement { sid: self.sid, effect, principal: self.principal, action, resource, condition })
    }
}

fn check_principal(
    kind: Kind,
    effect: Effect,
    principal: Option<&Element<PrincipalSet>>,
) -> Result<(), &'static str> {
    match (kind, principal) {
        (Kind::Identity, Some(_)) => Err("an identity policy has no Principal or NotPrincipal"),
        (Kind::Identity, None) => Ok(()),
        (_, None) => Err("no Principal"),
        (Kind::Trust, Some(element)) if element.negated => Err("a trust policy has no NotPrincipal"),
        (_, Some(element)) if element.negated && effect == Effect::Allow => Err("NotPrincipal with Allow"),
        (_, Some(element)) if element.negated && element.value.has_everyone() => {
            Err("NotPrincipal with \"*\"")
        }
        _ => Ok(()),
    }
}

fn parse_resource(source: String, version: Version) -> Result<Template, String> {
    let template = Template::parse(source, version, Wildcards::Match)?;
    let source = template.source();
    if source == "*" {
        return Ok(template);
    }
    if !source.starts_with("arn:") || source.matches(':').count() < 5 {
        return Err(format!("{source:?} is neither an ARN nor \"*\""));
    }
    if template.has_variable() && template.colons_before_variable() < 5 {
        return Err(format!("{source:?} has a variable before the fifth colon"));
    }
    Ok(template)
}

struct StatementVisitor;

impl<'de> Visitor<'de> for StatementVisitor {
    type Value = RawStatement;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a statement object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawStatement, A::Error> {
        let mut raw = RawStatement::default();
        while let Some(Text(name)) = map.next_key()? {
            let negated = name.starts_with("Not");
            match name.as_str() {
                "Sid" => {
                    let Text(sid) = map.next_value()?;
                    fill(&mut raw.sid, &name, sid)?;
                }
                "Effect" => fill(&mut raw.effect, &name, map.next_value()?)?,
                "Principal" | "NotPrincipal" => {
                    let value = map.next_value()?;
                    fill(&mut raw.principal, &name, Element { negated, value })?;
                }
                "Action" | "NotAction" => {
                    let value = map.next_value()?;
                    fill(&mut raw.action, &name, Element { negated, value })?;
                }
                "Resource" | "NotResource" => {
                    let value = map.next_value()?;
                    fill(&mut raw.resource, &name, Element { negated, value })?;
                }
                "Condition" => fill(&mut raw.condition, &name, map.next_value()?)?,
                other => {
                    const NAMES: &[&str] = &[
                        "Sid",
                        "Effect",
                        "Principal",
                        "NotPrincipal",
                        "Action",
                        "NotAction",
                        "Resource",
                        "NotResource",
                        "Condition",
                    ];
                    return Err(A::Error::unknown_field(other, NAMES));
                }
            }
        }
        Ok(raw)
    }
}

impl<'de> Deserialize<'de> for RawStatement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StatementVisitor)
    }
}

impl<'de> Deserialize<'de> for Effect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(effect) = Text::deserialize(deserializer)?;
        match effect.as_str() {
            "Allow" => Ok(Self::Allow),
            "Deny" => Ok(Self::Deny),
            other => Err(D::Error::unknown_variant(other, &["Allow", "Deny"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions() {
        for good in ["*", "s3:*", "s3:Get?bject", "execute-api:Invoke"] {
            assert!(ActionPattern::parse(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "s3", ":Get", "s3:", "*:*", "s3:Get Object", "s3:${aws:x}", "**"] {
            assert!(ActionPattern::parse(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn resources() {
        let parse = |source: &str| parse_resource(source.to_owned(), Version::V2012);
        for good in ["*", "arn:aws:s3:::b/${aws:x}/*", "arn:aws:sqs:r:*:${aws:x}-q:${aws:y}"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "b/*",
            "arn:aws:s3",
            "arn:aws:s3:*",
            "${aws:x}",
            "arn:aws:s3::${aws:x}:b",
            "arn:aws:s3${aws:a:b:c}:b",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
