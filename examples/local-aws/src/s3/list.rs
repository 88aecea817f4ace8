//! `ListObjectsV2`: prefix, delimiter, pages.

use std::collections::BTreeMap;
use std::ops::Bound;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::{CommonPrefix, EncodingType, ListObjectsV2Input, ListObjectsV2Output, Object, Timestamp};
use s3s::{S3Result, s3_error};

use crate::form::encode;
use crate::s3::etag;
use crate::world::StoredObject;

const MAX_KEYS: i32 = 1000;

/// One page of a listing.
pub(super) fn list_objects(
    objects: &BTreeMap<String, StoredObject>,
    input: &ListObjectsV2Input,
) -> S3Result<ListObjectsV2Output> {
    let max_keys = input.max_keys.unwrap_or(MAX_KEYS);
    let limit = usize::try_from(max_keys.min(MAX_KEYS)).map_err(|_| {
        s3_error!(InvalidArgument, "Argument maxKeys must be an integer between 0 and 2147483647")
    })?;
    let encoding = input.encoding_type.as_ref().filter(|encoding| encoding.as_str() == EncodingType::URL);
    let spell = |text: &str| {
        if encoding.is_some() { encode(text).replace("%2F", "/") } else { text.to_owned() }
    };
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let after = match &input.continuation_token {
        Some(token) => Some(read_token(token)?),
        None => input.start_after.clone(),
    };

    let mut contents = Vec::new();
    let mut common: Vec<String> = Vec::new();
    let mut next = None;
    let mut last = None;
    let start = match &after {
        Some(after) => Bound::Excluded(after.as_str()),
        None => Bound::Unbounded,
    };
    for (key, object) in objects.range::<str, _>((start, Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(prefix) else {
            continue;
        };
        let folded = delimiter.and_then(|delimiter| {
            rest.find(delimiter).and_then(|at| key.get(..prefix.len() + at + delimiter.len()))
        });
        // A folded prefix that an earlier page ended with stays folded on this one.
        if folded
            .is_some_and(|folded| common.iter().any(|one| one == folded) || after.as_deref() == Some(folded))
        {
            continue;
        }
        if contents.len() + common.len() == limit {
            next = last;
            break;
        }
        match folded {
            Some(folded) => {
                common.push(folded.to_owned());
                last = Some(folded.to_owned());
            }
            None => {
                contents.push(Object {
                    key: Some(spell(key)),
                    size: i64::try_from(object.content.len()).ok(),
                    e_tag: Some(etag(&object.content)),
                    last_modified: Some(Timestamp::from(object.modified)),
                    ..Default::default()
                });
                last = Some(key.clone());
            }
        }
    }

    let key_count = i32::try_from(contents.len() + common.len()).ok();
    let common = common.iter().map(|prefix| CommonPrefix { prefix: Some(spell(prefix)) }).collect();
    Ok(ListObjectsV2Output {
        name: Some(input.bucket.clone()),
        prefix: Some(spell(prefix)),
        delimiter: delimiter.map(spell),
        max_keys: Some(max_keys),
        key_count,
        continuation_token: input.continuation_token.clone(),
        is_truncated: Some(next.is_some()),
        next_continuation_token: next.map(|key| URL_SAFE_NO_PAD.encode(key)),
        contents: Some(contents),
        common_prefixes: Some(common),
        encoding_type: encoding.cloned(),
        start_after: input.start_after.as_deref().map(spell),
        ..Default::default()
    })
}

fn read_token(token: &str) -> S3Result<String> {
    URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use time::macros::datetime;

    use super::*;

    fn objects() -> BTreeMap<String, StoredObject> {
        let object = StoredObject {
            content: bytes::Bytes::new(),
            content_type: None,
            metadata: HashMap::new(),
            modified: datetime!(2026-01-01 00:00 UTC),
        };
        ["a", "d/1", "d/2", "d/e/3", "f b", "g/1"].map(|key| (key.to_owned(), object.clone())).into()
    }

    fn page(input: ListObjectsV2Input) -> (Vec<String>, Vec<String>, Option<String>) {
        let output = list_objects(&objects(), &input).unwrap();
        let keys = output.contents.unwrap().into_iter().filter_map(|object| object.key).collect();
        let common = output.common_prefixes.unwrap().into_iter().filter_map(|one| one.prefix).collect();
        (keys, common, output.next_continuation_token)
    }

    fn input(prefix: Option<&str>, delimiter: Option<&str>) -> ListObjectsV2Input {
        ListObjectsV2Input {
            prefix: prefix.map(str::to_owned),
            delimiter: delimiter.map(str::to_owned),
            ..Default::default()
        }
    }

    #[test]
    fn a_delimiter_folds() {
        let (keys, common, next) = page(input(None, Some("/")));
        assert_eq!(
            (keys, common, next),
            (vec!["a".into(), "f b".into()], vec!["d/".into(), "g/".into()], None)
        );
        let (keys, common, _) = page(input(Some("d/"), Some("/")));
        assert_eq!((keys, common), (vec!["d/1".into(), "d/2".into()], vec!["d/e/".into()]));
    }

    #[test]
    fn pages_of_every_size_add_up_to_the_whole() {
        for delimiter in [None, Some("/")] {
            let (keys, common, _) = page(input(None, delimiter));
            for size in 1..=4 {
                let (mut all_keys, mut all_common, mut token) = (Vec::new(), Vec::new(), None);
                loop {
                    let mut input = input(None, delimiter);
                    input.max_keys = Some(size);
                    input.continuation_token = token;
                    let (keys, common, next) = page(input);
                    assert!(keys.len() + common.len() <= usize::try_from(size).unwrap());
                    all_keys.extend(keys);
                    all_common.extend(common);
                    token = next;
                    if token.is_none() {
                        break;
                    }
                }
                assert_eq!((&all_keys, &all_common), (&keys, &common), "{delimiter:?} by {size}");
            }
        }
    }

    #[test]
    fn keys_are_encoded_on_request() {
        let mut input = input(Some("f"), None);
        input.encoding_type = Some(EncodingType::from_static(EncodingType::URL));
        assert_eq!(page(input).0, ["f%20b"]);
    }

    #[test]
    fn a_foreign_token_is_refused() {
        let mut input = input(None, None);
        input.continuation_token = Some("***".to_owned());
        assert!(list_objects(&objects(), &input).is_err());
        let mut none = self::input(None, None);
        none.max_keys = Some(-1);
        assert!(list_objects(&objects(), &none).is_err());
    }
}
