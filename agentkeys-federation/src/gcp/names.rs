use std::fmt;
use std::str::FromStr;

use agentkeys_core::{Audience, IssuerError};

use crate::cloud::is_number;

/// A provider of a workload identity pool:
/// `//iam.googleapis.com/projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>`.
/// <https://docs.cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools.providers>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GcpProvider(Audience);

impl GcpProvider {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().strip_prefix(SCHEME).unwrap_or_default()
    }

    /// Whom a token for it is for: its name as a URL.
    #[must_use]
    pub const fn audience(&self) -> &Audience {
        &self.0
    }
}

impl FromStr for GcpProvider {
    type Err = GcpError;

    fn from_str(text: &str) -> Result<Self, GcpError> {
        let parts = text
            .strip_prefix("//iam.googleapis.com/projects/")
            .and_then(|rest| rest.split_once("/locations/global/workloadIdentityPools/"))
            .and_then(|(project, rest)| Some((project, rest.split_once("/providers/")?)));
        let (project, (pool, provider)) = parts.ok_or(GcpError::Provider)?;
        if !(is_number(project, 1, 20) && is_pool_part(pool) && is_pool_part(provider)) {
            return Err(GcpError::Provider);
        }
        let audience = Audience::parse(&format!("{SCHEME}{text}"));
        Ok(Self(audience.map_err(|_: IssuerError| GcpError::Provider)?))
    }
}

impl fmt::Display for GcpProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A service account's e-mail address: `<name>@<project>.iam.gserviceaccount.com`.
/// <https://docs.cloud.google.com/iam/docs/service-accounts-create>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GcpServiceAccount(String);

impl GcpServiceAccount {
    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GcpServiceAccount {
    type Err = GcpError;

    fn from_str(text: &str) -> Result<Self, GcpError> {
        let parts = text.strip_suffix(".iam.gserviceaccount.com").and_then(|rest| rest.split_once('@'));
        let (name, project) = parts.ok_or(GcpError::ServiceAccount)?;
        // a project of a domain is <project>.<domain>
        let project_ok = project.len() <= 128 && project.split('.').all(|part| is_label(part, 1, 63));
        if is_label(name, 6, 30)
            && project_ok
            && project.split('.').next().is_some_and(|id| is_label(id, 6, 30))
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(GcpError::ServiceAccount)
        }
    }
}

impl fmt::Display for GcpServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A scope of a service account's token: `https://www.googleapis.com/auth/<name>`. There is no default.
/// <https://developers.google.com/identity/protocols/oauth2/scopes>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GcpScope(String);

impl GcpScope {
    /// The scope.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GcpScope {
    type Err = GcpError;

    fn from_str(text: &str) -> Result<Self, GcpError> {
        let name = text.strip_prefix("https://www.googleapis.com/auth/").ok_or(GcpError::Scope)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        if !name.is_empty() && text.len() <= 256 && name.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(GcpError::Scope)
        }
    }
}

impl fmt::Display for GcpScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text or an identity is not what Google Cloud takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GcpError {
    /// Not a provider.
    #[error(
        "a provider is //iam.googleapis.com/projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>"
    )]
    Provider,
    /// Not a scope.
    #[error("a scope is https://www.googleapis.com/auth/<name>")]
    Scope,
    /// Not a service account.
    #[error("a service account is <name>@<project>.iam.gserviceaccount.com")]
    ServiceAccount,
    /// The identity's subject is too long.
    #[error("Google Cloud takes a subject of at most {MAX_GCP_SUBJECT} bytes")]
    Subject,
}

/// 4 to 32 of `a-z 0-9 -`, and nothing that Google keeps for itself.
fn is_pool_part(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (4..=32).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with("gcp-")
}

/// A lower-case letter, then letters, digits and `-`, none of these at the end.
fn is_label(text: &str, shortest: usize, longest: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (shortest..=longest).contains(&text.len())
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && text.bytes().all(allowed)
        && !text.ends_with('-')
}

/// The longest `google.subject`.
/// <https://docs.cloud.google.com/iam/docs/workload-identity-federation#mapping>
pub const MAX_GCP_SUBJECT: usize = 127;

const SCHEME: &str = "https:";

#[cfg(test)]
mod tests {
    use super::*;

    const PROVIDER: &str = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/agents/providers/keys-1";

    #[test]
    fn r91_googles_names_are_parsed_whole() {
        let provider: GcpProvider = PROVIDER.parse().unwrap();
        assert_eq!(provider.to_string(), PROVIDER);
        assert_eq!(provider.audience().as_str(), format!("https:{PROVIDER}"));
        let with = |old: &str, new: &str| PROVIDER.replacen(old, new, 1);
        let long = "p".repeat(33);
        for bad in [
            String::new(),
            format!("https:{PROVIDER}"),
            with("//", "/"),
            with("googleapis", "evil"),
            with("123456789012", "my-project"),
            with("123456789012", ""),
            with("123456789012", "123456789012345678901"),
            with("global", "europe"),
            with("agents", "abc"),
            with("agents", "Agents"),
            with("agents", "a/gents"),
            with("agents", "gcp-agents"),
            with("keys-1", "gcp-keys"),
            with("keys-1", "keys 1"),
            with("keys-1", "key"),
            with("keys-1", &long),
            with("keys-1", "keys-1/"),
            with("/providers/keys-1", ""),
        ] {
            assert_eq!(bad.parse::<GcpProvider>(), Err(GcpError::Provider), "{bad}");
        }
        for good in [
            "agents@my-project.iam.gserviceaccount.com",
            "agents@my-project.example.com.iam.gserviceaccount.com",
        ] {
            assert_eq!(good.parse::<GcpServiceAccount>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "agents",
            "agents@my-project.iam.gserviceaccount.com.evil.example",
            "agents@my-project.evil.example",
            "short@my-project.iam.gserviceaccount.com",
            "Agents@my-project.iam.gserviceaccount.com",
            "9agents@my-project.iam.gserviceaccount.com",
            "agents-@my-project.iam.gserviceaccount.com",
            "agents/x@my-project.iam.gserviceaccount.com",
            "agents:x@my-project.iam.gserviceaccount.com",
            "agents?x@my-project.iam.gserviceaccount.com",
            "agents@proj.iam.gserviceaccount.com",
            "agents@.iam.gserviceaccount.com",
            "agents@my-project..iam.gserviceaccount.com",
            "agents@my@project.iam.gserviceaccount.com",
        ] {
            assert_eq!(bad.parse::<GcpServiceAccount>(), Err(GcpError::ServiceAccount), "{bad}");
        }
        let scope = "https://www.googleapis.com/auth/devstorage.read_only";
        assert_eq!(scope.parse::<GcpScope>().unwrap().to_string(), scope);
        for bad in [
            "",
            "cloud-platform",
            "https://www.googleapis.com/auth/",
            "http://www.googleapis.com/auth/x",
            "https://www.googleapis.com.evil.example/auth/x",
            "https://www.googleapis.com/auth/x https://www.googleapis.com/auth/y",
            "https://www.googleapis.com/auth/x,y",
        ] {
            assert_eq!(bad.parse::<GcpScope>(), Err(GcpError::Scope), "{bad}");
        }
    }
}
