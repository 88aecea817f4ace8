//! The IAM policy language: documents, requests and the decision AWS documents for them.
//!
//! A policy is parsed into one of three types, because the elements that it may hold depend on
//! where it is attached: [`IdentityPolicy`] (also used for session policies), [`ResourcePolicy`]
//! and [`TrustPolicy`]. Whatever is not understood is a parse error and never ignored: unknown
//! elements and operators, duplicate members of any object, malformed variables, numbers, dates
//! and ARNs. `BinaryEquals`, `CanonicalUser` and the unique ids of principals are not supported
//! and so refused.
//!
//! `tests/data/policy-cases.json` holds the cases that decide what is right here, each with the
//! page of AWS's documentation that it comes from. Where those pages leave a question open, the
//! answer is the one that allows less:
//!
//! - A variable without a value matches nothing. Its statement does not apply either where that
//!   would satisfy a negated operator or `NotResource`, unless the statement is a deny. The same
//!   goes for a value that is no number, date or address where the operator compares those.
//! - A key with several values under an operator without `ForAllValues` or `ForAnyValue` must
//!   match with all of them in an allow, and with any of them in a deny.
//! - A session policy limits what a resource policy grants to `*`; AWS exempts a `*` that is
//!   narrowed by `aws:PrincipalArn`.
//! - `NotPrincipal` leaves out only a principal whose account and ARNs are all listed.
//!
//! A `*` in `Resource` may match colons, wherever in the ARN it stands: AWS documents that for a
//! `*` at the end of a segment, and does not say otherwise for one within.
//!
//! # Why there is no crate for this
//!
//! Those that evaluate this language were run on the table's cases that one kind of policy
//! decides. Named in quotes are cases of it:
//!
//! - `iam-rs` 0.8.0 (MIT, maintained) was wrong in 53 of 219. It allows "a missing variable in a
//!   resource" (a missing value is the empty string), "a star in a variable's value is literal
//!   in a resource" and "a star in a default is literal" (whoever sets a tag writes wildcards),
//!   "refused: an unknown element of a statement" (a misspelt `Condition` is dropped), "refused:
//!   a wildcard in a principal's ARN" and "a deny for the account is for its roles". It does not
//!   know `${*}`, and an account never matches its roles: "an account by its id".
//! - `scratchstack-aspen` 0.3.1 (MIT) was wrong in 73 of 200. It allows "a deny over an allow"
//!   (the first statement that applies decides), "a missing variable in a resource" and "a
//!   missing variable in a condition value", and "StringNotEquals of a listed value". It
//!   knows neither "a default for a missing variable" nor `ForAllValues` and `ForAnyValue`:
//!   "ForAllValues of a subset".
//! - `aws-iam` 0.2.2 (MIT, offline evaluation is a feature that it calls simplistic) was wrong
//!   in 138 of 200, and panics in 54: "a deny over an allow", "a variable in a resource". It
//!   allows "a deny alone" and has no multi-valued keys.
//!
//! Not run: `rustfs-policy` 1.0.1, which needs a later compiler (Rust 1.98.1) than this workspace;
//! `wami` 0.18.0, whose evaluator is part of an identity platform; and `riam` 0.1.0 (2019), which
//! has a language of its own. None of the three that ran passes, so this module is written here.

mod condition;
mod context;
mod document;
mod evaluate;
mod one_or_many;
mod operator;
mod principal;
mod statement;
mod template;
mod value;

#[cfg(test)]
mod cases;

pub use context::{Context, Principal, Request};
pub use document::{IdentityPolicy, PolicyError, ResourcePolicy, TrustPolicy};
pub use evaluate::{
    Decision, decide_assume_role, decide_same_account, evaluate_identity, evaluate_resource, evaluate_trust,
};
