//! What AWS reads in the claims of a web identity token.

use std::collections::BTreeSet;

use serde_json::Value;
use time::OffsetDateTime;

use crate::idp::IdpError;
use crate::idp::token::{Claims, VerifiedClaims};
use crate::names::SourceIdentity;
use crate::tags::Tags;

/// How far `iat`, `nbf` and `exp` may be off.
const TOLERANCE: i64 = 5 * 60;
const TAGS: &str = "https://aws.amazon.com/tags";
const SOURCE_IDENTITY: &str = "https://aws.amazon.com/source_identity";
const ROLES: &str = "https://aws.amazon.com/roles";

/// Whom a token speaks of, and what it asks for.
#[derive(Debug)]
pub(crate) struct WebIdentity {
    /// `azp`, or the one audience.
    pub(crate) audience: String,
    pub(crate) subject: String,
    pub(crate) amr: Vec<String>,
    pub(crate) tags: Tags,
    /// Lower-case keys of the tags that later hops inherit.
    pub(crate) transitive: BTreeSet<String>,
    pub(crate) source_identity: Option<SourceIdentity>,
    /// The roles that the token is pinned to.
    pub(crate) roles: Option<Vec<String>>,
}

impl WebIdentity {
    /// Reads signed claims at a time.
    pub(crate) fn from_claims(claims: VerifiedClaims, now: OffsetDateTime) -> Result<Self, IdpError> {
        let claims = claims.0;
        for required in ["iss", "sub", "aud", "iat", "exp"] {
            if !claims.contains_key(required) {
                return Err(IdpError::Invalid(format!("Missing a required claim: {required}")));
            }
        }
        check_times(&claims, now.unix_timestamp())?;
        let (tags, transitive) = session_tags(&claims)?;
        Ok(Self {
            audience: audience(&claims)?,
            subject: subject(&claims)?,
            amr: amr(&claims),
            tags,
            transitive,
            source_identity: source_identity(&claims)?,
            roles: roles(&claims)?,
        })
    }
}

fn check_times(claims: &Claims, now: i64) -> Result<(), IdpError> {
    let integer = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| {
            IdpError::Invalid(format!("The claim {name} must be an integer number of seconds"))
        }),
    };
    let exp = integer("exp")?.unwrap_or(i64::MIN);
    if exp.saturating_add(TOLERANCE) < now {
        return Err(IdpError::Expired { now, exp });
    }
    for name in ["iat", "nbf"] {
        if integer(name)?.is_some_and(|at| at.saturating_sub(TOLERANCE) > now) {
            return Err(IdpError::Invalid(format!("The claim {name} is in the future")));
        }
    }
    Ok(())
}

fn audience(claims: &Claims) -> Result<String, IdpError> {
    let all = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(list @ Value::Array(_)) => strings(list).unwrap_or_default(),
        _ => Vec::new(),
    };
    match (claims.get("azp"), all.as_slice()) {
        (_, []) => Err(IdpError::invalid("The claim aud must be a string or a list of strings")),
        (None, [one]) => Ok(one.clone()),
        (None, _) => Err(IdpError::invalid("A token with several audiences must have an azp claim")),
        (Some(Value::String(azp)), _) => Ok(azp.clone()),
        (Some(_), _) => Err(IdpError::invalid("The claim azp must be a string")),
    }
}

fn subject(claims: &Claims) -> Result<String, IdpError> {
    match claims.get("sub") {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::Null) => Err(IdpError::NullSubject),
        _ => Err(IdpError::invalid("The claim sub must be a string")),
    }
}

fn amr(claims: &Claims) -> Vec<String> {
    match claims.get("amr") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(list) => strings(list).unwrap_or_default(),
        None => Vec::new(),
    }
}

