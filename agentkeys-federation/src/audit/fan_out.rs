use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use agentkeys_core::ErrorKind;
use async_trait::async_trait;

use super::event::AuditEvent;
use super::{AuditError, AuditSink};

/// Writes each event to several sinks at once, and says that it is durable where it is in those that it
/// must be in.
///
/// It waits for all of them, so the slowest decides how long a mint takes. Where not enough of them have an
/// event the answer is the error of the first that does not.
#[derive(Clone, Debug)]
pub struct FanOut {
    sinks: Vec<Arc<dyn AuditSink>>,
    rule: Rule,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Primary,
    AtLeast(usize),
}

impl FanOut {
    /// Durable is what is in every sink.
    #[must_use]
    pub fn all(first: Arc<dyn AuditSink>, others: Vec<Arc<dyn AuditSink>>) -> Self {
        let sinks = joined(first, others);
        let rule = Rule::AtLeast(sinks.len());
        Self { sinks, rule }
    }

    /// Durable is what is in the primary; the others get what they can.
    #[must_use]
    pub fn primary(primary: Arc<dyn AuditSink>, others: Vec<Arc<dyn AuditSink>>) -> Self {
        Self { sinks: joined(primary, others), rule: Rule::Primary }
    }

    /// Durable is what is in at least `enough` of the sinks. An outcome counts only in sinks that have the
    /// intent.
    ///
    /// # Errors
    /// [`FanOutError`] where there are fewer sinks than that.
    pub fn quorum(enough: NonZeroUsize, sinks: Vec<Arc<dyn AuditSink>>) -> Result<Self, FanOutError> {
        if enough.get() > sinks.len() {
            return Err(FanOutError);
        }
        Ok(Self { sinks, rule: Rule::AtLeast(enough.get()) })
    }
}

#[async_trait]
impl AuditSink for FanOut {
    async fn append(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        let answers = at_once(self.sinks.iter().map(|sink| sink.append(event))).await;
        let durable = match self.rule {
            Rule::Primary => answers.first().is_some_and(Result::is_ok),
            Rule::AtLeast(enough) => answers.iter().filter(|answer| answer.is_ok()).count() >= enough,
        };
        if durable {
            Ok(())
        } else {
            Err(answers.into_iter().find_map(Result::err).unwrap_or(AuditError::Closed))
        }
    }
}

/// There are fewer sinks than must have each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("there are fewer sinks than must have each event")]
pub struct FanOutError;

impl FanOutError {
    /// Always [`ErrorKind::Misconfigured`].
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        ErrorKind::Misconfigured
    }
}

fn joined(first: Arc<dyn AuditSink>, others: Vec<Arc<dyn AuditSink>>) -> Vec<Arc<dyn AuditSink>> {
    std::iter::once(first).chain(others).collect()
}

type Append<'s> = Pin<Box<dyn Future<Output = Result<(), AuditError>> + Send + 's>>;

enum Call<'s> {
    Waiting(Append<'s>),
    Answered(Result<(), AuditError>),
}

/// All answers, in the order of the calls.
async fn at_once<'s>(calls: impl Iterator<Item = Append<'s>>) -> Vec<Result<(), AuditError>> {
    let mut calls: Vec<_> = calls.map(Call::Waiting).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for call in &mut calls {
            if let Call::Waiting(append) = call {
                match append.as_mut().poll(context) {
                    Poll::Ready(answer) => *call = Call::Answered(answer),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let answer = |call| match call {
        Call::Answered(answer) => answer,
        Call::Waiting(_) => Err(AuditError::Slow),
    };
    calls.into_iter().map(answer).collect()
}
