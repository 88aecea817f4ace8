use std::time::Duration;

use agentkeys_core::AttestedIdentity;
use agentkeys_federation::{ActorOmni, DataClass, Exchanger as _, RoleSession, TAG_ACTOR_OMNI};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client as S3;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;

use super::{NOTE, Proof, UNTAGGED};
use crate::agent::s3;
use crate::demo::{own_prefix, sdk_at};
use crate::isolation::outcome;
use crate::report::Cell;
use crate::{Failure, Report};

/// Each agent in each of the three forms; sessions without tags; what is no denial; then a witness for each
/// object.
pub(super) async fn fill(
    proof: &Proof<'_>,
    agents: &[(&str, AttestedIdentity)],
    report: &mut Report,
) -> Result<(), Failure> {
    let [(blue_name, blue), (red_name, red)] = agents else { return Err("there are two agents".into()) };
    let places = places(proof, agents);
    for place in &places {
        place.put(proof.gateway.s3(), ORIGINAL).send().await?;
    }
    let mut owners = Vec::new();
    for ((name, agent), (other_name, other)) in
        [((blue_name, blue), (red_name, red)), ((red_name, red), (blue_name, blue))]
    {
        for class in [DataClass::Memory, DataClass::Data, DataClass::Vault] {
            let client = proof.client(agent, proof.session(agent, class));
            let next = if class == DataClass::Memory { DataClass::Data } else { DataClass::Memory };
            let own = place(proof, name, agent, class);
            for (target, place, expected) in [
                ("own", own.clone(), "allowed"),
                ("the other agent's", place(proof, other_name, other, class), "denied"),
                ("nobody's", nobodys(proof, class), "denied"),
                ("own, of another class", place(proof, name, agent, next), "denied"),
            ] {
                try_all(&client, name, class, target, &place, expected, report).await?;
            }
            owners.push((own, client, words(name, class)));
        }
    }

    // a session without tags, of a role whose trust policy forgot to ask and which has every policy
    let careless = RoleSession::new(proof.names.role(DataClass::Config).clone());
    let client = proof.client(blue, careless);
    for class in [DataClass::Memory, DataClass::Data, DataClass::Vault] {
        let place = place(proof, blue_name, blue, class);
        try_all(&client, "no tags", DataClass::Config, "an agent's", &place, "denied", report).await?;
    }
    let place = nobodys(proof, DataClass::Vault);
    try_all(&client, "no tags", DataClass::Config, "without a tag", &place, "denied", report).await?;

    the_policy_decides(proof, blue, (*red_name, red), report).await?;
    no_denials(proof, (*blue_name, blue), report).await?;

    // a denial is not a missing key: each object is there, and holds what its owner wrote last. In the gateway
    // an object is its writer's, so the owner looks himself
    for place in &places {
        let (client, expected) = match owners.iter().find(|(own, ..)| own == place) {
            Some((_, client, words)) => (client, words.as_str()),
            None => (proof.gateway.s3(), ORIGINAL),
        };
        let found = client.get_object().bucket(&place.bucket).key(&place.key).send().await?;
        report.check(found.body.collect().await?.into_bytes() == expected.as_bytes());
    }
    let saw = format!("{} objects are there and hold only what their owner wrote", places.len());
    report.step("", "witness", saw, Duration::ZERO);
    Ok(())
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    bucket: String,
    key: String,
    /// The gateway takes `s3:ResourceTag` from the bucket when an object is written and from the object when it is
    /// read: so both carry the tag.
    tag: Option<String>,
}

impl Place {
    fn prefix(&self) -> Option<String> {
        self.key.strip_suffix(NOTE).filter(|prefix| !prefix.is_empty()).map(str::to_owned)
    }

    fn put(&self, s3: &S3, words: &str) -> PutObjectFluentBuilder {
        let body = ByteStream::from(words.as_bytes().to_vec());
        s3.put_object().bucket(&self.bucket).key(&self.key).set_tagging(self.tag.clone()).body(body)
    }
}

fn places(proof: &Proof<'_>, agents: &[(&str, AttestedIdentity)]) -> Vec<Place> {
    let classes = [DataClass::Memory, DataClass::Data, DataClass::Vault];
    let of = |class| {
        let own = agents.iter().map(move |(name, agent)| place(proof, name, agent, class));
        own.chain([nobodys(proof, class)])
    };
    classes.into_iter().flat_map(of).collect()
}

