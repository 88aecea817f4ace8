use std::fmt;

use agentkeys_core::Issuer;

use super::{Partition, Region};

/// Where an STS answers, the region that requests to it are signed for, and the partition for which alone
/// it vouches.
///
/// Made from a region by the table that AWS publishes, never from what evidence says (W2, L4, W10). For a
/// region that the table does not know yet there is [`StsEndpoint::at_host`].
/// <https://docs.aws.amazon.com/general/latest/gr/sts.html>
/// <https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json>
///
/// ```
/// # use agentkeys_attest::aws::StsEndpoint;
/// let frankfurt = StsEndpoint::regional("eu-central-1".parse()?)?;
/// assert_eq!(frankfurt.host(), "sts.eu-central-1.amazonaws.com");
/// let beijing = StsEndpoint::dual_stack("cn-north-1".parse()?)?;
/// assert_eq!(beijing.host(), "sts.cn-north-1.api.amazonwebservices.com.cn");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StsEndpoint {
    origin: String,
    partition: Partition,
    region: Region,
}

impl StsEndpoint {
    /// `sts.REGION.…`: what AWS recommends.
    ///
    /// # Errors
    /// [`StsEndpointError::UnknownRegion`].
    pub fn regional(region: Region) -> Result<Self, StsEndpointError> {
        Self::of(Variant::Regional, region)
    }

    /// The region's endpoint with FIPS 140 validated cryptography.
    ///
    /// # Errors
    /// [`StsEndpointError::UnknownRegion`].
    pub fn fips(region: Region) -> Result<Self, StsEndpointError> {
        Self::of(Variant::Fips, region)
    }

    /// The region's endpoint for IPv4 and IPv6.
    ///
    /// # Errors
    /// [`StsEndpointError::UnknownRegion`].
    pub fn dual_stack(region: Region) -> Result<Self, StsEndpointError> {
        Self::of(Variant::DualStack, region)
    }

    /// The region's endpoint with FIPS 140 validated cryptography for IPv4 and IPv6.
    ///
    /// # Errors
    /// [`StsEndpointError::UnknownRegion`].
    pub fn fips_dual_stack(region: Region) -> Result<Self, StsEndpointError> {
        Self::of(Variant::FipsDualStack, region)
    }

    /// `sts.amazonaws.com`, the old global endpoint: partition `aws` alone, signed for `us-east-1`.
    #[must_use]
    pub fn global() -> Self {
        Self {
            origin: format!("https://{GLOBAL_HOST}"),
            partition: Partition("aws".to_owned()),
            region: Region("us-east-1".to_owned()),
        }
    }

    /// An endpoint that the table does not have: a region newer than this crate, a VPC endpoint's name.
    /// Whoever answers at `host` decides who everybody in `partition` is.
    ///
    /// # Errors
    /// [`StsEndpointError::Host`] where `host` is not a DNS name in lower case, without a port.
    pub fn at_host(partition: Partition, region: Region, host: &str) -> Result<Self, StsEndpointError> {
        if !is_dns_name(host) {
            return Err(StsEndpointError::Host);
        }
        Ok(Self { origin: format!("https://{host}"), partition, region })
    }

    /// A stand-in for STS on this machine's loopback interface, for tests and demonstrations: nothing
    /// protects what it says. `origin` is `http://127.0.0.1:PORT` or the like, without a path.
    ///
    /// # Errors
    /// [`StsEndpointError`] for anything that is not loopback, and for a region that the table has not.
    pub fn loopback_http_for_tests(region: Region, origin: &str) -> Result<Self, StsEndpointError> {
        let url = Issuer::loopback_http_for_tests(origin).map_err(|_| StsEndpointError::Loopback)?;
        if url.authority() != url.without_scheme() {
            return Err(StsEndpointError::Loopback);
        }
        let facts = PartitionFacts::of(&region).ok_or(StsEndpointError::UnknownRegion)?;
        Ok(Self { origin: origin.to_owned(), partition: facts.partition(), region })
    }

