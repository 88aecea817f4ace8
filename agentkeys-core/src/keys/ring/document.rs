use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{KeyRing, KeyRingError, KeyState, Purpose, RingKey};
use crate::clock::Timestamp;
use crate::jose::{PublicJwk, is_object};
use crate::secret::Secret;
use crate::signer::{LocalSigner, SignError, TokenSigner as _};

/// A key file's text, read and written.
impl<P: Purpose> KeyRing<P> {
    /// Reads a key file that the host read itself, say a Kubernetes Secret's (whose mounts are symbolic
    /// links of mode 0440). Purpose, states and every kid are checked; who may read the file is up to the
    /// host. [`KeyRing::load`] checks that too. Nothing is ever generated (R44).
    ///
    /// # Errors
    /// [`KeyRingError`].
    pub fn from_secret(text: &Secret<Vec<u8>>) -> Result<Self, KeyRingError> {
        let text = text.expose();
        if text.len() > MAX_KEY_FILE_BYTES {
            return Err(KeyRingError::TooLarge);
        }
        if !is_object(text) {
            return Err(KeyRingError::Malformed);
        }
        let read: Document<'_> = serde_json::from_slice(text).map_err(|_| KeyRingError::Malformed)?;
        if read.purpose != P::NAME {
            return Err(KeyRingError::Purpose);
        }
        match read {
            Document { keys: Some(keys), kid: None, private_key_pem: None, .. } => {
                if keys.len() > MAX_RING_KEYS {
                    return Err(KeyRingError::TooManyKeys);
                }
                let keys: Result<Vec<_>, _> = keys.into_iter().map(Loaded::parse).collect();
                Self::assemble(keys?)
            }
            Document { keys: None, kid: Some(kid), private_key_pem: Some(pem), .. } => {
                let published_at = Timestamp::from_unix(0);
                let state = KeyState::Active;
                Self::assemble(vec![Loaded::private(kid, pem, state, published_at, None)?])
            }
            _ => Err(KeyRingError::Malformed),
        }
    }

    /// The text of a key file with this ring.
    ///
    /// # Errors
    /// [`KeyRingError::Sign`] where the active or the next key is not in this process;
    /// [`KeyRingError::TooManyKeys`].
    pub fn to_secret(&self) -> Result<Secret<Vec<u8>>, KeyRingError> {
        if self.keys.len() > MAX_RING_KEYS {
            return Err(KeyRingError::TooManyKeys);
        }
        let keys: Result<Vec<_>, _> = self.keys.iter().map(Written::new).collect();
        let document = WrittenDocument { purpose: P::NAME, keys: keys? };
        // room for all, so that no copy is left behind by growing
        let mut text = Vec::with_capacity(MAX_KEY_FILE_BYTES);
        serde_json::to_writer(&mut text, &document).map_err(|_| KeyRingError::Malformed)?;
        Ok(Secret::new(text))
    }

    fn assemble(mut loaded: Vec<Loaded>) -> Result<Self, KeyRingError> {
        loaded.sort_by_key(|loaded| loaded.key.state);
        let count = |state| loaded.iter().filter(|loaded| loaded.key.state == state).count();
        if count(KeyState::Active) != 1 || count(KeyState::Next) > 1 {
            return Err(KeyRingError::State);
        }
        let mut active = None;
        let mut keys: Vec<RingKey> = Vec::with_capacity(loaded.len());
        for Loaded { mut key, signer } in loaded {
            if keys.iter().any(|known| known.kid() == key.kid()) {
                return Err(KeyRingError::State);
            }
            if key.retire_at.is_some() != (key.state == KeyState::Retired) {
                return Err(KeyRingError::State);
            }
            match (key.state, signer) {
                (KeyState::Active, Some(signer)) => active = Some(signer),
                (KeyState::Next, Some(signer)) => key.signer = Some(signer),
                // a retired key signs no more: its private half is not kept
                (KeyState::Retired, _) => key.pem = None,
                _ => return Err(KeyRingError::State),
            }
            keys.push(key);
        }
        let active = active.ok_or(KeyRingError::State)?;
        Ok(Self { active, keys, purpose: std::marker::PhantomData })
    }
}

/// A key as it was read, and its signer where it has a private half.
struct Loaded {
    key: RingKey,
    signer: Option<Arc<LocalSigner>>,
}

