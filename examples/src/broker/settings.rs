//! Settings of a file and of variables, read one by one, so that everything that is wrong is named at once
//! (R83). No value is shown: it may be a secret that stands on the wrong line.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    place: String,
    what: String,
}

impl Finding {
    pub(crate) fn new(place: impl Into<String>, what: &dyn Display) -> Self {
        Self { place: place.into(), what: what.to_string() }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// A table of the file.
pub(crate) struct Table<'f> {
    text: &'f str,
    /// Its own line, and what it is called.
    place: String,
    entries: BTreeMap<String, (usize, DeValue<'f>)>,
}

/// A value as text, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) place: String,
}

impl Said {
    pub(crate) fn parse<T: FromStr<Err: Display>>(&self, findings: &mut Vec<Finding>) -> Option<T> {
        let parsed =
            self.text.parse().map_err(|error: T::Err| findings.push(Finding::new(&self.place, &error)));
        parsed.ok()
    }

    pub(crate) fn wrong(&self, what: &dyn Display, findings: &mut Vec<Finding>) {
        findings.push(Finding::new(&self.place, what));
    }
}

impl<'f> Table<'f> {
    /// Reads a file.
    pub(crate) fn parse(text: &'f str, findings: &mut Vec<Finding>) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = error.span().map_or(1, |span| line(text, span.start));
            findings.push(Finding::new(format!("line {line}"), &"it is not TOML, or stands here twice"));
        }
        Self::new(text, "the file".to_owned(), table.into_inner())
    }

    fn new(text: &'f str, place: String, table: DeTable<'f>) -> Self {
        let entry = |(key, value): (Spanned<std::borrow::Cow<'f, str>>, Spanned<DeValue<'f>>)| {
            let line = line(text, key.span().start);
            (key.into_inner().into_owned(), (line, value.into_inner()))
        };
        Self { text, place, entries: table.into_iter().map(entry).collect() }
    }

    /// A text or a number.
    pub(crate) fn said(&mut self, key: &str, findings: &mut Vec<Finding>) -> Option<Said> {
        let (line, value) = self.entries.remove(key)?;
        let place = format!("line {line} ({key})");
        match value {
            DeValue::String(text) => Some(Said { text: text.into_owned(), place }),
            DeValue::Integer(number) if number.radix() == 10 => {
                Some(Said { text: number.as_str().to_owned(), place })
            }
            _ => {
                findings.push(Finding::new(place, &"it is a text or a number"));
                None
            }
        }
    }

    /// The same, which must be there.
    pub(crate) fn must_say(&mut self, key: &str, findings: &mut Vec<Finding>) -> Option<Said> {
        if !self.entries.contains_key(key) {
            findings.push(Finding::new(&self.place, &format_args!("{key} is missing")));
        }
        self.said(key, findings)
    }

    /// A table within.
    pub(crate) fn table(&mut self, key: &str, findings: &mut Vec<Finding>) -> Option<Self> {
        let (line, value) = self.entries.remove(key)?;
        let place = format!("line {line} ({key})");
        match value {
            DeValue::Table(table) => Some(Self::new(self.text, place, table)),
            _ => {
                findings.push(Finding::new(place, &"it is a table"));
                None
            }
        }
    }

    /// A list of tables.
    pub(crate) fn tables(&mut self, key: &str, findings: &mut Vec<Finding>) -> Vec<Self> {
        let Some((line, value)) = self.entries.remove(key) else { return Vec::new() };
        let place = format!("line {line} ({key})");
        let DeValue::Array(array) = value else {
            findings.push(Finding::new(place, &"it is a list of tables"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (number, entry) in array.into_iter().enumerate() {
            let line = self::line(self.text, entry.span().start);
            let place = format!("line {line} ({key}, number {})", number + 1);
            match entry.into_inner() {
                DeValue::Table(table) => tables.push(Self::new(self.text, place, table)),
                _ => findings.push(Finding::new(place, &"it is a table")),
            }
        }
        tables
    }

    /// All that is left, each a text.
    pub(crate) fn all(mut self, findings: &mut Vec<Finding>) -> Vec<(String, Said)> {
        let keys: Vec<_> = self.entries.keys().cloned().collect();
        keys.into_iter().filter_map(|key| Some((key.clone(), self.said(&key, findings)?))).collect()
    }

    /// Where the table stands.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Refuses what nobody asked for: a line that is misspelled decides nothing, and somebody thinks it does.
    pub(crate) fn finish(self, findings: &mut Vec<Finding>) {
        for (key, (line, _)) in self.entries {
            findings.push(Finding::new(format!("line {line} ({key})"), &"there is no such setting"));
        }
    }
}

fn line(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}
