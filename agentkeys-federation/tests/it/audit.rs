//! The audit log's rows, their chain, and the sink in memory.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agentkeys_core::testing::SeededRandom;
use agentkeys_core::{Assurance, AttestedIdentity, ErrorKind, EvidenceKind, Timestamp};
use agentkeys_federation::{
    AUDIT_COLUMNS, Attribution, AuditCode, AuditError, AuditEvent, AuditId, AuditRow, AuditSink, AuditValue,
    ChainError, ChainHead, ExchangeError, Exchanger as _, Intent, MemoryAudit, Outcome, OutcomeKind, Refusal,
    SessionDuration, SourceIdentity, verify_chain,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{NOW, STS, World, role, success};

/// Intents and refusals of their own ids.
pub(crate) struct Mints {
    random: Arc<SeededRandom>,
    at: AtomicU64,
}

impl Mints {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: SeededRandom::new(seed), at: AtomicU64::new(NOW.as_unix()) }
    }

    pub(crate) fn id(&self) -> AuditId {
        AuditId::generate(&*self.random).unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.at.fetch_add(1, Ordering::SeqCst))
    }

    pub(crate) fn intent(&self) -> Intent {
        legacy(self.id(), self.now(), Attribution::Unattributed)
    }

    pub(crate) fn refusal(&self) -> Refusal {
        Refusal::new(self.id(), self.now(), code("tenant_unknown"))
    }

    pub(crate) fn issued(&self) -> Outcome {
        Outcome::issued(self.now(), NOW.plus(std::time::Duration::from_secs(900)))
    }
}

pub(crate) fn code(code: &'static str) -> AuditCode {
    AuditCode::new(code).unwrap()
}

pub(crate) fn identity() -> AttestedIdentity {
    let identity = AttestedIdentity::assertion(
        EvidenceKind::from_static("aws-stsweb"),
        "arn:aws:eks:us-east-1:123456789012:cluster/demo".parse().unwrap(),
        "blue".parse().unwrap(),
        Assurance::PlatformAttested,
        NOW,
        NOW.plus(std::time::Duration::from_secs(1800)),
    );
    identity.unwrap().with_tenant("acme".parse().unwrap()).with_instance("pod-1".parse().unwrap())
}

fn legacy(id: AuditId, at: Timestamp, attribution: Attribution) -> Intent {
    let hour = SessionDuration::from_secs(3600).unwrap();
    Intent::assume_role(id, at, &identity(), role(), hour, attribution)
}

pub(crate) fn memory(rows: usize) -> Arc<MemoryAudit> {
    Arc::new(MemoryAudit::new(NonZeroUsize::new(rows).unwrap()))
}

pub(crate) fn text<'r>(row: &'r AuditRow, column: &str) -> Option<&'r str> {
    match row.value(column).unwrap() {
        AuditValue::Null => None,
        AuditValue::Text(text) => Some(text),
        AuditValue::Integer(_) => panic!("{column} is a number"),
    }
}

// --- the bytes

