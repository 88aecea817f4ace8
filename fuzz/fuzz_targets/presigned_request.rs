//! Any bytes as a presigned request: what is sent is ours, and says what the evidence said, byte for byte.
//!
//! The first byte of an input says what the rest is: `r`, the whole content; anything else, the URL in it.

#![no_main]

use agentkeys_core::{ErrorKind, HttpMethod, HttpResponse};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

mod sts;

const ORIGINS: [(&str, &str); 2] =
    [("https://sts.eu-west-1.amazonaws.com", "eu-west-1"), ("https://sts.amazonaws.com", "us-east-1")];
const NAMES: [&str; 9] = [
    "Action",
    "Version",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    let content = match (mode, std::str::from_utf8(rest)) {
        (b'r', _) => rest.to_vec(),
        (_, Ok(url)) => json!({ "url": url }).to_string().into_bytes(),
        (_, Err(_)) => return,
    };
    let (found, asked) = sts::attest(&content, HttpResponse::new(403, Vec::new(), ""));
    // this STS knows nobody
    assert_eq!(found.unwrap_err().kind(), ErrorKind::Invalid);
    let Some(request) = asked.first() else { return };
    assert_eq!(asked.len(), 1);

    assert_eq!(request.method, HttpMethod::Get);
    assert!(request.body.expose().is_empty());
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(request.headers, [header("accept", "text/xml"), header("x-agentkeys-audience", "agentkeys")]);
    let (address, query) = request.url.split_once('?').unwrap();
    let (_, region) =
        ORIGINS.iter().find(|(origin, _)| address == format!("{origin}/")).expect("another host");
    let pairs: Vec<_> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    assert!(pairs.iter().map(|(name, _)| *name).eq(NAMES));
    assert_eq!((pairs[0].1, pairs[1].1, pairs[2].1), ("GetCallerIdentity", "2011-06-15", "AWS4-HMAC-SHA256"));
    let scope = format!("%2F{}%2F{region}%2Fsts%2Faws4_request", &pairs[4].1[..8]);
    assert!(pairs[3].1.ends_with(&scope));
    assert!(pairs[4].1.starts_with("202701"), "far from now");
    assert!((1..=900).contains(&pairs[5].1.parse::<u64>().unwrap()));
    assert_eq!(pairs[7].1.len(), 64);
    assert_eq!(pairs[8].1, "host%3Bx-agentkeys-audience");

    // the same as in the evidence, but for the order
    let said: Value = serde_json::from_slice(&content).expect("it was JSON");
    assert_eq!(said.as_object().unwrap().len(), 1);
    let (said_address, said) = said["url"].as_str().unwrap().split_once('?').unwrap();
    assert_eq!(said_address, address);
    let mut said: Vec<_> = said.split('&').collect();
    said.sort_unstable();
    assert_eq!(said.join("&"), query);
});
