use std::fmt;
use std::str::FromStr;

/// The classes of data. Each has a role, a bucket and a part of every agent's prefix of its own (R57, R58):
/// what is true for one is generated and tested for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DataClass {
    /// What an agent works on.
    Data,
    /// Its credentials for other services.
    Vault,
    /// What it remembers.
    Memory,
    /// How it is set up.
    Config,
}

impl DataClass {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Data, Self::Vault, Self::Memory, Self::Config];

    /// Its name, for roles, buckets and settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Vault => "vault",
            Self::Memory => "memory",
            Self::Config => "config",
        }
    }

    /// Its part of an object's key: `bots/<actor>/<prefix>/…` (R53).
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Vault => "credentials",
            Self::Data | Self::Memory | Self::Config => self.as_str(),
        }
    }
}

impl FromStr for DataClass {
    type Err = DataClassError;

    fn from_str(text: &str) -> Result<Self, DataClassError> {
        Self::ALL.into_iter().find(|class| class.as_str() == text).ok_or(DataClassError)
    }
}

impl fmt::Display for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not a class of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("a class of data is data, vault, memory or config")]
pub struct DataClassError;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn r57_no_two_classes_share_a_name_or_a_prefix() {
        let names: BTreeSet<_> = DataClass::ALL.map(DataClass::as_str).into();
        let prefixes: BTreeSet<_> = DataClass::ALL.map(DataClass::prefix).into();
        assert_eq!((names.len(), prefixes.len()), (DataClass::ALL.len(), DataClass::ALL.len()));
        assert_eq!(DataClass::Vault.prefix(), "credentials");
        for class in DataClass::ALL {
            assert_eq!(class.to_string().parse(), Ok(class));
        }
        for bad in ["", "Data", "credentials", "data "] {
            assert_eq!(bad.parse::<DataClass>(), Err(DataClassError), "{bad}");
        }
    }
}
