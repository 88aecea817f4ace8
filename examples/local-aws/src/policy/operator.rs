//! Condition operators.

/// How a value of the request is compared with a value of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    EqualIgnoreCase,
    Like,
    Arn,
    Number(Order),
    Date(Order),
    Bool,
    Ip,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    #[expect(
        clippy::float_cmp,
        reason = "both sides are parsed decimals, and equality of those is what is asked for"
    )]
    pub(super) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// What a set operator asks of the values of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    Single,
    ForAllValues,
    ForAnyValue,
}

/// A condition operator with its prefix and suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) name: String,
    pub(super) comparison: Comparison,
    pub(super) negated: bool,
    pub(super) if_exists: bool,
    pub(super) quantifier: Quantifier,
}

impl Operator {
    /// The operator of that name; the spelling is exact.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (quantifier, rest) = if let Some(rest) = name.strip_prefix("ForAllValues:") {
            (Quantifier::ForAllValues, rest)
        } else if let Some(rest) = name.strip_prefix("ForAnyValue:") {
            (Quantifier::ForAnyValue, rest)
        } else {
            (Quantifier::Single, name)
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        let (comparison, negated) = match base {
            "StringEquals" => (Comparison::Equal, false),
            "StringNotEquals" => (Comparison::Equal, true),
            "StringEqualsIgnoreCase" => (Comparison::EqualIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Comparison::EqualIgnoreCase, true),
            "StringLike" => (Comparison::Like, false),
            "StringNotLike" => (Comparison::Like, true),
            "ArnEquals" | "ArnLike" => (Comparison::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Comparison::Arn, true),
            "Bool" => (Comparison::Bool, false),
            "IpAddress" => (Comparison::Ip, false),
            "NotIpAddress" => (Comparison::Ip, true),
            "Null" if !if_exists && quantifier == Quantifier::Single => (Comparison::Null, false),
            _ => {
                let (of, order): (fn(Order) -> Comparison, _) =
                    if let Some(order) = base.strip_prefix("Numeric") {
                        (Comparison::Number, order)
                    } else {
                        (Comparison::Date, base.strip_prefix("Date")?)
                    };
                match order {
                    "Equals" => (of(Order::Equal), false),
                    "NotEquals" => (of(Order::Equal), true),
                    "LessThan" => (of(Order::Less), false),
                    "LessThanEquals" => (of(Order::LessOrEqual), false),
                    "GreaterThan" => (of(Order::Greater), false),
                    "GreaterThanEquals" => (of(Order::GreaterOrEqual), false),
                    _ => return None,
                }
            }
        };
        Some(Self { name: name.to_owned(), comparison, negated, if_exists, quantifier })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_operator() {
        for name in [
            "StringEquals",
            "StringNotEquals",
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCase",
            "StringLike",
            "StringNotLike",
            "NumericEquals",
            "NumericNotEquals",
            "NumericLessThan",
            "NumericLessThanEquals",
            "NumericGreaterThan",
            "NumericGreaterThanEquals",
            "DateEquals",
            "DateNotEquals",
            "DateLessThan",
            "DateLessThanEquals",
            "DateGreaterThan",
            "DateGreaterThanEquals",
            "Bool",
            "IpAddress",
            "NotIpAddress",
            "ArnEquals",
            "ArnLike",
            "ArnNotEquals",
            "ArnNotLike",
        ] {
            let negated = name.contains("Not");
            for prefix in ["", "ForAllValues:", "ForAnyValue:"] {
                for suffix in ["", "IfExists"] {
                    let full = format!("{prefix}{name}{suffix}");
                    let operator = Operator::parse(&full).unwrap();
                    assert_eq!(operator.name, full);
                    assert_eq!(operator.negated, negated, "{full}");
                    assert_eq!(operator.if_exists, !suffix.is_empty(), "{full}");
                    assert_eq!(operator.quantifier == Quantifier::Single, prefix.is_empty(), "{full}");
                }
            }
        }
        assert!(Operator::parse("Null").is_some());
    }

    #[test]
    fn nothing_else_is_an_operator() {
        for name in [
            "",
            "IfExists",
            "StringEqualsIfExistsIfExists",
            "stringEquals",
            "StringEquals ",
            "StringNotIn",
            "NotStringEquals",
            "Numeric",
            "NumericLike",
            "DateEqualsIgnoreCase",
            "BoolNot",
            "BinaryEquals",
            "NullIfExists",
            "ForAllValues:Null",
            "ForAllValues:ForAnyValue:StringEquals",
            "ForAllValues:",
            "forallvalues:StringEquals",
        ] {
            assert_eq!(Operator::parse(name), None, "{name}");
        }
    }
}
