//! The isolation proof on a Ceph Object Gateway of this machine. `examples/e2e/ceph_rgw.sh` starts one and runs this.
//!
//! ```text
//! cargo run -p agentkeys-examples --example ceph_rgw -- prove GATEWAY-FILE KEY-FILE ISSUER
//! ```
//!
//! ISSUER publishes the keys of KEY-FILE, the one that signs with a certificate: the gateway reads nothing else.

use std::io::Write as _;
use std::process::ExitCode;
use std::{env, fs, io};

use agentkeys_core::KeyRing;
use agentkeys_examples::{CephGateway, Failure, prove_on_ceph, spire_prefix_on_ceph, told};

#[tokio::main]
async fn main() -> ExitCode {
    match begin(env::args().skip(1).collect()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _closed = writeln!(io::stderr(), "ceph_rgw: {}", told(&error));
            ExitCode::from(2)
        }
    }
}

/// Whether everything held.
async fn begin(arguments: Vec<String>) -> Result<bool, Failure> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["prove", gateway, keys, issuer] => {
            let gateway = CephGateway::parse(&fs::read_to_string(gateway)?)?;
            let keys = KeyRing::load(keys)?;
            let report = prove_on_ceph(&gateway, keys, issuer.parse()?).await?;
            write!(io::stdout(), "{}", report.for_people(false))?;
            writeln!(io::stdout(), "agent violet of SPIRE: {}", spire_prefix_on_ceph()?)?;
            Ok(report.holds())
        }
        _ => Err("usage: ceph_rgw prove GATEWAY-FILE KEY-FILE ISSUER".into()),
    }
}
