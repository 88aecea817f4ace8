#![doc = include_str!("../README.md")]

mod caller;
mod clock;
mod credentials;
mod form;
mod idp;
mod issuer;
mod kms;
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
pub use state::{Bucket, KmsKey, KmsKeySpec, KmsKeyState, Role, State, StateError, User};
pub use tags::Tags;
