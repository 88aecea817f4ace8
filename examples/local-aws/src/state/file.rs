//! Reading and writing state files.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::state::State;

/// A state that the server cannot start from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a state.
    #[error("{path}:{line}:{column}: {message}")]
    Parse {
        /// The file.
        path: String,
        /// The line of the mistake, from 1.
        line: usize,
        /// The column of the mistake, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// Parts of the state contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

impl State {
    /// Parses the text of a state file; `origin` is how errors name it.
    ///
    /// # Errors
    ///
    /// [`StateError::Parse`] with the place of the first mistake.
    pub fn parse(text: &str, origin: &str) -> Result<Self, StateError> {
        serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            let place = format!(" at line {line} column {column}");
            let message = text.strip_suffix(&place).unwrap_or(&text).to_owned();
            StateError::Parse { path: origin.to_owned(), line, column, message }
        })
    }

    /// Reads a state file.
    ///
    /// # Errors
    ///
    /// [`StateError`] if it cannot be read or parsed.
    pub fn read(path: &Path) -> Result<Self, StateError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| StateError::File { path: origin.clone(), source })?;
        Self::parse(&text, &origin)
    }

    /// Writes a state file: a new file beside the old one, then a rename.
    ///
    /// # Errors
    ///
    /// [`StateError::File`] if that fails.
    pub fn write(&self, path: &Path) -> Result<(), StateError> {
        let failed = |source| StateError::File { path: path.display().to_string(), source };
        let mut text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        text.push('\n');
        let beside = path.with_extension("json.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        // It holds secrets: whoever could not read the old file cannot read the new one.
        if let Ok(old) = std::fs::metadata(path) {
            std::fs::set_permissions(&beside, old.permissions()).map_err(failed)?;
        }
        std::fs::rename(&beside, path).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "{\n  \"account\": \"123456789012\",\n  \"region\": \"us-east-1\"\n}";

    #[test]
    fn a_small_state_is_enough() {
        let state = State::parse(SMALL, "s.json").unwrap();
        assert!(state.outbound_federation.enabled);
        assert!(state.roles.is_empty());
    }

    #[test]
    fn mistakes_are_reported_with_their_place() {
        for (text, expected) in [
            ("{\n  \"account\": \"123\"}", "s.json:2:19: an account id must be twelve digits"),
            ("{\n  \"acount\": \"123456789012\"}", "s.json:2:10: unknown field `acount`"),
            ("{", "s.json:1:1: EOF while parsing an object"),
            ("[1", "s.json:1:"),
            ("", "s.json:1:0: EOF while parsing a value"),
        ] {
            let error = State::parse(text, "s.json").unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
    }
}
