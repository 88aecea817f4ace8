use std::fmt;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

/// A value that must not be seen: a bearer token, a private key, a credential.
///
/// Clones share one copy, which is zeroed when the last is dropped. `Debug` is constant, there is
/// no `Display`, no `Serialize` and no `PartialEq`; [`Secret::expose`] is the one way in, so every
/// place that reads a secret can be found by searching for that word.
pub struct Secret<T: Zeroize = String>(Arc<Zeroizing<T>>);

impl<T: Zeroize> Secret<T> {
    /// Takes ownership of a secret.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(Zeroizing::new(value)))
    }

    /// Reveals the secret.
    #[must_use]
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
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
    use super::Secret;

    #[test]
    fn l29_debug_of_a_secret_is_constant() {
        let secret = Secret::from("MARKED-secret");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(format!("{:#?}", secret.clone()), "[redacted]");
        assert_eq!(secret.expose(), "MARKED-secret");
    }
}
