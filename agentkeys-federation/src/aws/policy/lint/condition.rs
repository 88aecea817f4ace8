use super::parse::{Document, Statement};

/// One key under one operator.
#[derive(Debug)]
pub(super) struct Test {
    /// None for one that is not known.
    pub(super) operator: Option<Operator>,
    /// In lower case.
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Operator {
    comparison: Comparison,
    negated: bool,
    if_exists: bool,
    quantifier: Quantifier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    /// With `*` and `?`.
    Like,
    Equal,
    Bool,
    Null,
    /// Numbers, dates, addresses.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    Single,
    ForAllValues,
    ForAnyValue,
}

impl Operator {
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (quantifier, rest) = match name.split_once(':') {
            None => (Quantifier::Single, name),
            Some(("ForAllValues", rest)) => (Quantifier::ForAllValues, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::ForAnyValue, rest),
            Some(_) => return None,
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        let (comparison, negated) = match base {
            "StringEquals" | "StringEqualsIgnoreCase" => (Comparison::Equal, false),
            "StringNotEquals" | "StringNotEqualsIgnoreCase" => (Comparison::Equal, true),
            "StringLike" | "ArnLike" | "ArnEquals" => (Comparison::Like, false),
            "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => (Comparison::Like, true),
            "Bool" => (Comparison::Bool, false),
            "Null" if base == name => (Comparison::Null, false),
            "IpAddress"
            | "NumericEquals"
            | "NumericLessThan"
            | "NumericLessThanEquals"
            | "NumericGreaterThan"
            | "NumericGreaterThanEquals"
            | "DateEquals"
            | "DateLessThan"
            | "DateLessThanEquals"
            | "DateGreaterThan"
            | "DateGreaterThanEquals" => (Comparison::Other, false),
            "NotIpAddress" | "NumericNotEquals" | "DateNotEquals" => (Comparison::Other, true),
            _ => return None,
        };
        Some(Self { comparison, negated, if_exists, quantifier })
    }
}

impl Test {
    /// Whether, in an allow, the key must be there, and not empty.
    pub(super) fn requires(&self) -> bool {
        let Some(operator) = self.operator else { return false };
        match operator {
            Operator { comparison: Comparison::Null, .. } => self.values.iter().all(|value| value == "false"),
            Operator { if_exists: true, .. } | Operator { quantifier: Quantifier::ForAllValues, .. } => false,
            Operator { negated: true, quantifier, .. } => quantifier == Quantifier::ForAnyValue,
            _ => self.values.iter().all(|value| !value.is_empty()),
        }
    }

    /// Whether, in an allow, a missing key satisfies it although something else was meant.
    pub(super) fn holds_when_missing(&self) -> bool {
        let Some(operator) = self.operator else { return false };
        match operator {
            Operator { comparison: Comparison::Null, .. } => false,
            Operator { if_exists: true, .. } | Operator { quantifier: Quantifier::ForAllValues, .. } => true,
            Operator { negated, quantifier, .. } => negated && quantifier == Quantifier::Single,
        }
    }

    /// Whether what its patterns match passes.
    pub(super) fn is_like(&self) -> bool {
        self.operator.is_some_and(|operator| operator.comparison == Comparison::Like && !operator.negated)
    }

    /// Whether, of a key with several values, every one is looked at and only those pass that are written.
    pub(super) fn narrows_each(&self) -> bool {
        self.narrows()
            && self.operator.is_some_and(|operator| operator.quantifier == Quantifier::ForAllValues)
    }

    /// Whether, in an allow, only some values pass where the key is there.
    fn narrows(&self) -> bool {
        let Some(operator) = self.operator else { return false };
        // a value that differs is not one that is named; one good among several is not all of them
        !operator.negated
            && operator.quantifier != Quantifier::ForAnyValue
            && self.names_values(operator.comparison)
    }

    fn names_values(&self, comparison: Comparison) -> bool {
        self.values.iter().all(|value| match comparison {
            Comparison::Like => value.bytes().any(|byte| byte != b'*' && byte != b'?'),
            Comparison::Equal => !value.is_empty(),
            Comparison::Bool => value == "true",
            Comparison::Null => false,
            Comparison::Other => true,
        })
    }

    fn forbids(&self) -> bool {
        let null = self.operator.is_some_and(|operator| operator.comparison == Comparison::Null);
        null && self.values.iter().all(|value| value == "true")
    }