/// Where an agent's object of a class is.
fn place(proof: &Proof<'_>, name: &str, agent: &AttestedIdentity, class: DataClass) -> Place {
    match class {
        DataClass::Vault => {
            let tag = format!("{TAG_ACTOR_OMNI}={}", ActorOmni::of(agent));
            Place { bucket: proof.tagged_bucket(name), key: NOTE.to_owned(), tag: Some(tag) }
        }
        _ => {
            let key = format!("{}{NOTE}", own_prefix(agent, class));
            Place { bucket: proof.bucket(class).to_owned(), key, tag: None }
        }
    }
}

/// An object that no agent owns.
fn nobodys(proof: &Proof<'_>, class: DataClass) -> Place {
    let bucket = match class {
        DataClass::Vault => proof.tagged_bucket(UNTAGGED),
        _ => proof.bucket(class).to_owned(),
    };
    Place { bucket, key: NOTE.to_owned(), tag: None }
}

async fn try_all(
    s3: &S3,
    agent: &str,
    role: DataClass,
    target: &'static str,
    place: &Place,
    expected: &'static str,
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
    for (action, got) in [("List", listed), ("Get", got), ("Put", put)] {
        report.cell(Cell { agent: agent.to_owned(), role: role.as_str(), target, action, expected, got });
    }
    Ok(())
}

/// That the other agent's object is denied is the policy's doing and not the gateway's mood: with a broad
/// grant beside the generated one it is allowed, and without it denied again (R60).
async fn the_policy_decides(
    proof: &Proof<'_>,
    blue: &AttestedIdentity,
    (red_name, red): (&str, &AttestedIdentity),
    report: &mut Report,
) -> Result<(), Failure> {
    let class = DataClass::Memory;
    let client = proof.client(blue, proof.session(blue, class));
    let place = place(proof, red_name, red, class);
    let get = async || outcome(client.get_object().bucket(&place.bucket).key(&place.key).send().await);
    report.check(get().await == "denied");
    let objects = format!("arn:aws:s3:::{}/*", place.bucket);
    let broad = serde_json::json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "s3:GetObject", "Resource": objects },
    ] });
    proof.put_policy(class, "broad", &broad.to_string()).await?;
    report.check(get().await == "allowed");
    let role = proof.names.role(class).name();
    proof.gateway.iam("DeleteRolePolicy", &[("RoleName", role), ("PolicyName", "broad")]).await?;
    report.check(get().await == "denied");
    let saw = "a broad grant beside the generated one opens the other's object; without it: denied again";
    report.step("", "control", saw.to_owned(), Duration::ZERO);
    Ok(())
}

/// What goes wrong for another reason than a policy's, and is not told as a denial (R70).
async fn no_denials(
    proof: &Proof<'_>,
    (blue_name, blue): (&str, &AttestedIdentity),
    report: &mut Report,
) -> Result<(), Failure> {
    let (class, bucket, key) = (DataClass::Vault, proof.tagged_bucket(blue_name), "nothing-here");
    let client = proof.client(blue, proof.session(blue, class));
    // an agent is told of a missing key as of a denied one, so the witness below looks whether it is there
    let missing = proof.gateway.s3().get_object().bucket(&bucket).key(key).send().await;
    let no_bucket = client.list_objects_v2().bucket("nobody-made-this-bucket").send().await;

    let token = proof.minter.mint(blue, proof.session(blue, class).mint_request()?).await?;
    let good = proof.exchanger.exchange(&token, &proof.session(blue, class)).await?;
    let with = |url: &str, id: &str, secret: &str| {
        let session = Some(good.session_token().expose().to_owned());
        let credentials = Credentials::new(id, secret, session, None, "test");
        s3(&sdk_at(url, SharedCredentialsProvider::new(credentials)))
    };
    let (url, id) = (proof.gateway.url(), good.access_key_id());
    let get = async |client: S3| outcome(client.get_object().bucket(&bucket).key(key).send().await);
    let wrong_secret = get(with(url, id, "not the secret of this session")).await;
    // a port that nobody listens on: a listener took it, and is gone
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let unreachable = get(with(&format!("http://{closed}"), id, good.secret_access_key().expose())).await;
    for (what, got, expected) in [
        ("a missing key", outcome(missing), "NoSuchKey"),
        ("a missing bucket", outcome(no_bucket), "NoSuchBucket"),
        ("a wrong secret", wrong_secret, "SignatureDoesNotMatch"),
        ("nobody there", unreachable, "no answer"),
    ] {
        report.check(got == expected);
        report.step("", "no denial", format!("{what}: {got}"), Duration::ZERO);
    }
    Ok(())
}

fn words(agent: &str, role: DataClass) -> String {
    format!("written by {agent} with the {} role", role.as_str())
}

const ORIGINAL: &str = "as it was";
