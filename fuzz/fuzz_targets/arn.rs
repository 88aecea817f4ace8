//! Any text as a name in AWS: what is accepted is put together again from its parts, and names one thing.

#![no_main]

use agentkeys_attest::aws::{AssumedRoleArn, ClusterArn, Region, RoleArn, RoleUniqueId, StsEndpoint};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut sorts = 0;
    if let Ok(arn) = AssumedRoleArn::parse(text) {
        sorts += 1;
        let (role, session) = (arn.role_name(), arn.session_name());
        let again = format!("arn:{}:sts::{}:assumed-role/{role}/{session}", arn.partition(), arn.account());
        assert_eq!((again.as_str(), arn.as_str()), (text, text));
        assert!((1..=64).contains(&role.len()) && (2..=64).contains(&session.len()));
        assert!(!role.contains(['/', ':', '*']) && !session.contains(['/', ':', '*']));
        // a role of that name can be named, and is no session
        let role = format!("arn:{}:iam::{}:role/{role}", arn.partition(), arn.account());
        assert_eq!(RoleArn::parse(&role).unwrap().name(), arn.role_name());
    }
    if let Ok(role) = RoleArn::parse(text) {
        sorts += 1;
        let again =
            format!("arn:{}:iam::{}:role{}{}", role.partition(), role.account(), role.path(), role.name());
        assert_eq!(again, text);
        assert!(!role.name().contains(['/', ':', '*']));
    }
    if let Ok(cluster) = ClusterArn::parse(text) {
        sorts += 1;
        let (partition, region, account) = (cluster.partition(), cluster.region(), cluster.account());
        assert_eq!(format!("arn:{partition}:eks:{region}:{account}:cluster/{}", cluster.name()), text);
    }
    if let Ok(id) = RoleUniqueId::parse(text) {
        sorts += 1;
        assert!(id.as_str() == text && text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
    if let Ok(region) = Region::parse(text) {
        sorts += 1;
        for endpoint in [
            StsEndpoint::regional(region.clone()),
            StsEndpoint::fips(region.clone()),
            StsEndpoint::dual_stack(region.clone()),
            StsEndpoint::fips_dual_stack(region.clone()),
        ]
        .into_iter()
        .flatten()
        {
            assert_eq!(endpoint.region().as_str(), text);
            // the operator could have named it
            let (partition, host) = (endpoint.partition().clone(), endpoint.host());
            assert_eq!(StsEndpoint::at_host(partition, region.clone(), host), Ok(endpoint.clone()));
            assert_eq!(host.split('.').nth(1), Some(text));
        }
    }
    assert!(sorts <= 1, "one text, two things");
    // what names a host names nothing else
    if let Ok(endpoint) = StsEndpoint::at_host("aws".parse().unwrap(), "us-east-1".parse().unwrap(), text) {
        assert_eq!(endpoint.origin(), format!("https://{text}"));
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
        );
        assert!(sorts == 0 || Region::parse(text).is_ok());
    }
});
