use agentkeys_core::Timestamp;

use super::chain::{Cell, ChainHead, Hash, link, spell};
use super::event::{Asked, AuditEvent, Minted, Who};

/// A value of a row as it is stored and hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever stores rows must know all of them")]
pub enum AuditValue {
    /// Not known, or not applicable.
    Null,
    /// A number: a row's number, seconds since the Unix epoch, seconds.
    Integer(i64),
    /// Text.
    Text(String),
}

impl AuditValue {
    pub(super) fn cell(&self) -> Cell<'_> {
        match self {
            Self::Null => Cell::Null,
            Self::Integer(number) => Cell::Integer(*number),
            Self::Text(text) => Cell::Text(text),
        }
    }

    fn of(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Integer(number) => Self::Integer(number),
            Cell::Text(text) => Self::Text(text.to_owned()),
            Cell::Null => Self::Null,
        }
    }
}

/// A row of the log: a value for each of [`AUDIT_COLUMNS`], and the hash that ties them to all rows before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    values: [AuditValue; AUDIT_COLUMNS.len()],
    hash: Hash,
}

impl AuditRow {
    /// The row of `event` after `head`.
    #[must_use]
    pub fn after(head: &ChainHead, event: &AuditEvent<'_>) -> Self {
        let cells = cells(head.count().saturating_add(1), event);
        let mut text = Vec::new();
        spell(cells.into_iter(), &mut text);
        let hash = link(head.hash(), &text, &mut Vec::new());
        Self { values: cells.map(AuditValue::of), hash }
    }

    /// The head with this row as the last.
    #[must_use]
    pub const fn head(&self) -> ChainHead {
        let count = match &self.values {
            [AuditValue::Integer(seq), ..] if *seq > 0 => seq.unsigned_abs(),
            _ => 0,
        };
        ChainHead::at(count, self.hash)
    }

    /// A row as it was stored.
    #[must_use]
    pub const fn stored(values: [AuditValue; AUDIT_COLUMNS.len()], hash: [u8; 32]) -> Self {
        Self { values, hash }
    }

    /// The values, in the order of [`AUDIT_COLUMNS`].
    #[must_use]
    pub const fn values(&self) -> &[AuditValue; AUDIT_COLUMNS.len()] {
        &self.values
    }

    /// The value of a column of this name; none where there is no such column.
    #[must_use]
    pub fn value(&self, column: &str) -> Option<&AuditValue> {
        AUDIT_COLUMNS.iter().zip(&self.values).find_map(|(name, value)| (*name == column).then_some(value))
    }

    /// The text that is hashed: the values as a JSON array, without a space, and with nothing escaped that
    /// need not be.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        spell(self.values.iter().map(AuditValue::cell), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }

    /// The hash over the text and over all rows before.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

/// The values of the row of `event` at place `seq`, as they are in the event.
pub(super) fn cells<'e>(seq: u64, event: &AuditEvent<'e>) -> [Cell<'e>; AUDIT_COLUMNS.len()] {
    let row = Row::of(event);
    let who = row.who;
    let minted = row.minted;
    let asked = row.asked;
    let identity = row.attribution.and_then(|attribution| attribution.identity());
    let role = asked.map(|asked| &asked.role).or(row.role);
    let outcome = row.outcome;
    [
        number(seq),
        number(row.at.as_unix()),
        text(event.id().as_str()),
        text(event.label()),
        optional(row.path.map(super::MintPath::as_str)),
        optional(who.map(|who| who.subject.as_str())),
        optional(who.map(|who| who.agent.as_str())),
        optional(who.and_then(|who| who.tenant.as_ref()).map(|tenant| tenant.as_str())),
        optional(who.and_then(|who| who.instance.as_ref()).map(|instance| instance.as_str())),
        optional(who.map(|who| who.kind.as_str())),
        optional(who.map(|who| who.assurance.as_str())),
        optional(minted.map(|minted| minted.jti.as_str())),
        optional(minted.map(|minted| minted.kid.as_str())),
        moment(minted.map(|minted| minted.expires_at)),
        optional(role.map(|role| role.as_str())),
        optional(asked.and_then(|asked| asked.name.as_ref()).map(|name| name.as_str())),
        asked.map_or(Cell::Null, |asked| number(asked.duration.as_secs().into())),
        optional(row.attribution.map(|attribution| attribution.as_str())),
        optional(identity.map(|identity| identity.as_str())),
        optional(identity.and_then(|identity| identity.preimage())),
        optional(outcome.map(|outcome| outcome.kind.as_str())),
        moment(outcome.and_then(|outcome| outcome.expires_at)),
        optional(outcome.and_then(|outcome| outcome.access_key_id.as_deref())),
        optional(row.code.map(super::AuditCode::as_str)),
    ]
}

/// What a row is made of, whichever event it is.
struct Row<'e> {
    at: Timestamp,
    path: Option<super::MintPath>,
    who: Option<&'e Who>,
    minted: Option<&'e Minted>,
    asked: Option<&'e Asked>,
    role: Option<&'e crate::cloud::CloudRole>,
    attribution: Option<&'e super::Attribution>,
    outcome: Option<&'e super::Outcome>,
    code: Option<super::AuditCode>,
}

impl<'e> Row<'e> {
    fn of(event: &AuditEvent<'e>) -> Self {
        let (minted, asked, role, attribution, outcome) = (None, None, None, None, None);
        match *event {
            AuditEvent::Intent(intent) => Self {
                at: intent.at,
                path: Some(intent.path),
                who: Some(&intent.who),
                minted: intent.minted.as_ref(),
                asked: intent.asked.as_ref(),
                role,
                attribution: Some(&intent.attribution),
                outcome,
                code: None,
            },
            AuditEvent::Outcome(_, outcome) => {
                let (at, code, outcome) = (outcome.at, outcome.code, Some(outcome));
                Self { at, path: None, who: None, minted, asked, role, attribution, outcome, code }
            }
            AuditEvent::Refusal(refusal) => {
                let (at, path, who) = (refusal.at, refusal.path, refusal.who.as_ref());
                let (role, code) = (refusal.role.as_ref(), Some(refusal.code));
                Self { at, path, who, minted, asked, role, attribution, outcome, code }
            }
        }
    }
}

fn number<'c>(number: u64) -> Cell<'c> {
    Cell::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

const fn text(text: &str) -> Cell<'_> {
    Cell::Text(text)
}

fn optional(value: Option<&str>) -> Cell<'_> {
    value.map_or(Cell::Null, text)
}

fn moment<'c>(value: Option<Timestamp>) -> Cell<'c> {
    value.map_or(Cell::Null, |moment| number(moment.as_unix()))
}

/// The columns of a row, in the order in which they are hashed: numbers are `seq`, `at`, `token_expires_at`,
/// `session_seconds` and `expires_at`, everything else is text.
pub const AUDIT_COLUMNS: [&str; 24] = [
    "seq",
    "at",
    "id",
    "event",
    "path",
    "subject",
    "agent",
    "tenant",
    "instance",
    "evidence_kind",
    "assurance",
    "jti",
    "kid",
    "token_expires_at",
    "role_arn",
    "session_name",
    "session_seconds",
    "attribution",
    "source_identity",
    "source_identity_preimage",
    "outcome",
    "expires_at",
    "access_key_id",
    "code",
];
