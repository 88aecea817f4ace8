//! The isolation proof on a MinIO of this machine. `examples/e2e/minio.sh` builds one and runs this.
//!
//! ```text
//! cargo run -p agentkeys-examples --example minio -- prove PROGRAM FOLDER
//! ```
//!
//! PROGRAM is MinIO; it is started on 127.0.0.1 with its data in FOLDER, and ended.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::{env, io};

use agentkeys_examples::{Failure, prove_on_minio, told};

#[tokio::main]
async fn main() -> ExitCode {
    match begin(env::args().skip(1).collect()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _closed = writeln!(io::stderr(), "minio: {}", told(&error));
            ExitCode::from(2)
        }
    }
}

/// Whether everything held.
async fn begin(arguments: Vec<String>) -> Result<bool, Failure> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let ["prove", program, folder] = arguments.as_slice() else {
        return Err("usage: minio prove PROGRAM FOLDER".into());
    };
    let report = prove_on_minio(Path::new(program), Path::new(folder)).await?;
    write!(io::stdout(), "{}", report.for_people(false))?;
    Ok(report.holds())
}
