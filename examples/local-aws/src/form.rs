//! `application/x-www-form-urlencoded`, as query strings and as the bodies of the query protocol.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What SigV4 leaves unencoded: the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes everything but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The decoded pairs of a query string, in their order.
pub(crate) fn decode_pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// The parameters of one call of the query protocol; no name occurs twice.
#[derive(Clone, Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Takes the pairs; a name that occurs twice is `None`.
    pub(crate) fn new(mut pairs: Vec<(String, String)>) -> Option<Self> {
        pairs.sort();
        let repeated = pairs.windows(2).any(|two| matches!(two, [(a, _), (b, _)] if a == b));
        (!repeated).then_some(Self(pairs))
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether any parameter begins so.
    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        self.0.iter().any(|(key, _)| key.starts_with(prefix))
    }

    /// The list `name.member.N`, ordered by N.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        self.members(name, "").into_iter().map(|(_, value)| value).collect()
    }

    /// The list of structures `name.member.N.key` and `name.member.N.value`. `None` where one half is missing.
    pub(crate) fn pairs(&self, name: &str, key: &str, value: &str) -> Option<Vec<(&str, &str)>> {
        let keys = self.members(name, key);
        let values = self.members(name, value);
        let same = keys.len() == values.len() && keys.iter().zip(&values).all(|((a, _), (b, _))| a == b);
        same.then(|| keys.into_iter().zip(values).map(|((_, key), (_, value))| (key, value)).collect())
    }

    fn members(&self, name: &str, member: &str) -> Vec<(u32, &str)> {
        let mut found: Vec<(u32, &str)> = self
            .0
            .iter()
            .filter_map(|(key, value)| {
                let rest = key.strip_prefix(name)?.strip_prefix(".member.")?;
                let (number, tail) = rest.split_once('.').unwrap_or((rest, ""));
                (tail == member).then_some((number.parse().ok()?, value.as_str()))
            })
            .collect();
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> Params {
        Params::new(decode_pairs(text)).unwrap()
    }

    #[test]
    fn lists_follow_their_numbers() {
        let form = params("Audience.member.10=c&Audience.member.2=b&Audience.member.1=a+b%2Fc&Action=X");
        assert_eq!(form.list("Audience"), ["a b/c", "b", "c"]);
        assert_eq!(form.get("Action"), Some("X"));
    }

    #[test]
    fn structures_need_both_halves() {
        let form =
            params("Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.2.Key=l&Tags.member.2.Value=");
        assert_eq!(form.pairs("Tags", "Key", "Value").unwrap(), [("k", "v"), ("l", "")]);
        assert!(params("Tags.member.1.Key=k").pairs("Tags", "Key", "Value").is_none());
        assert!(params("Tags.member.1.Key=k&Tags.member.2.Value=v").pairs("Tags", "Key", "Value").is_none());
    }

    #[test]
    fn a_repeated_name_is_refused() {
        assert!(Params::new(decode_pairs("a=1&b=2&a=3")).is_none());
    }
}
