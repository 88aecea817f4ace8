//! The `Condition` element.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::context::Context;
use super::evaluate::Effect;
use super::one_or_many::{OneOrMany, Scalar, Text};
use super::operator::{Comparison, Operator, Quantifier};
use super::template::{Template, Token, Version, Wildcards, matches_str};
use super::value::{Network, boolean, date, number};

/// A value of the policy, parsed as its operator needs it.
#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Template(Template),
    Number { source: String, number: f64 },
    Bool { source: String, value: bool },
    Network { source: String, network: Network },
}

impl Operand {
    fn parse(source: String, comparison: Comparison, version: Version) -> Result<Self, String> {
        let wrong = |what: &str| format!("{source:?} is no {what}");
        match comparison {
            Comparison::Equal | Comparison::EqualIgnoreCase => {
                Template::parse(source, version, Wildcards::Literal).map(Self::Template)
            }
            Comparison::Like => Template::parse(source, version, Wildcards::Match).map(Self::Template),
            Comparison::Arn => {
                let template = Template::parse(source, version, Wildcards::Match)?;
                if template.has_variable() || template.colons_before_variable() >= 5 {
                    Ok(Self::Template(template))
                } else {
                    Err(format!("{:?} is no ARN", template.source()))
                }
            }
            Comparison::Number(_) => match number(&source) {
                Some(number) => Ok(Self::Number { source, number }),
                None => Err(wrong("number")),
            },
            Comparison::Date(_) => match date(&source) {
                Some(number) => Ok(Self::Number { source, number }),
                None => Err(wrong("date")),
            },
            Comparison::Bool | Comparison::Null => match boolean(&source) {
                Some(value) => Ok(Self::Bool { source, value }),
                None => Err(wrong("Boolean")),
            },
            Comparison::Ip => match Network::parse(&source) {
                Some(network) => Ok(Self::Network { source, network }),
                None => Err(wrong("IP address range")),
            },
        }
    }

    fn source(&self) -> &str {
        match self {
            Self::Template(template) => template.source(),
            Self::Number { source, .. } | Self::Bool { source, .. } | Self::Network { source, .. } => source,
        }
    }

    /// Whether a value of the request compares; `None` where that cannot be told, because a
    /// variable has no value or the request's value is of another type.
    fn compare(&self, comparison: Comparison, value: &str, context: &Context) -> Option<bool> {
        match (self, comparison) {
            (Self::Template(template), Comparison::Equal) => Some(text(&template.resolve(context)?) == value),
            (Self::Template(template), Comparison::EqualIgnoreCase) => {
                let expected = text(&template.resolve(context)?);
                Some(expected.to_lowercase() == value.to_lowercase())
            }
            (Self::Template(template), Comparison::Like) => {
                Some(matches_str(&template.resolve(context)?, value))
            }
            (Self::Template(template), Comparison::Arn) => {
                Some(arn_matches(&template.resolve(context)?, value))
            }
            (Self::Number { number: right, .. }, Comparison::Number(order)) => {
                Some(order.holds(number(value)?, *right))
            }
            (Self::Number { number: right, .. }, Comparison::Date(order)) => {
                Some(order.holds(date(value)?, *right))
            }
            (Self::Bool { value: right, .. }, Comparison::Bool) => Some(boolean(value)? == *right),
            (Self::Network { network, .. }, Comparison::Ip) => Some(network.contains(value.parse().ok()?)),
            _ => None,
        }
    }
}

impl Serialize for Operand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.source())
    }
}

/// The text of a pattern that has no wildcards.
fn text(tokens: &[Token]) -> String {
    tokens
        .iter()
        .map(|token| match token {
            Token::Char(character) => *character,
            Token::AnyOne => '?',
            Token::AnyRun => '*',
        })
        .collect()
}

/// Compares the six components of an ARN one by one; only the last may hold colons.
fn arn_matches(pattern: &[Token], arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let patterns: Vec<&[Token]> = pattern.splitn(6, |token| *token == Token::Char(':')).collect();
    parts.len() == 6
        && patterns.len() == 6
        && patterns.iter().zip(parts).all(|(pattern, part)| matches_str(pattern, part))
}

/// One operator and one key with the values it is compared with.
#[derive(Clone, Debug, PartialEq)]
struct Test {
    key: String,
    operands: OneOrMany<Operand>,
}

/// One operator with all its keys.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    operator: Operator,
    tests: Vec<Test>,
}

/// A whole `Condition` element: all of it must hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    groups: Vec<Group>,
}

impl Condition {
    /// Whether the condition holds for a statement of that effect.
    pub(super) fn holds(&self, effect: Effect, context: &Context) -> bool {
        self.groups
            .iter()
            .all(|group| group.tests.iter().all(|test| test.holds(&group.operator, effect, context)))
    }
}

