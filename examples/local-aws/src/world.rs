//! The account at run time: what the state file said, and what happened since.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::digest;
use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clock::Clock;
use crate::credentials::{Credential, Identity, NoRandomness, RoleSession, SessionCredentials, generate};
use crate::issuer::{IssuerKeys, KeyFailure};
use crate::kms;
use crate::names::{
    AccessKeyId, AccountId, BucketName, KmsKeyId, ProviderUrl, Region, RoleArn, RoleName, UserName,
};
use crate::policy::ResourcePolicy;
use crate::state::{
    self, Body, KmsKey, Organization, OutboundFederation, Role, State, StateError, User, WorkloadSession,
};

/// How long a workload session of the state file lasts that does not say so.
const WORKLOAD_SESSION: time::Duration = time::Duration::hours(6);

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct World {
    /// `http://127.0.0.1:<port>`
    pub(crate) endpoint: String,
    pub(crate) clock: Clock,
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) secure_transport: bool,
    pub(crate) session_seconds: Option<NonZeroU32>,
    pub(crate) organization: Option<Organization>,
    issuer_uuid: Uuid,
    keys: OnceLock<IssuerKeys>,
    holdings: Mutex<Holdings>,
}

/// What changes while the server runs.
#[derive(Debug)]
pub(crate) struct Holdings {
    pub(crate) outbound_enabled: bool,
    pub(crate) providers: BTreeMap<ProviderUrl, BTreeSet<String>>,
    pub(crate) roles: BTreeMap<RoleName, Role>,
    pub(crate) users: BTreeMap<UserName, User>,
    pub(crate) credentials: HashMap<AccessKeyId, Credential>,
    pub(crate) buckets: BTreeMap<BucketName, Bucket>,
    pub(crate) kms_keys: BTreeMap<KmsKeyId, kms::Key>,
    workload_sessions: Vec<WorkloadSession>,
}

/// A bucket and what is in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) policy: Option<ResourcePolicy>,
    pub(crate) objects: BTreeMap<String, StoredObject>,
}

/// An object as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct StoredObject {
    pub(crate) content: Bytes,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) modified: OffsetDateTime,
}

impl World {
    /// Takes a state over; the endpoint is the base of the issuer's URL.
    pub(crate) fn new(state: State, endpoint: String) -> Result<Self, StateError> {
        let clock = Clock::default();
        let holdings = Holdings::new(&state, clock.now())?;
        Ok(Self {
            endpoint,
            clock,
            account: state.account,
            region: state.region,
            secure_transport: state.secure_transport,
            session_seconds: state.session_seconds,
            organization: state.organization,
            issuer_uuid: state.outbound_federation.issuer_uuid.unwrap_or_else(Uuid::new_v4),
            keys: OnceLock::new(),
            holdings: Mutex::new(holdings),
        })
    }

    /// Locks what changes. Never held across an await.
    pub(crate) fn holdings(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path of the outbound issuer: `/<uuid>`.
    pub(crate) fn issuer_path(&self) -> String {
        format!("/{}", self.issuer_uuid)
    }

    /// The outbound issuer.
    pub(crate) fn issuer(&self) -> String {
        format!("{}{}", self.endpoint, self.issuer_path())
    }

    /// The issuer's keys, made when they are first needed.
    pub(crate) fn keys(&self) -> Result<&IssuerKeys, KeyFailure> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let made = IssuerKeys::generate()?;
        Ok(self.keys.get_or_init(|| made))
    }

    /// The ARN of a role.
    pub(crate) fn role_arn(&self, role: &Role) -> String {
        RoleArn { account: self.account.clone(), path: role.path.clone(), name: role.name.clone() }
            .to_string()
    }

    /// The ARN of a provider.
    pub(crate) fn provider_arn(&self, url: &ProviderUrl) -> String {
        format!("arn:aws:iam::{}:oidc-provider/{}", self.account, url.without_scheme())
    }

    /// The ARN of a KMS key.
    pub(crate) fn kms_key_arn(&self, key_id: &KmsKeyId) -> String {
        self.kms_arn(key_id.as_str())
    }

    /// The ARN that a KMS key of this id has, if there is one.
    pub(crate) fn kms_arn(&self, key_id: &str) -> String {
        format!("arn:aws:kms:{}:{}:key/{key_id}", self.region, self.account)
    }

    /// The unique id of a role.
    pub(crate) fn role_id(&self, role: &Role) -> String {
        role.role_id.as_ref().map_or_else(
            || derived_id("AROA", &self.account, role.name.as_str()),
            |id| id.as_str().to_owned(),
        )
    }

    /// The unique id of a user.
    pub(crate) fn user_id(&self, user: &User) -> String {
        user.user_id.as_ref().map_or_else(
            || derived_id("AIDA", &self.account, user.name.as_str()),
            |id| id.as_str().to_owned(),
        )
    }