    /// What a deny that consists of this test leaves of the key.
    fn left_by_deny(&self) -> Level {
        let Some(operator) = self.operator else { return Level::Unknown };
        match operator.comparison {
            Comparison::Null if self.forbids() => Level::Present,
            Comparison::Null => Level::Open,
            // a missing key satisfies it, and so does every value but those
            comparison if operator.negated && operator.quantifier == Quantifier::Single => {
                if self.names_values(comparison) { Level::Pinned } else { Level::Present }
            }
            _ => Level::Open,
        }
    }
}

/// What is known about a key of the requests that a statement lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// It may be missing.
    Open,
    /// It is there only if the operator that is not known says so.
    Unknown,
    /// It is never there.
    Forbidden,
    /// It is there, with any value.
    Present,
    /// It is there, with one of the values that are written.
    Pinned,
}

/// What is known about `key` of the requests for `action` that `statement` lets through and nothing denies.
pub(super) fn level(document: &Document, statement: &Statement, action: &str, key: &str) -> Level {
    let tests = || statement.tests.iter().filter(|test| test.key == key);
    let denies =
        document.denies().filter(|deny| reaches(deny, action)).filter_map(|deny| match &*deny.tests {
            [test] if test.key == key => Some(test.left_by_deny()),
            _ => None,
        });
    let denied = denies.max().unwrap_or(Level::Open);
    let present = denied >= Level::Present || tests().any(Test::requires);
    let pinned = denied == Level::Pinned || tests().any(Test::narrows);
    if present {
        return if pinned { Level::Pinned } else { Level::Present };
    }
    if tests().any(Test::forbids) {
        return Level::Forbidden;
    }
    let unknown = denied == Level::Unknown || tests().any(|test| test.operator.is_none());
    if unknown { Level::Unknown } else { Level::Open }
}

/// Whether nothing of this action is left, whoever asks.
pub(super) fn is_denied(document: &Document, action: &str) -> bool {
    document.denies().any(|deny| deny.tests.is_empty() && reaches(deny, action))
}

/// Whether a deny is for everybody and everything. A narrower one closes some ways and not all.
fn reaches(deny: &Statement, action: &str) -> bool {
    let every = |patterns: &[String]| patterns.iter().any(|pattern| pattern == "*");
    let principals = deny.principals.as_ref();
    deny.actions.covers(action)
        && principals.is_none_or(|principals| principals.anybody && !principals.excepts)
        && deny.resources.as_ref().is_none_or(|resources| !resources.negated && every(&resources.patterns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(operator: &str, value: &str) -> Test {
        Test { operator: Operator::parse(operator), key: String::new(), values: vec![value.to_owned()] }
    }

    #[test]
    fn w80_which_tests_require_their_key() {
        for (operator, value, requires, narrows, holds_when_missing) in [
            ("StringEquals", "a", true, true, false),
            ("StringEquals", "", false, false, false),
            ("StringEquals", "*", true, true, false),
            ("StringLike", "a*", true, true, false),
            ("StringLike", "*", true, false, false),
            ("StringLike", "?*", true, false, false),
            ("ForAnyValue:StringEquals", "a", true, false, false),
            ("ForAllValues:StringEquals", "a", false, true, true),
            ("StringEqualsIfExists", "a", false, true, true),
            ("ForAnyValue:StringEqualsIfExists", "a", false, false, true),
            ("StringNotEquals", "", false, false, true),
            ("StringNotLike", "a", false, false, true),
            ("ForAnyValue:StringNotEquals", "a", true, false, false),
            ("ForAllValues:StringNotEquals", "a", false, false, true),
            ("Bool", "true", true, true, false),
            ("Bool", "false", true, false, false),
            ("Null", "false", true, false, false),
            ("Null", "true", false, false, false),
            ("NumericLessThan", "9", true, true, false),
            ("NumericNotEquals", "9", false, false, true),
            ("StringContains", "a", false, false, false),
            ("NullIfExists", "false", false, false, false),
            ("ForAllValues:Null", "false", false, false, false),
            ("stringequals", "a", false, false, false),
            ("ForSomeValues:StringEquals", "a", false, false, false),
        ] {
            let test = test(operator, value);
            let found = (test.requires(), test.narrows(), test.holds_when_missing());
            assert_eq!(found, (requires, narrows, holds_when_missing), "{operator} {value}");
        }
    }

    #[test]
    fn w80_what_a_deny_leaves() {
        for (operator, value, level) in [
            ("Null", "true", Level::Present),
            ("Null", "false", Level::Open),
            ("StringNotEquals", "a", Level::Pinned),
            ("StringNotLike", "a*", Level::Pinned),
            ("StringNotLike", "*", Level::Present),
            ("StringNotEqualsIfExists", "a", Level::Pinned),
            ("ForAllValues:StringNotEquals", "a", Level::Open),
            ("ForAnyValue:StringNotEquals", "a", Level::Open),
            ("StringEquals", "a", Level::Open),
            ("StringContains", "a", Level::Unknown),
        ] {
            assert_eq!(test(operator, value).left_by_deny(), level, "{operator} {value}");
        }
    }
}
