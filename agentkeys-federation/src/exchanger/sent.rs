use agentkeys_core::Token;
use agentkeys_core::jose::Compact;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What the token says that an answer may repeat.
#[derive(Deserialize)]
pub(crate) struct Sent {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    pub(crate) iat: u64,
}

impl Sent {
    pub(crate) fn of(token: &Token) -> Option<Self> {
        claims(token)
    }
}

/// The claims of a token of ours, as far as they are asked for.
pub(crate) fn claims<T: DeserializeOwned>(token: &Token) -> Option<T> {
    let payload = Compact::split(token.expose()).ok()?.payload().ok()?;
    serde_json::from_slice(&payload).ok()
}
