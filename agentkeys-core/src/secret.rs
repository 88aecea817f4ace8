use std::fmt;
use std::mem;
use std::sync::Arc;

use zeroize::Zeroize as _;

/// A value that must not be seen: a bearer token, a private key, a credential.
///
/// Clones share one copy, which is zeroed when the last is dropped. `Debug` is constant, there is
/// no `Display`, no `Serialize` and no `PartialEq`; [`Secret::expose`] is the one way in, so every
/// place that reads a secret can be found by searching for that word.
pub struct Secret<T: Wipe = String>(Arc<Kept<T>>);

impl<T: Wipe> Secret<T> {
    /// Takes ownership of a secret.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(Kept(value)))
    }

    /// Reveals the secret.
    #[must_use]
    pub fn expose(&self) -> &T {
        &self.0.0
    }
}

struct Kept<T: Wipe>(T);

impl<T: Wipe> Drop for Kept<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

/// What can be a [`Secret`].
///
/// # Contract
/// Overwrites all of its memory with zeros, unused capacity included, in a way that no compiler takes out.
///
/// # Security
/// What is left behind is found by whoever reads the memory of this process later.
///
/// # Errors
/// None.
pub trait Wipe {
    /// Overwrites it.
    fn wipe(&mut self);
}

impl Wipe for Vec<u8> {
    fn wipe(&mut self) {
        self.resize(self.capacity(), 0);
        // as words: what is written for good is written one by one
        let (head, words, tail) = bytemuck::pod_align_to_mut::<u8, u64>(self);
        head.zeroize();
        words.zeroize();
        tail.zeroize();
    }
}

impl Wipe for String {
    fn wipe(&mut self) {
        mem::take(self).into_bytes().wipe();
    }
}

impl<const N: usize> Wipe for [u8; N] {
    fn wipe(&mut self) {
        self.zeroize();
    }
}

impl<T: Wipe> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Wipe> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, Wipe as _};

    #[test]
    fn l29_r46_every_byte_is_wiped_the_unused_ones_too() {
        for length in 0..70 {
            let mut bytes = Vec::with_capacity(length + 5);
            bytes.resize(length, 0xa5);
            let capacity = bytes.capacity();
            bytes.wipe();
            assert_eq!(bytes, vec![0; capacity], "{length}");
        }
        let mut odd = vec![0xa5_u8; 41];
        odd.truncate(7);
        odd.wipe();
        assert_eq!(odd, [0; 41]);
        let (mut array, mut text) = ([0xa5; 9], "text".to_owned());
        array.wipe();
        text.wipe();
        assert_eq!((array, text.as_str()), ([0; 9], ""));
    }

    #[test]
    fn l29_debug_of_a_secret_is_constant() {
        let secret = Secret::from("MARKED-secret");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(format!("{:#?}", secret.clone()), "[redacted]");
        assert_eq!(secret.expose(), "MARKED-secret");
    }
}