    /// Starts a session and hands out its credentials.
    pub(crate) fn start_session(&self, session: RoleSession) -> Result<SessionCredentials, NoRandomness> {
        let (access_key_id, secret, token) = generate()?;
        let credentials = SessionCredentials {
            access_key_id: access_key_id.clone(),
            secret_access_key: secret.clone(),
            session_token: token.clone(),
            expires_at: session.expires_at.into(),
        };
        let credential =
            Credential { secret, token: Some(token), identity: Identity::Session(Arc::new(session)) };
        self.holdings().credentials.insert(access_key_id, credential);
        Ok(credentials)
    }

    /// The state as a file would say it now. Sessions that STS started are not part of it.
    pub(crate) fn snapshot(&self) -> State {
        let holdings = self.holdings();
        let bucket = |(name, bucket): (&BucketName, &Bucket)| state::Bucket {
            name: name.clone(),
            policy: bucket.policy.clone(),
            objects: bucket
                .objects
                .iter()
                .map(|(key, object)| {
                    let body = Body::of(&object.content);
                    (
                        key.clone(),
                        state::Object {
                            body,
                            content_type: object.content_type.clone(),
                            metadata: object.metadata.clone().into_iter().collect(),
                        },
                    )
                })
                .collect(),
        };
        State {
            account: self.account.clone(),
            region: self.region.clone(),
            secure_transport: self.secure_transport,
            session_seconds: self.session_seconds,
            organization: self.organization.clone(),
            outbound_federation: OutboundFederation {
                enabled: holdings.outbound_enabled,
                issuer_uuid: Some(self.issuer_uuid),
            },
            oidc_providers: holdings
                .providers
                .iter()
                .map(|(url, client_ids)| state::OidcProvider {
                    url: url.clone(),
                    client_ids: client_ids.clone(),
                })
                .collect(),
            roles: holdings.roles.values().cloned().collect(),
            users: holdings.users.values().cloned().collect(),
            buckets: holdings.buckets.iter().map(bucket).collect(),
            kms_keys: holdings.kms_keys.values().map(|key| key.said.clone()).collect(),
            workload_sessions: holdings.workload_sessions.clone(),
        }
    }
}

impl Holdings {
    fn new(state: &State, now: OffsetDateTime) -> Result<Self, StateError> {
        let mut credentials = HashMap::new();
        let mut add = |id: &AccessKeyId, credential| match credentials.insert(id.clone(), credential) {
            None => Ok(()),
            Some(_) => Err(StateError::Contradiction(format!("the access key {id} occurs twice"))),
        };
        for user in &state.users {
            for key in &user.access_keys {
                let identity = Identity::User(user.name.clone());
                add(
                    &key.access_key_id,
                    Credential { secret: key.secret_access_key.clone(), token: None, identity },
                )?;
            }
        }
        let roles = unique("role", state.roles.iter().map(|role| (role.name.clone(), role.clone())))?;
        for session in &state.workload_sessions {
            if !roles.contains_key(&session.role) {
                let (name, role) = (&session.session_name, &session.role);
                return Err(StateError::Contradiction(format!(
                    "the session {name} is of the unknown role {role}"
                )));
            }
            add(&session.access_key_id, workload_credential(session, now)?)?;
        }
        let buckets = state.buckets.iter().map(|bucket| (bucket.name.clone(), Bucket::new(bucket, now)));
        let providers = state.oidc_providers.iter().map(|one| (one.url.clone(), one.client_ids.clone()));
        let mut kms_keys = BTreeMap::new();
        for said in &state.kms_keys {
            let made = kms::Key::generate(said.clone());
            let made = made.map_err(|error| StateError::Contradiction(error.to_string()))?;
            if kms_keys.insert(said.key_id.clone(), made).is_some() {
                return Err(StateError::Contradiction(format!("the KMS key {} occurs twice", said.key_id)));
            }
        }
        Ok(Self {
            outbound_enabled: state.outbound_federation.enabled,
            providers: unique("OIDC provider", providers)?,
            users: unique("user", state.users.iter().map(|user| (user.name.clone(), user.clone())))?,
            buckets: unique("bucket", buckets)?,
            roles,
            kms_keys,
            credentials,
            workload_sessions: state.workload_sessions.clone(),
        })
    }
}

impl Holdings {
    /// Adds a KMS key, or puts the one of this id into another state; another kind of key is a new one.
    pub(crate) fn put_kms_key(&mut self, said: KmsKey) -> Result<(), KeyFailure> {
        let known = self.kms_keys.get(&said.key_id).and_then(|key| key.said_anew(&said));
        let id = said.key_id.clone();
        let key = known.map_or_else(|| kms::Key::generate(said), Ok)?;
        self.kms_keys.insert(id, key);
        Ok(())
    }

