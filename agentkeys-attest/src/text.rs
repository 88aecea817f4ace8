//! What every name that is one text has in common.

/// Gives a type with `parse` its `as_str`, `FromStr` and `Display`; the text is in the named field.
macro_rules! text {
    ($name:ident, $error:ident, $($field:tt)+) => {
        impl $name {
            /// The text, exactly as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.$($field)+
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::parse(text)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use text;
