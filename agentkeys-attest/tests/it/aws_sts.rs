use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::aws::StsEndpoint;
use agentkeys_attest::aws_sts::{AWS_STS, AwsStsAttestor, AwsStsPins, AwsStsPinsError, StsRole};
use agentkeys_core::testing::{ContractCases, ManualClock, attestor_contract};
use agentkeys_core::{
    Assurance, AttestError, Attestor as _, Attestors, CLOCK_FLOOR, Challenges, Clock, ClockError, ErrorKind,
    Evidence, EvidenceKind, HttpMethod, HttpResponse, Secret, Timestamp,
};

use crate::aws_sts_support::{
    ACCESS_KEY, ARN, NOW, SECRET, Signing, TOKEN, USER_ID, World, content, endpoint, error_of, pins, xml,
};
use crate::support::told;

fn named(role: &str, agent: &str) -> StsRole {
    StsRole::named(role.parse().unwrap(), agent.parse().unwrap())
}

#[tokio::test]
async fn r17_r18_r19_l30_the_identity_says_all_that_was_attested_and_who_chose_it() {
    let identity = World::new().attest(&Signing::default()).await.unwrap();
    assert_eq!((identity.kind(), identity.kind().as_str()), (&AWS_STS, "aws-sts"));
    assert_eq!(identity.agent().as_str(), "blue");
    assert_eq!(identity.assurance(), Assurance::PlatformAttested);
    assert_eq!((identity.tenant(), identity.instance()), (None, None));
    // no path in it: STS says none
    assert_eq!(identity.trust_root().as_str(), "arn:aws:iam::123456789012:role/agents");
    assert_eq!(identity.subject().as_str(), "aws-sts/arn:aws:iam::123456789012:role%2Fagents//blue");
    assert_eq!(identity.attested_at(), Timestamp::from_unix(NOW));
    let facts: Vec<_> =
        identity.facts().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        facts,
        [
            ("account", "123456789012"),
            ("region", "eu-west-1"),
            ("role", "agents"),
            ("role-unique-id", "AROADBQP57FF2AEXAMPLE"),
            ("self-asserted-session-name", "pod-7"),
        ]
    );
}

#[tokio::test]
async fn w9_l7_r20_the_sessions_name_is_self_asserted_and_only_where_the_role_says_so() {
    let world = World::new();
    world.sts.knows(
        "arn:aws:sts::123456789012:assumed-role/launcher/red",
        "AROADBQP57FF2AEXAMPLE:red",
        "123456789012",
    );
    let identity = world.attest(&Signing::default()).await.unwrap();
    assert_eq!((identity.agent().as_str(), identity.assurance()), ("red", Assurance::SelfAsserted));
    assert_eq!(identity.trust_root().as_str(), "arn:aws:iam::123456789012:role/launcher");

    // a session that calls itself like the agent of another role is still its own role's
    let world = World::new();
    world.sts.knows(
        "arn:aws:sts::123456789012:assumed-role/launcher/blue",
        "AROADBQP57FF2AEXAMPLE:blue",
        "123456789012",
    );
    let impostor = world.attest(&Signing::default()).await.unwrap();
    let blue = World::new().attest(&Signing::default()).await.unwrap();
    assert_eq!(impostor.agent(), blue.agent());
    assert_ne!(impostor.subject(), blue.subject());
    assert_eq!(impostor.assurance(), Assurance::SelfAsserted);
}

#[tokio::test]
async fn l3_one_roles_name_in_two_accounts_is_two_trust_roots() {
    let mut pins = pins();
    pins.roles = vec![
        named("arn:aws:iam::123456789012:role/agents", "blue"),
        named("arn:aws:iam::999999999999:role/agents", "red"),
    ];
    let world = World::with(pins, 9);
    let blue = world.attest(&Signing::default()).await.unwrap();
    world.sts.knows("arn:aws:sts::999999999999:assumed-role/agents/pod-7", USER_ID, "999999999999");
    let red = world.attest(&Signing { expires: 59, ..Signing::default() }).await.unwrap();
    assert_eq!((blue.agent().as_str(), red.agent().as_str()), ("blue", "red"));
    assert_ne!(blue.trust_root(), red.trust_root());
}