    /// Its host, and its port on loopback.
    #[must_use]
    pub fn host(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, host)| host)
    }

    /// `https://` and its host.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The partition for whose principals alone it vouches.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The region that requests to it are signed for.
    #[must_use]
    pub const fn region(&self) -> &Region {
        &self.region
    }

    /// Whether this came from [`StsEndpoint::loopback_http_for_tests`].
    #[must_use]
    pub fn is_loopback_http(&self) -> bool {
        self.origin.starts_with("http://")
    }

    /// Every endpoint that the table has for `region`.
    pub(crate) fn published(region: &Region) -> impl Iterator<Item = Self> {
        let global = Self::global();
        let global = (global.region == *region).then_some(global);
        let variants = Variant::ALL.into_iter().filter_map(|variant| Self::of(variant, region.clone()).ok());
        variants.chain(global)
    }

    fn of(variant: Variant, region: Region) -> Result<Self, StsEndpointError> {
        let facts = PartitionFacts::of(&region).ok_or(StsEndpointError::UnknownRegion)?;
        let (service, suffix) = match variant {
            // GovCloud's regional endpoints are FIPS endpoints and have no second name
            Variant::Fips if facts.name == "aws-us-gov" => ("sts", facts.dns_suffix),
            Variant::Regional => ("sts", facts.dns_suffix),
            Variant::Fips => ("sts-fips", facts.dns_suffix),
            Variant::DualStack => ("sts", facts.dual_stack_suffix),
            Variant::FipsDualStack => ("sts-fips", facts.dual_stack_suffix),
        };
        let origin = format!("https://{service}.{region}.{suffix}");
        Ok(Self { origin, partition: facts.partition(), region })
    }
}

impl fmt::Display for StsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for region {}", self.host(), self.region)
    }
}

/// Why there is no such endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StsEndpointError {
    /// Not a host.
    #[error("an endpoint's host is a DNS name in lower case, without scheme, port or path")]
    Host,
    /// Not a loopback origin.
    #[error("a loopback endpoint is http://127.0.0.1:PORT, http://[::1]:PORT or http://localhost:PORT")]
    Loopback,
    /// The table has no such region.
    #[error("no partition known here has this region; name its endpoint with StsEndpoint::at_host")]
    UnknownRegion,
}

#[derive(Clone, Copy, Debug)]
enum Variant {
    Regional,
    Fips,
    DualStack,
    FipsDualStack,
}

impl Variant {
    const ALL: [Self; 4] = [Self::Regional, Self::Fips, Self::DualStack, Self::FipsDualStack];
}

struct PartitionFacts {
    name: &'static str,
    dns_suffix: &'static str,
    dual_stack_suffix: &'static str,
}

impl PartitionFacts {
    const fn new(name: &'static str, dns_suffix: &'static str, dual_stack_suffix: &'static str) -> Self {
        Self { name, dns_suffix, dual_stack_suffix }
    }

    /// The partition that a region's name belongs to. Unlike the SDKs, which take what they do not know
    /// for a region of `aws`, this knows when it does not know.
    fn of(region: &Region) -> Option<&'static Self> {
        let (area, _) = region.as_str().rsplit_once('-')?;
        let words: Vec<_> = area.split('-').collect();
        Some(match *words.as_slice() {
            ["us" | "eu" | "ap" | "sa" | "ca" | "me" | "af" | "il" | "mx", _] => &AWS,
            ["cn", _] => &CN,
            ["us", "gov", _] => &US_GOV,
            ["eusc", "de", _] => &EUSC,
            ["us", "iso", _] => &ISO,
            ["us", "isob", _] => &ISO_B,
            ["eu", "isoe", _] => &ISO_E,
            ["us", "isof", _] => &ISO_F,
            _ => return None,
        })
    }

    fn partition(&self) -> Partition {
        Partition(self.name.to_owned())
    }
}

