//! Whether the broker can do its work: its keys, its clock, its audit log, what it publishes. Nothing of it
//! needs a principal of AWS (W63).

use agentkeys_core::Timestamp;
use agentkeys_core::jose::{KeyId, KeySet, TablesHealth};
use serde::Serialize;

use super::app::App;

/// The state of each part.
#[derive(Debug, Serialize)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    components: Components,
}

#[derive(Debug, Serialize)]
struct Components {
    keys: Component,
    clock: Component,
    audit: Component,
    jwks: Component,
}

#[derive(Debug, Serialize)]
struct Component {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Component {
    fn ready(detail: impl Into<String>) -> Self {
        Self { ready: true, detail: Some(detail.into()) }
    }

    fn failing(detail: &'static str) -> Self {
        Self { ready: false, detail: Some(detail.to_owned()) }
    }
}

impl Readiness {
    pub(crate) async fn of(app: &App) -> Self {
        let signing = app.signing();
        let signature = signing.keys.oidc.active().sign(PROBE).await;
        let kid = signing.keys.oidc.active().public_jwk().kid();
        let keys = keys(signature.is_ok(), kid, &app.tables());
        let jwks = match signature {
            Ok(signature) => published(signing.jwks.body(), kid, &signature),
            Err(_) => Component::failing("there is no signature to check"),
        };
        let (clock, audit) = match app.clock.now() {
            Ok(now) => (Component::ready(now.as_unix().to_string()), audit(app, now)),
            Err(_) => (Component::failing("there is no time"), Component::failing("there is no time")),
        };
        let ready = keys.ready && clock.ready && audit.ready && jwks.ready;
        Self { ready, components: Components { keys, clock, audit, jwks } }
    }
}

fn keys(signs: bool, kid: &KeyId, tables: &TablesHealth) -> Component {
    if tables.wrongly_accepted > 0 {
        Component::failing(TABLE_ACCEPTED)
    } else if signs {
        Component::ready(format!("signing with {}", kid.as_str()))
    } else {
        Component::failing("the signing key does not sign")
    }
}

/// What is published verifies what is signed, as a stranger would find it.
fn published(jwks: &[u8], kid: &KeyId, signature: &[u8; 64]) -> Component {
    let Ok(set) = KeySet::parse(jwks) else {
        return Component::failing("the published key set cannot be read");
    };
    match set.by_kid(kid.as_str()) {
        Some(jwk) if jwk.key().verifies(PROBE, signature) => {
            Component::ready(format!("{} published", set.keys().len()))
        }
        _ => Component::failing("the signing key is not published"),
    }
}

fn audit(app: &App, now: Timestamp) -> Component {
    if app.audit.takes_rows(now) {
        Component::ready("takes rows")
    } else {
        Component::failing("took no row just now")
    }
}

/// Such tokens may have been accepted before.
const TABLE_ACCEPTED: &str =
    "a key's table accepted what the cryptographic library refuses: turn key_tables off";

/// What is signed to see whether the key signs: no JWT's signing input begins like this.
const PROBE: &[u8] = b"agentkeys readiness probe";

#[cfg(test)]
mod tests {
    use agentkeys_core::{LocalSigner, SystemRandom, TokenSigner as _};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_broker_whose_tables_accepted_what_they_must_not_or_whose_key_does_not_sign_is_not_ready() {
        let (signer, _pem) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let (kid, mut tables) = (signer.public_jwk().kid(), TablesHealth::default());
        tables.wrongly_refused = 1;
        assert!(keys(true, kid, &tables).ready);
        assert!(!keys(false, kid, &tables).ready);
        tables.wrongly_accepted = 1;
        assert!(!keys(true, kid, &tables).ready);
    }

    #[tokio::test]
    async fn w63_a_broker_whose_keys_are_not_those_it_publishes_is_not_ready() {
        let signer = || LocalSigner::generate(&SystemRandom::new()).unwrap().0;
        let (ours, other) = (signer(), signer());
        let set = |signer: &LocalSigner| json!({ "keys": [signer.public_jwk()] }).to_string();
        let (kid, signature) = (ours.public_jwk().kid(), ours.sign(PROBE).await.unwrap());
        assert!(published(set(&ours).as_bytes(), kid, &signature).ready);
        assert!(!published(set(&other).as_bytes(), kid, &signature).ready);
        assert!(!published(set(&ours).as_bytes(), kid, &other.sign(PROBE).await.unwrap()).ready);
        assert!(!published(b"{}", kid, &signature).ready);
    }
}
