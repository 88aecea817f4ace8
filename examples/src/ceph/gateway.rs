use std::time::SystemTime;

use agentkeys_core::{HttpClient as _, HttpRequest, HttpSettings, ReqwestClient, TrustStore};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client as S3;
use aws_sdk_s3::types::{Tag, Tagging};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

use crate::Failure;
use crate::agent::s3;
use crate::demo::{REGION, sdk_at};

/// A Ceph Object Gateway with S3, STS and IAM, and the keys of an administrator of its tenant `123456789012`.
#[derive(Debug)]
pub struct CephGateway {
    url: String,
    credentials: Credentials,
    http: ReqwestClient,
    s3: S3,
}

impl CephGateway {
    /// Reads what `examples/e2e/ceph/gateway.sh` wrote.
    ///
    /// # Errors
    /// Where a line is missing, or it is not on this machine.
    pub fn parse(env: &str) -> Result<Self, Failure> {
        let value = |name: &str| -> Result<&str, Failure> {
            let found = env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| format!("{name} is missing").into())
        };
        let url = value("GATEWAY_URL")?;
        if !url.starts_with("http://127.0.0.1:") {
            return Err("GATEWAY_URL is not of this machine".into());
        }
        let (id, secret) = (value("GATEWAY_ACCESS_KEY")?, value("GATEWAY_SECRET_KEY")?);
        let credentials = Credentials::new(id, secret, None, None, "gateway");
        // plain HTTP on loopback: no certificate authority is trusted at all
        let http = ReqwestClient::new(HttpSettings::new(TrustStore::nobody()))?;
        let s3 = s3(&sdk_at(url, SharedCredentialsProvider::new(credentials.clone())));
        Ok(Self { url: url.to_owned(), credentials, http, s3 })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// One call of its IAM. It must be answered with 200.
    pub(super) async fn iam(&self, action: &str, parameters: &[(&str, &str)]) -> Result<(), Failure> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("Action", action), ("Version", "2010-05-08")])
            .extend_pairs(parameters)
            .finish();
        let url = format!("{}/", self.url);
        let mut request = HttpRequest::post(&url, body.clone(), MAX_ANSWER_BYTES)
            .with_header(CONTENT_TYPE.0, CONTENT_TYPE.1);
        for (name, value) in self.signature(&url, &body)? {
            request = request.with_header(name, value);
        }
        let answer = self.http.send(request).await?;
        if answer.status == 200 {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Err(format!("{action}: {} {body}", answer.status).into())
    }

    #[expect(clippy::disallowed_methods, reason = "a signature is dated, and the gateway has no other clock")]
    fn signature(&self, url: &str, body: &str) -> Result<Vec<(String, String)>, Failure> {
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name("iam")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let body = SignableBody::Bytes(body.as_bytes());
        let request = SignableRequest::new("POST", url, [CONTENT_TYPE].into_iter(), body)?;
        let (signed, _) = sign(request, &parameters)?.into_parts();
        Ok(signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A bucket, with this policy and these tags.
    pub(super) async fn bucket(
        &self,
        name: &str,
        policy: Option<String>,
        tags: &[(&str, &str)],
    ) -> Result<(), Failure> {
        self.s3.create_bucket().bucket(name).send().await?;
        if let Some(policy) = policy {
            self.s3.put_bucket_policy().bucket(name).policy(policy).send().await?;
        }
        if !tags.is_empty() {
            let tag = |(key, value): &(&str, &str)| Tag::builder().key(*key).value(*value).build();
            let tags = tags.iter().map(tag).collect::<Result<Vec<_>, _>>()?;
            let tagging = Tagging::builder().set_tag_set(Some(tags)).build()?;
            self.s3.put_bucket_tagging().bucket(name).tagging(tagging).send().await?;
        }
        Ok(())
    }

    /// The administrator's client.
    pub(super) const fn s3(&self) -> &S3 {
        &self.s3
    }
}

const CONTENT_TYPE: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const MAX_ANSWER_BYTES: usize = 64 * 1024;
