use std::convert::Infallible;
use std::future::{Ready, ready};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use agentkeys_core::testing::{FakeHttp, ManualClock};
use agentkeys_core::{
    Audience, CacheAges, CachedVerifier, JwksCache, Profile, StaticKeys, TokenCacheSize, Verified, Verifier,
    VerifyLayer,
};
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response};
use serde::Deserialize;
use tower_layer::Layer as _;
use tower_service::Service;

use crate::support::*;

#[derive(Debug, Deserialize)]
struct Claims {
    tenant: String,
}

/// Says who called, and counts how often it was asked.
#[derive(Clone, Debug, Default)]
struct Orders {
    asked: Arc<AtomicUsize>,
}

impl Service<Request<String>> for Orders {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let caller = request.extensions().get::<Verified<Claims>>().expect("who called");
        let said = format!("{} of {}: {}", caller.subject(), caller.claims().tenant, request.body());
        assert!(!format!("{caller:?}{request:?}").contains("eyJ"), "the token is still there");
        assert!(!request.headers().contains_key(AUTHORIZATION));
        let mut answer = Response::new(said);
        answer.extensions_mut().insert(caller.clone());
        ready(Ok(answer))
    }
}

fn good() -> String {
    sign(&with("tenant", "acme"))
}

fn request(authorization: &[&[u8]]) -> Request<String> {
    let mut request = Request::new("a body".to_owned());
    for value in authorization {
        request.headers_mut().append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
    }
    request
}

/// The answer to a request, and how often the service behind the layer was asked.
async fn answer(layer: VerifyLayer<Claims>, request: Request<String>) -> (Response<String>, usize) {
    let orders = Orders::default();
    let mut service = layer.layer(orders.clone());
    std::future::poll_fn(|context| Service::<Request<String>>::poll_ready(&mut service, context))
        .await
        .unwrap();
    let answer = service.call(request).await.unwrap();
    (answer, orders.asked.load(Ordering::SeqCst))
}

/// Status, challenge and `Retry-After` of a refusal, which reaches nobody and says nothing more.
async fn refusal(layer: VerifyLayer<Claims>, request: Request<String>) -> (u16, String, String) {
    let (answer, asked) = answer(layer, request).await;
    assert_eq!((asked, answer.body().as_str()), (0, ""));
    let text = |headers: &HeaderMap, name| {
        headers.get(name).map_or(String::new(), |value: &HeaderValue| value.to_str().unwrap().to_owned())
    };
    let headers = answer.headers();
    assert!(headers.keys().all(|name| [WWW_AUTHENTICATE, RETRY_AFTER].contains(name)), "{headers:?}");
    (answer.status().as_u16(), text(headers, WWW_AUTHENTICATE), text(headers, RETRY_AFTER))
}

fn layer() -> VerifyLayer<Claims> {
    VerifyLayer::new(verifier())
}

fn size() -> TokenCacheSize {
    TokenCacheSize::new(NonZeroUsize::new(10).unwrap(), NonZeroUsize::new(100_000).unwrap())
}

#[tokio::test]
async fn w34_nothing_but_one_bearer_token_is_taken_for_one() {
    let token = good();
    let none = "Bearer realm=\"orders-api\"";
    let request_error = "Bearer realm=\"orders-api\", error=\"invalid_request\"";
    for (status, challenge, headers) in [
        (401, none, vec![]),
        (401, none, vec![String::new()]),
        (401, none, vec![token.clone()]),
        (401, none, vec![format!("Basic {token}")]),
        (401, none, vec![format!("DPoP {token}")]),
        (401, none, vec![format!(" Bearer {token}")]),
        (401, none, vec![format!("Bearer\t{token}")]),
        (401, none, vec![format!("BearerX {token}")]),
        (400, request_error, vec!["Bearer".to_owned()]),
        (400, request_error, vec!["Bearer ".to_owned()]),
        (400, request_error, vec![format!("Bearer  {token}")]),
        (400, request_error, vec![format!("Bearer {token} ")]),
        (400, request_error, vec![format!("Bearer {token},Bearer {token}")]),
        (400, request_error, vec![format!("Bearer \"{token}\"")]),
        (400, request_error, vec![format!("Bearer {token}\u{e9}")]),
        (400, request_error, vec![format!("Bearer {token}"), format!("Bearer {token}")]),
        (400, request_error, vec![format!("Bearer {token}"), String::new()]),
        (400, request_error, vec!["Basic x".to_owned(), format!("Bearer {token}")]),
    ] {
        let lines: Vec<_> = headers.iter().map(|line| line.as_bytes()).collect();
        let refused = refusal(layer(), request(&lines)).await;
        assert_eq!(refused, (status, challenge.to_owned(), String::new()), "{headers:?}");
    }
}

#[tokio::test]
async fn w34_a_token_anywhere_else_is_none() {
    for uri in ["/orders?access_token=", "/orders?authorization=Bearer+"] {
        let mut elsewhere = request(&[]);
        *elsewhere.uri_mut() = format!("{uri}{}", good()).parse().unwrap();
        *elsewhere.body_mut() = format!("access_token={}", good());
        let cookie = format!("access_token={}", good()).parse().unwrap();
        elsewhere.headers_mut().insert("cookie", cookie);
        elsewhere.headers_mut().insert("proxy-authorization", format!("Bearer {}", good()).parse().unwrap());
        assert_eq!(refusal(layer(), elsewhere).await.0, 401);
    }
}

