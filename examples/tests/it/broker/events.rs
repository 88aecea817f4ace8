use serde_json::{Value, json};

use super::support::{Answer, World, ask, members};

async fn events(world: &World, agent: &str, shown: &str) -> Answer {
    world.get(&format!("/v1/events/{agent}"), &[("authorization", &format!("Bearer {shown}"))]).await
}

fn types(answer: &Answer) -> Vec<String> {
    let events = answer.json()["events"].as_array().unwrap().clone();
    events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r22_r23_the_timeline_has_the_registration_with_its_issuer_and_all_that_was_issued() {
    let world = World::start().await;
    let session = world.session("blue").await;
    world.mint("/v1/mint-oidc-jwt", &session).await;
    world.mint("/v1/mint-aws-creds/memory", &session).await;
    world.mint("/v1/mint-aws-creds/config", &session).await;
    let answer = events(&world, "blue", &session).await;
    assert_eq!(types(&answer), ["registered", "token_issued", "credentials_issued", "refused"]);
    let told = answer.json()["events"].as_array().unwrap().clone();
    assert_eq!(told[0]["payload"]["issuer"], "aws-stsweb");
    assert_eq!(told[1]["payload"]["class"], "data");
    assert_eq!(told[2]["payload"]["class"], "memory");
    assert_eq!(told[3]["payload"], json!({ "class": "config", "code": "class_not_allowed" }));
    for event in &told {
        assert_eq!(members(event), ["id", "payload", "source", "subject", "timestamp", "type"]);
        assert_eq!(event["subject"], world.demo.identity("blue").await.unwrap().subject().as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w35_no_event_holds_a_token_or_a_credential() {
    let world = World::start().await;
    let evidence = world.evidence("blue").await;
    let session = world.attest("aws-stsweb", &evidence).await.json()["session"].as_str().unwrap().to_owned();
    let token = world.mint("/v1/mint-oidc-jwt", &session).await.json();
    let credentials = world.mint("/v1/mint-aws-creds", &session).await.json();
    let told = events(&world, "blue", &session).await.body;
    let secret = |value: &Value| value.as_str().unwrap().to_owned();
    for secret in [
        evidence,
        session,
        secret(&token["jwt"]),
        secret(&credentials["secret_access_key"]),
        secret(&credentials["session_token"]),
    ] {
        assert!(secret.len() > 20);
        // nor any part of it that is worth having
        for part in secret.split('.').chain([secret.as_str()]).filter(|part| part.len() > 20) {
            assert!(!told.contains(part));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r22_only_the_agent_itself_and_the_operator_read_its_events() {
    let world = World::start().await;
    let (blue, red) = (world.session("blue").await, world.session("red").await);
    let absent = events(&world, "nobody", &blue).await;
    assert_eq!(absent.refusal(), (404, "not_found".into(), "not_found".into()));
    // an agent that exists and one that does not look the same
    let foreign = events(&world, "red", &blue).await;
    assert_eq!((foreign.status, &foreign.body), (absent.status, &absent.body));
    assert_eq!(types(&events(&world, "red", &red).await), ["registered"]);
    for bad in ["..", "%2e%2e", "red%00", "%ff"] {
        assert!([400, 404].contains(&events(&world, bad, &blue).await.status), "{bad}");
    }
    let unasked = world.get("/v1/events/red", &[]).await;
    assert_eq!(unasked.refusal().2, "authorization_missing");

    let operator = world.operator_token();
    assert_eq!(types(&events(&world, "red", &operator).await), ["registered"]);
    assert_eq!(events(&world, "nobody", &operator).await.status, 404);
    let path = "/v1/events/red";
    let there =
        ask(world.operator(), "GET", path, &[("authorization", &format!("Bearer {operator}"))], b"").await;
    assert_eq!(there.status, 200);
    for wrong in [&operator[1..], &operator.to_uppercase(), &format!("{operator}0"), "0"] {
        assert_eq!(events(&world, "red", wrong).await.status, 401, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r25_the_walk_is_repeated_without_anything_being_set_up_anew() {
    let mut world = World::start().await;
    // the second broker finds the keys, the log and the token of the first
    for _ in 0..2 {
        for walked in 1..=3 {
            let session = world.session("blue").await;
            assert_eq!(world.mint("/v1/mint-aws-creds/memory", &session).await.status, 200);
            let told = types(&events(&world, "blue", &session).await);
            assert_eq!(told, ["registered", "credentials_issued"].repeat(walked));
        }
        world = world.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn w29_agents_of_one_name_under_two_roots_read_each_their_own_events() {
    let world = World::start().await;
    let pod = world.session("green").await;
    let challenge = world.post("/v1/attest/challenge", &[], "").await.json();
    let source = world.demo.green().unwrap();
    let evidence = source.fetch_with_challenge(challenge["challenge"].as_str().unwrap()).await.unwrap();
    let answer = world.attest("aws-sts", std::str::from_utf8(evidence.expose()).unwrap()).await.json();
    let role = answer["session"].as_str().unwrap();
    for (session, issuer) in [(pod.as_str(), "aws-stsweb"), (role, "aws-sts")] {
        let told = events(&world, "green", session).await.json()["events"].clone();
        assert_eq!((told.as_array().unwrap().len(), &told[0]["payload"]["issuer"]), (1, &json!(issuer)));
    }
    assert_eq!(types(&events(&world, "green", &world.operator_token()).await), ["registered", "registered"]);
}
