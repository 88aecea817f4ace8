use std::time::Duration;

use agentkeys_core::Random;

use super::ExchangeError;

/// Sends until there is an answer, an error that stands ([`ExchangeError::tries`]), or no time left.
pub(crate) async fn tried<T, F>(random: &dyn Random, send: impl Fn() -> F + Send) -> Result<T, ExchangeError>
where
    F: Future<Output = Result<T, ExchangeError>> + Send,
{
    let asked = tokio::time::timeout(OPERATION_TIMEOUT, try_again(random, send)).await;
    asked.unwrap_or(Err(ExchangeError::Unavailable))
}

async fn try_again<T, F>(random: &dyn Random, send: impl Fn() -> F + Send) -> Result<T, ExchangeError>
where
    F: Future<Output = Result<T, ExchangeError>> + Send,
{
    let mut tried = 0;
    loop {
        let error = match send().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        tried += 1;
        if tried >= error.tries() {
            return Err(error);
        }
        let first = if error == ExchangeError::Throttled { THROTTLED_WAIT } else { WAIT };
        tokio::time::sleep(random.jittered(first * tried)).await;
    }
}

/// For all tries together.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);

/// The most that is waited before the second try; before the third it is twice that.
const WAIT: Duration = Duration::from_millis(200);

/// The same where the STS asks to slow down.
const THROTTLED_WAIT: Duration = Duration::from_secs(1);
