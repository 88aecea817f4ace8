use std::time::Duration;

use agentkeys_core::Random;

/// A time drawn at random between half and all of `span`, so that many who failed together do not all come
/// back together. Without random bytes it is half: no jitter, and still a wait.
pub(crate) fn between_half_and_all(span: Duration, random: &dyn Random) -> Duration {
    let half = span / 2;
    let mut bytes = [0; 4];
    let drawn = random.fill(&mut bytes).map_or(0, |()| u32::from_be_bytes(bytes));
    half + half.mul_f64(f64::from(drawn) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use agentkeys_core::RandomError;

    use super::*;

    #[derive(Debug)]
    struct Always(Result<u8, RandomError>);

    impl Random for Always {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
            buffer.fill(self.0?);
            Ok(())
        }
    }

    #[test]
    fn the_jitter_spans_half_of_it_and_without_random_bytes_there_is_none() {
        let span = Duration::from_millis(200);
        for (drawn, least) in [(Ok(0), 100), (Ok(0xff), 200), (Ok(0x80), 150), (Err(RandomError::new()), 100)]
        {
            let waited = between_half_and_all(span, &Always(drawn)).as_millis();
            assert!((least..=least + 1).contains(&waited), "{drawn:?} {waited}");
        }
    }
}
