use std::fmt;
use std::sync::{Arc, Mutex, TryLockError};

use crate::random::{Random, RandomError};

/// Draws `jti`s: 128 random bits each (W45), [`AT_ONCE`] in one go, because asking the operating system for
/// 16 bytes takes nearly as long as for 2000. Each is given out once. Nobody waits: who finds another at it draws
/// for itself.
pub(super) struct Jtis {
    random: Arc<dyn Random>,
    drawn: Mutex<Vec<Jti>>,
}

pub(crate) type Jti = [u8; 16];

impl Jtis {
    pub(super) const fn new(random: Arc<dyn Random>) -> Self {
        Self { random, drawn: Mutex::new(Vec::new()) }
    }

    pub(super) fn draw(&self) -> Result<Jti, RandomError> {
        let mut drawn = match self.drawn.try_lock() {
            Ok(drawn) => drawn,
            Err(TryLockError::Poisoned(drawn)) => drawn.into_inner(),
            Err(TryLockError::WouldBlock) => return one(&*self.random),
        };
        if let Some(jti) = drawn.pop() {
            return Ok(jti);
        }
        let mut bytes = [0; AT_ONCE * size_of::<Jti>()];
        self.random.fill(&mut bytes)?;
        drawn.extend(bytes.as_chunks().0);
        drawn.pop().ok_or(RandomError::new())
    }
}

/// A single one, for what is minted seldom.
pub(crate) fn one(random: &dyn Random) -> Result<Jti, RandomError> {
    let mut jti = Jti::default();
    random.fill(&mut jti)?;
    Ok(jti)
}

impl fmt::Debug for Jtis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jtis").field("random", &self.random).finish_non_exhaustive()
    }
}

const AT_ONCE: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::random::SystemRandom;

    #[derive(Debug, Default)]
    struct Counted(AtomicUsize);

    impl Random for Counted {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            SystemRandom::new().fill(buffer)
        }
    }

    #[derive(Debug)]
    struct Dry;

    impl Random for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
            Err(RandomError::new())
        }
    }

    #[test]
    fn w45_no_jti_is_given_out_twice() {
        let random = Arc::new(Counted::default());
        let jtis = Jtis::new(random.clone());
        let drawn: HashSet<Jti> = (0..AT_ONCE * 3).map(|_| jtis.draw().unwrap()).collect();
        assert_eq!((drawn.len(), random.0.load(Ordering::SeqCst)), (AT_ONCE * 3, 3));
        assert!(!drawn.contains(&Jti::default()));
        let several: HashSet<Jti> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).map(|_| jtis.draw().unwrap()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(several.len(), 4000);
        assert!(several.is_disjoint(&drawn));
    }

    #[test]
    fn w45_whoever_finds_another_at_it_draws_for_itself() {
        let random = Arc::new(Counted::default());
        let jtis = Jtis::new(random.clone());
        let held = jtis.drawn.lock().unwrap();
        assert_ne!(jtis.draw().unwrap(), jtis.draw().unwrap());
        assert_eq!(random.0.load(Ordering::SeqCst), 2);
        drop(held);

        let dry = Jtis::new(Arc::new(Dry));
        let held = dry.drawn.lock().unwrap();
        assert_eq!(dry.draw(), Err(RandomError::new()));
        drop(held);
        assert_eq!(dry.draw(), Err(RandomError::new()));
    }
}
