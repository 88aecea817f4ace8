use std::time::Duration;

use agentkeys_core::AttestedIdentity;
use agentkeys_federation::DataClass;
use aws_sdk_s3::Client as S3;

use super::{CLASSES, LISTED, NO_CLAIM, Proof};
use crate::isolation::outcome;
use crate::place::{ALLOWED, DENIED, ORIGINAL, Place, try_all, words};
use crate::{Failure, Report};

/// Each agent with both roles; what a client may add to a request; then a witness for each object.
pub(super) async fn fill(
    proof: &Proof,
    agents: &[(&str, AttestedIdentity)],
    report: &mut Report,
) -> Result<(), Failure> {
    let [(blue_name, blue), (red_name, red)] = agents else { return Err("there are two agents".into()) };
    let mut places = Vec::new();
    for class in CLASSES {
        places.extend([
            (proof.place(blue, class), words(blue_name, class)),
            (proof.place(red, class), words(red_name, class)),
            (proof.nobodys(class), ORIGINAL.to_owned()),
        ]);
    }
    for (place, _) in &places {
        place.put(proof.server.s3(), ORIGINAL).send().await?;
    }
    for ((name, agent), other) in [((blue_name, blue), red), ((red_name, red), blue)] {
        for class in CLASSES {
            let client = proof.client(agent, class);
            let next = if class == LISTED { DataClass::Memory } else { LISTED };
            let own = if class == LISTED { ALLOWED } else { ["denied", "allowed", "allowed"] };
            for (target, place, expected) in [
                ("own", proof.place(agent, class), own),
                ("the other agent's", proof.place(other, class), DENIED),
                ("nobody's", proof.nobodys(class), DENIED),
                ("own, of another class", proof.place(agent, next), DENIED),
            ] {
                try_all(&client, name, class, target, &place, expected, report).await?;
            }
        }
    }
    said_by_the_client(proof, blue, red, report).await?;

    // a denial is not a missing key: each object is there, and holds what its owner wrote last
    for (place, expected) in &places {
        let found = proof.server.s3().get_object().bucket(&place.bucket).key(&place.key).send().await?;
        report.check(found.body.collect().await?.into_bytes() == expected.as_bytes());
    }
    let saw = format!("{} objects are there and hold only what their owner wrote", places.len());
    report.step("", "witness", saw, Duration::ZERO);
    Ok(())
}

/// MinIO fills variables and conditions also from headers and parameters of the request. The subject of a token goes
/// before them. What no token says does not, nor does the prefix of a listing.
async fn said_by_the_client(
    proof: &Proof,
    blue: &AttestedIdentity,
    red: &AttestedIdentity,
    report: &mut Report,
) -> Result<(), Failure> {
    let (reds, victim) = (proof.place(red, LISTED), red.subject().to_string());
    let client = proof.client(blue, LISTED);
    for name in ["sub", "Sub", "jwt:sub"] {
        report.check(get(&client, &reds, Said::Header(name, victim.clone())).await == "denied");
        report.check(get(&client, &reds, Said::Parameter(name, victim.clone())).await == "denied");
    }
    report.check(get(&client, &proof.place(blue, LISTED), Said::Header("sub", victim)).await == "allowed");
    let saw = "a header or parameter that names the other's subject opens nothing of his";
    report.step("", "said by client", saw.to_owned(), Duration::ZERO);

    let header = proof.place(blue, LISTED).prefix().ok_or("a prefix")?;
    let list = client.list_objects_v2().bucket(&reds.bucket).set_prefix(reds.prefix());
    let listed = list.customize().mutate_request(move |request| {
        request.headers_mut().insert("prefix", header.clone());
    });
    let listed = listed.send().await?;
    let names_red = listed.contents().iter().any(|object| object.key() == Some(&reds.key));
    report.check(names_red);
    let saw = "with a header named prefix beside the parameter, a listing shows the other's names";
    report.step("", "not checked", saw.to_owned(), Duration::ZERO);
    not_looked_at(proof, blue, red, report).await
}

/// What MinIO does with roles and with claims that are not there. Were it ever denied, the pages that warn of it
/// would be out of date.
async fn not_looked_at(
    proof: &Proof,
    blue: &AttestedIdentity,
    red: &AttestedIdentity,
    report: &mut Report,
) -> Result<(), Failure> {
    let (own, reds) = (proof.place(blue, LISTED), proof.place(red, LISTED));
    let nothing = || Said::Parameter("x", String::new());
    let client = proof.client(blue, DataClass::Memory);
    report.check(get(&client, &own, nothing()).await == "denied");
    report.check(get(&proof.client(blue, LISTED), &own, nothing()).await == "allowed");
    report.check(get(&client, &own, nothing()).await == "allowed");
    let saw = "all sessions of one agent have the policy of its latest token: here the data role's";
    report.step("", "not checked", saw.to_owned(), Duration::ZERO);

    let careless = proof.client(blue, DataClass::Vault);
    report.check(get(&careless, &reds, nothing()).await == "denied");
    report.check(
        get(&careless, &reds, Said::Parameter(NO_CLAIM, red.subject().to_string())).await == "allowed",
    );
    let saw = "where the token lacks a variable's claim, a parameter of its name opens the other's object";
    report.step("", "not checked", saw.to_owned(), Duration::ZERO);
    Ok(())
}

enum Said {
    Header(&'static str, String),
    Parameter(&'static str, String),
}

/// Reads an object, with something more in the request.
async fn get(client: &S3, place: &Place, said: Said) -> String {
    let get = client.get_object().bucket(&place.bucket).key(&place.key);
    let sent = get.customize().mutate_request(move |request| match &said {
        Said::Header(name, value) => {
            // what is no header's name cannot be sent as one
            let _unused = request.headers_mut().try_insert(*name, value.clone());
        }
        Said::Parameter(name, value) => {
            let said: String =
                form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
            let uri = request.uri().to_owned();
            let joint = if uri.contains('?') { '&' } else { '?' };
            let _unused = request.set_uri(format!("{uri}{joint}{said}"));
        }
    });
    outcome(sent.send().await)
}
