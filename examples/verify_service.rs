//! A service that takes an agent for who its token says it is: any issuer's tokens, so the example broker's too.
//!
//! ```text
//! cargo run -p agentkeys-examples --example verify_service -- https://broker.example.org orders-api
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/orders
//! ```
//!
//! What is special to it are the fifteen lines of [`app`], [`Claims`] and [`orders`]; all that a caller can do
//! wrong is answered before them.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use agentkeys_core::{
    Audience, HttpSettings, Issuer, JwksCache, KeySource, Profile, ReqwestClient, TrustStore, Verified,
    Verifier, VerifyLayer,
};
use agentkeys_examples::Failure;
use axum::routing::get;
use axum::{Extension, Router};
use serde::Deserialize;
use tokio::net::TcpListener;

/// The routes, none of them open.
fn app(issuer: Issuer, audience: Audience, keys: Arc<dyn KeySource>) -> Router {
    let verifier = Verifier::new(Profile::oidc(issuer, keys), audience);
    Router::new().route("/orders", get(orders)).layer(VerifyLayer::<Claims>::new(verifier))
}

/// What this service reads of a token beside the registered claims.
#[derive(Debug, Deserialize)]
struct Claims {
    department: Option<String>,
}

async fn orders(Extension(caller): Extension<Verified<Claims>>) -> String {
    let department = caller.claims().department.as_deref().unwrap_or("no");
    format!("the orders of {}, {department} department\n", caller.subject())
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match serve(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "verify_service: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: &[String]) -> Result<(), Failure> {
    let [issuer, audience] = arguments else { return Err("usage: verify_service ISSUER AUDIENCE".into()) };
    let issuer = Issuer::parse(issuer).or_else(|_| Issuer::loopback_http_for_tests(issuer))?;
    let http = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::system()))?);
    let keys = Arc::new(JwksCache::discover(issuer.clone(), http));
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    writeln!(std::io::stdout(), "verify_service: http://{}/orders", listener.local_addr()?)?;
    Ok(axum::serve(listener, app(issuer, audience.parse()?, keys)).await?)
}

#[cfg(test)]
mod tests {
    use agentkeys_core::testing::FakeIssuer;
    use agentkeys_core::{
        Clock as _, HttpClient as _, HttpRequest, HttpResponse, StaticKeys, SystemClock, jose::Algorithm,
    };
    use serde_json::{Value, json};

    use super::*;

    fn claims(issuer: &FakeIssuer) -> Value {
        let now = SystemClock::new().now().unwrap().as_unix();
        json!({
            "iss": issuer.issuer().as_str(), "sub": "blue", "aud": "orders-api", "iat": now, "exp": now + 60,
            "department": "finance",
        })
    }

    async fn ask(address: &str, authorization: &str) -> HttpResponse {
        let http = ReqwestClient::new(HttpSettings::new(TrustStore::nobody())).unwrap();
        let request = HttpRequest::get(format!("http://{address}/orders"), 1024);
        http.send(request.with_header("authorization", authorization)).await.unwrap()
    }

    #[tokio::test]
    async fn only_a_token_of_the_issuer_for_this_service_reaches_the_orders() {
        let issuer = FakeIssuer::new("https://broker.example.org".parse().unwrap());
        let keys = Arc::new(StaticKeys::new(issuer.key_set()));
        let app = app(issuer.issuer().clone(), "orders-api".parse().unwrap(), keys);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await });

        let (mut elsewhere, mut over) = (claims(&issuer), claims(&issuer));
        elsewhere["aud"] = "billing-api".into();
        (over["iat"], over["exp"]) = (1_700_000_000.into(), 1_700_000_060.into());
        for refused in [&elsewhere, &over] {
            let answer = ask(&address, &format!("Bearer {}", issuer.sign(Algorithm::Es256, refused))).await;
            assert_eq!((answer.status, answer.body.len()), (401, 0));
            assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"));
        }
        let token = issuer.sign(Algorithm::Es256, &claims(&issuer));
        assert_eq!(ask(&address, &token).await.status, 401);
        let answer = ask(&address, &format!("Bearer {token}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, b"the orders of blue, finance department\n");
    }
}
