use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use agentkeys_core::{Issuer, Random as _, SystemRandom};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client as S3;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::Failure;
use crate::agent::s3;
use crate::demo::{REGION, sdk_at};

/// A MinIO on loopback that trusts one issuer; it ends with this.
#[derive(Debug)]
pub(super) struct MinioServer {
    url: String,
    address: SocketAddr,
    administrator: Credentials,
    s3: S3,
    _process: Child,
}

impl MinioServer {
    /// Starts `program`, which fetches the issuer's discovery document and keys at once.
    pub(super) async fn start(program: &Path, folder: &Path, issuer: &Issuer) -> Result<Self, Failure> {
        let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let url = format!("http://{address}");
        let administrator = Credentials::new("administrator", random()?, None, None, "minio");
        let log = std::fs::File::create(folder.join("minio.log"))?;
        let process = Command::new(program)
            .args(["server", "--quiet", "--address", &address.to_string()])
            .arg(folder.join("data"))
            .env_clear()
            .env("HOME", folder)
            .envs([("MINIO_BROWSER", "off"), ("MINIO_UPDATE", "off"), ("MINIO_CALLHOME_ENABLE", "off")])
            .env("MINIO_ROOT_USER", administrator.access_key_id())
            .env("MINIO_ROOT_PASSWORD", administrator.secret_access_key())
            .env("MINIO_IDENTITY_OPENID_CONFIG_URL", format!("{issuer}/.well-known/openid-configuration"))
            .env("MINIO_IDENTITY_OPENID_CLIENT_ID", CLIENT_ID)
            // MinIO takes tokens that are signed with this, so nobody may know it
            .env("MINIO_IDENTITY_OPENID_CLIENT_SECRET", random()?)
            .env("MINIO_IDENTITY_OPENID_CLAIM_NAME", "https://aws.amazon.com/roles")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        // for whoever ends what this left behind
        std::fs::write(folder.join("minio.pid"), process.id().ok_or("it ended at once")?.to_string())?;
        let s3 = s3(&sdk_at(&url, SharedCredentialsProvider::new(administrator.clone())));
        let server = Self { url, address, administrator, s3, _process: process };
        server.ready().await?;
        Ok(server)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The administrator's client.
    pub(super) const fn s3(&self) -> &S3 {
        &self.s3
    }

    /// Half a minute at most.
    async fn ready(&self) -> Result<(), Failure> {
        for _ in 0..300 {
            if self.send("GET", "/minio/health/ready", &[], "").await.is_ok_and(|status| status == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err("MinIO was not ready in half a minute".into())
    }

    /// A policy of this name.
    pub(super) async fn put_policy(&self, name: &str, policy: &str) -> Result<(), Failure> {
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let target = format!("/minio/admin/v3/add-canned-policy?name={name}");
        let headers = self.signature(&format!("{}{target}", self.url), policy)?;
        match self.send("PUT", &target, &headers, policy).await? {
            200 => Ok(()),
            status => Err(format!("add-canned-policy: {status}").into()),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a signature is dated, and MinIO has no other clock")]
    fn signature(&self, url: &str, body: &str) -> Result<Vec<(String, String)>, Failure> {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let identity = self.administrator.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let request =
            SignableRequest::new("PUT", url, std::iter::empty(), SignableBody::Bytes(body.as_bytes()))?;
        let (signed, _) = sign(request, &parameters)?.into_parts();
        Ok(signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// One request; the answer's status. Our own HTTP client puts nothing.
    async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> Result<u16, Failure> {
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all((head + body).as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        Ok(answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).ok_or("no answer")?.parse()?)
    }
}

/// 64 hexadecimal digits.
fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The audience of our tokens.
pub(super) const CLIENT_ID: &str = "sts.amazonaws.com";

const MAX_ANSWER_BYTES: u64 = 64 * 1024;
