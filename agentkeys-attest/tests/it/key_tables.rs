//! Every attestor of tokens verifies with the tables that the host gave, and with none where it gave none.

use std::sync::Arc;

use agentkeys_attest::aws_stsweb::{AWS_STSWEB, StsWebAttestor};
use agentkeys_attest::oidc::{OIDC, OidcAttestor, OidcKeys};
use agentkeys_attest::spire::{SPIFFE_SVID, SpireAttestor};
use agentkeys_core::jose::{Algorithm, KeyTables, TablesHealth, VERIFIES_BEFORE_TABLE};
use agentkeys_core::testing::{FakeHttp, ManualClock};
use agentkeys_core::{Attestor, Evidence, EvidenceKind, StaticKeys, Timestamp};

use crate::oidc_support::{ISSUERS, TABLE, from_settings, pods};
use crate::support::{ISSUED, NOW, claims, pins};
use crate::{spire, support};

async fn attest_often(attestor: &dyn Attestor, kind: &EvidenceKind, token: &str) {
    let evidence = Evidence::new(kind.clone(), token).unwrap();
    for _ in 0..VERIFIES_BEFORE_TABLE {
        attestor.attest(&evidence).await.unwrap();
    }
}

fn settled(tables: &KeyTables) -> TablesHealth {
    while tables.health().building > 0 {
        std::thread::yield_now();
    }
    tables.health()
}

fn clock() -> Arc<ManualClock> {
    ManualClock::new(Timestamp::from_unix(NOW))
}

fn keys() -> Arc<StaticKeys> {
    Arc::new(StaticKeys::new(ISSUED.key_set()))
}

#[tokio::test]
async fn tokens_of_sts_are_verified_with_the_tables_that_the_host_gave() {
    let token = ISSUED.sign(Algorithm::Es384, &claims());
    let new = || StsWebAttestor::new(pins(), FakeHttp::new()).unwrap();
    let tables = KeyTables::on();
    attest_often(&new().with_keys(keys()).with_clock(clock()), &AWS_STSWEB, &token).await;
    assert_eq!(tables.health(), TablesHealth::default());
    // in whatever order the attestor is put together
    let (first, last) = (
        new().with_key_tables(tables.clone()).with_keys(keys()).with_clock(clock()),
        new().with_keys(keys()).with_clock(clock()).with_key_tables(tables.clone()),
    );
    for (count, attestor) in [(1, &first), (2, &last)] {
        attest_often(attestor, &AWS_STSWEB, &token).await;
        assert_eq!(settled(&tables).tables, count);
    }
    let forged = Evidence::new(AWS_STSWEB, support::STRANGER.sign(Algorithm::Es384, &claims())).unwrap();
    assert!(last.attest(&forged).await.is_err());
    assert_eq!((settled(&tables).wrongly_accepted, settled(&tables).wrongly_refused), (0, 0));
}

#[tokio::test]
async fn svids_are_verified_with_the_tables_that_the_host_gave() {
    let svid = ISSUED.sign(Algorithm::Es256, &spire::claims());
    let new = || SpireAttestor::new(spire::pins(spire::TEMPLATE), keys()).unwrap();
    let tables = KeyTables::on();
    attest_often(&new().with_clock(clock()), &SPIFFE_SVID, &svid).await;
    assert_eq!(tables.health(), TablesHealth::default());
    let (first, last) = (
        new().with_key_tables(tables.clone()).with_clock(clock()),
        new().with_clock(clock()).with_key_tables(tables.clone()),
    );
    for (count, attestor) in [(1, &first), (2, &last)] {
        attest_often(attestor, &SPIFFE_SVID, &svid).await;
        assert_eq!(settled(&tables).tables, count);
    }
    let forged = support::STRANGER.sign(Algorithm::Es256, &spire::claims());
    assert!(last.attest(&Evidence::new(SPIFFE_SVID, forged).unwrap()).await.is_err());
    assert_eq!((settled(&tables).wrongly_accepted, settled(&tables).wrongly_refused), (0, 0));
}

#[tokio::test]
async fn tokens_of_every_oidc_issuer_are_verified_with_the_tables_that_the_host_gave() {
    let keys_of = |name: &str| OidcKeys::given(Arc::new(StaticKeys::new(ISSUERS[name].key_set())));
    let first = || OidcAttestor::new(pods(keys_of("pods")));
    let second = || from_settings(&TABLE.settings["tenants"], keys_of("tenants"));
    // a cluster's issuer does not sign with EdDSA
    let token = |name: &str| {
        let algorithm = if name == "pods" { Algorithm::Es256 } else { Algorithm::EdDsa };
        ISSUERS[name].sign(algorithm, &TABLE.claims[name])
    };
    let tables = KeyTables::on();
    attest_often(&first().with_clock(clock()), &OIDC, &token("pods")).await;
    assert_eq!(tables.health(), TablesHealth::default());
    let (before, after) = (
        first().with_clock(clock()).with_key_tables(tables.clone()).with_issuer(second()).unwrap(),
        first().with_issuer(second()).unwrap().with_key_tables(tables.clone()).with_clock(clock()),
    );
    for (count, attestor, name) in
        [(1, &before, "pods"), (2, &before, "tenants"), (3, &after, "pods"), (4, &after, "tenants")]
    {
        attest_often(attestor, &OIDC, &token(name)).await;
        assert_eq!(settled(&tables).tables, count, "{name}");
    }
    assert_eq!((settled(&tables).wrongly_accepted, settled(&tables).wrongly_refused), (0, 0));
}
