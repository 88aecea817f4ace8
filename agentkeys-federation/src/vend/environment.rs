use agentkeys_core::Secret;

use super::{VendError, rfc3339};
use crate::credentials::AwsCredentials;

/// Credentials as the environment of a child process: what to set once the variables in [`UNSET`] are gone, so
/// that no SDK falls back to another identity.
///
/// All values are computed before the first is used, so that a failure leaves no environment half changed.
#[derive(Clone, Debug)]
pub struct Environment([(&'static str, Secret); 4]);

impl Environment {
    /// The environment of these credentials.
    ///
    /// # Errors
    /// [`VendError`]: a value that is not printable ASCII would end a line or a variable.
    pub fn of(credentials: &AwsCredentials) -> Result<Self, VendError> {
        let set = [
            ("AWS_ACCESS_KEY_ID", credentials.access_key_id().into()),
            ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key().clone()),
            ("AWS_SESSION_TOKEN", credentials.session_token().clone()),
            ("AWS_CREDENTIAL_EXPIRATION", rfc3339(credentials.expires_at())?.into()),
        ];
        let printable = |value: &Secret| value.expose().bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if set.iter().all(|(_, value)| printable(value)) { Ok(Self(set)) } else { Err(VendError::Value) }
    }

    /// The variables to set, names and values.
    pub fn set(&self) -> impl Iterator<Item = (&'static str, &Secret)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// The same as lines for a POSIX shell to `eval`: `unset …`, then an `export` for each variable, its value
    /// in single quotes.
    /// <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02_02>
    #[must_use]
    pub fn to_shell(&self) -> Secret {
        let values: usize = self.0.iter().map(|(_, value)| value.expose().len()).sum();
        // a quote takes four bytes
        let mut lines = String::with_capacity(LINES_ROOM + 4 * values);
        lines.push_str("unset");
        for name in UNSET {
            lines.extend([" ", name]);
        }
        lines.push('\n');
        for (name, value) in self.set() {
            lines.extend(["export ", name, "='"]);
            for (at, part) in value.expose().split('\'').enumerate() {
                lines.push_str(if at == 0 { "" } else { "'\\''" });
                lines.push_str(part);
            }
            lines.push_str("'\n");
        }
        Secret::new(lines)
    }
}

/// What leads an SDK to other credentials than those that were set. `AWS_SECURITY_TOKEN` is the older name of
/// the session token, which botocore still reads first.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html>
pub const UNSET: [&str; 12] = [
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_SECURITY_TOKEN",
];

/// All but the values, in bytes.
const LINES_ROOM: usize = 1024;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use agentkeys_core::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn environment(secret: &str, token: &str) -> Result<Environment, VendError> {
        let ends = Timestamp::from_unix(1_800_000_900);
        Environment::of(&AwsCredentials::new("ASIAEXAMPLE", secret.into(), token.into(), ends))
    }

    #[test]
    fn r63_the_shells_lines_unset_what_misleads_and_set_the_credentials() {
        let golden = "unset AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_SESSION_NAME \
             AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_CREDENTIALS_RELATIVE_URI \
             AWS_CONTAINER_AUTHORIZATION_TOKEN AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE AWS_PROFILE \
             AWS_DEFAULT_PROFILE AWS_SHARED_CREDENTIALS_FILE AWS_CONFIG_FILE AWS_SECURITY_TOKEN\n\
             export AWS_ACCESS_KEY_ID='ASIAEXAMPLE'\n\
             export AWS_SECRET_ACCESS_KEY='se/cret'\n\
             export AWS_SESSION_TOKEN='to'\\''ken=='\n\
             export AWS_CREDENTIAL_EXPIRATION='2027-01-15T08:15:00Z'\n";
        assert_eq!(environment("se/cret", "to'ken==").unwrap().to_shell().expose(), golden);
    }

    #[test]
    fn r63_a_shell_reads_each_value_back_and_runs_none_of_them() {
        for value in
            ["'; exit 9; '", "$(exit 9)", "`exit 9`", "\\' \\\\", "''", "a\"b$HOME", "'\"'\"'", "#!&|<>"]
        {
            let lines = environment("s", value).unwrap().to_shell();
            let script = format!("{}printf %s \"$AWS_SESSION_TOKEN$AWS_PROFILE\"", lines.expose());
            let ran = Command::new("sh").args(["-c", &script]).env("AWS_PROFILE", "other").output().unwrap();
            assert!(ran.status.success(), "{value}");
            assert_eq!(String::from_utf8(ran.stdout).unwrap(), value);
        }
    }

    #[test]
    fn r63_a_value_that_would_end_a_line_is_refused() {
        for bad in ["a\nb", "a\0b", "a\rb", "\u{1b}[m", "\u{7f}", "\u{e9}", "\u{2028}"] {
            assert_eq!(environment(bad, "t").unwrap_err(), VendError::Value, "{bad:?}");
            assert_eq!(environment("s", bad).unwrap_err(), VendError::Value, "{bad:?}");
        }
    }

    /// Takes one single-quoted word of a shell apart, by the standard's own words; none where anything is
    /// outside of the quotes but `\'`.
    fn unquoted(mut word: &str) -> Option<String> {
        let mut value = String::new();
        while !word.is_empty() {
            if let Some(rest) = word.strip_prefix("\\'") {
                value.push('\'');
                word = rest;
            } else {
                let (inner, rest) = word.strip_prefix('\'')?.split_once('\'')?;
                value.push_str(inner);
                word = rest;
            }
        }
        Some(value)
    }

    proptest! {
        #[test]
        fn r63_no_value_breaks_out_of_its_quotes(secret in "[ -~']{0,40}", token in "[ -~']{0,40}") {
            let lines = environment(&secret, &token).unwrap().to_shell();
            let lines: Vec<&str> = lines.expose().lines().collect();
            prop_assert_eq!(lines.len(), 5);
            for (line, name, value) in [
                (lines[2], "AWS_SECRET_ACCESS_KEY", secret),
                (lines[3], "AWS_SESSION_TOKEN", token),
            ] {
                let word = line.strip_prefix(&format!("export {name}=")).unwrap();
                prop_assert_eq!(unquoted(word), Some(value));
            }
        }
    }
}
