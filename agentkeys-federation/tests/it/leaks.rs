//! L29, R96: no secret in `Debug`, `Display` or an error of anything that this crate gives out.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use agentkeys_federation::{CredentialSource, Exchanger};

use crate::support::{STS, World, failure, success};

#[tokio::test(start_paused = true)]
async fn l29_no_secret_is_shown_anywhere() {
    let world = World::new();
    let token = world.token().await;
    let mut shown = format!("{token:?} {:?} {:?}", world.session, world.exchanger);

    world.http.answer(STS, 200, success(&token, world.session.role(), "2027-01-15T08:15:00Z"));
    let credentials = world.exchanger.exchange(&token, &world.session).await.unwrap();
    write!(shown, "{credentials:?} {:?}", credentials.session_token()).unwrap();
    for answer in [failure("AccessDenied"), failure("Other"), "MARKED-upstream".to_owned()] {
        for status in [200, 400, 403, 500] {
            world.http.answer(STS, status, answer.clone());
            let error = world.exchanger.exchange(&token, &world.session).await.unwrap_err();
            show(&mut shown, &error);
        }
    }
    let exchanger = Arc::new(world.exchanger.clone());
    let (minter, identity, session) = (world.minter.clone(), world.identity.clone(), world.session.clone());
    let source = CredentialSource::with_clock(minter, exchanger, identity, session, world.clock.clone());
    let error = source.credentials().await.unwrap_err();
    show(&mut shown, &error);
    write!(shown, "{source:?} {:?}", world.http.requests()).unwrap();

    let signature = token.expose().rsplit('.').next().unwrap();
    for secret in ["MARKED", token.expose(), signature] {
        assert!(!shown.contains(secret), "a secret is shown");
    }
    assert!(shown.contains("ASIAEXAMPLE"), "the access key id is not a secret and joins to CloudTrail");
}

fn show(shown: &mut String, error: &(dyn Error + 'static)) {
    write!(shown, "{error} {error:?}").unwrap();
    if let Some(source) = error.source() {
        show(shown, source);
    }
}
