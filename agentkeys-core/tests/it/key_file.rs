//! Key files: what is refused, and that no crash, race or rotation loses a key.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use agentkeys_core::testing::ManualClock;
use agentkeys_core::{
    Audience, ErrorKind, Issuer, KeyRing, KeyRingError, KeyState, MAX_KEY_FILE_BYTES, MAX_RING_KEYS,
    MintRequest, Minter, NoClaims, Oidc, Profile, Purpose, RotationTimes, Secret, Session, StaticKeys,
    SystemRandom, Verifier,
};
use serde_json::{Value, json};

use crate::support::*;

/// A folder of its own for each test, emptied first.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn fresh<P: Purpose>() -> KeyRing<P> {
    KeyRing::generate(&SystemRandom::new(), at(NOW)).unwrap()
}

fn times() -> RotationTimes {
    RotationTimes::new(Duration::from_secs(300))
}

fn value<P: Purpose>(ring: &KeyRing<P>) -> Value {
    serde_json::from_slice(ring.to_secret().unwrap().expose()).unwrap()
}

fn read(text: impl ToString) -> Result<KeyRing<Oidc>, KeyRingError> {
    KeyRing::from_secret(&Secret::new(text.to_string().into_bytes()))
}

/// A ring with a key in each state.
fn full() -> KeyRing<Oidc> {
    let staged = fresh::<Oidc>().stage(&SystemRandom::new(), at(NOW)).unwrap();
    let promoted = staged.promote(at(NOW + 300), times()).unwrap();
    promoted.stage(&SystemRandom::new(), at(NOW + 301)).unwrap()
}

macro_rules! assert_refused {
    ($read:expr, $pattern:pat, $($what:tt)*) => {{
        let refused = $read.expect_err("it must be refused");
        assert!(matches!(refused, $pattern), "{refused:?}: {}", format!($($what)*));
        assert_eq!(refused.kind(), ErrorKind::Misconfigured);
    }};
}

#[test]
fn w42_a_ring_reads_back_as_it_was_written_and_a_retired_key_without_its_private_half() {
    let ring = full();
    let again = KeyRing::<Oidc>::from_secret(&ring.to_secret().unwrap()).unwrap();
    assert_eq!((format!("{ring:?}"), value(&ring)), (format!("{again:?}"), value(&again)));
    assert_eq!(json!(ring.jwks()), json!(again.jwks()));
    let states = [KeyState::Active, KeyState::Next, KeyState::Retired];
    assert_eq!(again.keys().iter().map(agentkeys_core::RingKey::state).collect::<Vec<_>>(), states);
    let written = value(&ring);
    assert!(written["keys"][1].get("private_key_pem").is_some());
    assert_eq!(written["keys"][2].get("private_key_pem"), None);
    // nor is it kept where a file still has it
    let mut kept = value(&fresh::<Oidc>());
    let mut old = value(&fresh::<Oidc>())["keys"][0].take();
    (old["state"], old["retire_at"]) = (json!("retired"), json!(NOW));
    kept["keys"].as_array_mut().unwrap().push(old);
    assert_eq!(value(&read(&kept).unwrap())["keys"][1].get("private_key_pem"), None);
    // a key that is held elsewhere cannot be written
    assert!(matches!(ring_of_outside_key().to_secret(), Err(KeyRingError::Sign(_))));
}

fn ring_of_outside_key() -> KeyRing<Oidc> {
    KeyRing::new(signer())
}

#[test]
fn w43_the_purpose_is_required_and_must_be_ours() {
    let ring = fresh::<Session>();
    assert_refused!(KeyRing::<Oidc>::from_secret(&ring.to_secret().unwrap()), KeyRingError::Purpose, "");
    KeyRing::<Session>::from_secret(&ring.to_secret().unwrap()).unwrap();
    let key = value(&fresh::<Oidc>())["keys"][0].take();
    let single = |purpose: &str| {
        let mut single = json!({ "kid": key["kid"], "private_key_pem": key["private_key_pem"] });
        if !purpose.is_empty() {
            single["purpose"] = json!(purpose);
        }
        read(single)
    };
    assert_refused!(single(""), KeyRingError::Malformed, "none");
    assert_refused!(single("session"), KeyRingError::Purpose, "session");
    assert_refused!(single("OIDC"), KeyRingError::Purpose, "OIDC");
    let loaded = single("oidc").unwrap();
    assert_eq!(loaded.active().public_jwk().kid().as_str(), key["kid"]);
    assert_eq!(loaded.keys()[0].state(), KeyState::Active);
}

