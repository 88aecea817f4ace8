/// How much of what AWS allows a session's tags take once they are packed, in percent: an estimate, because
/// AWS does not publish how it packs. Above 100 it refuses with `PackedPolicyTooLarge`.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html#API_AssumeRoleWithWebIdentity_ResponseElements>
///
/// The estimate rests on one public measurement, <https://github.com/aws/containers-roadmap/issues/2413>: the
/// six tags of an EKS Pod Identity session took 74 %. Their keys are 114 bytes, their values about 160 in an
/// ordinary cluster, so that 274 bytes of text and six tags came to 74 %. Counting every byte of key and
/// value and 4 more for each tag, 100 % is 400 bytes. Tags that pack well take less; so do not refuse by it,
/// warn by it, and read the real figure from CloudTrail's `packedPolicySize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackedSize(usize);

impl PackedSize {
    pub(super) fn of<'t>(tags: impl Iterator<Item = (&'t str, &'t str)>) -> Self {
        let bytes: usize = tags.map(|(key, value)| key.len() + value.len() + PER_TAG).sum();
        Self((bytes * 100).div_ceil(WHOLE))
    }

    /// What an STS said of a session: no estimate.
    pub(in crate::aws) const fn said(percent: usize) -> Self {
        Self(percent)
    }

    /// Percent, rounded up.
    #[must_use]
    pub const fn percent(self) -> usize {
        self.0
    }

    /// Whether it is time to warn: [`PACKED_WARNING`] percent and more.
    #[must_use]
    pub const fn is_near_the_limit(self) -> bool {
        self.0 >= PACKED_WARNING
    }
}

/// From how many percent on a host should warn: an estimate may be off by a quarter.
pub const PACKED_WARNING: usize = 75;

/// What a tag takes beside its text, in bytes.
const PER_TAG: usize = 4;

/// What may be taken, in bytes.
const WHOLE: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "arn:aws:eks:eu-central-1:123456789012:cluster/production";

    /// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>
    const POD: [(&str, &str); 6] = [
        ("eks-cluster-arn", CLUSTER),
        ("eks-cluster-name", "production"),
        ("kubernetes-namespace", "payments"),
        ("kubernetes-service-account", "ledger-writer"),
        ("kubernetes-pod-name", "ledger-writer-7d4b9c6f5-x2x9k"),
        ("kubernetes-pod-uid", "2f1d3c5e-7a9b-4c8d-8e6f-0a1b2c3d4e5f"),
    ];

    #[test]
    fn l24_the_estimate_agrees_with_what_was_measured_of_pod_identity() {
        let pod = PackedSize::of(POD.into_iter());
        assert!((66..=82).contains(&pod.percent()), "measured 74, estimated {}", pod.percent());
        // and what was refused with 112 is above the limit: the same and 37 % more
        let own = "v".repeat(2 * WHOLE / 5 - 20);
        assert!(PackedSize::of(POD.into_iter().chain([("application-tag", own.as_str())])).percent() > 100);
    }

    #[test]
    fn l24_the_estimate_warns_before_the_limit_and_not_for_tags_of_ours_alone() {
        let (omni, wallet) = ("a".repeat(64), format!("0x{}", "b".repeat(40)));
        let ours = [("agentkeys_actor_omni", omni.as_str()), ("agentkeys_user_wallet", &wallet)];
        let ours = PackedSize::of(ours.into_iter());
        assert!(!ours.is_near_the_limit() && ours.percent() < 50, "{}", ours.percent());
        assert_eq!(PackedSize::of([].into_iter()).percent(), 0);
        let value = |bytes: usize| "v".repeat(bytes);
        for (bytes, near) in [(0, false), (291, false), (292, true), (400, true)] {
            let value = value(bytes);
            assert_eq!(
                PackedSize::of([("k", value.as_str())].into_iter()).is_near_the_limit(),
                near,
                "{bytes}"
            );
        }
    }
}
