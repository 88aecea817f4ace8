//! One exchange at each cloud's stand-in on this machine. `examples/e2e/clouds.sh` compares what it sends with what
//! each vendor's own package sends.
//!
//! ```text
//! cargo run -p agentkeys-examples --example clouds -- URL CA-FILE FOLDER
//! ```
//!
//! URL, which ends with a slash, answers as all three clouds. What was asked for, the tokens included, is written
//! into FOLDER, so that others can ask for the same.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, fs, io};

use agentkeys_core::{
    Assurance, AttestedIdentity, Clock as _, EvidenceKind, HttpClient, HttpSettings, Issuer, KeyRing,
    LocalSigner, MAX_IDENTITY_AGE, Minter, ReqwestClient, SystemClock, SystemRandom, Token, TrustStore,
};
use agentkeys_examples::{Failure, told};
use agentkeys_federation::{
    AlibabaExchanger, AlibabaSession, AuditId, Exchanger as _, GcpExchanger, GcpSession, TencentExchanger,
    TencentIdentityKey, TencentSession,
};
use serde_json::json;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [url, authority, folder] => exchange(url, authority, Path::new(folder)).await,
        _ => Err("usage: clouds URL CA-FILE FOLDER".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(io::stderr(), "clouds: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

async fn exchange(url: &str, authority: &str, folder: &Path) -> Result<(), Failure> {
    let trust = TrustStore::only(fs::read(authority)?);
    let http: Arc<dyn HttpClient> = Arc::new(ReqwestClient::new(HttpSettings::new(trust))?);
    let (signer, _) = LocalSigner::generate(&SystemRandom::new())?;
    let ring = KeyRing::new(Arc::new(signer));
    fs::write(folder.join("identity-key"), TencentIdentityKey::of(&ring).as_str())?;
    let minter = Minter::new(Issuer::parse("https://broker.example.org")?, ring);
    let now = SystemClock::new().now()?;
    // there is no attestor here: the shapes of requests are what this is about
    let identity = AttestedIdentity::assertion(
        EvidenceKind::from_static("example"),
        "https://attestor.example.org".parse()?,
        "blue".parse()?,
        Assurance::PlatformAttested,
        now,
        now.plus(MAX_IDENTITY_AGE),
    )?;

    let (role, provider) =
        ("acs:ram::1135115445850000:role/agents", "acs:ram::1135115445850000:oidc-provider/agentkeys");
    let session = AlibabaSession::new(role.parse()?, provider.parse()?, "agentkeys:agents".parse()?);
    let token = minter.mint(&identity, session.mint_request()).await?;
    let credentials = AlibabaExchanger::with_endpoint(http.clone(), url).exchange(&token, &session).await?;
    asked(folder, "alibaba", &token, json!({ "role": role, "provider": provider }))?;
    writeln!(io::stdout(), "alibaba: {} from a stand-in", credentials.access_key_id())?;

    let (role, provider, region) =
        ("qcs::cam::uin/100000000001:roleName/agents", "agentkeys", "ap-guangzhou");
    let session = TencentSession::new(role.parse()?, provider.parse()?, "agentkeys:agents".parse()?);
    let token = minter.mint(&identity, session.mint_request()).await?;
    let exchanger = TencentExchanger::with_endpoint(region.parse()?, http.clone(), url);
    let credentials = exchanger.exchange(&token, &session).await?;
    asked(folder, "tencent", &token, json!({ "role": role, "provider": provider, "region": region }))?;
    writeln!(io::stdout(), "tencent: {} from a stand-in", credentials.secret_id())?;

    let account = "agents@my-project.iam.gserviceaccount.com";
    let provider = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/agents/\
                    providers/agentkeys";
    let scopes = [
        "https://www.googleapis.com/auth/devstorage.read_only",
        "https://www.googleapis.com/auth/logging.write",
    ];
    let session = GcpSession::new(account.parse()?, provider.parse()?, scopes[0].parse()?)
        .with_scope(scopes[1].parse()?);
    let token = minter.mint(&identity, session.mint_request(&identity)?).await?;
    let exchanger = GcpExchanger::with_endpoints(http, url, url);
    let credentials = exchanger.exchange(&token, &session).await?;
    asked(folder, "gcp", &token, json!({ "account": account, "provider": provider, "scopes": scopes }))?;
    writeln!(io::stdout(), "gcp: a token until {} from a stand-in", credentials.expires_at().as_unix())?;
    Ok(())
}

/// Writes down what was asked for.
fn asked(folder: &Path, cloud: &str, token: &Token, mut what: serde_json::Value) -> Result<(), Failure> {
    let name = AuditId::of_token(token);
    if let Some(what) = what.as_object_mut() {
        what.insert("name".to_owned(), name.as_str().into());
        what.insert("seconds".to_owned(), 900.into());
    }
    fs::write(folder.join(format!("{cloud}.jwt")), token.expose())?;
    fs::write(folder.join(format!("{cloud}.json")), what.to_string())?;
    Ok(())
}
