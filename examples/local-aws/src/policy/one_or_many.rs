//! The language's habit of writing a list of one as the element itself.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most elements a list may have.
pub(super) const MAX_ITEMS: usize = 512;
/// The longest string in a policy, in bytes.
pub(super) const MAX_TEXT: usize = 2048;

/// A non-empty list, which remembers whether it was written as one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OneOrMany<T> {
    items: Vec<T>,
    bare: bool,
}

impl<T> OneOrMany<T> {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }

    /// The same list of something else.
    pub(super) fn try_map<U, E>(self, convert: impl FnMut(T) -> Result<U, E>) -> Result<OneOrMany<U>, E> {
        Ok(OneOrMany {
            items: self.items.into_iter().map(convert).collect::<Result<_, _>>()?,
            bare: self.bare,
        })
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.items.as_slice() {
            [item] if self.bare => item.serialize(serializer),
            items => items.serialize(serializer),
        }
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element or a non-empty list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        one(T::deserialize(StrDeserializer::new(text)))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        one(T::deserialize(serde::de::value::BoolDeserializer::new(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        one(T::deserialize(serde::de::value::I64Deserializer::new(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        one(T::deserialize(serde::de::value::U64Deserializer::new(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        one(T::deserialize(serde::de::value::F64Deserializer::new(value)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        one(T::deserialize(MapAccessDeserializer::new(map)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MAX_ITEMS {
                return Err(A::Error::custom(format!("a list of more than {MAX_ITEMS}")));
            }
            items.push(item);
        }
        if items.is_empty() {
            return Err(A::Error::custom("an empty list"));
        }
        Ok(OneOrMany { items, bare: false })
    }
}

fn one<T, E>(item: Result<T, E>) -> Result<OneOrMany<T>, E> {
    item.map(|item| OneOrMany { items: vec![item], bare: true })
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

/// A string of a bounded length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

/// A condition value: a string, or a number or Boolean that stands for its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar(pub(super) String);

struct TextVisitor {
    scalars: bool,
}

impl TextVisitor {
    fn scalar<E: Error>(&self, kind: &str, text: String) -> Result<String, E> {
        if self.scalars {
            Ok(text)
        } else {
            Err(E::custom(format!("invalid type: {kind}, expected a string")))
        }
    }
}

impl Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        if text.len() > MAX_TEXT {
            return Err(E::custom(format!("a string of more than {MAX_TEXT} bytes")));
        }
        Ok(text.to_owned())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        self.scalar("Boolean", value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        self.scalar("number", value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        self.scalar("number", value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<String, E> {
        self.scalar("number", value.to_string())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { scalars: false }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor { scalars: true }).map(Self)
    }
}