#[test]
fn w38_a_kid_that_is_not_the_thumbprint_never_loads() {
    let good = value(&full());
    read(&good).unwrap();
    for place in 0..3 {
        let mut bad = good.clone();
        bad["keys"][place]["kid"] = json!(kid(&signer()));
        assert_refused!(read(&bad), KeyRingError::Kid, "{place}");
        bad["keys"][place]["kid"] = json!("v1-1800000000");
        assert_refused!(read(&bad), KeyRingError::Kid, "{place}");
    }
    let mut bad = good.clone();
    bad["keys"][2]["public_jwk"]["kid"] = json!(kid(&signer()));
    assert_refused!(read(&bad), KeyRingError::Jwk(_), "inside");
    for (member, wrong) in [("kty", "RSA"), ("crv", "P-384"), ("use", "enc"), ("alg", "ES384"), ("x", "AAAA")]
    {
        let mut bad = good.clone();
        bad["keys"][2]["public_jwk"][member] = json!(wrong);
        assert_refused!(read(&bad), KeyRingError::Jwk(_), "{member}");
    }
    let mut bad = good.clone();
    bad["keys"][2]["public_jwk"]["d"] = json!("AAAA");
    assert_refused!(read(&bad), KeyRingError::Jwk(_), "d");
}

#[test]
fn w38_a_public_key_that_is_no_point_never_loads() {
    // the name is the thumbprint of these coordinates, and they are off the curve
    let bogus = agentkeys_core::jose::PublicJwk::es256(&[1; 32], &[1; 32]);
    let mut bad = value(&full());
    (bad["keys"][2]["kid"], bad["keys"][2]["public_jwk"]) = (json!(bogus.kid()), json!(bogus));
    assert_refused!(read(&bad), KeyRingError::Jwk(_), "off the curve");
}

#[test]
fn w40_unknown_doubled_and_missing_members_are_refused() {
    let ring = full();
    let text = String::from_utf8(ring.to_secret().unwrap().expose().clone()).unwrap();
    read(&text).unwrap();
    for (from, to) in [
        ("{\"purpose\"", "{\"comment\":\"x\",\"purpose\""),
        ("{\"purpose\":\"oidc\"", "{\"purpose\":\"oidc\",\"purpose\":\"oidc\""),
        ("{\"purpose\":\"oidc\"", "{\"purpose\":\"oidc\",\"kid\":\"x\""),
        ("\"state\":\"active\"", "\"state\":\"active\",\"state\":\"active\""),
        ("\"state\":\"active\"", "\"state\":\"active\",\"note\":1"),
        ("\"state\":\"active\"", "\"state\":\"revoked\""),
        ("\"state\":\"active\",", ""),
        ("\"public_jwk\"", "\"public_key\""),
        ("\\n", "\\u000a"),
        ("\"state\":\"active\"", "\"state\":\"active\",\"public_jwk\":{}"),
    ] {
        assert!(text.contains(from));
        assert_refused!(read(text.replacen(from, to, 1)), KeyRingError::Malformed, "{to}");
    }
    for bad in ["", "[]", "{}", "null", "[\"oidc\",[]]", "{\"purpose\":\"oidc\",\"keys\":[[]]}"] {
        assert_refused!(read(bad), KeyRingError::Malformed, "{bad}");
    }
    // members in their order, without their names
    let key = value(&ring)["keys"][0].take();
    let nameless = json!([key["kid"], key["private_key_pem"], null, "active", NOW, null]);
    let nameless = json!({ "purpose": "oidc", "keys": [nameless] });
    assert_refused!(read(nameless), KeyRingError::Malformed, "an array");
    assert_refused!(read(text.clone() + "x"), KeyRingError::Malformed, "trailing");
    assert_refused!(read(" ".repeat(MAX_KEY_FILE_BYTES + 1)), KeyRingError::TooLarge, "size");
    let many = json!({ "purpose": "oidc", "keys": vec![json!({}); MAX_RING_KEYS + 1] });
    assert_refused!(read(many), KeyRingError::TooManyKeys, "count");
    let mut long = value(&ring);
    long["keys"][0]["private_key_pem"] = json!("x".repeat(1025));
    assert_refused!(read(long), KeyRingError::Malformed, "pem");
}

