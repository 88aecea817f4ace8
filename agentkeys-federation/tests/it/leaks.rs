//! L29, R96: no secret in `Debug`, `Display` or an error of anything that this crate gives out.

use std::error::Error;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::sync::Arc;

use agentkeys_core::{Attestors, Evidence};
use agentkeys_federation::{
    Broker, CredentialCache, CredentialSource, DataClass, ExchangeError, Exchanger, Intent, Outcome,
    SessionKey, Tenant, TenantPolicy, vend,
};

use crate::assume::{IN_TIME, Scene, answer, exchanged, long_lived};
use crate::audit::memory;
use crate::support::{Counting, NOW, STS, World, failure, success};

#[tokio::test(start_paused = true)]
async fn l29_no_secret_is_shown_anywhere() {
    let world = World::new();
    let token = world.token().await;
    let mut shown = format!("{token:?} {:?} {:?}", world.session, world.exchanger);

    world.http.answer(STS, 200, success(&token, world.session.role(), "2027-01-15T08:15:00Z"));
    let credentials = world.exchanger.exchange(&token, &world.session).await.unwrap();
    write!(shown, "{credentials:?} {:?}", credentials.session_token()).unwrap();
    for answer in [failure("AccessDenied"), failure("MARKED-code"), "MARKED-upstream".to_owned()] {
        for status in [200, 400, 403, 500] {
            world.http.answer(STS, status, answer.clone());
            let error = world.exchanger.exchange(&token, &world.session).await.unwrap_err();
            show(&mut shown, &error);
        }
    }
    let exchanger = Arc::new(world.exchanger.clone());
    let (minter, identity, session) = (world.minter.clone(), world.identity.clone(), world.session.clone());
    let source = CredentialSource::new(minter, exchanger, identity, session).with_clock(world.clock.clone());
    let error = source.credentials().await.unwrap_err();
    show(&mut shown, &error);
    write!(shown, "{source:?} {:?} {}", world.http.requests(), vend::container_error(&error).1).unwrap();

    let exchanger = Counting::new(&world);
    let cache = CredentialCache::new(world.minter.clone(), exchanger.clone(), NonZeroUsize::MIN)
        .with_clock(world.clock.clone());
    let kept = cache.credentials(&world.identity, &world.session).await.unwrap();
    let key = SessionKey::of(&world.identity, &world.session);
    write!(shown, "{cache:?} {key:?} {exchanger:?}").unwrap();
    let audit = memory(10);
    let policy = TenantPolicy::new().with_role(DataClass::Memory, world.session.role().clone());
    let tenant = Tenant::unnamed(world.identity.trust_root().clone());
    let broker = Broker::new(Attestors::new(), cache, audit.clone()).with_tenant(tenant, policy).unwrap();
    let brokered = broker.credentials(&world.identity, DataClass::Memory).await.unwrap();
    let released = broker.token(&world.identity, DataClass::Memory).await.unwrap();
    write!(shown, "{broker:?} {brokered:?} {released:?} {audit:?} {:?}", audit.rows()).unwrap();
    exchanger.fail(Some(ExchangeError::Answer("another role")));
    broker.forget(&world.identity, DataClass::Memory);
    show(&mut shown, &broker.credentials(&world.identity, DataClass::Memory).await.unwrap_err());
    let evidence = Evidence::new(world.identity.kind().clone(), "MARKED-evidence").unwrap();
    show(&mut shown, &broker.attest(&evidence).await.unwrap_err());
    show(&mut shown, &broker.resume("MARKED-session").await.unwrap_err());
    let (container, process) = (vend::container(&kept).unwrap(), vend::process(&kept).unwrap());
    let environment = vend::Environment::of(&kept).unwrap();
    write!(shown, "{container:?} {process:?} {environment:?} {:?}", environment.to_shell()).unwrap();
    for vended in [container.expose(), process.expose(), environment.to_shell().expose()] {
        assert!(
            vended.contains("MARKED-secret") && vended.contains("MARKED-session"),
            "vending exposes them"
        );
    }

    assumptions(&mut shown).await;

    let signature = token.expose().rsplit('.').next().unwrap();
    for secret in ["MARKED", token.expose(), released.expose(), signature] {
        assert!(!shown.contains(secret), "a secret is shown");
    }
    assert!(shown.contains("ASIAEXAMPLE"), "the access key id is not a secret and joins to CloudTrail");
}

/// What the session broker is asked with, gives out and fails with.
async fn assumptions(shown: &mut String) {
    let scene = Scene::new();
    let (http, identity) = (&scene.world.http, &scene.world.identity);
    write!(shown, "{:?} {:?}", scene.broker, scene.session).unwrap();
    for base in [exchanged(), long_lived()] {
        assert!(format!("{base:?}").contains("BASE"), "an access key id is shown");
        let intent = Intent::assume(NOW, identity, &scene.session, &base);
        write!(shown, "{base:?} {base:#?} {intent:?}").unwrap();
        http.answer(STS, 200, answer(&scene.session, IN_TIME));
        let credentials = scene.broker.assume(identity, &base, &scene.session).await.unwrap();
        write!(shown, "{credentials:?} {:?}", Outcome::credentials(NOW, &credentials)).unwrap();
        for answer in [failure("AccessDenied"), failure("MARKED-code"), "MARKED-upstream".to_owned()] {
            for status in [200, 400, 403, 500] {
                http.answer(STS, status, answer.clone());
                let error = scene.broker.assume(identity, &base, &scene.session).await.unwrap_err();
                show(shown, &error);
                write!(shown, "{:?}", Outcome::of_assumption(NOW, error)).unwrap();
            }
        }
    }
}

fn show(shown: &mut String, error: &(dyn Error + 'static)) {
    write!(shown, "{error} {error:?}").unwrap();
    if let Some(source) = error.source() {
        show(shown, source);
    }
}
