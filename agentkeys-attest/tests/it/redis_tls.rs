//! TLS to Redis: only to a server for whom the authority vouches, under the name that is in the URL.

use std::sync::Arc;

use agentkeys_attest::replay::{RedisFault, RedisReplayGuard, RedisTrust};
use agentkeys_core::testing::ManualClock;
use agentkeys_core::{EvidenceKind, ReplayError, ReplayGuard as _, Timestamp, UseId};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::redis_double::{Double, Wrong};
use crate::redis_guard::fault;
use crate::support::NOW;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap()
}

fn acceptor(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn asked(url: &str, trust: &RedisTrust) -> Result<(), ReplayError> {
    let clock = ManualClock::new(Timestamp::from_unix(NOW));
    let guard = RedisReplayGuard::new(&url.parse().unwrap(), trust).with_clock(clock);
    let id = UseId::of(&EvidenceKind::from_static("k"), &[url.as_bytes()]);
    guard.first_use(&id, Timestamp::from_unix(NOW + 60)).await
}

#[tokio::test]
async fn w8_only_a_server_that_is_vouched_for_under_its_name_is_asked() {
    let (ours, theirs) = (authority(), authority());
    let trust = RedisTrust::only(ours.pem().as_bytes()).unwrap();
    let server = Double::with_tls(acceptor(&ours, "localhost")).await;
    let port = server.address.port();
    asked(&format!("rediss://localhost:{port}"), &trust).await.unwrap();
    assert_eq!(server.sets(), 1);

    let fault = |error: ReplayError| fault(&error);
    let by_address = format!("rediss://127.0.0.1:{port}");
    assert_eq!(fault(asked(&by_address, &trust).await.unwrap_err()), RedisFault::Tls);
    let url = format!("rediss://localhost:{port}");
    let stranger = RedisTrust::only(theirs.pem().as_bytes()).unwrap();
    for trust in [stranger, RedisTrust::nobody().unwrap()] {
        assert_eq!(fault(asked(&url, &trust).await.unwrap_err()), RedisFault::Tls);
    }
    // a server without TLS is none
    let plain = Double::start().await;
    let url = format!("rediss://localhost:{}", plain.address.port());
    assert_eq!(fault(asked(&url, &trust).await.unwrap_err()), RedisFault::Tls);
    assert_eq!((server.sets(), plain.sets()), (1, 0));
}

#[tokio::test]
async fn w8_a_node_of_a_cluster_is_vouched_for_as_well() {
    let (ours, theirs) = (authority(), authority());
    let trust = RedisTrust::only(ours.pem().as_bytes()).unwrap();
    let first = Double::with_tls(acceptor(&ours, "localhost")).await;
    let (good, bad) = (
        Double::with_tls(acceptor(&ours, "127.0.0.1")).await,
        Double::with_tls(acceptor(&theirs, "127.0.0.1")).await,
    );
    let url = format!("rediss://localhost:{}", first.address.port());
    let to = |other: &Double| Wrong::Says(format!("-MOVED 1 {}\r\n", other.address).leak());
    first.next(to(&good));
    asked(&url, &trust).await.unwrap();
    first.next(to(&bad));
    assert!(matches!(asked(&url, &trust).await, Err(ReplayError::Unavailable(_))));
    assert_eq!((good.sets(), bad.sets()), (1, 0));
}

#[test]
fn trust_in_nothing_that_can_be_read_is_refused() {
    let good = authority().pem();
    let broken = good.replace("MII", "MI!");
    for pem in ["", "x", NO_CERTIFICATE, &format!("{good}{NO_CERTIFICATE}"), &broken] {
        assert!(RedisTrust::only(pem.as_bytes()).is_err(), "{pem}");
    }
    assert_eq!(format!("{:?}", RedisTrust::only(good.as_bytes()).unwrap()), "RedisTrust { .. }");
}

const NO_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