    /// Adds or replaces a user; the keys that it had before and has no more stop working.
    pub(crate) fn put_user(&mut self, user: User) -> Result<(), StateError> {
        let its_own = |identity: &Identity| matches!(identity, Identity::User(name) if *name == user.name);
        for key in &user.access_keys {
            let id = &key.access_key_id;
            if self.credentials.get(id).is_some_and(|credential| !its_own(&credential.identity)) {
                return Err(StateError::Contradiction(format!("the access key {id} occurs twice")));
            }
        }
        self.credentials.retain(|_, credential| !its_own(&credential.identity));
        for key in &user.access_keys {
            let identity = Identity::User(user.name.clone());
            let credential = Credential { secret: key.secret_access_key.clone(), token: None, identity };
            self.credentials.insert(key.access_key_id.clone(), credential);
        }
        self.users.insert(user.name.clone(), user);
        Ok(())
    }
}

impl Bucket {
    pub(crate) fn new(bucket: &state::Bucket, now: OffsetDateTime) -> Self {
        let objects = bucket.objects.iter().map(|(key, object)| {
            let object = StoredObject {
                content: object.body.clone().into_bytes().into(),
                content_type: object.content_type.clone(),
                metadata: object.metadata.clone().into_iter().collect(),
                modified: now,
            };
            (key.clone(), object)
        });
        Self { policy: bucket.policy.clone(), objects: objects.collect() }
    }
}

fn workload_credential(session: &WorkloadSession, now: OffsetDateTime) -> Result<Credential, StateError> {
    let transitive: BTreeSet<String> =
        session.transitive_tag_keys.iter().map(|key| key.to_lowercase()).collect();
    if let Some(key) = transitive.iter().find(|key| session.tags.get(key).is_none()) {
        let name = &session.session_name;
        return Err(StateError::Contradiction(format!(
            "the session {name} has no tag for its transitive key {key}"
        )));
    }
    let running = RoleSession {
        role: session.role.clone(),
        name: session.session_name.clone(),
        tags: session.tags.clone(),
        transitive,
        source_identity: session.source_identity.clone(),
        provider: None,
        policy: None,
        expires_at: session.expires_at.unwrap_or(now + WORKLOAD_SESSION),
    };
    Ok(Credential {
        secret: session.secret_access_key.clone(),
        token: Some(session.session_token.clone()),
        identity: Identity::Session(Arc::new(running)),
    })
}

fn unique<K: Ord + std::fmt::Display, V>(
    what: &str,
    pairs: impl Iterator<Item = (K, V)>,
) -> Result<BTreeMap<K, V>, StateError> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.contains_key(&key) {
            return Err(StateError::Contradiction(format!("the {what} {key} occurs twice")));
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// An id that looks like IAM's and stays the same from run to run.
fn derived_id(prefix: &str, account: &AccountId, name: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = digest::digest(&digest::SHA256, format!("{account}/{prefix}/{name}").as_bytes());
    let tail = hash.as_ref().iter().take(17).filter_map(|byte| ALPHABET.get(usize::from(byte % 32)));
    prefix.chars().chain(tail.map(|letter| char::from(*letter))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: &str) -> String {
        let text = format!(r#"{{"account": "123456789012", "region": "us-east-1", {change}}}"#);
        let state = State::parse(&text, "s").unwrap();
        World::new(state, "http://127.0.0.1:1".to_owned()).unwrap_err().to_string()
    }

    #[test]
    fn contradictions_are_refused() {
        let bucket = r#"{"name": "bucket"}"#;
        assert_eq!(refused(&format!(r#""buckets": [{bucket}, {bucket}]"#)), "the bucket bucket occurs twice");
        let session = r#"{"role": "none", "session_name": "pod", "access_key_id": "ASIAEXAMPLEEXAMPLE00",
            "secret_access_key": "s", "session_token": "t"}"#;
        assert_eq!(
            refused(&format!(r#""workload_sessions": [{session}]"#)),
            "the session pod is of the unknown role none"
        );
        let key = r#"{"access_key_id": "AKIAEXAMPLEEXAMPLE00", "secret_access_key": "s"}"#;
        assert_eq!(
            refused(&format!(r#""users": [{{"name": "u", "access_keys": [{key}, {key}]}}]"#)),
            "the access key AKIAEXAMPLEEXAMPLE00 occurs twice"
        );
    }

    #[test]
    fn derived_ids_are_stable_and_distinct() {
        let account: AccountId = "123456789012".parse().unwrap();
        let id = derived_id("AROA", &account, "a");
        assert_eq!(id.len(), 21);
        assert_eq!(id, derived_id("AROA", &account, "a"));
        assert_ne!(id, derived_id("AROA", &account, "b"));
    }
}