fn vectors() -> (Vec<AuditRow>, ChainHead) {
    let file: Value = serde_json::from_str(include_str!("../data/audit-chain.json")).unwrap();
    let row = |row: &Value| {
        let value = |value: &Value| match value {
            Value::Null => AuditValue::Null,
            Value::Number(number) => AuditValue::Integer(number.as_i64().unwrap()),
            Value::String(text) => AuditValue::Text(text.clone()),
            _ => panic!("{value}"),
        };
        let values: Vec<_> = row["values"].as_array().unwrap().iter().map(value).collect();
        let digits = row["hash"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
        AuditRow::stored(values.try_into().unwrap(), std::array::from_fn(byte))
    };
    let rows = file["rows"].as_array().unwrap().iter().map(row).collect();
    (rows, file["head"].as_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn r87_golden_vectors_of_rows_and_chain() {
    let (rows, head) = vectors();
    assert_eq!(verify_chain(&rows, &head), Ok(()));
    // the same rows from events: the first was made with a key that is no longer known
    let of = |at: usize, event: &AuditEvent<'_>| {
        assert_eq!(AuditRow::after(&rows[at - 1].head(), event), rows[at], "row {}", at + 1);
    };
    let at = |seconds: u64| Timestamp::from_unix(1_800_000_000 + seconds);
    let id = |text: &str| text.parse::<AuditId>().unwrap();
    let second = id("ak-AgICAgICAgICAgICAgICAg");
    of(1, &AuditEvent::Outcome(&id("ak-AAAAAAAAAAAAAAAAAAAAAA"), &Outcome::issued(at(1), at(900))));
    let refusal = Refusal::new(id("ak-AQEBAQEBAQEBAQEBAQEBAQ"), at(2), code("tenant_unknown"));
    of(2, &AuditEvent::Refusal(&refusal));
    let attribution = Attribution::Attributed(SourceIdentity::digest("acme", "session:7").unwrap());
    of(3, &AuditEvent::Intent(&legacy(second.clone(), at(3), attribution)));
    let outcome = Outcome::of_exchange(at(4), ExchangeError::Denied);
    of(4, &AuditEvent::Outcome(&second, &outcome));
}

#[test]
fn a_heads_text_has_one_spelling() {
    let (_, head) = vectors();
    let text = head.to_string();
    assert_eq!(text.parse(), Ok(head));
    assert_eq!(ChainHead::EMPTY.to_string().parse(), Ok(ChainHead::EMPTY));
    for bad in [
        "",
        "ak-audit-1",
        "ak-audit-1 5",
        &text[..text.len() - 1],
        &format!("{text}0"),
        &format!("{text} "),
        &format!(" {text}"),
        &text.to_uppercase(),
        &text.replace("audit-1", "audit-2"),
        &text.replace(" 5 ", " 05 "),
        &text.replace(" 5 ", " +5 "),
        &text.replace(" 5 ", " -5 "),
        &text.replace(" 5 ", " 18446744073709551616 "),
    ] {
        assert_eq!(bad.parse::<ChainHead>(), Err(ChainError::HeadText), "{bad}");
    }
}

// --- manipulations

async fn log(mints: usize) -> (Vec<AuditRow>, ChainHead) {
    let (audit, mint) = (memory(1000), Mints::new(7));
    for at in 0..mints {
        let receipt = audit.intent(&mint.intent()).await.unwrap();
        audit.outcome(receipt, mint.issued()).await.unwrap();
        if at % 2 == 0 {
            audit.refusal(&mint.refusal()).await.unwrap();
        }
    }
    audit.rows()
}

/// Whoever has all rows can write a chain of their own; only the head tells.
fn forged(rows: &[AuditRow]) -> Vec<AuditRow> {
    let mint = Mints::new(99);
    let mut head = ChainHead::EMPTY;
    let mut forged = Vec::new();
    for _ in rows {
        forged.push(AuditRow::after(&head, &AuditEvent::Refusal(&mint.refusal())));
        head = forged[forged.len() - 1].head();
    }
    forged
}

#[tokio::test]
async fn r87_the_table_of_manipulations() {
    let (rows, head) = log(4).await;
    let count = rows.len();
    assert_eq!((verify_chain(&rows, &head), count, head.count()), (Ok(()), 10, 10));
    let check = |what: &str, rows: Vec<AuditRow>, error: ChainError| {
        assert_eq!(verify_chain(&rows, &head), Err(error), "{what}");
    };
    for at in 0..count {
        let missing = ChainError::Missing { found: at as u64, expected: 10 };
        check("cut off", rows[..at].to_vec(), missing);
        let mut fewer = rows.clone();
        fewer.remove(at);
        let last = at + 1 == count;
        let missing = ChainError::Missing { found: 9, expected: 10 };
        check("deleted", fewer, if last { missing } else { ChainError::Row(at as u64 + 1) });
        let mut more = rows.clone();
        more.insert(at, rows[count - 1 - at].clone());
        check(
            "put in",
            more,
            ChainError::Row(if at * 2 + 1 == count { at as u64 + 2 } else { at as u64 + 1 }),
        );
        if at > 0 {
            let mut swapped = rows.clone();
            swapped.swap(at - 1, at);
            check("moved", swapped, ChainError::Row(at as u64));
        }
        for column in 0..AUDIT_COLUMNS.len() {
            for value in edits(&rows[at].values()[column]) {
                let mut values = rows[at].values().clone();
                values[column] = value;
                let mut edited = rows.clone();
                edited[at] = AuditRow::stored(values, *rows[at].hash());
                check(AUDIT_COLUMNS[column], edited, ChainError::Row(at as u64 + 1));
            }
        }
        let mut hash = *rows[at].hash();
        hash[31] ^= 1;
        let mut edited = rows.clone();
        edited[at] = AuditRow::stored(rows[at].values().clone(), hash);
        check("hash", edited, ChainError::Row(at as u64 + 1));
    }
    check("written anew", forged(&rows), ChainError::Head);
    let next = AuditRow::after(&head, &AuditEvent::Refusal(&Mints::new(55).refusal()));
    check("one more", rows.iter().cloned().chain([next]).collect(), ChainError::Surplus);
    check("numbers skipped", rows[1..].to_vec(), ChainError::Row(1));
    assert_eq!(verify_chain(&rows, &ChainHead::EMPTY), Err(ChainError::Surplus));
    assert_eq!(verify_chain(&[] as &[AuditRow], &ChainHead::EMPTY), Ok(()));
}

fn edits(value: &AuditValue) -> Vec<AuditValue> {
    match value {
        AuditValue::Null => vec![AuditValue::Integer(0), AuditValue::Text(String::new())],
        AuditValue::Integer(number) => {
            let text = AuditValue::Text(number.to_string());
            vec![AuditValue::Null, AuditValue::Integer(number + 1), AuditValue::Integer(-number), text]
        }
        AuditValue::Text(text) => {
            let mut edits = vec![AuditValue::Null, AuditValue::Text(format!("{text} "))];
            edits.push(AuditValue::Text(text[1..].to_owned()));
            edits
        }
    }
}

#[test]
fn a_row_whose_number_is_not_its_place_is_found_though_its_hash_is_right() {
    let (mint, zeros) = (Mints::new(7), "0".repeat(64));
    let head: ChainHead = format!("ak-audit-1 4 {zeros}").parse().unwrap();
    let row = AuditRow::after(&head, &AuditEvent::Refusal(&mint.refusal()));
    let digits: String = row.hash().iter().map(|byte| format!("{byte:02x}")).collect();
    let head = format!("ak-audit-1 1 {digits}").parse().unwrap();
    assert_eq!(verify_chain([row], &head), Err(ChainError::Row(1)));
}

#[derive(Clone, Debug)]
enum Change {
    Cut,
    Delete,
    Double,
    Swap,
    Edit(usize, AuditValue),
    Hash(usize, u8),
    Head(u8),
}

fn change() -> impl Strategy<Value = Change> {
    let value = prop_oneof![
        Just(AuditValue::Null),
        any::<i64>().prop_map(AuditValue::Integer),
        any::<String>().prop_map(AuditValue::Text),
    ];
    prop_oneof![
        Just(Change::Cut),
        Just(Change::Delete),
        Just(Change::Double),
        Just(Change::Swap),
        (0..AUDIT_COLUMNS.len(), value).prop_map(|(column, value)| Change::Edit(column, value)),
        (0..32usize, 1..=255u8).prop_map(|(byte, flip)| Change::Hash(byte, flip)),
        (1..=255u8).prop_map(Change::Head),
    ]
}

proptest! {
    #[test]
    fn r87_any_single_change_is_found(mints in 1..5usize, at: prop::sample::Index, to: prop::sample::Index, change in change()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (good, mut head) = runtime.block_on(log(mints));
        let mut rows = good.clone();
        let (at, to) = (at.index(rows.len()), to.index(rows.len()));
        let before = head;
        match change {
            Change::Cut => rows.truncate(at),
            Change::Delete => drop(rows.remove(at)),
            Change::Double => rows.insert(to, good[at].clone()),
            Change::Swap => rows.swap(at, to),
            Change::Edit(column, value) => {
                let mut values = rows[at].values().clone();
                values[column] = value;
                rows[at] = AuditRow::stored(values, *good[at].hash());
            }
            Change::Hash(byte, flip) => {
                let mut hash = *good[at].hash();
                hash[byte] ^= flip;
                rows[at] = AuditRow::stored(good[at].values().clone(), hash);
            }
            Change::Head(flip) => {
                let text = head.to_string();
                let last = u8::from_str_radix(&text[text.len() - 2..], 16).unwrap() ^ flip;
                head = format!("{}{last:02x}", &text[..text.len() - 2]).parse().unwrap();
            }
        }
        prop_assert_eq!(verify_chain(&rows, &head).is_ok(), rows == good && head == before);
    }
}

// --- the rows

#[tokio::test]
async fn r66_w55_w61_rows_say_which_way_and_what_is_unknown_stays_empty() {
    let (world, mint) = (World::new(), Mints::new(7));
    let token = world.token().await;
    let audit = memory(10);
    let id = AuditId::of_token(&token);
    let now = mint.now();
    let exchange = Intent::exchange(id.clone(), now, &world.identity, &token, &world.session);
    let _receipt = audit.intent(&exchange).await.unwrap();
    let alone = Intent::release(mint.id(), now, &world.identity, &token, Attribution::Unattributed);
    let _receipt = audit.intent(&alone).await.unwrap();
    let _receipt = audit.intent(&mint.intent()).await.unwrap();
    audit.refusal(&mint.refusal()).await.unwrap();
    let full = mint.refusal().with_identity(&identity()).with_role(role());
    audit.refusal(&full.with_path(agentkeys_federation::MintPath::OidcJwtSts)).await.unwrap();

    let (rows, _) = audit.rows();
    let paths: Vec<_> = rows.iter().map(|row| text(row, "path")).collect();
    let ways =
        [Some("oidc_jwt+sts"), Some("oidc_jwt"), Some("legacy_assume_role"), None, Some("oidc_jwt+sts")];
    assert_eq!(paths, ways);
    let first = &rows[0];
    let subject = world.identity.subject();
    for (column, value) in [
        ("id", Some(id.as_str())),
        ("event", Some("intent")),
        ("subject", Some(subject.as_str())),
        ("agent", Some("blue")),
        ("tenant", None),
        ("instance", None),
        ("evidence_kind", Some("aws-stsweb")),
        ("assurance", Some("platform-attested")),
        ("jti", Some(token.jti())),
        ("kid", Some(token.kid())),
        ("role_arn", Some(world.session.role().as_str())),
        ("session_name", Some(id.as_str())),
        ("attribution", Some("unattributed")),
        ("source_identity", None),
        ("outcome", None),
        ("code", None),
    ] {
        assert_eq!(text(first, column), value, "{column}");
    }
    let seconds = |moment: u64| Some(AuditValue::Integer(moment.try_into().unwrap()));
    assert_eq!(first.value("token_expires_at").cloned(), seconds(token.expires_at().as_unix()));
    assert_eq!(first.value("session_seconds").cloned(), seconds(900));
    assert_eq!(first.value("no such column"), None);
    // a token alone asks for no session, and AssumeRole has no token
    assert_eq!((text(&rows[1], "role_arn"), text(&rows[1], "jti")), (None, Some(token.jti())));
    assert_eq!((text(&rows[2], "jti"), text(&rows[2], "tenant")), (None, Some("acme")));
    let known = rows[3].values().iter().filter(|value| **value != AuditValue::Null).count();
    assert_eq!(
        (known, text(&rows[3], "code")),
        (5, Some("tenant_unknown")),
        "nothing stands for the unknown"
    );
    assert_eq!((text(&rows[4], "agent"), text(&rows[4], "role_arn")), (Some("blue"), Some(role().as_str())));
}

#[tokio::test]
async fn r65_every_outcome_has_its_word_and_code() {
    let (audit, mint) = (memory(100), Mints::new(7));
    let outcomes = [
        (mint.issued(), "issued", None),
        (Outcome::of_exchange(NOW, ExchangeError::Denied), "refused", Some("sts_access_denied")),
        (Outcome::of_exchange(NOW, ExchangeError::TokenInvalid), "refused", Some("sts_token_invalid")),
        (Outcome::of_exchange(NOW, ExchangeError::Throttled), "failed", Some("sts_throttled")),
        (Outcome::of_exchange(NOW, ExchangeError::Unavailable), "failed", Some("sts_unavailable")),
        (Outcome::of_exchange(NOW, ExchangeError::Answer("x")), "failed", Some("sts_answer")),
        (Outcome::withheld(NOW, code("source_identity")), "withheld", Some("source_identity")),
    ];
    for (outcome, word, said) in outcomes {
        let issued = outcome.kind() == OutcomeKind::Issued;
        let receipt = audit.intent(&mint.intent()).await.unwrap();
        audit.outcome(receipt, outcome).await.unwrap();
        let (rows, _) = audit.rows();
        let row = rows.last().unwrap();
        assert_eq!((text(row, "outcome"), text(row, "code")), (Some(word), said));
        assert_eq!(*row.value("expires_at").unwrap() != AuditValue::Null, issued, "{word}");
    }
}

#[tokio::test]
async fn w56_a_full_sink_takes_nothing_more() {
    let (audit, mint) = (memory(1), Mints::new(7));
    let receipt = audit.intent(&mint.intent()).await.unwrap();
    let error = audit.outcome(receipt, mint.issued()).await.unwrap_err();
    assert!(matches!(error, AuditError::Full) && error.kind() == ErrorKind::Unavailable);
    assert!(error.retry_after().is_some());
    assert!(matches!(audit.refusal(&mint.refusal()).await, Err(AuditError::Full)));
    assert_eq!(audit.rows().0.len(), 1);
}

/// Of one id one intent and, after it, one outcome. For every sink.
pub(crate) async fn one_of_each(audit: &dyn AuditSink, mint: &Mints) {
    let intent = mint.intent();
    let outcome = mint.issued();
    let orphan = AuditEvent::Outcome(intent.id(), &outcome);
    let error = audit.append(&orphan).await.unwrap_err();
    assert!(matches!(error, AuditError::NoIntent) && error.kind() == ErrorKind::Misconfigured);
    assert!(error.retry_after().is_none());
    let receipt = audit.intent(&intent).await.unwrap();
    assert_eq!(receipt.id(), intent.id());
    let error = audit.intent(&intent).await.unwrap_err();
    assert!(matches!(error, AuditError::Doubled) && error.kind() == ErrorKind::Misconfigured);
    audit.outcome(receipt, mint.issued()).await.unwrap();
    assert!(matches!(audit.append(&orphan).await, Err(AuditError::Doubled)));
    let refusal = mint.refusal();
    audit.refusal(&refusal).await.unwrap();
    assert!(matches!(audit.refusal(&refusal).await, Err(AuditError::Doubled)));
}

#[tokio::test]
async fn w56_of_one_id_there_is_one_intent_and_then_one_outcome() {
    let audit = memory(10);
    one_of_each(&*audit, &Mints::new(7)).await;
    let (rows, head) = audit.rows();
    assert_eq!((rows.len(), verify_chain(rows, &head)), (3, Ok(())));
}

// --- secrets

/// Everything that a log shows of one exchange with marked secrets.
pub(crate) async fn exchanged(audit: &dyn AuditSink, world: &World, shown: &mut String) {
    use std::fmt::Write as _;
    let token = world.token().await;
    world.http.answer(STS, 200, success(&token, world.session.role(), "2027-01-15T08:15:00Z"));
    let id = AuditId::of_token(&token);
    let intent = Intent::exchange(id, NOW, &world.identity, &token, &world.session);
    let receipt = audit.intent(&intent).await.unwrap();
    write!(shown, "{intent:?} {receipt:?} {:?}", audit.intent(&intent).await.unwrap_err()).unwrap();
    let credentials = world.exchanger.exchange(&token, &world.session).await.unwrap();
    let outcome = Outcome::credentials(NOW, &credentials);
    write!(shown, "{outcome:?} {audit:?}").unwrap();
    audit.outcome(receipt, outcome).await.unwrap();
    for secret in ["MARKED", token.expose(), token.expose().rsplit('.').next().unwrap()] {
        assert!(!shown.contains(secret), "a secret is shown");
    }
}

#[tokio::test]
async fn l29_no_token_or_credential_is_in_a_row_or_shown() {
    let (world, audit) = (World::new(), memory(10));
    let mut shown = String::new();
    exchanged(&*audit, &world, &mut shown).await;
    let token = world.token().await;
    let all = format!("{shown} {audit:?} {:?}", audit.rows());
    let header = token.expose().split('.').next().unwrap();
    for secret in ["MARKED", header] {
        assert!(!all.contains(secret), "a secret is shown");
    }
}

#[tokio::test]
async fn only_an_access_key_id_of_awss_form_is_written() {
    for (key, written) in
        [("ASIAEXAMPLEEXAMPLE12", true), ("ASIAEXAMPLE", false), ("ASIA EXAMPLE <EXAMPLE>", false)]
    {
        let world = World::new();
        let token = world.token().await;
        let answer = success(&token, world.session.role(), "2027-01-15T08:15:00Z");
        let answer = answer.replace("ASIAEXAMPLE", &key.replace('<', "&lt;").replace('>', "&gt;"));
        world.http.answer(STS, 200, answer);
        let credentials = world.exchanger.exchange(&token, &world.session).await.unwrap();
        assert_eq!(credentials.access_key_id(), key);
        let (id, outcome) = (AuditId::of_token(&token), Outcome::credentials(NOW, &credentials));
        let event = AuditEvent::Outcome(&id, &outcome);
        let row = AuditRow::after(&ChainHead::EMPTY, &event);
        assert_eq!(text(&row, "access_key_id"), written.then_some(key));
    }
}
