//! The broker, as whoever speaks HTTP finds it: a real server on loopback, beside an STS and S3 of its own.

mod events;
mod flow;
mod hostile;
mod keys;
mod process;
mod settings;
mod support;
mod token;
