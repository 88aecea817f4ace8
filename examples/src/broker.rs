//! A broker: the crates behind an HTTP server. Agents prove who they are and get tokens and credentials;
//! clouds and services read its discovery document and keys.
//!
//! All bodies are JSON but those of `/token`, which are forms. Numbers that are times are seconds since the
//! Unix epoch. A member that is not known, or that comes twice, is refused. Every answer with a token, a
//! session or credentials has `Cache-Control: no-store`.
//!
//! # Public listener
//!
//! | request | who | answer |
//! |---|---|---|
//! | `GET /.well-known/openid-configuration` | anybody | the issuer's discovery document |
//! | `GET /.well-known/jwks.json` | anybody | its keys, with `Cache-Control` and `ETag` |
//! | `GET /healthz` | anybody | 200 `{"status":"ok"}` while the process answers at all |
//! | `GET /readyz` | anybody | 200 `{"ready":true}` or 503 `{"ready":false}` |
//! | `POST /v1/attest/challenge` | anybody | a challenge, for evidence of the kind `aws-sts` |
//! | `POST /v1/attest` | evidence | a session |
//! | `POST /v1/mint-oidc-jwt`, `/v1/mint-oidc-jwt/{class}` | session | a token for AWS's STS, for the role of the class `data` or of that class |
//! | `POST /v1/mint-aws-creds`, `/v1/mint-aws-creds/{class}` | session | AWS credentials of that role |
//! | `POST /token` | evidence or session | RFC 8693 token exchange, RFC 7523 client assertions |
//! | `GET /v1/events/{agent}` | that agent's session, or the operator's token | what happened to it |
//!
//! A session is shown as `Authorization: Bearer SESSION`. A class is `data`, `vault`, `memory` or `config`.
//!
//! ```text
//! POST /v1/attest/challenge        (no body)
//! 200 {"challenge":"…","expiration":1800000060}
//!
//! POST /v1/attest                  Content-Type: application/json
//! {"kind":"aws-stsweb","evidence":"eyJ…"}
//! 200 {"session":"eyJ…","expiration":1800000300,
//!      "agent":"blue","tenant":null,"subject":"aws-stsweb/arn:aws:eks:…//blue","issuer":"aws-stsweb"}
//!
//! POST /v1/mint-oidc-jwt           Authorization: Bearer SESSION   (no body)
//! 200 {"jwt":"eyJ…","wallet":null,"expiration":1800000300}
//!
//! POST /v1/mint-aws-creds/memory   Authorization: Bearer SESSION   (no body)
//! 200 {"access_key_id":"ASIA…","secret_access_key":"…","session_token":"…","expiration":1800000900,
//!      "wallet":null}
//!
//! GET /v1/events/blue              Authorization: Bearer SESSION
//! 200 {"agent":"blue","events":[
//!        {"id":"ev-…","timestamp":1800000000,"source":"BROKER","type":"registered",
//!         "subject":"aws-stsweb/arn:aws:eks:…//blue","payload":{"issuer":"aws-stsweb","expiration":1800000300}},
//!        {…,"type":"token_issued","payload":{"class":"data","jti":"…","kid":"…","expiration":1800000300}},
//!        {…,"type":"credentials_issued","payload":{"class":"memory","access_key_id":"ASIA…","expiration":1800000900}},
//!        {…,"type":"refused","payload":{"class":"vault","code":"class_not_allowed"}}]}
//! ```
//!
//! `evidence` is the evidence's own text in a JSON string: a JWT as it stands, or for `aws-sts` the JSON object
//! that its source makes, as a string. `kind` is [`EvidenceKind`](agentkeys_core::EvidenceKind)'s label.
//! Evidence of the kind `aws-sts` must be signed with a challenge that was asked for before
//! (`AwsStsSource::fetch_with_challenge`); each kind is used once or as its attestor says. A session ends when
//! its evidence does and after an hour at most: then the agent attests again. `wallet` is `null` where the
//! configuration gives the agent none.
//!
//! # Errors
//!
//! `{"error":NAME,"reason":CODE,"message":TEXT}`; the reason is the stable code of the library's error, which is
//! also in the audit log, and the text is a sentence of ours. Where trying again may help there is a
//! `Retry-After`.
//!
//! | error | status | when |
//! |---|---|---|
//! | `bad_request` | 400 | the body is not what the route takes; reason `signed_intent_unsupported` for a body of the second version of `mint-aws-creds` |
//! | `unauthorized` | 401 | no session, or one that is refused or over (attest again); evidence that is refused or over |
//! | `forbidden` | 403 | evidence of somebody who is not let in; the tenant is not known or has no role for the class |
//! | `not_found` | 404 | no such route, class or agent; another agent's events |
//! | `method_not_allowed` | 405 | |
//! | `timeout` | 408 | the body comes too slowly |
//! | `too_large` | 413 | the body is larger than 64 KiB or than what was configured |
//! | `unsupported_media_type` | 415 | the body is not of the route's type |
//! | `internal` | 500 | a setting is wrong, or there is no clock or randomness |
//! | `audit_error` | 500 | the audit log takes no row, so nothing is let go |
//! | `sts_error` | 502 | the STS refuses the token or does not answer |
//! | `backend_unreachable` | 502 | something else that this depends on does not answer |
//! | `overloaded` | 503 | too many requests at once |
//!
//! `/token` answers errors as RFC 6749 says: `{"error":CODE,"error_description":TEXT}` with `invalid_request`,
//! `invalid_client` (401), `unsupported_grant_type`, `invalid_scope`, `invalid_target` (RFC 8693) and 400, and
//! `server_error` or `temporarily_unavailable` with 500 or 503.
//!
//! # `/token`
//!
//! ```text
//! POST /token                      Content-Type: application/x-www-form-urlencoded
//! grant_type=urn:ietf:params:oauth:grant-type:token-exchange
//! subject_token=…
//! subject_token_type=urn:ietf:params:oauth:token-type:access_token     a session of ours
//!                 or urn:ietf:params:oauth:token-type:jwt              evidence that is a JWT
//! requested_token_type=urn:ietf:params:oauth:token-type:jwt            a token for AWS's STS (if left out)
//!                   or urn:ietf:params:oauth:token-type:access_token   a session
//! audience=sts.amazonaws.com | resource=https://sts.amazonaws.com      (may be left out)
//! scope=data | vault | memory | config                                 the class; data if left out
//! 200 {"access_token":"eyJ…","issued_token_type":"urn:…:jwt","token_type":"N_A","expires_in":300,"scope":"data"}
//!
//! grant_type=client_credentials
//! client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer
//! client_assertion=…               evidence that is a JWT
//! 200 {"access_token":"eyJ…","token_type":"Bearer","expires_in":300}    a session
//! ```
//!
//! # Operator's listener
//!
//! On an address of its own, 127.0.0.1 unless configured: `GET /readyz` with the state of each part,
//! `GET /metrics` (Prometheus text), `GET /healthz`, and `GET /v1/events/{agent}` with the operator's token.

mod app;
mod command;
mod config;
mod demo;
mod events;
mod input;
pub(crate) mod listener;
mod log;
mod metrics;
mod ready;
mod refused;
mod routes;
mod settings;
mod start;
mod variables;
mod watched;

pub use command::{Command, KeyPurpose, Step};
pub use config::Config;
pub use demo::{BrokerDemo, LoadAws, Replica, ReplicaPlaces, start_beside};
pub use log::{LogLevel, log_to_stderr};
pub use settings::Finding;
pub use start::Running;
