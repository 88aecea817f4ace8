use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use agentkeys_core::JwksUri;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::SelectError;
use crate::oidc::{ClaimPath, ClaimValue, RequiredClaims};

/// A deployment's variables.
#[derive(Clone, Copy)]
pub(super) struct Variables<'v>(pub(super) &'v BTreeMap<String, String>);

impl<'v> Variables<'v> {
    /// The variable, if it is there, empty or not.
    pub(super) fn given(self, name: &'static str) -> Option<&'v str> {
        self.0.get(name).map(String::as_str)
    }

    /// The variable, which must be there and say something.
    pub(super) fn text(self, name: &'static str) -> Result<&'v str, SelectError> {
        self.given(name).filter(|text| !text.trim().is_empty()).ok_or(SelectError::Missing(name))
    }

    pub(super) fn required<T>(self, name: &'static str) -> Result<T, SelectError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.text(name)?.parse().map_err(|error| SelectError::malformed(name, &error))
    }

    /// An address of keys, if there is one; an empty one is malformed.
    pub(super) fn jwks_uri(self, name: &'static str) -> Result<Option<JwksUri>, SelectError> {
        let uri = self.given(name).map(JwksUri::parse).transpose();
        uri.map_err(|error| SelectError::malformed(name, &error))
    }

    /// Refuses a variable that begins like the known ones and is none of them.
    pub(super) fn only(self, beginning: &str, known: &[&str]) -> Result<(), SelectError> {
        let mut ours = self.0.keys().filter(|name| name.starts_with(beginning));
        match ours.find(|name| !known.contains(&name.as_str())) {
            Some(other) => Err(SelectError::Unknown(other.clone())),
            None => Ok(()),
        }
    }
}

/// A JSON object of JSON Pointers and the values that the claims there must have.
pub(super) struct Claims(pub(super) RequiredClaims);

impl FromStr for Claims {
    type Err = &'static str;

    fn from_str(json: &str) -> Result<Self, &'static str> {
        serde_json::from_str(json).map_err(
            |_| "it is a JSON object of JSON Pointers, each once, and text, whole numbers, true or false",
        )
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = RequiredClaims::none();
        let mut paths = Vec::new();
        // a map would keep the last of two, and lose a pin
        while let Some((path, value)) = map.next_entry::<String, Value>()? {
            let path = ClaimPath::parse(&path).map_err(de::Error::custom)?;
            if paths.contains(&path) {
                return Err(de::Error::custom("doubled"));
            }
            paths.push(path.clone());
            claims = claims.and(path, value_of(value).ok_or_else(|| de::Error::custom("no such value"))?);
        }
        Ok(Claims(claims))
    }
}

fn value_of(value: Value) -> Option<ClaimValue> {
    match value {
        Value::Bool(value) => Some(value.into()),
        Value::Number(value) => Some(value.as_u64()?.into()),
        Value::String(value) => Some(value.into()),
        _ => None,
    }
}
