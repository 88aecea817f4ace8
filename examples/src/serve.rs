use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkeys_core::Token;
use agentkeys_federation::{DataClass, RoleSession, SessionTags};

use crate::agent::{Platform, attest};
use crate::demo::{Demo, REGION, own_prefix};
use crate::{Failure, Report};

/// Keeps the world up for unmodified SDKs until Ctrl-C: writes a token file for each agent into `folder`,
/// which must not exist, renews it, and hands `say` the variables to copy.
///
/// # Errors
/// Where the folder or a file cannot be written, or a token cannot be had.
pub async fn serve(folder: &Path, say: impl Fn(&str)) -> Result<(), Failure> {
    let demo = Demo::start().await?;
    DirBuilder::new().mode(0o700).create(folder)?;
    let served = keep_serving(&demo, folder, say).await;
    fs::remove_dir_all(folder)?;
    served
}

async fn keep_serving(demo: &Demo, folder: &Path, say: impl Fn(&str)) -> Result<(), Failure> {
    let agents = ["blue", "red"];
    let mut prefixes = Vec::new();
    for agent in agents {
        prefixes.push(renew(demo, folder, agent).await?);
    }
    let bucket = demo.production.bucket(DataClass::Memory);
    for prefix in &prefixes {
        demo.aws.put_object(&bucket.parse()?, &format!("{prefix}note.txt"), "as it was")?;
    }
    for (agent, (own, other)) in agents.iter().zip(prefixes.iter().zip(prefixes.iter().rev())) {
        let token = token_file(folder, agent);
        let role = demo.production.role(DataClass::Memory).clone();
        let variables = format!(
            "export AWS_ENDPOINT_URL={}\nexport AWS_REGION={REGION}\nexport AWS_DEFAULT_REGION={REGION}\n\
             export AWS_ROLE_ARN={role}\nexport AWS_ROLE_SESSION_NAME={agent}\n\
             export AWS_WEB_IDENTITY_TOKEN_FILE={}\nexport BUCKET={bucket}\nexport OWN_PREFIX={own}\n\
             export OTHER_PREFIX={other}\n",
            demo.aws.endpoint(),
            token.display(),
        );
        write(&folder.join(format!("{agent}.env")), &variables)?;
        say(&format!("# agent {agent}\n{variables}"));
    }
    say("try: aws s3api list-objects-v2 --bucket $BUCKET --prefix $OWN_PREFIX");
    say("     aws s3api list-objects-v2 --bucket $BUCKET --prefix $OTHER_PREFIX   (AccessDenied)");
    say("quickstart: serving; stop with Ctrl-C");
    let mut due = tokio::time::interval(RENEWAL);
    due.tick().await;
    loop {
        tokio::select! {
            stopped = tokio::signal::ctrl_c() => return Ok(stopped?),
            _ = due.tick() => {
                for agent in agents {
                    renew(demo, folder, agent).await?;
                }
            }
        }
    }
}

/// Attests the agent anew and writes its token. Answers where its objects are.
async fn renew(demo: &Demo, folder: &Path, agent: &str) -> Result<String, Failure> {
    let identity = attest(demo, &Platform::Pod, agent, &mut Report::default()).await?;
    let session = RoleSession::new(demo.production.role(DataClass::Memory).clone())
        .with_tags(SessionTags::of(&identity));
    let token: Token = demo.production.minter().mint(&identity, session.mint_request()?).await?;
    write(&token_file(folder, agent), token.expose())?;
    Ok(own_prefix(&identity, DataClass::Memory))
}

fn token_file(folder: &Path, agent: &str) -> PathBuf {
    folder.join(format!("{agent}.token"))
}

/// Writes beside the file and renames, so that a reader never finds half of it.
fn write(path: &Path, content: &str) -> Result<(), Failure> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    Ok(fs::rename(&beside, path)?)
}

/// Tokens live five minutes.
const RENEWAL: Duration = Duration::from_secs(120);
