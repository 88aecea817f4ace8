//! Every environment variable of a broker, and nothing else is read (R80, R82).

use std::collections::BTreeMap;

/// The variables of the process that a broker may know: its own, those of `ATTESTOR`, and two old names.
pub(crate) fn of_the_process() -> BTreeMap<String, String> {
    std::env::vars().filter(|(name, _)| is_ours(name)).collect()
}

pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with("BROKER_") || is_the_attestors(name) || [REGION, ACCOUNT_ID].contains(&name)
}

/// As [`agentkeys_attest::select`] knows them.
pub(crate) fn is_the_attestors(name: &str) -> bool {
    let beginnings = ["STSWEB_", "AWSSTS_", "OIDC_", "SPIRE_"];
    name == ATTESTOR
        || name == "SPIFFE_ENDPOINT_SOCKET"
        || beginnings.iter().any(|begin| name.starts_with(begin))
}

pub(crate) const ATTESTOR: &str = "ATTESTOR";
pub(crate) const ACCOUNT_ID: &str = "ACCOUNT_ID";
pub(crate) const AGENT_ROLE_ARN: &str = "BROKER_AGENT_ROLE_ARN";
pub(crate) const AUDIT_ANCHORS: &str = "BROKER_AUDIT_ANCHORS";
pub(crate) const AUDIT_CHAIN: &str = "BROKER_AUDIT_CHAIN";
pub(crate) const AUDIT_DB_PATH: &str = "BROKER_AUDIT_DB_PATH";
pub(crate) const AUDIT_POLICY: &str = "BROKER_AUDIT_POLICY";
pub(crate) const AWS_REGION: &str = "BROKER_AWS_REGION";
pub(crate) const DATA_ROLE_ARN: &str = "BROKER_DATA_ROLE_ARN";
pub(crate) const OIDC_ISSUER: &str = "BROKER_OIDC_ISSUER";
pub(crate) const OIDC_JWT_TTL_SECONDS: &str = "BROKER_OIDC_JWT_TTL_SECONDS";
pub(crate) const OIDC_KEYPAIR_PATH: &str = "BROKER_OIDC_KEYPAIR_PATH";
pub(crate) const CHALLENGE_KEY_FILE: &str = "BROKER_CHALLENGE_KEY_FILE";
pub(crate) const POSTGRES_URL_FILE: &str = "BROKER_POSTGRES_URL_FILE";
pub(crate) const REDIS_URL_FILE: &str = "BROKER_REDIS_URL_FILE";
pub(crate) const REGION: &str = "REGION";
pub(crate) const REQUEST_BODY_LIMIT_BYTES: &str = "BROKER_REQUEST_BODY_LIMIT_BYTES";
pub(crate) const SESSION_DURATION_SECONDS: &str = "BROKER_SESSION_DURATION_SECONDS";
pub(crate) const SESSION_KEYPAIR_PATH: &str = "BROKER_SESSION_KEYPAIR_PATH";

/// Those that decide something here.
pub(crate) const READ: &[&str] = &[
    AGENT_ROLE_ARN,
    AUDIT_ANCHORS,
    AUDIT_CHAIN,
    AUDIT_DB_PATH,
    AUDIT_POLICY,
    AWS_REGION,
    CHALLENGE_KEY_FILE,
    DATA_ROLE_ARN,
    OIDC_ISSUER,
    OIDC_JWT_TTL_SECONDS,
    OIDC_KEYPAIR_PATH,
    POSTGRES_URL_FILE,
    REDIS_URL_FILE,
    REQUEST_BODY_LIMIT_BYTES,
    SESSION_DURATION_SECONDS,
    SESSION_KEYPAIR_PATH,
];

/// Those of older brokers that decide nothing here, and why: they are named, not refused.
pub(crate) const UNUSED: &[(&str, &str)] = &[
    ("BROKER_AUTH_METHODS", "agents are attested, nobody logs in"),
    ("BROKER_BACKEND_URL", "there is no backend"),
    ("BROKER_EMAIL_FROM_ADDRESS", "no mail is sent"),
    ("BROKER_EMAIL_SENDER", "no mail is sent"),
    ("BROKER_NTP_MAX_SKEW_SECONDS", "the operating system keeps the time"),
    ("BROKER_REFUSE_TO_BOOT_STRICT", "what is wrong is always refused"),
];
