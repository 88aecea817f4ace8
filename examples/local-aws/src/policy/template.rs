//! Strings with wildcards and policy variables.

use serde::{Serialize, Serializer};

use super::context::Context;

/// The version of the policy language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// `2008-10-17`, and a policy that names no version: `${…}` is plain text.
    V2008,
    /// `2012-10-17`: `${…}` is a variable.
    V2012,
}

/// Whether `*` and `?` are wildcards in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wildcards {
    /// They are.
    Match,
    /// They are plain text.
    Literal,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    AnyOne,
    AnyRun,
    Variable { key: String, default: Option<String> },
}

/// A string of a policy, as written and as parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    source: String,
    parts: Vec<Part>,
}

/// One position of a pattern whose variables have been replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// This character. A variable's value is made of these alone.
    Char(char),
    /// Any one character: `?`.
    AnyOne,
    /// Any run of characters, including none: `*`.
    AnyRun,
}

impl Template {
    /// Parses `source`; the error says what is wrong with it.
    pub(super) fn parse(source: String, version: Version, wildcards: Wildcards) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source.as_str();
        while let Some(next) = rest.chars().next() {
            if version == Version::V2012
                && let Some(inner) = rest.strip_prefix("${")
            {
                let (part, after) = variable(inner)?;
                match part {
                    Part::Text(character) => text.push_str(&character),
                    part => {
                        flush(&mut text, &mut parts);
                        parts.push(part);
                    }
                }
                rest = after;
                continue;
            }
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
            match (next, wildcards) {
                ('*', Wildcards::Match) => {
                    flush(&mut text, &mut parts);
                    parts.push(Part::AnyRun);
                }
                ('?', Wildcards::Match) => {
                    flush(&mut text, &mut parts);
                    parts.push(Part::AnyOne);
                }
                (character, _) => text.push(character),
            }
        }
        flush(&mut text, &mut parts);
        Ok(Self { source, parts })
    }

    /// The string as it stands in the policy.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// How many colons stand in the text before the first variable, or in all of the text.
    pub(super) fn colons_before_variable(&self) -> usize {
        self.parts
            .iter()
            .take_while(|part| !matches!(part, Part::Variable { .. }))
            .map(|part| match part {
                Part::Text(text) => text.matches(':').count(),
                _ => 0,
            })
            .sum()
    }

    /// Whether the string has a variable other than `${*}`, `${?}` and `${$}`.
    pub(super) fn has_variable(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Variable { .. }))
    }

    /// The pattern with its variables replaced, or `None` where one has neither a single value
    /// nor a default.
    pub(super) fn resolve(&self, context: &Context) -> Option<Vec<Token>> {
        let mut tokens = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => tokens.extend(text.chars().map(Token::Char)),
                Part::AnyOne => tokens.push(Token::AnyOne),
                Part::AnyRun => tokens.push(Token::AnyRun),
                Part::Variable { key, default } => {
                    // A default stands in for a missing key, not for a key with many values.
                    let value = match (context.get(key), default) {
                        (None, Some(default)) => default.as_str(),
                        (None, None) => return None,
                        (Some(_), _) => context.single(key)?,
                    };
                    tokens.extend(value.chars().map(Token::Char));
                }
            }
        }
        Some(tokens)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

fn flush(text: &mut String, parts: &mut Vec<Part>) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text)));
    }
}

/// Parses what follows `${`, and returns what follows the closing brace.
fn variable(inner: &str) -> Result<(Part, &str), String> {
    for special in ["*", "?", "$"] {
        if let Some(after) = inner.strip_prefix(special).and_then(|rest| rest.strip_prefix('}')) {
            return Ok((Part::Text(special.to_owned()), after));
        }
    }
    let end = inner.find([',', '}']).ok_or("a policy variable without its closing brace")?;
    let (key, rest) = inner.split_at(end);
    if !key.contains(':')
        || key.trim() != key
        || key.contains(['*', '?', '$', '{', '\'', '"'])
        || key.chars().any(char::is_control)
    {
        return Err(format!("{key:?} is no name of a policy variable"));
    }
    let key = key.to_owned();
    if let Some(after) = rest.strip_prefix('}') {
        return Ok((Part::Variable { key, default: None }, after));
    }
    let malformed = || format!("the default of the policy variable {key:?} is not in quotes");
    let quoted = rest
        .strip_prefix(',')
        .map(str::trim_start)
        .and_then(|rest| rest.strip_prefix('\''))
        .ok_or_else(malformed)?;
    let (default, after) = quoted.split_once('\'').ok_or_else(malformed)?;
    let after = after.strip_prefix('}').ok_or_else(malformed)?;
    let default = Some(default.to_owned());
    Ok((Part::Variable { key, default }, after))
}