impl Test {
    fn holds(&self, operator: &Operator, effect: Effect, context: &Context) -> bool {
        let values = context.get(&self.key);
        // A key whose values are all empty strings is a null data set, as a missing one is.
        let null = values.is_none_or(|values| values.iter().all(String::is_empty));
        if operator.comparison == Comparison::Null {
            return self
                .operands
                .iter()
                .any(|operand| matches!(operand, Operand::Bool { value, .. } if *value == null));
        }
        let one = |value: &String| self.one_holds(operator, effect, value, context);
        match (operator.quantifier, values) {
            (Quantifier::ForAllValues, _) if null => true,
            (Quantifier::ForAllValues, None) => true,
            (Quantifier::ForAllValues, Some(values)) => values.iter().all(one),
            (Quantifier::ForAnyValue, None) => operator.if_exists,
            (Quantifier::ForAnyValue, Some(values)) => values.iter().any(one),
            (Quantifier::Single, None) => operator.if_exists || operator.negated,
            (Quantifier::Single, Some(values)) => match effect {
                // Many values want a set operator. Without one, an Allow needs all of them and
                // a Deny any of them.
                Effect::Allow => values.iter().all(one),
                Effect::Deny => values.iter().any(one),
            },
        }
    }

    /// Whether one value of the request satisfies the operator.
    fn one_holds(&self, operator: &Operator, effect: Effect, value: &str, context: &Context) -> bool {
        let mut unknown = false;
        let mut equal = false;
        for operand in self.operands.iter() {
            match operand.compare(operator.comparison, value, context) {
                Some(holds) => equal |= holds,
                None => unknown = true,
            }
        }
        if equal {
            !operator.negated
        } else if unknown {
            // What cannot be compared is not equal, but that it is different is enough only to
            // deny.
            operator.negated && effect == Effect::Deny
        } else {
            operator.negated
        }
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Tests<'a>(&'a [Test]);
        impl Serialize for Tests<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|test| (&test.key, &test.operands)))
            }
        }
        let mut map = serializer.serialize_map(Some(self.groups.len()))?;
        for group in &self.groups {
            map.serialize_entry(&group.operator.name, &Tests(&group.tests))?;
        }
        map.end()
    }
}

/// A `Condition` element whose values have not been parsed: how depends on the policy's version,
/// which may stand after it.
#[derive(Debug)]
pub(super) struct RawCondition {
    groups: Vec<(Operator, RawTests)>,
}

#[derive(Debug)]
struct RawTests(Vec<(String, OneOrMany<Scalar>)>);

impl RawCondition {
    /// Parses the values; the error says what is wrong with one.
    pub(super) fn build(self, version: Version) -> Result<Condition, String> {
        let mut groups = Vec::new();
        for (operator, raw) in self.groups {
            let mut tests = Vec::new();
            for (key, values) in raw.0 {
                let operands = values.try_map(|Scalar(source)| {
                    Operand::parse(source, operator.comparison, version)
                        .map_err(|error| format!("{} of {key:?}: {error}", operator.name))
                })?;
                tests.push(Test { key, operands });
            }
            groups.push(Group { operator, tests });
        }
        Ok(Condition { groups })
    }
}

struct ConditionVisitor;

impl<'de> Visitor<'de> for ConditionVisitor {
    type Value = RawCondition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of condition operators")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawCondition, A::Error> {
        let mut groups: Vec<(Operator, RawTests)> = Vec::new();
        while let Some(Text(name)) = map.next_key()? {
            let operator = Operator::parse(&name).ok_or_else(|| {
                A::Error::custom(format!("unknown or unsupported condition operator {name:?}"))
            })?;
            if groups.iter().any(|(other, _)| other.name == name) {
                return Err(A::Error::custom(format!("duplicate operator {name:?}")));
            }
            groups.push((operator, map.next_value()?));
        }
        Ok(RawCondition { groups })
    }
}

impl<'de> Deserialize<'de> for RawCondition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ConditionVisitor)
    }
}

struct TestsVisitor;

impl<'de> Visitor<'de> for TestsVisitor {
    type Value = RawTests;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of condition keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawTests, A::Error> {
        let mut tests = Vec::new();
        let mut seen = HashSet::new();
        while let Some(Text(key)) = map.next_key()? {
            if !key.contains(':') || key.contains(['*', '?', '$', '{']) {
                return Err(A::Error::custom(format!("{key:?} is no condition key")));
            }
            if !seen.insert(key.to_lowercase()) {
                return Err(A::Error::custom(format!("duplicate condition key {key:?}")));
            }
            tests.push((key, map.next_value()?));
        }
        if tests.is_empty() {
            return Err(A::Error::custom("a condition operator without keys"));
        }
        Ok(RawTests(tests))
    }
}

impl<'de> Deserialize<'de> for RawTests {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TestsVisitor)
    }
}
