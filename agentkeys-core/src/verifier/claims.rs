use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::VerifyError;
use super::unique::{Names, Unique};
use crate::clock::Timestamp;
use crate::jose::Text;

/// For tokens whose private claims nobody wants.
#[derive(Clone, Copy, Debug, Deserialize)]
#[non_exhaustive]
pub struct NoClaims {}

/// The registered claims (<https://www.rfc-editor.org/rfc/rfc7519#section-4.1>), each of its right type:
/// a wrong type is an error, never "absent" (L13). Borrowed from the payload.
#[derive(Debug, Default)]
pub(super) struct Registered<'p> {
    pub(super) iss: Option<Text<'p>>,
    pub(super) sub: Option<Text<'p>>,
    pub(super) aud: Option<Audiences>,
    pub(super) exp: Option<Timestamp>,
    pub(super) nbf: Option<Timestamp>,
    pub(super) iat: Option<Timestamp>,
    pub(super) jti: Option<Text<'p>>,
}

/// What is to be known of `aud`, a string or an array of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Audiences {
    pub(super) count: usize,
    pub(super) has_ours: bool,
}

/// Reads registered and private claims in one pass over the JSON; the audience `ours` is looked for in `aud`. A claim
/// that stands twice is refused, and so is a member of one that is read.
pub(super) fn read<'p, C: DeserializeOwned>(
    payload: &'p [u8],
    ours: &str,
) -> Result<(Registered<'p>, C), VerifyError> {
    let text = std::str::from_utf8(payload).map_err(|_| VerifyError::Claims)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let both = Both(ours, PhantomData).deserialize(&mut deserializer).map_err(|_| VerifyError::Claims)?;
    deserializer.end().map_err(|_| VerifyError::Claims)?;
    Ok(both)
}

struct Both<'o, C>(&'o str, PhantomData<C>);

impl<'de, C: DeserializeOwned> DeserializeSeed<'de> for Both<'_, C> {
    type Value = (Registered<'de>, C);

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, C: DeserializeOwned> Visitor<'de> for Both<'_, C> {
    type Value = (Registered<'de>, C);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claims set")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut registered = Registered::default();
        let mut private = Private { map, ours: self.0, registered: &mut registered, names: Names::default() };
        let mut private = &mut private;
        let claims = C::deserialize(MapAccessDeserializer::new(&mut *private))?;
        // a reader that stops early must not leave a doubled or registered claim unread
        while private.next_key::<de::IgnoredAny>()?.is_some() {
            private.next_value::<de::IgnoredAny>()?;
        }
        Ok((registered, claims))
    }
}

/// The private claims of a map; takes the registered ones out in passing.
struct Private<'r, 'de, A> {
    map: A,
    ours: &'r str,
    registered: &'r mut Registered<'de>,
    names: Names<'de>,
}

impl<'de, A: MapAccess<'de>> Private<'_, 'de, A> {
    fn take<T: Deserialize<'de>>(map: &mut A, slot: &mut Option<T>) -> Result<(), A::Error> {
        // `null` is a wrong type: T is never an Option
        if slot.replace(map.next_value()?).is_some() {
            return Err(de::Error::custom("a claim is doubled"));
        }
        Ok(())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for &mut Private<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(Text(name)) = self.map.next_key()? {
            let (map, registered) = (&mut self.map, &mut *self.registered);
            match name.as_ref() {
                "iss" => Private::take(map, &mut registered.iss)?,
                "sub" => Private::take(map, &mut registered.sub)?,
                "exp" => Private::take(map, &mut registered.exp)?,
                "nbf" => Private::take(map, &mut registered.nbf)?,
                "iat" => Private::take(map, &mut registered.iat)?,
                "jti" => Private::take(map, &mut registered.jti)?,
                "aud" => {
                    let aud = map.next_value_seed(LookFor(self.ours))?;
                    if registered.aud.replace(aud).is_some() {
                        return Err(de::Error::custom("a claim is doubled"));
                    }
                }
                _ => {
                    return self.names.admit(name, seed).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(Unique(seed))
    }
}

/// Looks for our audience among those of a token.
struct LookFor<'o>(&'o str);

impl<'de> DeserializeSeed<'de> for LookFor<'_> {
    type Value = Audiences;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Audiences, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for LookFor<'_> {
    type Value = Audiences;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E: de::Error>(self, audience: &str) -> Result<Audiences, E> {
        Ok(Audiences { count: 1, has_ours: audience == self.0 })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Audiences, A::Error> {
        let mut found = Audiences { count: 0, has_ours: false };
        while let Some(Text(audience)) = seq.next_element()? {
            found.count += 1;
            found.has_ours |= audience == self.0;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::unique::MAX_MEMBERS;
    use super::*;

    fn read<C: DeserializeOwned>(json: &[u8]) -> Result<(Registered<'_>, C), VerifyError> {
        super::read(json, "b")
    }

    #[derive(Debug, Deserialize)]
    struct Wanted {
        tenant: String,
    }

    #[test]
    fn l13_a_wrong_type_is_an_error_and_never_absent() {
        for bad in [
            r#"{"exp":"1"}"#,
            r#"{"exp":1.5}"#,
            r#"{"exp":1e3}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":null}"#,
            r#"{"nbf":"x"}"#,
            r#"{"iat":[1]}"#,
            r#"{"iss":["a"]}"#,
            r#"{"iss":42}"#,
            r#"{"iss":null}"#,
            r#"{"sub":null}"#,
            r#"{"aud":42}"#,
            r#"{"aud":{}}"#,
            r#"{"aud":[1]}"#,
            r#"{"aud":null}"#,
            r#"{"jti":1}"#,
            r#"[]"#,
            r#""x""#,
            r#"{} x"#,
            "",
        ] {
            assert!(read::<NoClaims>(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(read::<NoClaims>(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn w20_doubled_claims_are_refused_wanted_or_not() {
        for bad in [
            r#"{"iss":"a","iss":"a"}"#,
            r#"{"aud":"a","aud":"a"}"#,
            r#"{"exp":1,"\u0065xp":2}"#,
            r#"{"tenant":"a","tenant":"b"}"#,
            r#"{"tenant":"a","x":1,"x":1}"#,
        ] {
            assert!(read::<Wanted>(bad.as_bytes()).is_err(), "{bad}");
            assert!(read::<NoClaims>(bad.as_bytes()).is_err(), "{bad}");
        }
        let many: Vec<_> = (0..=MAX_MEMBERS).map(|at| format!("\"c{at}\":1")).collect();
        assert!(read::<NoClaims>(format!("{{{}}}", many.join(",")).as_bytes()).is_err());
    }

    #[test]
    fn private_claims_come_without_the_registered_ones_in_any_order() {
        let json = r#"{"sub":"s","x":[{"exp":9}],"aud":["a","b"],"tenant":"acme","exp":7,"iss":"i"}"#;
        let (registered, wanted) = read::<Wanted>(json.as_bytes()).unwrap();
        assert_eq!(wanted.tenant, "acme");
        assert_eq!(registered.exp, Some(Timestamp::from_unix(7)));
        assert_eq!(registered.aud, Some(Audiences { count: 2, has_ours: true }));
        let (_, all) = read::<serde_json::Map<String, serde_json::Value>>(json.as_bytes()).unwrap();
        assert_eq!(all, serde_json::from_str(r#"{"tenant":"acme","x":[{"exp":9}]}"#).unwrap());
    }
}