static AWS: PartitionFacts = PartitionFacts::new("aws", "amazonaws.com", "api.aws");
static CN: PartitionFacts = PartitionFacts::new("aws-cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn");
static US_GOV: PartitionFacts = PartitionFacts::new("aws-us-gov", "amazonaws.com", "api.aws");
static EUSC: PartitionFacts = PartitionFacts::new("aws-eusc", "amazonaws.eu", "api.amazonwebservices.eu");
static ISO: PartitionFacts = PartitionFacts::new("aws-iso", "c2s.ic.gov", "api.aws.ic.gov");
static ISO_B: PartitionFacts = PartitionFacts::new("aws-iso-b", "sc2s.sgov.gov", "api.aws.scloud");
static ISO_E: PartitionFacts = PartitionFacts::new("aws-iso-e", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk");
static ISO_F: PartitionFacts = PartitionFacts::new("aws-iso-f", "csp.hci.ic.gov", "api.aws.hci.ic.gov");

/// Two labels at least, so no name of the local network, and the last no number, so no IPv4 address.
fn is_dns_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= MAX_HOST
        && host.contains('.')
        && host.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html>
const GLOBAL_HOST: &str = "sts.amazonaws.com";

/// <https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4>
const MAX_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(text: &str) -> Region {
        text.parse().unwrap()
    }

    #[test]
    fn w10_l4_hosts_are_computed_for_every_partition_and_variant() {
        for (name, partition, hosts) in [
            (
                "eu-west-1",
                "aws",
                [
                    "sts.eu-west-1.amazonaws.com",
                    "sts-fips.eu-west-1.amazonaws.com",
                    "sts.eu-west-1.api.aws",
                    "sts-fips.eu-west-1.api.aws",
                ],
            ),
            (
                "mx-central-1",
                "aws",
                [
                    "sts.mx-central-1.amazonaws.com",
                    "sts-fips.mx-central-1.amazonaws.com",
                    "sts.mx-central-1.api.aws",
                    "sts-fips.mx-central-1.api.aws",
                ],
            ),
            (
                "cn-north-1",
                "aws-cn",
                [
                    "sts.cn-north-1.amazonaws.com.cn",
                    "sts-fips.cn-north-1.amazonaws.com.cn",
                    "sts.cn-north-1.api.amazonwebservices.com.cn",
                    "sts-fips.cn-north-1.api.amazonwebservices.com.cn",
                ],
            ),
            (
                "us-gov-west-1",
                "aws-us-gov",
                [
                    "sts.us-gov-west-1.amazonaws.com",
                    "sts.us-gov-west-1.amazonaws.com",
                    "sts.us-gov-west-1.api.aws",
                    "sts-fips.us-gov-west-1.api.aws",
                ],
            ),
            (
                "eusc-de-east-1",
                "aws-eusc",
                [
                    "sts.eusc-de-east-1.amazonaws.eu",
                    "sts-fips.eusc-de-east-1.amazonaws.eu",
                    "sts.eusc-de-east-1.api.amazonwebservices.eu",
                    "sts-fips.eusc-de-east-1.api.amazonwebservices.eu",
                ],
            ),
            (
                "us-iso-east-1",
                "aws-iso",
                [
                    "sts.us-iso-east-1.c2s.ic.gov",
                    "sts-fips.us-iso-east-1.c2s.ic.gov",
                    "sts.us-iso-east-1.api.aws.ic.gov",
                    "sts-fips.us-iso-east-1.api.aws.ic.gov",
                ],
            ),
            (
                "us-isob-east-1",
                "aws-iso-b",
                [
                    "sts.us-isob-east-1.sc2s.sgov.gov",
                    "sts-fips.us-isob-east-1.sc2s.sgov.gov",
                    "sts.us-isob-east-1.api.aws.scloud",
                    "sts-fips.us-isob-east-1.api.aws.scloud",
                ],
            ),
            (
                "eu-isoe-west-1",
                "aws-iso-e",
                [
                    "sts.eu-isoe-west-1.cloud.adc-e.uk",
                    "sts-fips.eu-isoe-west-1.cloud.adc-e.uk",
                    "sts.eu-isoe-west-1.api.cloud-aws.adc-e.uk",
                    "sts-fips.eu-isoe-west-1.api.cloud-aws.adc-e.uk",
                ],
            ),
            (
                "us-isof-south-1",
                "aws-iso-f",
                [
                    "sts.us-isof-south-1.csp.hci.ic.gov",
                    "sts-fips.us-isof-south-1.csp.hci.ic.gov",
                    "sts.us-isof-south-1.api.aws.hci.ic.gov",
                    "sts-fips.us-isof-south-1.api.aws.hci.ic.gov",
                ],
            ),
        ] {
            let found: Vec<_> = StsEndpoint::published(&region(name)).collect();
            assert_eq!(found.iter().map(StsEndpoint::host).collect::<Vec<_>>(), hosts);
            assert!(found.iter().all(|endpoint| endpoint.partition().as_str() == partition), "{name}");
            assert!(
                found
                    .iter()
                    .all(|endpoint| endpoint.region().as_str() == name && !endpoint.is_loopback_http())
            );
        }
        assert_eq!(StsEndpoint::published(&region("us-east-1")).last(), Some(StsEndpoint::global()));
        assert_eq!(StsEndpoint::global().origin(), "https://sts.amazonaws.com");
        assert_eq!(StsEndpoint::global().to_string(), "sts.amazonaws.com for region us-east-1");
    }

    #[test]
    fn l4_a_region_of_no_known_partition_is_refused_and_can_be_named_by_the_operator() {
        for unknown in [
            "xx-west-1",
            "us-isoz-east-1",
            "us-new-east-1",
            "eusc-fr-east-1",
            "us-gov-far-east-1",
            "ap-east-west-1",
        ] {
            assert_eq!(
                StsEndpoint::regional(region(unknown)),
                Err(StsEndpointError::UnknownRegion),
                "{unknown}"
            );
            let loopback = StsEndpoint::loopback_http_for_tests(region(unknown), "http://127.0.0.1:1");
            assert_eq!(loopback, Err(StsEndpointError::UnknownRegion));
        }
        let partition = Partition::parse("aws-xx").unwrap();
        let named = StsEndpoint::at_host(partition.clone(), region("xx-west-1"), "sts.xx-west-1.example.com")
            .unwrap();
        assert_eq!(named.origin(), "https://sts.xx-west-1.example.com");
        assert_eq!((named.partition(), named.region()), (&partition, &region("xx-west-1")));
    }

    #[test]
    fn l4_only_a_plain_dns_name_is_a_host() {
        let at = |host: &str| StsEndpoint::at_host(Partition("aws".to_owned()), region("us-east-1"), host);
        let vpc = "vpce-0a1b2c3d-4e5f6a7b.sts.us-east-1.vpce.amazonaws.com";
        assert!(at(vpc).is_ok());
        let (label, deep) = (format!("{}.com", "a".repeat(64)), format!("{}com", "a.".repeat(126)));
        for bad in [
            "",
            "sts",
            "STS.amazonaws.com",
            "sts.amazonaws.com:443",
            "u@sts.amazonaws.com",
            "sts.amazonaws.com/",
            "https://sts.amazonaws.com",
            "sts..com",
            ".sts.com",
            "sts.com.",
            "-sts.com",
            "sts-.com",
            "sts.com?",
            "sts.com#",
            "s ts.com",
            "sts.c\u{f6}m",
            "127.0.0.1",
            "169.254.169.254",
            "[::1]",
            "sts_1.com",
            &label,
            &deep,
        ] {
            assert_eq!(at(bad), Err(StsEndpointError::Host), "{bad}");
        }
    }

    #[test]
    fn l9_plain_http_is_for_loopback_under_a_name_that_says_so() {
        let at = |origin| StsEndpoint::loopback_http_for_tests(region("us-east-1"), origin);
        for good in ["http://127.0.0.1:4599", "http://[::1]:1", "http://localhost:80"] {
            let endpoint = at(good).unwrap();
            assert_eq!((endpoint.origin(), endpoint.partition().as_str()), (good, "aws"));
            assert!(endpoint.is_loopback_http());
        }
        for bad in [
            "https://127.0.0.1:1",
            "http://127.0.0.1:1/",
            "http://127.0.0.1:1/x",
            "http://sts.amazonaws.com",
            "http://127.0.0.1.example.org",
            "http://u@127.0.0.1",
            "http://127.0.0.1?x",
            "127.0.0.1:1",
        ] {
            assert_eq!(at(bad), Err(StsEndpointError::Loopback), "{bad}");
        }
    }

    proptest! {
        /// Whatever the region, the host is below a suffix of AWS, and the region is in it whole.
        #[test]
        fn w2_l4_no_region_leads_to_a_host_that_is_not_aws(text in "[a-z]{2,5}(-[a-z]{2,9}){1,3}-[0-9]{1,2}") {
            let Ok(region) = Region::parse(&text) else { return Ok(()) };
            for endpoint in StsEndpoint::published(&region) {
                let host = endpoint.host();
                let below = |facts: &PartitionFacts| {
                    [facts.dns_suffix, facts.dual_stack_suffix].iter().any(|suffix| {
                        host == format!("sts.{text}.{suffix}") || host == format!("sts-fips.{text}.{suffix}")
                    }) && endpoint.partition().as_str() == facts.name
                };
                let known = [&AWS, &CN, &US_GOV, &EUSC, &ISO, &ISO_B, &ISO_E, &ISO_F].into_iter().any(below);
                prop_assert!(known || endpoint == StsEndpoint::global());
                prop_assert!(is_dns_name(host));
            }
        }
    }
}
