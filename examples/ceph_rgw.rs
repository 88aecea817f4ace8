//! The isolation proof on a Ceph Object Gateway of this machine. `examples/e2e/ceph_rgw.sh` starts one and runs this.
//!
//! ```text
//! cargo run -p agentkeys-examples --example ceph_rgw -- prove GATEWAY-FILE KEY-FILE CERTIFICATE [ISSUER]
//! ```
//!
//! The gateway reads keys from certificates alone: CERTIFICATE is one of the key that signs, in PEM. Where ISSUER
//! does not publish the keys, they are served on loopback.

use std::io::Write as _;
use std::process::ExitCode;
use std::{env, fs, io};

use agentkeys_core::KeyRing;
use agentkeys_examples::{CephGateway, Failure, prove_on_ceph, spire_prefix_on_ceph};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

#[tokio::main]
async fn main() -> ExitCode {
    match begin(env::args().skip(1).collect()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _closed = writeln!(io::stderr(), "ceph_rgw: {}", told(&*error));
            ExitCode::from(2)
        }
    }
}

/// Whether everything held.
async fn begin(arguments: Vec<String>) -> Result<bool, Failure> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["prove", gateway, keys, certificate, issuer @ ..] if issuer.len() <= 1 => {
            let gateway = CephGateway::parse(&fs::read_to_string(gateway)?)?;
            let keys = KeyRing::load(keys)?;
            let certificate = CertificateDer::from_pem_file(certificate)?;
            let kid = keys.active().public_jwk().kid().clone();
            let keys = keys.with_x5c(&kid, &[&certificate])?;
            let issuer = issuer.first().map(|issuer| issuer.parse()).transpose()?;
            let report = prove_on_ceph(&gateway, keys, issuer).await?;
            write!(io::stdout(), "{}", report.for_people(false))?;
            writeln!(io::stdout(), "agent violet of SPIRE: {}", spire_prefix_on_ceph()?)?;
            Ok(report.holds())
        }
        _ => Err("usage: ceph_rgw prove GATEWAY-FILE KEY-FILE CERTIFICATE [ISSUER]".into()),
    }
}

/// An error and what is behind it.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