#[test]
fn w42_states_that_contradict_each_other_are_refused() {
    let good = value(&full());
    for (place, member, wrong) in [
        (0, "state", json!("next")),
        (1, "state", json!("active")),
        (2, "state", json!("next")),
        (0, "retire_at", json!(NOW)),
        (1, "retire_at", json!(NOW)),
        (2, "retire_at", json!(null)),
    ] {
        let mut bad = good.clone();
        bad["keys"][place][member] = wrong;
        assert_refused!(read(&bad), KeyRingError::State, "{place} {member}");
    }
    for (place, state) in [(0, "active"), (1, "next")] {
        let mut bad = good.clone();
        let jwk = json!(full().keys()[0].kid());
        bad["keys"][place] = good["keys"][2].clone();
        (bad["keys"][place]["state"], bad["keys"][place]["retire_at"]) = (json!(state), json!(null));
        bad["keys"].as_array_mut().unwrap().truncate(2);
        assert_refused!(read(&bad), KeyRingError::State, "{state} without its private half {jwk}");
    }
    // two that are to sign next, each whole: nothing says which
    let mut two = good.clone();
    let other = value(&fresh::<Oidc>())["keys"][0].clone();
    two["keys"].as_array_mut().unwrap().push(other);
    two["keys"][3]["state"] = json!("next");
    assert_refused!(read(&two), KeyRingError::State, "two next");
    let mut doubled = good.clone();
    let retired = good["keys"][2].clone();
    doubled["keys"].as_array_mut().unwrap().push(retired);
    assert_refused!(read(&doubled), KeyRingError::State, "doubled");
}

#[test]
fn r44_loading_never_makes_a_key_and_creating_never_replaces_one() {
    let folder = folder("r44");
    let path = folder.join("oidc.json");
    assert_refused!(KeyRing::<Oidc>::load(&path), KeyRingError::Missing, "");
    assert_refused!(KeyRing::<Oidc>::update(&path, |ring| Ok(ring.clone())), KeyRingError::Missing, "");
    assert!(!path.exists());
    let ring = fresh::<Oidc>();
    ring.create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_refused!(fresh::<Oidc>().create(&path), KeyRingError::Exists, "");
    assert_eq!(value(&KeyRing::<Oidc>::load(&path).unwrap()), value(&ring));
    // what a killed process left is neither loaded nor in the way
    fs::write(folder.join(".oidc.json.new"), "half").unwrap();
    let refused = KeyRing::<Oidc>::update(&path, |_| Err(KeyRingError::NoNext)).unwrap_err();
    assert!(matches!(refused, KeyRingError::NoNext));
    let staged = KeyRing::<Oidc>::update(&path, |ring| ring.stage(&SystemRandom::new(), at(NOW))).unwrap();
    assert_eq!(value(&KeyRing::<Oidc>::load(&path).unwrap()), value(&staged));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn w39_only_a_private_regular_file_is_loaded() {
    let folder = folder("w39");
    let path = folder.join("oidc.json");
    let ring = fresh::<Oidc>();
    ring.create(&path).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o644, 0o610] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_refused!(KeyRing::<Oidc>::load(&path), KeyRingError::Permissions, "{mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    KeyRing::<Oidc>::load(&path).unwrap();
    // a superuser can give the file away; for anybody else the pure check in `keys/ring/file.rs` stands
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
        assert_refused!(KeyRing::<Oidc>::load(&path), KeyRingError::Owner, "foreign owner");
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    let link = folder.join("link.json");
    symlink(&path, &link).unwrap();
    assert_refused!(KeyRing::<Oidc>::load(&link), KeyRingError::NotAFile, "link");
    assert_refused!(fresh::<Oidc>().create(&link), KeyRingError::Exists, "over a link");
    assert_refused!(KeyRing::<Oidc>::load(&folder), KeyRingError::NotAFile, "folder");
    let socket = folder.join("socket");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert_refused!(KeyRing::<Oidc>::load(&socket), KeyRingError::Io(_), "socket");
    let fifo = folder.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert_refused!(KeyRing::<Oidc>::load(&fifo), KeyRingError::NotAFile, "fifo");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, " ".repeat(MAX_KEY_FILE_BYTES + 1)).unwrap();
    assert_refused!(KeyRing::<Oidc>::load(&path), KeyRingError::TooLarge, "");
    // a host that has a symbolic link of mode 0440 reads it itself
    KeyRing::<Oidc>::from_secret(&ring.to_secret().unwrap()).unwrap();
}