#[tokio::test]
async fn a_refused_token_gets_401_and_a_code_and_nobody_behind_sees_it() {
    let with_tenant = |name: &str, value: serde_json::Value| {
        let mut claims = with("tenant", "acme");
        claims[name] = value;
        sign(&claims)
    };
    let mut forged = good();
    let last = if forged.pop() == Some('A') { 'Q' } else { 'A' };
    forged.push(last);
    for (code, token) in [
        ("token_malformed", "a.b".to_owned()),
        ("token_malformed", "a".repeat(20_000)),
        ("token_signature", forged),
        ("token_audience", with_tenant("aud", "billing-api".into())),
        ("token_several_audiences", with_tenant("aud", serde_json::json!([AUDIENCE, "billing-api"]))),
        ("token_expired", with_tenant("exp", (NOW - 30).into())),
        ("token_not_yet_valid", with_tenant("nbf", (NOW + 31).into())),
        ("token_issuer", with_tenant("iss", "https://other.example".into())),
        ("token_signature", other().sign(agentkeys_core::jose::Algorithm::Es256, &with("tenant", "acme"))),
        // the service's own claims are claims as well
        ("token_claims", sign(&claims())),
        ("token_claims", with_tenant("tenant", 7.into())),
    ] {
        for layer in [layer(), VerifyLayer::remembering(CachedVerifier::new(verifier(), size()))] {
            let refused = refusal(layer, request(&[format!("Bearer {token}").as_bytes()])).await;
            let challenge =
                format!("Bearer realm=\"orders-api\", error=\"invalid_token\", error_description=\"{code}\"");
            assert_eq!(refused, (401, challenge, String::new()));
        }
    }
}

#[tokio::test]
async fn l28_without_fresh_keys_the_answer_is_503_and_never_a_pass() {
    let (http, clock) = (FakeHttp::new(), clock());
    let keys = || {
        let issuer = fake().issuer().clone();
        let cache = JwksCache::with_settings(issuer, http.clone(), clock.clone(), CacheAges::default());
        let profile = Profile::oidc(fake().issuer().clone(), Arc::new(cache));
        Verifier::new(profile, Audience::parse(AUDIENCE).unwrap()).with_clock(clock.clone())
    };
    let good = request(&[format!("Bearer {}", good()).as_bytes()]);
    for layer in [VerifyLayer::new(keys()), VerifyLayer::remembering(CachedVerifier::new(keys(), size()))] {
        let (status, challenge, retry_after) = refusal(layer.clone(), good.clone()).await;
        assert_eq!((status, challenge.as_str()), (503, ""));
        assert!(retry_after.parse::<u64>().unwrap() >= 1);
        // what fails before any key is looked at is still the token's fault
        assert_eq!(refusal(layer, request(&[b"Bearer a.b"])).await.0, 401);
    }
    // a token that needs keys fetched gets them, and then passes
    fake().publish(&http);
    let (passed, asked) = answer(VerifyLayer::new(keys()), good).await;
    assert_eq!((passed.status().as_u16(), asked), (200, 1));
}

#[tokio::test]
async fn a_clock_that_nobody_set_is_our_fault() {
    let keys = Arc::new(StaticKeys::new(fake().key_set()));
    let verifier =
        Verifier::new(Profile::oidc(fake().issuer().clone(), keys), Audience::parse(AUDIENCE).unwrap())
            .with_clock(Arc::new(NoClock));
    let good = request(&[format!("Bearer {}", good()).as_bytes()]);
    let refused = refusal(VerifyLayer::new(verifier), good).await;
    assert_eq!(refused, (500, String::new(), String::new()));
}

#[tokio::test]
async fn a_good_token_gets_through_and_stays_behind() {
    let clock = ManualClock::new(at(NOW));
    let cached = VerifyLayer::remembering(CachedVerifier::new(verifier().with_clock(clock.clone()), size()));
    for layer in [layer(), cached.clone()] {
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let good = request(&[format!("{scheme} {}", good()).as_bytes()]);
            let (passed, asked) = answer(layer.clone(), good).await;
            assert_eq!((passed.status().as_u16(), asked), (200, 1));
            assert_eq!(passed.body(), "system:serviceaccount:acme:blue of acme: a body");
        }
    }
    // what is remembered ends as well
    let kept = request(&[format!("Bearer {}", good()).as_bytes()]);
    assert_eq!(answer(cached.clone(), kept.clone()).await.1, 1);
    clock.advance(std::time::Duration::from_secs(331));
    assert_eq!(refusal(cached, kept).await.0, 401);
}

#[tokio::test]
async fn what_stood_in_the_extensions_before_counts_for_nothing() {
    let mut claims = with("tenant", "acme");
    claims["sub"] = "red".into();
    let red = request(&[format!("Bearer {}", sign(&claims)).as_bytes()]);
    let (passed, _) = answer(layer(), red).await;
    assert_eq!(passed.body(), "red of acme: a body");
    let red: Verified<Claims> = passed.extensions().get().cloned().unwrap();

    let mut without_token = request(&[]);
    without_token.extensions_mut().insert(red.clone());
    assert_eq!(refusal(layer(), without_token).await.0, 401);
    let mut blue = request(&[format!("Bearer {}", good()).as_bytes()]);
    blue.extensions_mut().insert(red);
    assert!(answer(layer(), blue).await.0.body().starts_with("system:serviceaccount:acme:blue"));
}

#[tokio::test]
async fn l29_neither_layer_nor_service_shows_a_token() {
    let cached = CachedVerifier::<Claims>::new(verifier(), size());
    cached.verify(&good()).await.unwrap();
    let layer = VerifyLayer::remembering(cached);
    let service = layer.layer(Orders::default());
    let shown = format!("{layer:?} {layer:#?} {service:?}");
    assert!(shown.contains("VerifyLayer") && !shown.contains(good().split('.').nth(1).unwrap()));
}
