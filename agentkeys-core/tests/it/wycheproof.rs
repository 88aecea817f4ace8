//! Project Wycheproof's vectors: every case is asserted, or the table says why it cannot be.

use agentkeys_core::jose::{Algorithm, Compact, FixedKey, Header, KeySet, PublicKey};
use serde_json::Value;
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify};

/// The JWS layer alone, for payloads that are no claims.
fn accepts(keys: &KeySet, jws: &str) -> bool {
    let verified = || {
        let compact = Compact::split(jws).ok()?;
        let header_json = compact.header_json().ok()?;
        let header = Header::parse(&header_json).ok()?;
        let algorithm = Algorithm::from_name(&header.alg)?;
        let jwk = match &header.kid {
            Some(kid) => keys.by_kid(kid)?,
            None => keys.keys().first()?,
        };
        compact.payload().ok()?;
        let signature = compact.signature().ok()?;
        Some(jwk.key().algorithm() == algorithm && jwk.key().verifies(compact.signing_input(), &signature))
    };
    verified() == Some(true)
}

/// Valid cases that are refused here: the numbers, and why.
type Excluded<'e> = &'e [(std::ops::RangeInclusive<u64>, &'static str)];

/// Judges every case of a file and returns how many there were; invalid ones have no exceptions.
fn judge(file: &str, excluded: Excluded<'_>) -> usize {
    let file: Value = serde_json::from_str(file).unwrap();
    let mut count = 0;
    for group in file["testGroups"].as_array().unwrap() {
        let keys = group.get("public").unwrap_or(&group["private"]);
        let set =
            if keys.get("keys").is_some() { keys.clone() } else { serde_json::json!({ "keys": [keys] }) };
        let set = KeySet::parse(set.to_string().as_bytes()).unwrap_or_default();
        for case in group["tests"].as_array().unwrap() {
            let id = case["tcId"].as_u64().unwrap();
            let jws = case["jws"].as_str().map_or_else(|| case["jws"].to_string(), str::to_owned);
            let excluded = excluded.iter().any(|(range, _)| range.contains(&id));
            let valid = match case["result"].as_str().unwrap() {
                "valid" => true,
                "invalid" => false,
                other => panic!("{id}: {other}"),
            };
            assert!(valid || !excluded, "{id} is excluded for nothing");
            assert_eq!(accepts(&set, &jws), valid && !excluded, "{id} {}", case["comment"]);
            count += 1;
        }
    }
    assert_eq!(count, usize::try_from(file["numberOfTests"].as_u64().unwrap()).unwrap());
    count
}

#[test]
fn the_json_web_signature_set() {
    const HMAC: &str = "an HMAC: its algorithm cannot be spelled here, and an oct key is no key";
    const PSS: &str = "RSA-PSS: no issuer that we serve signs with it";
    const HASH: &str = "RSA with SHA-384 or SHA-512: no issuer that we serve signs with it";
    const P521: &str = "P-521: no issuer that we serve signs with it";
    let excluded: Excluded<'_> = &[
        (1..=1, HMAC),
        (259..=259, "an empty payload: a JWT's is a JSON object"),
        (264..=267, HASH),
        (268..=271, HASH),
        (272..=275, PSS),
        (287..=288, PSS),
        (320..=323, PSS),
        (325..=328, PSS),
        (346..=346, PSS),
        (347..=347, P521),
        (348..=348, HMAC),
        (350..=350, PSS),
        (351..=351, P521),
        (352..=352, HMAC),
        (357..=359, HMAC),
        (372..=373, HMAC),
        (376..=377, HMAC),
    ];
    assert_eq!(judge(include_str!("../data/wycheproof/json_web_signature_test.json"), excluded), 401);
}

#[test]
fn the_json_web_key_set() {
    const HMAC: &str = "an HMAC: its algorithm cannot be spelled here, and an oct key is no key";
    let excluded: Excluded<'_> = &[(2..=2, HMAC), (13..=15, HMAC)];
    assert_eq!(judge(include_str!("../data/wycheproof/json_web_key_test.json"), excluded), 26);
}

/// "Acceptable" leaves the choice to the implementation; the closer reading is ours.
fn check(id: usize, result: TestResult, verifies: bool) {
    assert_eq!(verifies, result == TestResult::Valid, "{id}");
}

#[test]
fn ecdsa_with_fixed_width_signatures() {
    for (name, algorithm) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, Algorithm::Es256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, Algorithm::Es384),
    ] {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let (x, y) = group.key.key[1..].split_at(group.key.key.len() / 2);
            let key = PublicKey::from_ec_coordinates(algorithm, x, y).unwrap();
            let table = FixedKey::new(&key).unwrap();
            for case in &group.tests {
                check(case.tc_id, case.result, key.verifies(&case.msg, &case.sig));
                // the key's table alone, which no back end mends
                check(case.tc_id, case.result, table.verifies(&case.msg, &case.sig));
            }
        }
    }
}

#[test]
fn rsa_pkcs1_with_sha256() {
    use rsa_pkcs1_verify::TestName;
    for name in
        [TestName::Rsa2048Sha256, TestName::Rsa3072Sha256, TestName::Rsa4096Sha256, TestName::Rsa8192Sha256]
    {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            // written as signed integers there
            let unsigned = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
            let (n, e): (Vec<u8>, Vec<u8>) = (unsigned(&group.key.n), unsigned(&group.key.e));
            let key = PublicKey::from_rsa_components(&n, &e).unwrap();
            for case in &group.tests {
                check(case.tc_id, case.result, key.verifies(&case.msg, &case.sig));
            }
        }
    }
}

#[test]
fn ed25519() {
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = PublicKey::from_ed25519(&group.key.pk).unwrap();
        let table = FixedKey::new(&key).unwrap();
        for case in &group.tests {
            check(case.tc_id, case.result, key.verifies(&case.msg, &case.sig));
            check(case.tc_id, case.result, table.verifies(&case.msg, &case.sig));
        }
    }
}
