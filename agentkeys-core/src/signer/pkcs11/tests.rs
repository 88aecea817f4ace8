//! The pool against a device that fails on demand. The device itself is asked in an e2e test.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;
use crate::error::ErrorKind;
use crate::jose::EcKeyPair;
use crate::random::SystemRandom;
use crate::signer::LocalSigner;
use elliptic_curve::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};

/// What the device does next; without any, it signs.
#[derive(Debug)]
enum Next {
    Lost,
    Swapped,
    Der,
    Short,
    Long,
    Panics,
}

struct Fake {
    key: p256::SecretKey,
    opens: Mutex<VecDeque<Trouble>>,
    signs: Mutex<VecDeque<Next>>,
    opened: AtomicUsize,
    asked: AtomicUsize,
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Device for Fake {
    type Session = usize;

    fn open(&self) -> Result<usize, Trouble> {
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        match self.opens.lock().unwrap().pop_front() {
            Some(trouble) => Err(trouble),
            None => Ok(number),
        }
    }

    fn sign(&self, _session: &usize, digest: [u8; 32]) -> Result<Vec<u8>, Trouble> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            let _opened = gate.recv();
        }
        let mut signature = sign_digest(&self.key, digest);
        let next = self.signs.lock().unwrap().pop_front();
        match next {
            Some(Next::Lost) => return Err(Trouble::away("the session is lost")),
            Some(Next::Swapped) => signature.rotate_left(32),
            Some(Next::Der) => signature.splice(0..0, [0x30, 0x44]).for_each(drop),
            Some(Next::Short) => signature.truncate(63),
            Some(Next::Long) => signature.push(0),
            Some(Next::Panics) => panic!("MARKED"),
            None => {}
        }
        Ok(signature)
    }
}

/// ECDSA over a digest, which no back end here gives: with the nonce 7, for tests alone.
fn sign_digest(key: &p256::SecretKey, digest: [u8; 32]) -> Vec<u8> {
    use elliptic_curve::ops::Reduce;
    use elliptic_curve::sec1::ToSec1Point as _;
    let number = |bytes: &[u8]| {
        let bytes: [u8; 32] = bytes.try_into().unwrap();
        <p256::Scalar as Reduce<p256::FieldBytes>>::reduce(&bytes.into())
    };
    let nonce = p256::Scalar::from(7_u64);
    let point = (p256::ProjectivePoint::GENERATOR * nonce).to_affine().to_sec1_point(false);
    let r = number(point.x().unwrap());
    let s = nonce.invert().unwrap() * (number(&digest) + r * *key.to_nonzero_scalar());
    [r.to_bytes(), s.to_bytes()].concat()
}

fn pool() -> Arc<Pool<Fake>> {
    let (signer, pem) = LocalSigner::generate(&SystemRandom::new()).unwrap();
    let key = p256::SecretKey::from_pkcs8_pem(pem.expose()).unwrap();
    let fake = Fake {
        key,
        opens: Mutex::default(),
        signs: Mutex::default(),
        opened: AtomicUsize::new(0),
        asked: AtomicUsize::new(0),
        gate: Mutex::default(),
    };
    Arc::new(Pool::new(fake, signer.public_jwk()).unwrap())
}

fn opened(pool: &Pool<Fake>) -> usize {
    pool.device.opened.load(Ordering::SeqCst)
}

#[test]
fn r45_a_session_is_kept_and_a_lost_one_is_opened_anew() {
    let pool = pool();
    for _ in 0..3 {
        pool.sign(b"message").unwrap();
    }
    assert_eq!(opened(&pool), 1, "one session for one at a time");
    // others that were opened before the token went are as old
    pool.keep(100);
    pool.keep(101);
    pool.device.signs.lock().unwrap().push_back(Next::Lost);
    pool.sign(b"message").unwrap();
    assert_eq!(opened(&pool), 2);
    assert_eq!(pool.device.asked.load(Ordering::SeqCst), 5);
    assert_eq!(pool.idle.lock().unwrap().len(), 1, "the old ones are given up too");
}

