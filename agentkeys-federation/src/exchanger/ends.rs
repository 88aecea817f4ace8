use std::time::Duration;

use agentkeys_core::Timestamp;

use super::ExchangeError;

/// An end in the future and no later than asked (W81).
pub(crate) fn ends_in_time(
    end: Timestamp,
    now: Timestamp,
    asked: Duration,
) -> Result<Timestamp, ExchangeError> {
    if end <= now || end > now.plus(asked).plus(CLOCK_TOLERANCE) {
        return Err(ExchangeError::Answer("an expiry that was not asked for"));
    }
    Ok(end)
}

/// How far an STS's clock may be ahead of ours, or behind.
pub(crate) const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w81_an_end_is_in_the_future_and_no_later_than_asked() {
        let (now, asked) = (Timestamp::from_unix(1_800_000_000), Duration::from_secs(900));
        for (seconds, good) in
            [(0, false), (1, true), (900, true), (1200, true), (1201, false), (43_200, false)]
        {
            let end = now.plus(Duration::from_secs(seconds));
            assert_eq!(ends_in_time(end, now, asked).is_ok(), good, "{seconds}");
        }
        assert!(ends_in_time(now.minus(Duration::from_secs(1)), now, asked).is_err());
    }
}