/// Another path, another order, other headers, other letters: what is sent is what was signed.
#[tokio::test]
async fn w3_l1_the_request_is_written_anew_and_is_byte_for_byte_what_was_signed() {
    let world = World::new();
    let url = Signing::default().url();
    let (address, query) = url.split_once('?').unwrap();
    let mut pairs: Vec<_> = query.split('&').collect();
    pairs.reverse();
    let reversed = format!(r#"{{"url":"{address}?{}"}}"#, pairs.join("&"));
    world.attestor.attest(&content(&reversed)).await.unwrap();
    let [request] = <[_; 1]>::try_from(world.sts.requests()).unwrap();
    assert_eq!(request.url, url);
    assert_eq!(request.method, HttpMethod::Get);
    assert!(request.body.expose().is_empty());
    assert_eq!(request.max_body, 64 * 1024);
    let text = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    assert_eq!(request.headers, [("accept", "text/xml"), ("x-agentkeys-audience", "agentkeys")].map(text));
}

#[tokio::test]
async fn w3_no_other_byte_of_the_evidence_proves_the_same() {
    let text = String::from_utf8(Signing::default().evidence().expose().to_vec()).unwrap();
    for at in 0..text.len() {
        for other in [b'A', b'0', b'%', b'"'] {
            let mut bytes = text.clone().into_bytes();
            if bytes[at] == other {
                continue;
            }
            bytes[at] = other;
            let changed = Evidence::new(AWS_STS, bytes).unwrap();
            assert!(World::new().attestor.attest(&changed).await.is_err(), "byte {at} as {other}");
        }
    }
}

#[tokio::test]
async fn w8_l8_evidence_is_taken_once() {
    let world = World::new();
    let evidence = Signing::default().evidence();
    assert!(world.attestor.attest(&evidence).await.is_ok());
    world.clock.advance(Duration::from_secs(59));
    let error = world.attestor.attest(&evidence).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("evidence_replayed", ErrorKind::Invalid));
    // in other words it is the same
    let url = Signing::default().url().replace(
        "Action=GetCallerIdentity&Version=2011-06-15",
        "Version=2011-06-15&Action=GetCallerIdentity",
    );
    let error = world.attestor.attest(&content(&format!(r#"{{ "url" : "{url}" }}"#))).await.unwrap_err();
    assert_eq!(error.code(), "evidence_replayed");
}

#[tokio::test]
async fn w8_of_two_at_the_same_time_one_passes() {
    let world = World::new();
    let evidence = Signing::default().evidence();
    let (one, other) = tokio::join!(world.attestor.attest(&evidence), world.attestor.attest(&evidence));
    assert_eq!(world.sts.requests().len(), 2);
    assert!(one.is_ok() != other.is_ok());
    assert_eq!(one.err().or(other.err()).unwrap().code(), "evidence_replayed");
}

/// A guard with room for one: neither junk nor strangers nor a busy STS may take it.
#[tokio::test]
async fn w8_only_what_sts_confirms_for_a_role_that_is_let_in_fills_the_guard() {
    let world = World::with(pins(), 1);
    let junk = Signing { secret: "junk".to_owned(), ..Signing::default() };
    assert_eq!(world.attest(&junk).await.unwrap_err().code(), "evidence_rejected");
    world.sts.knows("arn:aws:sts::999999999999:assumed-role/agents/pod-7", USER_ID, "999999999999");
    let stranger = Signing { expires: 30, ..Signing::default() };
    assert_eq!(world.attest(&stranger).await.unwrap_err().code(), "evidence_pin");
    world.sts.knows(ARN, USER_ID, "123456789012");

    let victim = Signing::default();
    world.sts.always(Some(xml(500, "")));
    assert_eq!(world.attest(&victim).await.unwrap_err().code(), "evidence_unjudged");
    world.sts.always(None);
    assert!(world.attest(&victim).await.is_ok());

    let full = world.attest(&Signing { expires: 31, ..Signing::default() }).await.unwrap_err();
    assert_eq!((full.code(), full.kind()), ("replay_guard_full", ErrorKind::Unavailable));
    assert_eq!(full.retry_after(), Some(Duration::from_secs(900)));
}

#[tokio::test]
async fn w8_l8_the_window_is_its_own_minute_and_five_minutes_at_most_without_grace() {
    for (ago, expires, code) in [
        (59_i64, 60, None),
        (60, 60, Some("evidence_expired")),
        (1, 2, None),
        (2, 2, Some("evidence_expired")),
        (299, 900, None),
        (300, 900, Some("evidence_expired")),
        (-30, 60, None),
        (-31, 60, Some("evidence_not_yet_valid")),
    ] {
        let world = World::new();
        let at = NOW.checked_add_signed(-ago).unwrap();
        let found = world.attest(&Signing { at, expires, ..Signing::default() }).await;
        assert_eq!(found.as_ref().err().map(AttestError::code), code, "{ago} {expires}");
        assert_eq!(world.sts.requests().len(), usize::from(code.is_none()));
        // the identity is good for as long as STS takes the request, however short its window was
        if let Ok(identity) = found {
            assert_eq!(identity.not_after(), Timestamp::from_unix(at + 900));
        }
    }
}

#[tokio::test]
async fn l8_with_challenges_only_what_was_signed_for_one_passes_and_once() {
    let (world, challenges) = World::challenging();
    let code = |found: Result<_, AttestError>| found.err().map(|error| error.code());
    assert_eq!(code(world.attest(&Signing::default()).await), Some("evidence_incomplete"));
    assert!(world.sts.requests().is_empty());

    let challenge = challenges.issue().unwrap();
    let signing = Signing::challenged(challenge.as_str());
    assert!(world.attest(&signing).await.is_ok());
    let request = world.sts.requests().pop().unwrap();
    assert_eq!(request.url, signing.url());
    assert_eq!(request.headers[2], ("x-agentkeys-challenge".to_owned(), challenge.to_string()));
    assert_eq!(code(world.attest(&signing).await), Some("evidence_replayed"));
    // signed anew it is still used up
    let again = Signing { expires: 59, ..signing };
    assert_eq!(code(world.attest(&again).await), Some("evidence_replayed"));

    let late = challenges.issue().unwrap();
    world.clock.advance(Duration::from_secs(60));
    let at = NOW + 60;
    let late = Signing { at, ..Signing::challenged(late.as_str()) };
    assert_eq!(code(world.attest(&late).await), Some("use_expired"));
    let theirs = Challenges::new(world.guard.clone(), &Secret::new([8; 32])).with_clock(world.clock.clone());
    let theirs = Signing { at, ..Signing::challenged(theirs.issue().unwrap().as_str()) };
    assert_eq!(code(world.attest(&theirs).await), Some("use_expired"));
    // shown one, signed another
    let (one, other) = (challenges.issue().unwrap(), challenges.issue().unwrap());
    let url = Signing { at, ..Signing::challenged(one.as_str()) }.url();
    let swapped = content(&format!(r#"{{"url":"{url}","challenge":"{other}"}}"#));
    assert_eq!(code(world.attestor.attest(&swapped).await), Some("evidence_rejected"));
    // and neither is used up by that
    for challenge in [one, other] {
        assert!(world.attest(&Signing { at, ..Signing::challenged(challenge.as_str()) }).await.is_ok());
    }
}

#[tokio::test]
async fn w4_an_sts_that_cannot_answer_is_no_refusal_and_says_when_to_come_back() {
    let answer = |status, retry: Option<&str>| {
        let headers = retry.map(|text| ("retry-after".to_owned(), text.to_owned()));
        HttpResponse::new(status, headers.into_iter().collect(), "")
    };
    for (answer, seconds) in [
        (answer(500, None), 1),
        (answer(503, Some("7")), 7),
        (answer(429, Some("0")), 1),
        (answer(429, Some("86400")), 60),
        (answer(429, Some("Fri, 15 Jan 2027 08:00:10 GMT")), 1),
        (xml(400, error_of("ThrottlingException")), 1),
        (xml(200, "<a/>"), 1),
    ] {
        let world = World::new();
        world.sts.always(Some(answer));
        let error = world.attest(&Signing::default()).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("evidence_unjudged", ErrorKind::Unavailable));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds)));
        assert_eq!(world.sts.requests().len(), 1, "nothing is tried again");
    }
    let world = World::new();
    world.sts.set_down(true);
    let error = world.attest(&Signing::default()).await.unwrap_err();
    assert_eq!(told(&error), "the evidence cannot be judged now: the other side did not answer in time");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    // and it was not used up
    world.sts.set_down(false);
    assert!(world.attest(&Signing::default()).await.is_ok());
}

/// Each pin decides: the same good evidence is refused as soon as one of them is another.
#[tokio::test]
async fn w6_w7_every_pin_of_aws_sts_decides() {
    type Change<'c> = &'c dyn Fn(&mut AwsStsPins);
    let changes: [(&str, Change<'_>); 8] = [
        ("evidence_misdirected", &|pins| pins.endpoints = vec![endpoint("global:us-east-1")]),
        ("evidence_misdirected", &|pins| pins.endpoints = vec![endpoint("fips:eu-west-1")]),
        ("evidence_misdirected", &|pins| pins.endpoints = vec![endpoint("regional:eu-west-2")]),
        ("evidence_rejected", &|pins| pins.audience = "other".parse().unwrap()),
        ("evidence_pin", &|pins| pins.roles = vec![named("arn:aws:iam::999999999999:role/agents", "blue")]),
        ("evidence_pin", &|pins| pins.roles = vec![named("arn:aws:iam::123456789012:role/agent", "blue")]),
        ("evidence_pin", &|pins| pins.roles = vec![named("arn:aws:iam::123456789012:role/agents/x", "blue")]),
        ("evidence_pin", &|pins| {
            let role = named("arn:aws:iam::123456789012:role/agents", "blue");
            pins.roles = vec![role.with_unique_id("AROAOLDROLEOLDROLE000".parse().unwrap())];
        }),
    ];
    for (expected, change) in changes {
        let mut pins = pins();
        change(&mut pins);
        let error = World::with(pins, 9).attest(&Signing::default()).await.unwrap_err();
        assert_eq!(error.code(), expected, "{error:?}");
    }
}

#[test]
fn w6_l6_pins_that_are_missing_or_contradict_each_other_are_refused_at_once() {
    let make = |change: &dyn Fn(&mut AwsStsPins)| {
        let (mut pins, world) = (pins(), World::new());
        change(&mut pins);
        AwsStsAttestor::new(pins, world.sts, world.guard).err()
    };
    let self_asserted = |role: &str| StsRole::with_self_asserted_session_names(role.parse().unwrap());
    assert_eq!(make(&|_| ()), None);
    assert_eq!(make(&|pins| pins.endpoints.clear()), Some(AwsStsPinsError::NoEndpoint));
    assert_eq!(make(&|pins| pins.roles.clear()), Some(AwsStsPinsError::NoRole));
    assert_eq!(
        make(&|pins| pins.endpoints.push(endpoint("regional:eu-west-1"))),
        Some(AwsStsPinsError::EndpointTwice)
    );
    let same_host = StsEndpoint::at_host(
        "aws".parse().unwrap(),
        "us-west-2".parse().unwrap(),
        "sts.eu-west-1.amazonaws.com",
    );
    assert_eq!(
        make(&|pins| pins.endpoints.push(same_host.clone().unwrap())),
        Some(AwsStsPinsError::EndpointTwice)
    );
    // of another path it is the same role
    for twice in [
        named("arn:aws:iam::123456789012:role/agents", "red"),
        self_asserted("arn:aws:iam::123456789012:role/x/agents"),
    ] {
        assert_eq!(make(&|pins| pins.roles.push(twice.clone())), Some(AwsStsPinsError::RoleTwice));
    }
    assert_eq!(
        make(&|pins| pins.roles.push(named("arn:aws:iam::999999999999:role/agents", "blue"))),
        Some(AwsStsPinsError::AgentTwice)
    );
    assert_eq!(make(&|pins| pins.roles.push(self_asserted("arn:aws:iam::999999999999:role/agents"))), None);
    assert_eq!(
        make(&|pins| pins.roles.push(named("arn:aws-cn:iam::123456789012:role/agents", "red"))),
        Some(AwsStsPinsError::Partition)
    );
}

/// One partition's STS cannot vouch for another's roles, though both are let in.
#[tokio::test]
async fn w10_l3_an_sts_vouches_for_its_own_partition_only() {
    let mut pins = pins();
    pins.endpoints.push(endpoint("regional:cn-north-1"));
    pins.roles.push(named("arn:aws-cn:iam::123456789012:role/agents", "red"));
    let world = World::with(pins, 9);
    world.sts.knows("arn:aws-cn:sts::123456789012:assumed-role/agents/pod-7", USER_ID, "123456789012");
    let error = world.attest(&Signing::default()).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("evidence_pin", ErrorKind::Denied));
    let china = Signing {
        origin: "https://sts.cn-north-1.amazonaws.com.cn".to_owned(),
        region: "cn-north-1".to_owned(),
        ..Signing::default()
    };
    assert_eq!(world.attest(&china).await.unwrap().agent().as_str(), "red");
}

/// A region newer than this crate, and a VPC endpoint, as the operator names them.
#[tokio::test]
async fn l4_an_endpoint_that_the_operator_names_is_called() {
    for (region, host) in [
        ("xx-moon-1", "sts.xx-moon-1.amazonaws.com"),
        ("eu-west-1", "vpce-0a1b.sts.eu-west-1.vpce.amazonaws.com"),
    ] {
        let mut pins = pins();
        let named = StsEndpoint::at_host("aws".parse().unwrap(), region.parse().unwrap(), host);
        pins.endpoints = vec![named.unwrap()];
        let world = World::with(pins, 9);
        let signing =
            Signing { origin: format!("https://{host}"), region: region.to_owned(), ..Signing::default() };
        assert!(world.attest(&signing).await.is_ok());
        assert!(world.sts.requests()[0].url.starts_with(&format!("https://{host}/?")));
    }
}

#[tokio::test]
async fn r16_two_sides_with_the_same_pins_find_the_same_identity() {
    let identities = [
        World::new().attest(&Signing::default()).await.unwrap(),
        World::new().attest(&Signing::default()).await.unwrap(),
    ];
    assert_eq!(identities[0], identities[1]);
}

#[tokio::test]
async fn r2_evidence_of_another_kind_is_refused_unread_by_aws_sts() {
    let world = World::new();
    let good = Signing::default().evidence();
    let other = Evidence::new(EvidenceKind::from_static("aws-stsweb"), good.expose().to_vec()).unwrap();
    assert!(matches!(world.attestor.attest(&other).await, Err(AttestError::WrongKind)));
    let attestors = Attestors::new().with(world.attestor.clone()).unwrap();
    assert!(matches!(attestors.attest(&other).await, Err(AttestError::UnknownKind)));
    assert!(world.sts.requests().is_empty());
    assert!(attestors.attest(&good).await.is_ok());
}

#[tokio::test]
async fn w46_without_a_clock_nothing_is_asked() {
    #[derive(Debug)]
    struct Stopped;
    impl Clock for Stopped {
        fn now(&self) -> Result<Timestamp, ClockError> {
            Err(ClockError::new())
        }
    }
    let world = World::new();
    let attestor = world.attestor.clone().with_clock(Arc::new(Stopped));
    assert_eq!(attestor.attest(&Signing::default().evidence()).await.unwrap_err().code(), "clock");
    let floor = world.attestor.clone().with_clock(ManualClock::new(CLOCK_FLOOR));
    let error = floor.attest(&Signing::default().evidence()).await.unwrap_err();
    assert_eq!(error.code(), "evidence_not_yet_valid");
    assert!(world.sts.requests().is_empty());
}

/// Nothing of the evidence, the credentials or STS's answer is shown by whatever can be printed.
#[tokio::test]
async fn l29_w4_nothing_of_a_presigned_request_or_its_answer_is_ever_shown() {
    let marked_region = Signing { region: "MARKED".to_owned(), ..Signing::default() };
    let another_host = Signing { origin: "https://marked.example".to_owned(), ..Signing::default() };
    let mut evidence: Vec<_> = [
        Signing::default(),
        marked_region,
        another_host,
        Signing { secret: "MARKED-other".to_owned(), ..Signing::default() },
        Signing { path: "/MARKED".to_owned(), ..Signing::default() },
        Signing { at: NOW - 900, ..Signing::default() },
        Signing::challenged("MARKED"),
    ]
    .iter()
    .map(Signing::evidence)
    .collect();
    evidence.push(content("MARKED"));
    evidence.push(content(r#"{"url":"MARKED"}"#));
    evidence.push(content(r#"{"url":7,"MARKED":"MARKED"}"#));
    let answers = [
        None,
        Some(xml(200, "MARKED")),
        Some(xml(200, "<MARKED>MARKED")),
        Some(xml(403, error_of("MARKED"))),
        Some(HttpResponse::new(302, vec![("location".to_owned(), "https://MARKED".to_owned())], "MARKED")),
        Some(HttpResponse::new(200, vec![("content-type".to_owned(), "MARKED".to_owned())], "MARKED")),
    ];
    let signature = Signing::default().url().split_once("X-Amz-Signature=").unwrap().1[..64].to_owned();
    let secrets = ["MARKED", "marked", &signature, ACCESS_KEY, SECRET, TOKEN, "X-Amz"];
    let mut refused = 0;
    for answer in &answers {
        for evidence in &evidence {
            let world = World::new();
            world.sts.always(answer.clone());
            let mut shown = format!("{:?} {evidence:?} {evidence:#?}", world.attestor);
            match world.attestor.attest(evidence).await {
                Ok(identity) => shown.push_str(&format!("{identity:?}")),
                Err(error) => {
                    refused += 1;
                    shown.push_str(&format!("{error:?} {error:#?} {}", told(&error)));
                }
            }
            shown.push_str(&format!("{:?}", world.sts.requests()));
            for secret in secrets {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
        }
    }
    assert_eq!(refused, answers.len() * evidence.len() - 1);
}

#[tokio::test]
async fn aws_sts_keeps_the_contract_of_attestors() {
    let world = World::new();
    let signed = |change: &dyn Fn(&mut Signing)| {
        let mut signing = Signing::default();
        change(&mut signing);
        signing.evidence()
    };
    let good = [signed(&|_| ()), signed(&|signing| signing.expires = 59)];
    let cases = ContractCases::new(good, world.clock.clone())
        .with_refused("it is signed by another key", signed(&|signing| signing.secret = "x".to_owned()))
        .with_refused("it is for another region", signed(&|signing| signing.region = "eu-west-2".to_owned()))
        .with_refused("it is for nobody", signed(&|signing| signing.headers.clear()))
        .with_refused("it is old", signed(&|signing| signing.at -= 60));
    attestor_contract(&world.attestor, &cases).await;
}