/// Session tags, nested under one claim or flattened into several.
fn session_tags(claims: &Claims) -> Result<(Tags, BTreeSet<String>), IdpError> {
    let wrong = || IdpError::invalid("The session tags of the token are malformed");
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut transitive: Vec<String> = Vec::new();
    match claims.get(TAGS) {
        None | Some(Value::Null) => {}
        Some(Value::Object(nested)) => {
            if let Some(tags) = nested.get("principal_tags") {
                for (key, values) in tags.as_object().ok_or_else(wrong)? {
                    // Measured on AWS: a bare string is refused here, and so is any list but one of one string.
                    let values = strings(values).ok_or_else(wrong)?;
                    let [value] = values.as_slice() else {
                        return Err(wrong());
                    };
                    pairs.push((key.clone(), value.clone()));
                }
            }
            if let Some(keys) = nested.get("transitive_tag_keys") {
                transitive.extend(strings(keys).ok_or_else(wrong)?);
            }
        }
        Some(_) => return Err(wrong()),
    }
    for (name, value) in claims {
        let Some(rest) = name.strip_prefix(TAGS).and_then(|rest| rest.strip_prefix('/')) else {
            continue;
        };
        if let Some(key) = rest.strip_prefix("principal_tags/") {
            pairs.push((key.to_owned(), value.as_str().ok_or_else(wrong)?.to_owned()));
        } else if rest == "transitive_tag_keys" {
            transitive.extend(strings(value).ok_or_else(wrong)?);
        }
    }
    let tags = Tags::parse(pairs).map_err(|error| IdpError::Invalid(error.to_string()))?;
    if transitive.iter().any(|key| tags.get(key).is_none()) {
        return Err(IdpError::invalid("A transitive tag key of the token is not among its tags"));
    }
    Ok((tags, transitive.iter().map(|key| key.to_lowercase()).collect()))
}

fn source_identity(claims: &Claims) -> Result<Option<SourceIdentity>, IdpError> {
    match claims.get(SOURCE_IDENTITY) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text
            .parse()
            .map(Some)
            .map_err(|_| IdpError::invalid("The source identity of the token is malformed")),
        Some(_) => Err(IdpError::invalid("The source identity of the token must be a string")),
    }
}

/// The pinned roles: a list, or one string with semicolons between them.
fn roles(claims: &Claims) -> Result<Option<Vec<String>>, IdpError> {
    let roles = match claims.get(ROLES) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => Some(text.split(';').map(str::to_owned).collect()),
        Some(list) => strings(list),
    };
    roles
        .filter(|roles| {
            !roles.is_empty() && roles.iter().all(|role| role.parse::<crate::names::RoleArn>().is_ok())
        })
        .map(Some)
        .ok_or_else(|| IdpError::invalid("The roles claim of the token is malformed"))
}

