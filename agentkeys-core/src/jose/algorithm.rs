use std::fmt;

/// The signature algorithms that can be spelled here: a closed list.
///
/// `none` and every HMAC are not in it, so no confusion with them can be written down
/// (L11, RFC 8725 section 3.1). Names: <https://www.rfc-editor.org/rfc/rfc7518#section-3.1> and
/// <https://www.rfc-editor.org/rfc/rfc8037#section-3.1>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 to 8192 bits.
    Rs256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::EdDsa, Self::Es256, Self::Es384, Self::Rs256];

    /// The `alg` value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm with exactly this name; compared byte for byte (`noNE` is nothing).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.as_str() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Algorithm;

    #[test]
    fn l11_none_and_hmac_cannot_be_spelled() {
        for name in ["none", "None", "noNE", "HS256", "HS384", "HS512", "es256", "PS256", "ES512", "RS1", ""]
        {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.as_str()), Some(*algorithm));
        }
    }
}
