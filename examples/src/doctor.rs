//! What AWS will say to an issuer and to the documents about it, said before AWS does.
//!
//! AWS fetches an issuer's discovery document and keys over TLS whenever a token comes, and compares what it finds
//! with the provider and the role's trust policy byte for byte. Each of these is a [`Check`] here, with what to
//! mend where it is wrong. Nothing of AWS is asked: a check that is ok is no proof that AWS accepts the rest.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html>

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use agentkeys_core::{Clock, HttpClient, HttpError, HttpRequest, HttpResponse, HttpSettings, Issuer};
use agentkeys_core::{MAX_DISCOVERY_BYTES, ProviderMetadata, ReqwestClient, SystemClock, TrustStore};
use agentkeys_federation::OidcProvider;
use serde::Serialize;
use serde_json::Value;

use crate::Failure;

mod documents;
mod keys;
mod tls;

pub use tls::Roots;

/// Looks at one issuer.
#[derive(Debug)]
pub struct Doctor {
    issuer: Issuer,
    http: Arc<dyn HttpClient>,
    roots: Roots,
    server: Option<SocketAddr>,
    clock: Arc<dyn Clock>,
}

impl Doctor {
    /// Of `issuer`, whose server's certificate must chain to one of `roots`.
    ///
    /// # Errors
    /// Where the trust store cannot be read.
    pub fn new(issuer: Issuer, roots: Roots) -> Result<Self, Failure> {
        let trust = roots.pem().map_or_else(TrustStore::system, TrustStore::only);
        let http = Arc::new(ReqwestClient::new(HttpSettings::new(trust))?);
        Ok(Self { issuer, http, roots, server: None, clock: Arc::new(SystemClock::new()) })
    }