fn strings(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    fn read(changes: Value) -> Result<WebIdentity, IdpError> {
        let now = NOW.unix_timestamp();
        let mut claims = json!({"iss": "i", "sub": "s", "aud": "a", "iat": now, "exp": now + 60});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        WebIdentity::from_claims(VerifiedClaims(claims.as_object().unwrap().clone()), NOW)
    }

    fn refused(changes: Value) -> bool {
        matches!(read(changes), Err(IdpError::Invalid(_)))
    }

    #[test]
    fn five_claims_are_required() {
        for name in ["iss", "sub", "aud", "iat", "exp"] {
            let mut claims = json!({"iss": "i", "sub": "s", "aud": "a", "iat": 1, "exp": 1});
            claims.as_object_mut().unwrap().remove(name);
            let error = WebIdentity::from_claims(VerifiedClaims(claims.as_object().unwrap().clone()), NOW)
                .unwrap_err();
            assert_eq!(error, IdpError::Invalid(format!("Missing a required claim: {name}")));
        }
    }

    #[test]
    fn times_have_five_minutes() {
        let now = NOW.unix_timestamp();
        assert!(read(json!({"exp": now - 300})).is_ok());
        assert!(matches!(read(json!({"exp": now - 301})), Err(IdpError::Expired { .. })));
        for name in ["iat", "nbf"] {
            assert!(read(json!({name: now + 300})).is_ok());
            assert!(refused(json!({name: now + 301})));
        }
        for name in ["iat", "nbf", "exp"] {
            for wrong in [json!(NOW.unix_timestamp() as f64 + 0.5), json!("1767225600"), json!(null)] {
                assert!(refused(json!({name: wrong})), "{name} {wrong}");
            }
        }
    }

    #[test]
    fn azp_decides_among_audiences() {
        assert_eq!(read(json!({"aud": ["x"]})).unwrap().audience, "x");
        assert_eq!(read(json!({"aud": ["x", "y"], "azp": "y"})).unwrap().audience, "y");
        assert_eq!(read(json!({"aud": "x", "azp": "z"})).unwrap().audience, "z");
        for wrong in [json!({"aud": ["x", "y"]}), json!({"aud": []}), json!({"aud": 1}), json!({"azp": 1})] {
            assert!(refused(wrong));
        }
    }

    #[test]
    fn subjects_are_text_or_numbers() {
        assert_eq!(read(json!({"sub": 42})).unwrap().subject, "42");
        assert!(matches!(read(json!({"sub": null})), Err(IdpError::NullSubject)));
        assert!(refused(json!({"sub": ["s"]})));
    }

    #[test]
    fn both_forms_of_tags_are_read() {
        let nested =
            json!({TAGS: {"principal_tags": {"Team": ["a"], "Run": ["1"]}, "transitive_tag_keys": ["team"]}});
        let flattened = json!({
            "https://aws.amazon.com/tags/principal_tags/Team": "a",
            "https://aws.amazon.com/tags/principal_tags/Run": "1",
            "https://aws.amazon.com/tags/transitive_tag_keys": ["Team"],
        });
        for claims in [nested, flattened] {
            let identity = read(claims).unwrap();
            assert_eq!(identity.tags.iter().collect::<Vec<_>>(), [("Run", "1"), ("Team", "a")]);
            assert_eq!(identity.transitive, BTreeSet::from(["team".to_owned()]));
        }
    }

    #[test]
    fn malformed_tags_are_refused() {
        for tags in [
            json!({"principal_tags": {"k": "v"}}),
            json!({"principal_tags": {"k": ["v", "w"]}}),
            json!({"principal_tags": {"k": []}}),
            json!({"principal_tags": {"k": [1]}}),
            json!({"principal_tags": {"k": null}}),
            json!({"principal_tags": ["k"]}),
            json!({"principal_tags": {"aws:k": ["v"]}}),
            json!({"principal_tags": {"k": ["v"], "K": ["w"]}}),
            json!({"principal_tags": {"k": ["v"]}, "transitive_tag_keys": ["l"]}),
            json!({"principal_tags": {"k": ["v"]}, "transitive_tag_keys": "k"}),
            json!("k=v"),
            json!([{"principal_tags": {"k": ["v"]}}]),
        ] {
            assert!(refused(json!({TAGS: tags})), "{tags}");
        }
        assert!(refused(json!({"https://aws.amazon.com/tags/principal_tags/k": ["v"]})));
        assert!(refused(json!({
            "https://aws.amazon.com/tags/principal_tags/k": "v",
            TAGS: {"principal_tags": {"K": ["v"]}},
        })));
    }

    #[test]
    fn a_source_identity_is_a_short_word() {
        assert_eq!(
            read(json!({SOURCE_IDENTITY: "alice"})).unwrap().source_identity.unwrap().as_str(),
            "alice"
        );
        assert!(read(json!({SOURCE_IDENTITY: null})).unwrap().source_identity.is_none());
        for wrong in [json!(""), json!("a"), json!("aws:x"), json!("a b"), json!(["alice"]), json!(7)] {
            assert!(refused(json!({SOURCE_IDENTITY: wrong})), "{wrong}");
        }
    }

    #[test]
    fn roles_are_a_list_or_have_semicolons() {
        let (a, b) = ("arn:aws:iam::123456789012:role/a", "arn:aws:iam::123456789012:role/p/b");
        for right in [json!([a, b]), json!(format!("{a};{b}"))] {
            assert_eq!(read(json!({ROLES: right})).unwrap().roles.unwrap(), [a, b]);
        }
        assert!(read(json!({ROLES: null})).unwrap().roles.is_none());
        for wrong in [json!(""), json!([]), json!([1]), json!({}), json!(format!("{a};"))] {
            assert!(refused(json!({ROLES: wrong})), "{wrong}");
        }
    }
}
