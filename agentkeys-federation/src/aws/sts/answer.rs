use agentkeys_core::{Secret, Timestamp};
use aws_sdk_sts::operation::assume_role::AssumeRoleOutput;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityOutput;
use aws_sdk_sts::types::{AssumedRoleUser, Credentials};

use crate::aws::role::{RoleArn, RoleSessionName, SessionDuration};
use crate::aws::source_identity::SourceIdentity;
use crate::aws::tags::PackedSize;
use crate::credentials::AwsCredentials;
use crate::exchanger::{ExchangeError, ends_in_time};

/// The session that was asked for.
pub(in crate::aws) struct Asked<'a> {
    pub(in crate::aws) role: &'a RoleArn,
    pub(in crate::aws) name: &'a RoleSessionName,
    pub(in crate::aws) source_identity: Option<&'a SourceIdentity>,
    pub(in crate::aws) duration: SessionDuration,
}

/// The session that the STS says it started.
pub(in crate::aws) struct Started {
    user: Option<AssumedRoleUser>,
    credentials: Option<Credentials>,
    source_identity: Option<String>,
    packed_percent: Option<i32>,
}

impl From<AssumeRoleWithWebIdentityOutput> for Started {
    fn from(answer: AssumeRoleWithWebIdentityOutput) -> Self {
        #[expect(deprecated, reason = "its successor is newer than most servers")]
        let packed_percent = answer.session_token_utilization.or(answer.packed_policy_size);
        Self {
            user: answer.assumed_role_user,
            credentials: answer.credentials,
            source_identity: answer.source_identity,
            packed_percent,
        }
    }
}

impl From<AssumeRoleOutput> for Started {
    fn from(answer: AssumeRoleOutput) -> Self {
        #[expect(deprecated, reason = "its successor is newer than most servers")]
        let packed_percent = answer.session_token_utilization.or(answer.packed_policy_size);
        Self {
            user: answer.assumed_role_user,
            credentials: answer.credentials,
            source_identity: answer.source_identity,
            packed_percent,
        }
    }
}

impl Started {
    /// Takes the credentials only where they are for what was asked (W81): role and session name, which AWS
    /// names in every answer, the source identity or its absence, an end in the future and no later than
    /// asked.
    pub(in crate::aws) fn check(
        self,
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<AwsCredentials, ExchangeError> {
        let wrong = ExchangeError::Answer;
        let user = self.user.as_ref().ok_or(wrong("no assumed role"))?;
        if user.arn() != asked.role.session_arn(asked.name) {
            return Err(wrong("another role"));
        }
        self.credentials(asked, now)
    }

    /// The same where the STS names neither role nor session. Where it names one, it is the one that was asked for.
    pub(in crate::aws) fn check_unnamed(
        self,
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<AwsCredentials, ExchangeError> {
        let named = said(self.user.as_ref().map(AssumedRoleUser::arn));
        if named.is_some_and(|arn| arn != asked.role.session_arn(asked.name)) {
            return Err(ExchangeError::Answer("another role"));
        }
        self.credentials(asked, now)
    }

    /// All but whose session it is.
    fn credentials(self, asked: &Asked<'_>, now: Timestamp) -> Result<AwsCredentials, ExchangeError> {
        let wrong = ExchangeError::Answer;
        if said(self.source_identity.as_deref()) != asked.source_identity.map(SourceIdentity::as_str) {
            return Err(wrong("another source identity"));
        }
        let packed = self.packed_percent.map(|percent| match usize::try_from(percent) {
            Ok(percent) if percent <= 100 => Ok(PackedSize::said(percent)),
            _ => Err(wrong("an impossible packed size")),
        });
        let packed = packed.transpose()?;
        let credentials = self.credentials.ok_or(wrong("no credentials"))?;
        if credentials.access_key_id.is_empty()
            || credentials.secret_access_key.is_empty()
            || credentials.session_token.is_empty()
        {
            return Err(wrong("empty credentials"));
        }
        let seconds = credentials.expiration.secs();
        let seconds = u64::try_from(seconds).map_err(|_| wrong("an impossible expiry"))?;
        let expires_at = ends_in_time(Timestamp::from_unix(seconds), now, asked.duration.as_duration())?;
        let taken = AwsCredentials::new(
            credentials.access_key_id,
            Secret::new(credentials.secret_access_key),
            Secret::new(credentials.session_token),
            expires_at,
        );
        Ok(taken.of_session(asked.source_identity.cloned(), packed))
    }
}

/// An element that is there and not empty.
pub(in crate::aws) fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
