use std::collections::BTreeSet;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::task::JoinSet;

use crate::error::ErrorKind;
use crate::jose::{PublicJwk, PublicKey, sha256};
use crate::signer::{SignError, TokenSigner};

/// What [`signer_contract`] needs to know about a signer.
#[derive(Debug)]
pub struct SignerCases {
    signer: Arc<dyn TokenSigner>,
    failing: Vec<(&'static str, Arc<dyn TokenSigner>)>,
    secrets: Vec<String>,
}

impl SignerCases {
    /// A signer that works.
    #[must_use]
    pub const fn new(signer: Arc<dyn TokenSigner>) -> Self {
        Self { signer, failing: Vec::new(), secrets: Vec::new() }
    }

    /// With the same kind of signer in a state in which it cannot sign, and what that state is.
    #[must_use]
    pub fn with_failing(mut self, what: &'static str, signer: Arc<dyn TokenSigner>) -> Self {
        self.failing.push((what, signer));
        self
    }

    /// With text that no output may hold: a PIN, a credential, what the other side says.
    #[must_use]
    pub fn with_secret(mut self, secret: &str) -> Self {
        self.secrets.push(secret.to_owned());
        self
    }
}

/// Holds a signer to the contract of [`TokenSigner`], with some 1,100 signatures:
///
/// - its public key is a point of P-256, named by its thumbprint, and stays the same (R45);
/// - what it signs, of 0 bytes to 1 MiB, its public key verifies: r and s as they are, whichever of their bits
///   are set;
/// - a signature is good for its message and for no other;
/// - [`SIGNATURES_AT_ONCE`] signatures under way each come out right, and those that nobody waits for any more
///   hold up none;
/// - no two messages are signed with the same r: whoever sees two such signatures computes the key;
/// - a signer that cannot sign says so as `Unavailable` or `Misconfigured`, and neither its errors nor any
///   `Debug` show the cases' secrets (R46).
///
/// The same message may be signed differently each time or always in the same way.
///
/// # Panics
/// Where the contract is broken; the message says how.
#[expect(clippy::panic, reason = "a test suite says what failed by panicking")]
pub async fn signer_contract(cases: &SignerCases) {
    let signer = &cases.signer;
    let public = signer.public_jwk().clone();
    let key = published(&public);
    let mut used = BTreeSet::new();

    for size in SIZES {
        let message = message(size, 0);
        let signature = signed(&**signer, &message).await;
        assert!(key.verifies(&message, &signature), "a signature of {size} bytes does not verify");
        for (what, other) in others(&message) {
            assert!(!key.verifies(&other, &signature), "a signature of {size} bytes is good for {what}");
        }
        assert!(used.insert(r_of(&signature)), "two messages are signed with the same r");
    }

    for at_once in 0..DROPPED {
        let mut signing = pin!(signer.sign(b"nobody waits for this"));
        let mut context = Context::from_waker(Waker::noop());
        let begun = signing.as_mut().poll(&mut context);
        // a signer may be done at once; what it then says is looked at elsewhere
        assert!(
            begun.is_pending() || begun.map(|done| done.is_ok()) == std::task::Poll::Ready(true),
            "{at_once}"
        );
    }

    for round in 0..ROUNDS {
        let mut under_way = JoinSet::new();
        for place in 0..SIGNATURES_AT_ONCE {
            let (signer, number) = (Arc::clone(signer), round * SIGNATURES_AT_ONCE + place + 1);
            under_way.spawn(async move {
                let message = message(40 + number % 200, number);
                (signed(&*signer, &message).await, message)
            });
        }
        while let Some(done) = under_way.join_next().await {
            let Ok((signature, message)) = done else { panic!("a signer panics or says no among many") };
            assert!(key.verifies(&message, &signature), "a signature among many does not verify");
            assert!(used.insert(r_of(&signature)), "two messages are signed with the same r");
            assert_eq!(*signer.public_jwk(), public, "the public key changes");
        }
    }

    assert_eq!(*signer.public_jwk(), public, "the public key changes");
    silent(cases, &format!("{signer:?} {signer:#?}"), "Debug");
    for (what, failing) in &cases.failing {
        match failing.sign(b"a message").await {
            Ok(_) => panic!("a signer signs although {what}"),
            Err(error) => {
                let kind = error.kind();
                let told = matches!(kind, ErrorKind::Unavailable | ErrorKind::Misconfigured);
                assert!(told, "{what} is no fault of a request, and was {kind:?}");
                silent(cases, &told_by(&error), what);
                silent(cases, &format!("{failing:?} {failing:#?}"), what);
            }
        }
    }
}

#[expect(clippy::panic, reason = "a test suite says what failed by panicking")]
async fn signed(signer: &dyn TokenSigner, message: &[u8]) -> [u8; 64] {
    match signer.sign(message).await {
        Ok(signature) => signature,
        Err(error) => panic!("a message of {} bytes is not signed: {error:?}", message.len()),
    }
}

/// The key as strangers read it.
#[expect(clippy::panic, reason = "a test suite says what failed by panicking")]
fn published(public: &PublicJwk) -> PublicKey {
    let read = serde_json::to_string(public).ok().and_then(|json| PublicJwk::parse(&json).ok());
    let Some(read) = read else { panic!("the public key is not as it is published: {public:?}") };
    assert_eq!(read.kid(), public.kid(), "the public key is not named by its thumbprint");
    match read.to_jwk() {
        Ok(jwk) => jwk.key().clone(),
        Err(error) => panic!("the public key is none of P-256: {error}"),
    }
}

/// A message of this size that says which one it is.
fn message(size: usize, number: usize) -> Vec<u8> {
    let words = format!("message {number} of {size} bytes. ");
    words.bytes().cycle().take(size).collect()
}

/// Other messages than this one, each of a mistake that somebody has made.
fn others(message: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![
        ("a longer message", [message, &[0]].concat()),
        ("the message's digest", sha256(message).to_vec()),
        ("the message twice", [message, message, b"."].concat()),
    ];
    if let Some((last, rest)) = message.split_last() {
        all.push(("a shorter message", rest.to_vec()));
        all.push(("a message with another end", [rest, &[last ^ 1]].concat()));
        all.push(("an empty message", Vec::new()));
    }
    if let Some((first, rest)) = message.split_first() {
        all.push(("a message with another beginning", [&[first ^ 0x80], rest].concat()));
    }
    all
}

fn r_of(signature: &[u8; 64]) -> Vec<u8> {
    signature.iter().take(32).copied().collect()
}

/// All that a log line of the error would hold.
fn told_by(error: &SignError) -> String {
    let mut told = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    told
}

fn silent(cases: &SignerCases, shown: &str, what: &str) {
    for secret in &cases.secrets {
        assert!(!shown.contains(secret.as_str()), "{what} shows a secret");
    }
}

/// The sizes at which SHA-256 pads anew, those of tokens, and one that no token has.
const SIZES: [usize; 15] = [0, 1, 31, 32, 33, 55, 56, 63, 64, 65, 119, 1000, 4096, 20_000, 1024 * 1024];

/// So many signatures the contract asks for at once.
pub const SIGNATURES_AT_ONCE: usize = 64;

/// One number in 256 begins with a zero, so a signer that loses such bytes passes once in 3,000 runs.
const ROUNDS: usize = 16;

/// More than a signer has under way at once.
const DROPPED: usize = 300;
