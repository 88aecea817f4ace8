//! The whole flow against an STS and S3 that share no code with it.

mod policies;
mod quickstart;
mod readme;
mod rules;
