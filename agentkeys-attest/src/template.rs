//! The form that names take in a platform: which part is the agent, which the tenant.

use std::fmt;
use std::str::FromStr;

use agentkeys_core::{AgentId, AttestError, AttestedIdentity, IdentityError, TenantId, TrustRoot};

/// The form of a whole name, such as `/agent/{tenant}/{user}/{type}/{agent}` (W28).
///
/// Fields stand in braces: `{agent}` once, `{tenant}` at most once, others under any name of `a-z`, `0-9`
/// and `-` that begins with a letter. A field is 1 to 63 characters of `A-Z a-z 0-9 . _ -` and neither `.`
/// nor `..`; what follows one is either the end or a character that no field has. So a text fits in one
/// way or not at all. Everything else stands for itself; there are no wildcards (L23).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(String),
}

impl Template {
    /// Reads one.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE {
            return Err(TemplateError::Length);
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.bytes().next() {
            let after_field = matches!(parts.last(), Some(Part::Field(_)));
            if first == b'{' {
                let (name, after) =
                    rest.get(1..).and_then(|rest| rest.split_once('}')).ok_or(TemplateError::Brace)?;
                let good = name.starts_with(|first: char| first.is_ascii_lowercase())
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
                if !good {
                    return Err(TemplateError::Field);
                }
                if after_field {
                    return Err(TemplateError::Ambiguous);
                }
                let field = Part::Field(name.to_owned());
                if parts.contains(&field) {
                    return Err(TemplateError::Doubled);
                }
                parts.push(field);
                rest = after;
                continue;
            }
            if after_field && is_name_byte(first) {
                return Err(TemplateError::Ambiguous);
            }
            let (literal, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            if !literal.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'}') {
                return Err(TemplateError::Brace);
            }
            parts.push(Part::Literal(literal.to_owned()));
            rest = after;
        }
        if !parts.contains(&Part::Field(AGENT.to_owned())) {
            return Err(TemplateError::NoAgent);
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The template, as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the fields are in `text`; none unless all of it has this form.
    #[must_use]
    pub fn matches<'m>(&'m self, text: &'m str) -> Option<Match<'m>> {
        let mut found = Match { agent: "", tenant: None, others: Vec::new() };
        let mut rest = text;
        for part in &self.parts {
            match part {
                Part::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Part::Field(name) => {
                    let end = rest.bytes().position(|byte| !is_name_byte(byte)).unwrap_or(rest.len());
                    let (value, after) = rest.split_at(end);
                    if value.is_empty() || value.len() > MAX_NAME || value == "." || value == ".." {
                        return None;
                    }
                    match name.as_str() {
                        AGENT => found.agent = value,
                        TENANT => found.tenant = Some(value),
                        other => found.others.push((other, value)),
                    }
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(found)
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Self::parse(text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The fields of a text that fits a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match<'m> {
    agent: &'m str,
    tenant: Option<&'m str>,
    others: Vec<(&'m str, &'m str)>,
}

impl<'m> Match<'m> {
    /// The agent.
    #[must_use]
    pub const fn agent(&self) -> &'m str {
        self.agent
    }

    /// The tenant, where the template has one.
    #[must_use]
    pub const fn tenant(&self) -> Option<&'m str> {
        self.tenant
    }

    /// The other fields, in the template's order.
    pub fn others(&self) -> impl Iterator<Item = (&'m str, &'m str)> {
        self.others.iter().copied()
    }

    /// Under whose authority the agent's name is unique: `root` alone, or with the other fields behind it,
    /// `root#user=u1&type=x`. Two texts that differ in any field are then two subjects (W28, W29).
    ///
    /// # Errors
    /// [`IdentityError::TrustRoot`] where `root` has a `#` or the whole is too long.
    pub fn trust_root(&self, root: &str) -> Result<TrustRoot, IdentityError> {
        if root.contains('#') {
            return Err(IdentityError::TrustRoot);
        }
        let fields: Vec<_> = self.others().map(|(name, value)| format!("{name}={value}")).collect();
        if fields.is_empty() {
            return TrustRoot::parse(root);
        }
        TrustRoot::parse(&format!("{root}#{}", fields.join("&")))
    }

    /// The agent's name.
    ///
    /// # Errors
    /// Never for a match: each field is a name.
    pub fn agent_id(&self) -> Result<AgentId, IdentityError> {
        AgentId::parse(self.agent)
    }

    /// Puts the tenant and the other fields, as facts, into an identity.
    ///
    /// # Errors
    /// [`AttestError::Identity`] where the identity has a fact of such a name already.
    pub fn complete(&self, mut identity: AttestedIdentity) -> Result<AttestedIdentity, AttestError> {
        if let Some(tenant) = self.tenant {
            identity = identity.with_tenant(TenantId::parse(tenant)?);
        }
        for (name, value) in self.others() {
            identity = identity.with_fact(name, value)?;
        }
        Ok(identity)
    }
}

/// Why a text is not a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Two fields touch, or a field is followed by a character that could belong to it.
    #[error("a field of the template is not set off from what follows it")]
    Ambiguous,
    /// A brace is not closed, stands alone, or a character is not printable ASCII.
    #[error("the template has a stray brace or a character that is not printable ASCII")]
    Brace,
    /// A field stands twice.
    #[error("a field of the template is doubled")]
    Doubled,
    /// A field's name is malformed.
    #[error("a field's name is of a-z, 0-9 and '-', beginning with a letter")]
    Field,
    /// Longer than 512 bytes.
    #[error("a template is at most {MAX_TEMPLATE} bytes")]
    Length,
    /// There is no `{agent}`.
    #[error("the template has no {{agent}}")]
    NoAgent,
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

const AGENT: &str = "agent";
const TENANT: &str = "tenant";
const MAX_TEMPLATE: usize = 512;

/// As long as an agent's name may be.
const MAX_NAME: usize = 63;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> Template {
        text.parse().unwrap()
    }

    #[test]
    fn w28_a_template_fits_the_whole_text_or_nothing() {
        let spawnly = template("/agent/{tenant}/{user}/{type}/{agent}");
        let found = spawnly.matches("/agent/acme/u-1/coder/blue").unwrap();
        assert_eq!((found.agent(), found.tenant()), ("blue", Some("acme")));
        assert_eq!(found.others().collect::<Vec<_>>(), [("user", "u-1"), ("type", "coder")]);
        let root = found.trust_root("spiffe://cluster.local").unwrap();
        assert_eq!(root.as_str(), "spiffe://cluster.local#user=u-1&type=coder");
        let another = spawnly.matches("/agent/acme/u-2/coder/blue").unwrap();
        assert_ne!(another.trust_root("spiffe://cluster.local").unwrap(), root);
        for bad in [
            "",
            "/agent/acme/u-1/coder",
            "/agent/acme/u-1/coder/",
            "/agent/acme/u-1/coder/blue/",
            "/agent/acme/u-1/coder/blue/red",
            "/agent/acme//coder/blue",
            "/agent/acme/../coder/blue",
            "/agent/acme/./coder/blue",
            "/Agent/acme/u-1/coder/blue",
            "agent/acme/u-1/coder/blue",
            "x/agent/acme/u-1/coder/blue",
            "/agent/acme/u 1/coder/blue",
            "/agent/acme/u%2f1/coder/blue",
            "/agent/acme/u-1/coder/blu\u{e9}",
            "/agent/acme/u-1/coder/blue\n",
        ] {
            assert_eq!(spawnly.matches(bad), None, "{bad:?}");
        }
        let long = "a".repeat(64);
        assert_eq!(spawnly.matches(&format!("/agent/acme/u/t/{long}")), None);
        assert!(spawnly.matches(&format!("/agent/acme/u/t/{}", &long[1..])).is_some());
    }

    #[test]
    fn w28_literals_stand_for_themselves() {
        let github = template("repo:acme/{agent}:environment:prod");
        assert_eq!(github.matches("repo:acme/shop:environment:prod").unwrap().agent(), "shop");
        for bad in [
            "repo:acme/shop:environment:prod2",
            "repo:acmex/shop:environment:prod",
            "repo:acme/*:environment:prod",
        ] {
            assert_eq!(github.matches(bad), None, "{bad}");
        }
        let prefixed = template("x-{agent}");
        assert_eq!(prefixed.matches("x-x-a").unwrap().agent(), "x-a");
        let alone = template("{agent}");
        assert_eq!(alone.matches("blue").unwrap().trust_root("https://i").unwrap().as_str(), "https://i");
        assert!(alone.matches("blue").unwrap().trust_root("https://i#x").is_err());
    }

    #[test]
    fn l23_a_template_that_could_fit_in_two_ways_is_refused() {
        for (bad, error) in [
            ("", TemplateError::NoAgent),
            ("/agent", TemplateError::NoAgent),
            ("/{tenant}", TemplateError::NoAgent),
            ("{tenant}{agent}", TemplateError::Ambiguous),
            ("{agent}-pod", TemplateError::Ambiguous),
            ("{tenant}.{agent}", TemplateError::Ambiguous),
            ("{tenant}x/{agent}", TemplateError::Ambiguous),
            ("{agent}/{agent}", TemplateError::Doubled),
            ("{tenant}/{tenant}/{agent}", TemplateError::Doubled),
            ("{user}/{user}/{agent}", TemplateError::Doubled),
            ("{agent", TemplateError::Brace),
            ("agent}/{agent}", TemplateError::Brace),
            ("{agent}}", TemplateError::Brace),
            ("{{agent}}", TemplateError::Field),
            ("{}/{agent}", TemplateError::Field),
            ("{Agent}", TemplateError::Field),
            ("{1a}/{agent}", TemplateError::Field),
            ("{agent}/ ", TemplateError::Brace),
            ("{agent}/\u{e9}", TemplateError::Brace),
            (&format!("{{agent}}{}", "/".repeat(512)), TemplateError::Length),
        ] {
            assert_eq!(Template::parse(bad), Err(error), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn w29_no_two_texts_have_the_same_fields(
            form in "(/[a-z-]{0,4})?\\{tenant\\}(/|:x/)\\{user\\}/\\{agent\\}(/[a-z]{0,3})?",
            a in ("[a.-]{1,2}", "[a.-]{1,2}", "[a.-]{1,2}"),
            b in ("[a.-]{1,2}", "[a.-]{1,2}", "[a.-]{1,2}"),
        ) {
            let template = template(&form);
            let fill = |names: &(String, String, String)| {
                form.replace("{tenant}", &names.0).replace("{user}", &names.1).replace("{agent}", &names.2)
            };
            let (a_text, b_text) = (fill(&a), fill(&b));
            if let (Some(a_found), Some(b_found)) = (template.matches(&a_text), template.matches(&b_text)) {
                prop_assert_eq!((a_found.tenant(), a_found.agent()), (Some(a.0.as_str()), a.2.as_str()));
                prop_assert_eq!(a_found == b_found, a_text == b_text);
                let same = a_found.trust_root("r").unwrap() == b_found.trust_root("r").unwrap()
                    && (a_found.tenant(), a_found.agent()) == (b_found.tenant(), b_found.agent());
                prop_assert_eq!(same, a_text == b_text);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(\\{agent\\}|\\{|\\}|[a-z/]|\\PC){0,12}", name in "\\PC*") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(template.to_string(), text);
                if let Some(found) = template.matches(&name) {
                    prop_assert!(found.agent_id().is_ok());
                }
            }
        }
    }
}
