use std::time::Duration;

use crate::http::HttpResponse;
use crate::random::Random;

/// How old a set may be, and how often the issuer may be asked.
#[derive(Clone, Copy, Debug)]
pub struct CacheAges {
    soft: Duration,
    pub(super) hard: Duration,
    pub(super) cooldown: Duration,
}

impl CacheAges {
    /// From `soft` on a refresh runs in the background; from `hard` on the set is of no use. At least
    /// `cooldown` lies between two tries. Each is at least the one before it in the order cooldown, soft,
    /// hard: a smaller value is raised. A cooldown is a second at least.
    ///
    /// `soft` is for issuers that say nothing of it: a `Cache-Control: max-age` goes before it, within
    /// [`MIN_SOFT_AGE`] and [`MAX_SOFT_AGE`].
    #[must_use]
    pub fn new(soft: Duration, hard: Duration, cooldown: Duration) -> Self {
        let cooldown = cooldown.max(Duration::from_secs(1));
        let soft = soft.max(cooldown);
        Self { soft, hard: hard.max(soft), cooldown }
    }

    /// The soft age of a set that came with this answer: what its `Cache-Control` allows, less its `Age`.
    /// What cannot be read counts as nothing left, as
    /// <https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1> says.
    pub(super) fn soft_of(&self, answer: &HttpResponse) -> Duration {
        let values = answer.headers.iter().filter(|(name, _)| name == "cache-control");
        let directives = values.flat_map(|(_, value)| value.split(','));
        let allowed = directives.filter_map(|directive| {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => Some(0),
                "max-age" => Some(value.trim().trim_matches('"').parse::<u64>().unwrap_or(0)),
                _ => None,
            }
        });
        let Some(allowed) = allowed.min() else { return self.soft };
        let age = answer.header("age").and_then(|age| age.trim().parse().ok()).unwrap_or(0);
        let left = Duration::from_secs(allowed.saturating_sub(age));
        left.clamp(MIN_SOFT_AGE, MAX_SOFT_AGE).max(self.cooldown).min(self.hard)
    }

    /// How long the issuer is left alone after so many failures in a row: a time chosen at random between
    /// half and all of a span that begins at two cooldowns and doubles up to [`MAX_BACK_OFF`].
    pub(super) fn back_off(&self, failures: u32, random: &dyn Random) -> Duration {
        let span = self.cooldown.saturating_mul(2_u32.saturating_pow(failures));
        random.jittered(span.min(MAX_BACK_OFF.max(self.cooldown * 2)))
    }
}

impl Default for CacheAges {
    /// 10 minutes, 24 hours, 10 seconds.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self::new(seconds(600), seconds(86_400), seconds(10))
    }
}

/// The shortest soft age that an issuer's `Cache-Control` can ask for, `no-store` included: 1 minute, so
/// that no issuer makes us fetch at every cooldown.
/// <https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2>
pub const MIN_SOFT_AGE: Duration = Duration::from_secs(60);

/// The longest soft age that an issuer's `Cache-Control` can ask for: 1 hour, so that a removed key stops
/// working within that time while the issuer is up.
/// <https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.1>
pub const MAX_SOFT_AGE: Duration = Duration::from_secs(3600);

/// The longest time for which an issuer that fails is left alone: 1 minute, or two cooldowns where those
/// are longer.
pub const MAX_BACK_OFF: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::RandomError;

    fn soft(headers: &[(&str, &str)]) -> u64 {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let answer = HttpResponse::new(200, headers.iter().map(owned).collect(), "");
        CacheAges::default().soft_of(&answer).as_secs()
    }

    #[test]
    fn cache_control_is_honoured_within_bounds() {
        for (value, seconds) in [
            ("public, max-age=900", 900),
            ("max-age=900, must-revalidate", 900),
            ("Max-Age=\"900\"", 900),
            ("max-age=59", 60),
            ("max-age=3601", 3600),
            ("max-age=99999999999999999999", 60),
            ("max-age=-1", 60),
            ("max-age", 60),
            ("no-store", 60),
            ("no-cache, max-age=900", 60),
            ("max-age=900, max-age=120", 120),
            ("public", 600),
            ("s-maxage=900", 600),
            ("", 600),
        ] {
            assert_eq!(soft(&[("cache-control", value)]), seconds, "{value}");
        }
        assert_eq!(soft(&[]), 600);
        assert_eq!(soft(&[("age", "500")]), 600);
        assert_eq!(soft(&[("cache-control", "max-age=900"), ("age", "500")]), 400);
        assert_eq!(soft(&[("cache-control", "max-age=900"), ("age", "901")]), 60);
        assert_eq!(soft(&[("cache-control", "max-age=900"), ("cache-control", "no-store")]), 60);
    }

    #[test]
    fn what_the_issuer_asks_for_stays_within_cooldown_and_hard_age() {
        let seconds = Duration::from_secs;
        let headers = |value: &str| vec![("cache-control".to_owned(), value.to_owned())];
        let patient = CacheAges::new(seconds(300), seconds(1800), seconds(300));
        assert_eq!(patient.soft_of(&HttpResponse::new(200, headers("no-store"), "")), seconds(300));
        assert_eq!(patient.soft_of(&HttpResponse::new(200, headers("max-age=3600"), "")), seconds(1800));
    }

    #[derive(Debug)]
    struct Always(u8);

    impl Random for Always {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
            buffer.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn the_back_off_doubles_within_its_jitter_and_its_bound() {
        let least = |failures| CacheAges::default().back_off(failures, &Always(0)).as_secs();
        let most = |failures| CacheAges::default().back_off(failures, &Always(0xff)).as_secs();
        assert_eq!([1, 2, 3, 4, u32::MAX].map(least), [10, 20, 30, 30, 30]);
        assert_eq!([1, 2, 3, 4, u32::MAX].map(most), [20, 40, 60, 60, 60]);
        let patient = CacheAges::new(Duration::ZERO, Duration::ZERO, Duration::from_secs(300));
        assert_eq!(patient.back_off(1, &Always(0)).as_secs(), 300);
    }
}
