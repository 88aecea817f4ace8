//! An STS and an S3 on loopback, on one port, that unmodified AWS SDKs can talk to.
//!
//! It checks what AWS checks: SigV4 signatures and session tokens, web identity tokens against the keys that their
//! issuer publishes, trust policies, identity policies, bucket policies, session tags and source identities. It shares
//! no code with the crates that are tested against it.
//!
//! ```
//! use agentkeys_local_aws::{LocalAws, State};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let aws = LocalAws::start(State::new("123456789012".parse()?, "us-east-1".parse()?)).await?;
//! assert!(aws.endpoint().starts_with("http://127.0.0.1:"));
//! // Point AWS_ENDPOINT_URL at it, or the `endpoint_url` of a client. Dropping it shuts it down.
//! # Ok(())
//! # }
//! ```
//!
//! What it does differently from AWS is listed in the README of this package.

mod caller;
mod clock;
mod credentials;
mod form;
mod idp;
mod issuer;
mod local_aws;
pub mod names;
pub mod policy;
mod record;
mod s3;
mod secret;
mod server;
mod sigv4;
pub mod state;
mod sts;
pub mod tags;
mod world;

pub use clock::Clock;
pub use credentials::SessionCredentials;
pub use local_aws::{Builder, LocalAws, NotFound, StartError};
pub use record::{MAX_RECORDS, RecordedRequest};
pub use secret::Secret;
pub use state::{Bucket, Role, State, StateError, User};
pub use tags::Tags;