#[test]
fn w40_of_two_that_generate_at_once_one_wins_and_the_other_is_told() {
    let folder = folder("w40-race");
    for round in 0..20 {
        let path = folder.join(format!("{round}.json"));
        let (rings, barrier) = ([fresh::<Oidc>(), fresh::<Oidc>()], Barrier::new(2));
        let outcomes = std::thread::scope(|scope| {
            let create = |ring| {
                let (path, barrier) = (&path, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    KeyRing::<Oidc>::create(ring, path)
                })
            };
            let [one, other] = rings.each_ref().map(create);
            [one.join().unwrap(), other.join().unwrap()]
        });
        let winner = outcomes.iter().position(Result::is_ok).unwrap();
        assert!(matches!(outcomes[1 - winner], Err(KeyRingError::Exists)), "{outcomes:?}");
        assert_eq!(value(&KeyRing::<Oidc>::load(&path).unwrap()), value(&rings[winner]));
    }
}

const CHILD_FILE: &str = "AGENTKEYS_TEST_RING";
const CHILD_NOW: &str = "AGENTKEYS_TEST_NOW";

/// Rotates for ever and says which tokens it minted; the test below starts it and kills it.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
#[tokio::test]
async fn child_that_rotates() {
    let Ok(path) = std::env::var(CHILD_FILE) else { return };
    let mut now: u64 = std::env::var(CHILD_NOW).unwrap().parse().unwrap();
    match fresh::<Oidc>().create(&path) {
        Ok(()) | Err(KeyRingError::Exists) => {}
        Err(error) => panic!("{error:?}"),
    }
    loop {
        // long enough for every lead, short enough that old tokens are still out
        now += 301;
        let ring = KeyRing::<Oidc>::update(&path, |ring| {
            let ring = ring.prune(at(now));
            match ring.promote(at(now), times()) {
                Err(KeyRingError::NoNext) => ring.stage(&SystemRandom::new(), at(now)),
                other => other,
            }
        })
        .unwrap();
        let minter = Minter::new(Issuer::parse(ISSUER).unwrap(), ring).with_clock(ManualClock::new(at(now)));
        let identity = identity_with_times(now);
        let request = MintRequest::new(Audience::parse(AUDIENCE).unwrap());
        let token = minter.mint(&identity, request).await.unwrap();
        println!("\nminted {now} {}", token.expose());
    }
}

fn identity_with_times(now: u64) -> agentkeys_core::AttestedIdentity {
    let (root, agent) = ("https://issuer.example/tenant".parse().unwrap(), "blue".parse().unwrap());
    let assurance = agentkeys_core::Assurance::PlatformAttested;
    let end = at(now + 3600);
    agentkeys_core::AttestedIdentity::assertion(KIND.clone(), root, agent, assurance, at(now), end).unwrap()
}

#[test]
fn w42_a_kill_at_any_step_of_a_rotation_loses_no_token() {
    let path = folder("w42-kill").join("oidc.json");
    let (mut now, mut minted) = (NOW, Vec::<(u64, String)>::new());
    for kill_after in (0..24).map(|round| round % 6) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "key_file::child_that_rotates", "--nocapture"])
            .env(CHILD_FILE, &path)
            .env(CHILD_NOW, now.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut keep = |line: &str| {
            let mut words = line.split(' ');
            // a killed child's last line may be cut short
            if let (Some("minted"), Some(at), Some(token)) = (words.next(), words.next(), words.next())
                && token.split('.').nth(2).is_some_and(|signature| signature.len() == 86)
            {
                minted.push((at.parse().unwrap(), token.to_owned()));
                return true;
            }
            false
        };
        let mut seen = 0;
        while seen < kill_after {
            seen += usize::from(keep(&lines.next().unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // what it said before it died
        lines.for_each(|line| {
            keep(&line);
        });
        now = minted.last().map_or(now, |(at, _)| *at);
        if kill_after == 0 && !path.exists() {
            continue;
        }
        // restart: every token that is still good verifies with the keys of the file
        let ring = KeyRing::<Oidc>::load(&path).unwrap();
        let keys = std::sync::Arc::new(StaticKeys::new(ring.key_set().unwrap()));
        let profile = Profile::oidc(Issuer::parse(ISSUER).unwrap(), keys);
        let verifier = Verifier::new(profile, Audience::parse(AUDIENCE).unwrap());
        for (minted_at, token) in minted.iter().filter(|(at, _)| at + 300 > now) {
            verifier.verify_with_known_keys::<NoClaims>(token, at(*minted_at)).unwrap();
        }
        let known = |kid: &str| ring.keys().iter().any(|key| key.kid().as_str() == kid);
        for (_, token) in minted.iter().filter(|(at, _)| at + 3600 > now) {
            assert!(known(open(token).0["kid"].as_str().unwrap()));
        }
        // a killed rotation was not told, but its time may have been used
        now += 301;
    }
    assert!(minted.len() > 24);
}
