//! The federation crate from outside, against doubles that keep what they were sent.

mod environment;
mod exchange;
mod import_rows;
mod leaks;
mod source;
mod support;
