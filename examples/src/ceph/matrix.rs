use std::time::Duration;

use agentkeys_core::AttestedIdentity;
use agentkeys_federation::{ActorOmni, DataClass, Exchanger as _, RoleSession, TAG_ACTOR_OMNI};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client as S3;

use super::{Proof, UNTAGGED};
use crate::agent::s3;
use crate::demo::{own_prefix, sdk_at};
use crate::isolation::outcome;
use crate::place::{ALLOWED, DENIED, NOTE, ORIGINAL, Place, try_all, words};
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
                ("own", own.clone(), ALLOWED),
                ("the other agent's", place(proof, other_name, other, class), DENIED),
                ("nobody's", nobodys(proof, class), DENIED),
                ("own, of another class", place(proof, name, agent, next), DENIED),
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
        try_all(&client, "no tags", DataClass::Config, "an agent's", &place, DENIED, report).await?;
    }
    let place = nobodys(proof, DataClass::Vault);
    try_all(&client, "no tags", DataClass::Config, "without a tag", &place, DENIED, report).await?;

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
