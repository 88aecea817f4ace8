use agentkeys_federation::DataClass;
use aws_sdk_s3::Client as S3;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;

use crate::isolation::outcome;
use crate::report::Cell;
use crate::{Failure, Report};

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// Of the object itself. The Ceph Object Gateway takes `s3:ResourceTag` from the bucket when an object is written
    /// and from the object when it is read: so both carry the tag.
    pub(crate) tag: Option<String>,
}

impl Place {
    pub(crate) fn prefix(&self) -> Option<String> {
        self.key.strip_suffix(NOTE).filter(|prefix| !prefix.is_empty()).map(str::to_owned)
    }

    pub(crate) fn put(&self, s3: &S3, words: &str) -> PutObjectFluentBuilder {
        let body = ByteStream::from(words.as_bytes().to_vec());
        s3.put_object().bucket(&self.bucket).key(&self.key).set_tagging(self.tag.clone()).body(body)
    }
}

/// Lists where the place is, reads it and writes it: expected are the outcomes in that order.
pub(crate) async fn try_all(
    s3: &S3,
    agent: &str,
    role: DataClass,
    target: &'static str,
    place: &Place,
    expected: [&'static str; 3],
    report: &mut Report,
) -> Result<(), Failure> {
    let Place { bucket, key, .. } = place;
    let listed = match s3.list_objects_v2().bucket(bucket).set_prefix(place.prefix()).send().await {
        // an empty listing of a place that holds an object is no success
        Ok(found) if found.contents().iter().any(|object| object.key() == Some(key)) => "allowed".to_owned(),
        Ok(_) => "wrong listing".to_owned(),
        Err(error) => outcome(Err::<(), _>(error)),
    };
    let got = match s3.get_object().bucket(bucket).key(key).send().await {
        Ok(found) => {
            let bytes = found.body.collect().await?.into_bytes();
            if bytes == ORIGINAL.as_bytes() { "allowed" } else { "wrong content" }.to_owned()
        }
        Err(error) => outcome(Err::<(), _>(error)),
    };
    let put = outcome(place.put(s3, &words(agent, role)).send().await);
    for ((action, got), expected) in [("List", listed), ("Get", got), ("Put", put)].into_iter().zip(expected)
    {
        report.cell(Cell { agent: agent.to_owned(), role: role.as_str(), target, action, expected, got });
    }
    Ok(())
}

/// What an agent writes.
pub(crate) fn words(agent: &str, role: DataClass) -> String {
    format!("written by {agent} with the {} role", role.as_str())
}

pub(crate) const ALLOWED: [&str; 3] = ["allowed"; 3];
pub(crate) const DENIED: [&str; 3] = ["denied"; 3];
pub(crate) const NOTE: &str = "note.txt";
pub(crate) const ORIGINAL: &str = "as it was";