/// Whether `pattern` matches all of `text`.
///
/// A mismatch goes back to the latest `*` only, so the time is at most the product of the two
/// lengths.
pub(super) fn matches(pattern: &[Token], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(character) = text.get(t) {
        match pattern.get(p) {
            Some(Token::AnyRun) => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(Token::AnyOne) => {
                p += 1;
                t += 1;
            }
            Some(Token::Char(expected)) if expected == character => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after_run, start)) => {
                    retry = Some((after_run, start + 1));
                    p = after_run;
                    t = start + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|token| matches!(token, Token::AnyRun))
}

/// [`matches`] for a string.
pub(super) fn matches_str(pattern: &[Token], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    matches(pattern, &text)
}

/// A pattern without variables, of which every `*` and `?` is a wildcard.
pub(super) fn glob(pattern: &str) -> Vec<Token> {
    pattern
        .chars()
        .map(|character| match character {
            '*' => Token::AnyRun,
            '?' => Token::AnyOne,
            character => Token::Char(character),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    /// What a pattern means, without a thought for how long it takes.
    fn reference(pattern: &[Token], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((Token::AnyRun, rest)), None) => reference(rest, text),
            (Some((Token::AnyRun, rest)), Some((_, tail))) => {
                reference(rest, text) || reference(pattern, tail)
            }
            (Some((Token::AnyOne, rest)), Some((_, tail))) => reference(rest, tail),
            (Some((Token::Char(expected), rest)), Some((character, tail))) => {
                expected == character && reference(rest, tail)
            }
            _ => false,
        }
    }

    fn variable_value(value: &str) -> Context {
        let mut context = Context::new();
        context.insert("aws:PrincipalTag/x", [value.to_owned()]);
        context
    }

    fn parse(source: &str) -> Result<Template, String> {
        Template::parse(source.to_owned(), Version::V2012, Wildcards::Match)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn agrees_with_the_reference(pattern in "[ab*?]{0,10}", text in "[ab*?]{0,12}") {
            let pattern = glob(&pattern);
            let text: Vec<char> = text.chars().collect();
            prop_assert_eq!(matches(&pattern, &text), reference(&pattern, &text));
        }

        #[test]
        fn agrees_with_the_reference_on_any_text(pattern in "[aé:/*?]{0,8}", text in "[aé:/]{0,10}") {
            let pattern = glob(&pattern);
            let text: Vec<char> = text.chars().collect();
            prop_assert_eq!(matches(&pattern, &text), reference(&pattern, &text));
        }

        #[test]
        fn a_value_matches_itself_alone(value in "[ab*?${}:]{0,8}", text in "[ab*?${}:]{0,8}") {
            let pattern = parse("${aws:PrincipalTag/x}").unwrap();
            let tokens = pattern.resolve(&variable_value(&value)).unwrap();
            prop_assert!(matches_str(&tokens, &value));
            prop_assert_eq!(matches_str(&tokens, &text), text == value);
        }

        #[test]
        fn parsing_any_text_keeps_it(source in any::<String>()) {
            for version in [Version::V2008, Version::V2012] {
                for wildcards in [Wildcards::Match, Wildcards::Literal] {
                    if let Ok(template) = Template::parse(source.clone(), version, wildcards) {
                        prop_assert_eq!(template.source(), source.as_str());
                    }
                }
            }
        }

        #[test]
        fn variables_parse_or_fail_without_a_panic(source in "[a:,' ${}*?]{0,16}") {
            if let Ok(template) = parse(&source) {
                let _ = template.resolve(&Context::new());
            }
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "it measures how long matching takes")]
    fn many_stars_do_not_blow_up() {
        let pattern = glob(&"*a".repeat(1024));
        let text: Vec<char> = "a".repeat(1023).chars().chain(['b']).collect();
        let start = Instant::now();
        assert!(!matches(&pattern, &text));
        let pattern = glob(&format!("*{}b", "a".repeat(1000)));
        let text: Vec<char> = "a".repeat(4096).chars().collect();
        assert!(!matches(&pattern, &text));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn variables() {
        for bad in [
            "${",
            "${aws:x",
            "${}",
            "${x}",
            "${aws:x,}",
            "${aws:x, y}",
            "${aws:x, 'y}",
            "${aws:x, 'y'",
            "${aws:x, 'y' }",
            "${aws:${aws:y}}",
            "${ aws:x}",
            "${**}",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let resolved = |source: &str| {
            let tokens = parse(source).unwrap().resolve(&Context::new())?;
            Some(
                tokens
                    .iter()
                    .map(|token| match token {
                        Token::Char(character) => character.to_string(),
                        other => format!("<{other:?}>"),
                    })
                    .collect::<String>(),
            )
        };
        assert_eq!(resolved("${aws:x}"), None);
        assert_eq!(resolved("a${aws:x, 'b}*'}c").as_deref(), Some("ab}*c"));
        assert_eq!(resolved("${aws:x,''}").as_deref(), Some(""));
        assert_eq!(resolved("$ $${$}{x}").as_deref(), Some("$ $${x}"));
        assert_eq!(resolved("${*}*?").as_deref(), Some("*<AnyRun><AnyOne>"));
    }
}