    /// Looks for the issuer's server at this address instead of asking for it by name, and fetches through `http`:
    /// for an issuer that is not in the DNS yet.
    #[must_use]
    pub fn with_server(mut self, server: SocketAddr, http: Arc<dyn HttpClient>) -> Self {
        (self.server, self.http) = (Some(server), http);
        self
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes all checks; `documents` are names and contents of policies, and of the provider's parameters.
    pub async fn examine(&self, documents: &[(String, String)]) -> Diagnosis {
        let mut checks = vec![self.issuer()];
        let chain = tls::chain(&self.issuer, self.server, &self.roots).await;
        checks.push(chain.check());
        let thumbprint = chain.thumbprint();
        checks.push(thumbprint.check());
        let (discovery, jwks_uri, answer) = self.discovery().await;
        checks.push(discovery);
        checks.push(match jwks_uri {
            Some(uri) => match self.fetch(&uri, keys::MAX_BYTES).await {
                Ok(answer) => keys::check(&answer.body),
                Err(check) => Check { name: "keys", ..check },
            },
            None => Check::wrong("keys", "not looked for", "mend the discovery document first"),
        });
        checks.push(self.time(answer.as_ref()));
        for (name, text) in documents {
            checks.extend(documents::check(name, text, &self.issuer, thumbprint.top()));
        }
        Diagnosis { issuer: self.issuer.as_str().to_owned(), checks }
    }

    fn issuer(&self) -> Check {
        let registered = "aws".parse().ok().zip("123456789012".parse().ok());
        let provider =
            registered.map(|(partition, account)| OidcProvider::new(partition, account, self.issuer.clone()));
        match provider {
            Some(Ok(_)) => Check::ok("issuer", format!("{}, byte for byte", self.issuer)),
            Some(Err(error)) => Check::wrong("issuer", error.to_string(), "give the issuer another URL"),
            None => Check::wrong("issuer", "it cannot be judged", "say so to who wrote this"),
        }
    }

    /// The check, where the keys are, and the answer.
    async fn discovery(&self) -> (Check, Option<String>, Option<HttpResponse>) {
        const NAME: &str = "discovery";
        let answer = match self.fetch(&self.issuer.discovery_url(), MAX_DISCOVERY_BYTES).await {
            Ok(answer) => answer,
            Err(check) => return (Check { name: NAME, ..check }, None, None),
        };
        let check = match ProviderMetadata::parse(&answer.body, &self.issuer) {
            Ok(metadata) => {
                let uri = metadata.jwks_uri().to_owned();
                let json = answer.header("content-type").is_some_and(|kind| {
                    kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json")
                });
                let found = format!("issuer equal byte for byte, keys at {uri}");
                let check = if json {
                    Check::ok(NAME, found)
                } else {
                    Check::warn(NAME, found, "send it as Content-Type: application/json")
                };
                return (check, Some(uri), Some(answer));
            }
            Err(reason) => {
                let said = serde_json::from_slice::<Value>(&answer.body).ok();
                let said = said.as_ref().and_then(|said| said.get("issuer")?.as_str());
                let found = match said.filter(|said| *said != self.issuer.as_str()) {
                    Some(said) => format!("{reason}: {}", shown(said)),
                    None => reason.to_owned(),
                };
                let mend = format!(
                    "publish {{\"issuer\":\"{}\",\"jwks_uri\":\"{}\",…}}, not a byte different",
                    self.issuer,
                    self.issuer.jwks_url()
                );
                Check::wrong(NAME, found, mend)
            }
        };
        (check, None, Some(answer))
    }

    async fn fetch(&self, url: &str, most: usize) -> Result<HttpResponse, Check> {
        let wrong = |found: String, mend: &str| Check::wrong("", found, mend);
        match self.http.send(HttpRequest::get(url, most)).await {
            Ok(answer) if answer.status == 200 => Ok(answer),
            Ok(answer) => Err(wrong(
                format!("{url} answers with status {}", answer.status),
                "answer with 200 and no redirect: AWS follows none",
            )),
            Err(HttpError::BodyTooLarge) => {
                Err(wrong(format!("{url} is larger than {most} bytes"), "publish less"))
            }
            Err(error) => Err(wrong(format!("{url}: {error}"), "let the network reach it over TLS")),
        }
    }

    /// AWS allows five minutes between a token's times and its own clock, and we sign with ours.
    fn time(&self, answer: Option<&HttpResponse>) -> Check {
        const NAME: &str = "clock";
        let Some(answer) = answer else {
            return Check::warn(NAME, "not looked at", "mend what is above");
        };
        let date = answer.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let (Some(date), Ok(now)) = (date, self.clock.now()) else {
            return Check::warn(NAME, "the server sends no Date", "look at the servers' clocks by hand");
        };
        let now = now.to_system_time().unwrap_or(std::time::UNIX_EPOCH);
        let apart = now.duration_since(date).unwrap_or_else(|behind| behind.duration()).as_secs();
        let found = format!("{apart} s between this machine's clock and the server's");
        match apart {
            0..=29 => Check::ok(NAME, found),
            30..=299 => Check::warn(NAME, found, "let both follow a time server"),
            _ => Check::wrong(NAME, found, "set the clocks: AWS refuses tokens that are five minutes off"),
        }
    }
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// Whose.
    pub issuer: String,
    /// In the order in which they were made.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Wrong)
    }
}

/// A line for each check, and one for what to mend.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            writeln!(f, " {:<5} {:<11} {}", check.verdict.as_str(), check.name, check.found)?;
            if let Some(mend) = &check.mend {
                writeln!(f, "                   → {mend}")?;
            }
        }
        let count = |verdict| self.checks.iter().filter(|check| check.verdict == verdict).count();
        let (ok, warn, wrong) = (count(Verdict::Ok), count(Verdict::Warn), count(Verdict::Wrong));
        writeln!(f, "doctor: {ok} ok, {warn} to look at, {wrong} wrong")
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// Its stable name.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to mend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), mend: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, found: found.into(), mend: Some(mend.into()) }
    }

    fn wrong(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Wrong, found: found.into(), mend: Some(mend.into()) }
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// As AWS wants it.
    Ok,
    /// It works, or may: somebody should look.
    Warn,
    /// AWS will refuse, or let in whom it should not.
    Wrong,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Wrong => "wrong",
        }
    }
}

/// Text of somebody else's for a terminal: short, and no control character in it.
fn shown(text: &str) -> String {
    format!("\"{}\"", text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect::<String>())
}

const MAX_SHOWN: usize = 120;