impl Loaded {
    fn parse(json: &RawValue) -> Result<Self, KeyRingError> {
        if !is_object(json.get().as_bytes()) {
            return Err(KeyRingError::Malformed);
        }
        let read: Key<'_> = serde_json::from_str(json.get()).map_err(|_| KeyRingError::Malformed)?;
        let Key { kid, private_key_pem, public_jwk, state, published_at, retire_at } = read;
        match (private_key_pem, public_jwk) {
            (Some(pem), None) => Self::private(kid, pem, state, published_at, retire_at),
            (None, Some(jwk)) => {
                let public = PublicJwk::parse(jwk.get())?;
                Self::new(kid, RingKey { published_at, retire_at, ..RingKey::new(state, public) }, None)
            }
            _ => Err(KeyRingError::Malformed),
        }
    }

    fn private(
        kid: &str,
        pem: &RawValue,
        state: KeyState,
        published_at: Timestamp,
        retire_at: Option<Timestamp>,
    ) -> Result<Self, KeyRingError> {
        let pem = unescape(pem.get()).ok_or(KeyRingError::Malformed)?;
        let signer = LocalSigner::from_pkcs8_pem(&pem)?;
        let key = RingKey::new(state, signer.public_jwk().clone());
        Self::new(kid, RingKey { published_at, retire_at, pem: Some(pem), ..key }, Some(Arc::new(signer)))
    }

    fn new(kid: &str, key: RingKey, signer: Option<Arc<LocalSigner>>) -> Result<Self, KeyRingError> {
        if key.kid().as_str() != kid { Err(KeyRingError::Kid) } else { Ok(Self { key, signer }) }
    }
}

/// A JSON string that holds a PEM document. A reader of JSON would leave a copy of it in memory that
/// nobody zeroes, and PEM needs no more than these escapes.
fn unescape(json: &str) -> Option<Secret> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.len() > MAX_PEM_BYTES {
        return None;
    }
    // room for all, so that no copy is left behind by growing
    let mut text = String::with_capacity(inner.len());
    for (at, line) in inner.split("\\n").enumerate() {
        text.push_str(if at > 0 { "\n" } else { "" });
        text.push_str(line);
    }
    let text = Secret::new(text);
    let plain = |byte: u8| byte == b'\n' || ((0x20..0x7f).contains(&byte) && byte != b'\\' && byte != b'"');
    text.expose().bytes().all(plain).then_some(text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    purpose: &'a str,
    #[serde(borrow, default)]
    keys: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    kid: Option<&'a str>,
    #[serde(borrow, default)]
    private_key_pem: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key<'a> {
    kid: &'a str,
    #[serde(borrow, default)]
    private_key_pem: Option<&'a RawValue>,
    #[serde(borrow, default)]
    public_jwk: Option<&'a RawValue>,
    state: KeyState,
    published_at: Timestamp,
    #[serde(default)]
    retire_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct WrittenDocument<'a> {
    purpose: &'static str,
    keys: Vec<Written<'a>>,
}

#[derive(Serialize)]
struct Written<'a> {
    kid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key_pem: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_jwk: Option<PublicJwk>,
    state: KeyState,
    published_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    retire_at: Option<Timestamp>,
}

impl<'a> Written<'a> {
    fn new(key: &'a RingKey) -> Result<Self, KeyRingError> {
        let pem = key.pem.as_ref().map(|pem| pem.expose().as_str());
        let retired = key.state == KeyState::Retired;
        if pem.is_none() && !retired {
            return Err(SignError::Key.into());
        }
        Ok(Self {
            kid: key.kid().as_str(),
            private_key_pem: pem,
            public_jwk: retired.then(|| key.public.clone().without_x5c()),
            state: key.state,
            published_at: key.published_at,
            retire_at: key.retire_at,
        })
    }
}

/// The largest key file: 64 KiB, several times what [`MAX_RING_KEYS`] keys need.
pub const MAX_KEY_FILE_BYTES: usize = 64 * 1024;

/// The most keys in a ring.
pub const MAX_RING_KEYS: usize = 32;

/// A P-256 key in PKCS#8 has 241 characters.
const MAX_PEM_BYTES: usize = 1024;
