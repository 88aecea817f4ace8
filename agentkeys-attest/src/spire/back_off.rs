use std::time::Duration;

use agentkeys_core::Random;

/// How long to wait after so many failures in a row: a time chosen at random between half and all of a
/// span that begins at half a second and doubles up to `most`.
pub(super) fn back_off(failures: u32, most: Duration, random: &dyn Random) -> Duration {
    let span = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    random.jittered(span.min(most))
}

const FIRST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use agentkeys_core::RandomError;

    use super::*;

    #[derive(Debug)]
    struct Always(Option<u8>);

    impl Random for Always {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
            buffer.fill(self.0.ok_or(RandomError::new())?);
            Ok(())
        }
    }

    #[test]
    fn it_doubles_within_its_jitter_and_its_bound() {
        let millis =
            |failures, random: &Always| back_off(failures, Duration::from_secs(4), random).as_millis();
        for (failures, least, most) in
            [(1, 250, 500), (2, 500, 1000), (3, 1000, 2000), (4, 2000, 4000), (9, 2000, 4000)]
        {
            assert_eq!(millis(failures, &Always(Some(0))), least);
            assert_eq!(millis(failures, &Always(Some(255))), most);
            assert_eq!(millis(failures, &Always(None)), least);
        }
        assert_eq!(millis(u32::MAX, &Always(Some(255))), 4000);
    }
}
