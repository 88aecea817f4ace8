use agentkeys_core::{Audience, ExtraClaims, MintRequest, Timestamp};
use agentkeys_federation::{ExchangeError, Exchanger as _, MinioExchanger, RoleSession, SourceIdentity};

use crate::support::{World, failure};

const URL: &str = "http://127.0.0.1:9000/";

fn exchanger(world: &World) -> MinioExchanger {
    MinioExchanger::new("us-east-1".parse().unwrap(), world.http.clone(), URL)
        .with_clock(world.clock.clone())
        .with_random(std::sync::Arc::new(world.jitter))
}

/// MinIO's answer: an assumed role without a name, and the token's subject.
fn success(subject: &str) -> String {
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn></Arn><AssumeRoleId></AssumeRoleId>\
         </AssumedRoleUser><Credentials><AccessKeyId>KEY</AccessKeyId>\
         <SecretAccessKey>MARKED-secret</SecretAccessKey><Expiration>2027-01-15T08:15:00Z</Expiration>\
         <SessionToken>MARKED-session</SessionToken></Credentials>\
         <SubjectFromWebIdentityToken>{subject}</SubjectFromWebIdentityToken>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
}

#[tokio::test]
async fn minios_answer_names_no_role_and_is_taken_for_the_tokens_subject() {
    let world = World::new();
    let token = world.token().await;
    world.http.answer(URL, 200, success(world.identity.subject().as_str()));
    let credentials = exchanger(&world).exchange(&token, &world.session).await.unwrap();
    assert_eq!(credentials.expires_at(), Timestamp::from_unix(1_800_000_900));
    assert_eq!(credentials.session_token().expose(), "MARKED-session");
    // AWS names the role in every answer, so this one is none of AWS's
    world.http.answer(crate::support::STS, 200, success(world.identity.subject().as_str()));
    let refused = world.exchanger.exchange(&token, &world.session).await.unwrap_err();
    assert!(matches!(refused, ExchangeError::Answer(_)), "{refused:?}");
}

#[tokio::test]
async fn w81_each_lie_of_minio_is_refused() {
    let world = World::new();
    let token = world.token().await;
    let good = success(world.identity.subject().as_str());
    let arn = |arn: &str| good.replace("<Arn></Arn>", &format!("<Arn>{arn}</Arn>"));
    let session = world.session.role().session_arn(&agentkeys_federation::RoleSessionName::of_token(&token));
    for (name, answer) in [
        ("another subject", success("aws-stsweb/x//red")),
        ("an empty subject", success("")),
        ("no subject", good.replace("SubjectFromWebIdentityToken", "Unknown")),
        ("another role", arn("arn:aws:sts::123456789012:assumed-role/agentkeys-vault-role/x")),
        ("another session", arn(&session.replace("/ak-", "/ak-x"))),
        (
            "an attribution that nobody asked for",
            good.replace("<Credentials>", "<SourceIdentity>alice</SourceIdentity><Credentials>"),
        ),
        ("expired", good.replace("08:15:00", "08:00:00")),
        ("far longer than asked", good.replace("08:15:00", "08:25:01")),
        ("no secret", good.replace("MARKED-secret", "")),
        ("no credentials", good.replace("Credentials>", "Unknown>")),
        ("not XML", "{}".to_owned()),
    ] {
        world.http.answer(URL, 200, answer);
        let refused = exchanger(&world).exchange(&token, &world.session).await.unwrap_err();
        assert!(matches!(refused, ExchangeError::Answer(_)), "{name}: {refused:?}");
        assert!(!format!("{refused} {refused:?}").contains("MARKED"), "{name}");
    }
    world.http.answer(URL, 200, arn(&session));
    exchanger(&world).exchange(&token, &world.session).await.unwrap();
}

/// MinIO takes the policy from the token, so a token for another role would open that one under this one's name.
#[tokio::test]
async fn l25_a_token_that_is_not_for_this_role_alone_is_not_even_sent_to_minio() {
    let world = World::new();
    world.http.answer(URL, 200, success(world.identity.subject().as_str()));
    let (role, roles) = (world.session.role().as_str(), "https://aws.amazon.com/roles");
    let other = "arn:aws:iam::123456789012:role/agentkeys-vault-role";
    let none = ExtraClaims::new();
    for (name, claims) in [
        ("no role", none.clone()),
        ("another role", none.clone().with(roles, [other]).unwrap()),
        ("two roles", none.clone().with(roles, [role, other]).unwrap()),
        ("this role twice", none.clone().with(roles, [role, role]).unwrap()),
        ("an empty list", none.clone().with(roles, [""; 0]).unwrap()),
        ("roles in one text", none.with(roles, format!("{role};{other}")).unwrap()),
    ] {
        let request = MintRequest::new(Audience::parse("sts.amazonaws.com").unwrap()).with_claims(claims);
        let token = world.minter.mint(&world.identity, request).await.unwrap();
        let refused = exchanger(&world).exchange(&token, &world.session).await;
        assert_eq!(refused.unwrap_err(), ExchangeError::TokenInvalid, "{name}");
    }
    let attributed =
        world.session.clone().with_source_identity(SourceIdentity::agent("acme", "one").unwrap());
    let refused = exchanger(&world).exchange(&world.token().await, &attributed).await;
    assert_eq!(refused.unwrap_err(), ExchangeError::Refused, "MinIO would drop the source identity");
    assert_eq!(world.http.requests().len(), 0);
    let session = RoleSession::new(world.session.role().clone());
    exchanger(&world).exchange(&world.token().await, &session).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn w64_minios_codes_have_their_errors() {
    for (status, code, error) in [
        (400, "InvalidParameterValue", ExchangeError::TokenInvalid),
        (400, "ExpiredToken", ExchangeError::TokenExpired),
        (403, "AccessDenied", ExchangeError::Denied),
        (400, "MissingParameter", ExchangeError::Refused),
        (503, "STSIAMNotInitialized", ExchangeError::Unavailable),
        (500, "InternalError", ExchangeError::Unavailable),
    ] {
        let world = World::new();
        world.http.answer(URL, status, failure(code));
        let refused = exchanger(&world).exchange(&world.token().await, &world.session).await;
        assert_eq!(refused.unwrap_err(), error, "{code}");
    }
}