#[test]
fn r45_a_token_that_is_away_is_unavailable_until_it_is_back() {
    let pool = pool();
    pool.sign(b"message").unwrap();
    pool.device.signs.lock().unwrap().push_back(Next::Lost);
    for _ in 0..3 {
        pool.device.opens.lock().unwrap().push_back(Trouble::away("no token has this name"));
    }
    for _ in 0..3 {
        assert_eq!(pool.sign(b"message").unwrap_err().kind(), ErrorKind::Unavailable);
    }
    pool.sign(b"message").unwrap();
    // a new session that fails at once is no reason to open more and more
    for _ in 0..2 {
        pool.device.signs.lock().unwrap().push_back(Next::Lost);
    }
    let before = opened(&pool);
    assert_eq!(pool.sign(b"message").unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(opened(&pool), before + 1);
    // a key that is no longer what it must be is for somebody to look at, and may be mended
    pool.device.opens.lock().unwrap().push_back(Trouble::Unfit("the key can be read"));
    assert!(matches!(pool.sign(b"message"), Err(SignError::Refused("the key can be read"))));
    pool.sign(b"message").unwrap();
}

#[test]
fn r45_a_refused_pin_is_never_tried_again() {
    let pool = pool();
    pool.device.opens.lock().unwrap().push_back(Trouble::Pin("the token refuses the PIN"));
    for _ in 0..5 {
        let error = pool.sign(b"message").unwrap_err();
        assert!(matches!(error, SignError::Refused("the token refuses the PIN")), "{error:?}");
    }
    assert_eq!(opened(&pool), 1, "one try");
}

#[test]
fn r45_nothing_is_released_that_the_public_key_does_not_verify() {
    let pool = pool();
    for next in [Next::Swapped, Next::Der, Next::Short, Next::Long] {
        let what = format!("{next:?}");
        pool.sign(b"message").unwrap();
        let before = opened(&pool);
        pool.device.signs.lock().unwrap().push_back(next);
        let error = pool.sign(b"message").unwrap_err();
        assert!(matches!(error, SignError::Mismatch), "{what}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{what}");
        pool.sign(b"message").unwrap();
        assert_eq!(opened(&pool), before + 1, "{what}: its session is not used again");
    }
}

#[test]
fn r45_a_pool_for_another_public_key_releases_nothing() {
    let pool = pool();
    let (other, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
    let Ok(pool) = Arc::try_unwrap(pool) else { panic!("one owner") };
    let pool = Pool::new(pool.device, other.public_jwk()).unwrap();
    assert!(matches!(pool.sign(SIGNER_PROBE), Err(SignError::Mismatch)));
}

#[tokio::test]
async fn r45_a_module_that_hangs_binds_its_places_and_no_more() {
    let (pool, in_flight) = (pool(), semaphore(MaxInFlight::new(1).unwrap()));
    let (open, gate) = mpsc::channel();
    *pool.device.gate.lock().unwrap() = Some(gate);
    tokio::time::pause();
    let (of_pool, of_flight) = (Arc::clone(&pool), Arc::clone(&in_flight));
    let hanging = tokio::spawn(async move { sign_with(&of_pool, &of_flight, b"hangs").await });
    // the thread has begun
    while pool.device.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // its turn never comes while the first holds its place
    let (of_pool, of_flight) = (Arc::clone(&pool), Arc::clone(&in_flight));
    let waiting = tokio::spawn(async move { sign_with(&of_pool, &of_flight, b"waits").await });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(SIGN_TIMEOUT + Duration::from_millis(1)).await;
    for task in [hanging, waiting] {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(in_flight.available_permits(), 0, "the thread is still in the module");
    assert_eq!(pool.device.asked.load(Ordering::SeqCst), 1, "nothing was asked meanwhile");
    open.send(()).unwrap();
    tokio::time::resume();
    sign_with(&pool, &in_flight, b"message").await.unwrap();
    assert_eq!(in_flight.available_permits(), 1);
}

#[tokio::test]
async fn r46_a_panic_in_the_thread_is_an_answer_and_says_nothing() {
    let (pool, in_flight) = (pool(), semaphore(MaxInFlight::new(1).unwrap()));
    pool.device.signs.lock().unwrap().push_back(Next::Panics);
    let error = sign_with(&pool, &in_flight, b"message").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error} {error:?} {:?}", std::error::Error::source(&error)).contains("MARKED"));
    sign_with(&pool, &in_flight, b"message").await.unwrap();
}

#[test]
fn names_are_names_and_a_library_is_not_searched_for() {
    for bad in ["", " ", "label ", "label\0", &"x".repeat(33)] {
        assert!(TokenName::label(bad).is_err(), "{bad:?}");
    }
    assert!(TokenName::label(&"x".repeat(32)).is_ok() && TokenName::label("one token").is_ok());
    assert!(TokenName::serial(&"1".repeat(17)).is_err() && TokenName::serial(&"1".repeat(16)).is_ok());
    assert!(KeyName::id(&[]).is_err() && KeyName::id(&[0; 65]).is_err() && KeyName::id(&[0]).is_ok());
    assert!(KeyName::label("").is_err() && KeyName::label(&"x".repeat(65)).is_err());
    for module in ["libsofthsm2.so", "./libsofthsm2.so", ""] {
        let (token, key) = (TokenName::label("t").unwrap(), KeyName::label("k").unwrap());
        assert!(Pkcs11Key::new(module, token, key).is_err(), "{module:?}");
    }
}

#[tokio::test]
async fn r46_a_module_that_is_none_is_refused_and_the_pin_not_shown() {
    let (token, key) = (TokenName::label("t").unwrap(), KeyName::label("k").unwrap());
    let key = Pkcs11Key::new("/nonexistent/libnone.so", token, key).unwrap();
    let error = Pkcs11Signer::open(key, "MARKED".into()).await.unwrap_err();
    assert!(matches!(error, SignError::Refused("the module cannot be loaded")), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("MARKED"));
}

#[test]
fn the_doubles_signatures_are_a_back_ends_too() {
    let pool = pool();
    let pair = EcKeyPair::from_pkcs8_der(pool.device.key.to_pkcs8_der().unwrap().as_bytes()).unwrap();
    let (x, y) = pair.public_coordinates().unwrap();
    let key = PublicJwk::es256(&x, &y).to_jwk().unwrap();
    assert!(key.key().verifies(b"message", &pool.sign(b"message").unwrap()));
}
