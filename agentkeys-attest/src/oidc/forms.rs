//! The issuers that are well known, each with pins of its own.

use agentkeys_core::jose::Algorithm;
use agentkeys_core::{Audience, Issuer};

use super::claims::ClaimPath;
use super::issuer::{AgentClaim, OidcIssuer, OidcPins, OidcPinsError, RequiredClaims};
use super::keys::OidcKeys;
use crate::kubernetes::{Namespace, PodSuffix, ServiceAccount};
use crate::template::Template;
use crate::text::text;

/// Whose pods pass: projected service-account tokens of one cluster, bound to a pod.
/// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens>
///
/// The instance is the pod's uid, so a token that is bound to no pod (`kubectl create token`, a token in a
/// `Secret`) is refused.
///
/// # Precondition
/// Whoever may create pods in the namespace may give them any name and any of its service accounts: only what
/// starts the agents may (W12).
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pin that can be forgotten is not a pin")]
pub struct KubernetesPins {
    /// The cluster's issuer, as its tokens have it; of EKS `https://oidc.eks.<region>.amazonaws.com/id/…`.
    pub issuer: Issuer,
    /// The audience that the pod's projected volume asks for; never the API server's own.
    pub audience: Audience,
    /// The namespace of the pods.
    pub namespace: Namespace,
    /// What names the agent.
    pub agent: KubernetesAgent,
}

/// What names an agent in a cluster.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a pin that can be forgotten is not a pin")]
pub enum KubernetesAgent {
    /// The pod's name without `suffix`; all pods have one service account.
    Pod {
        /// The service account of the pods.
        service_account: ServiceAccount,
        /// What the pods' names have behind the agents' names.
        suffix: PodSuffix,
    },
    /// The service account's name: each agent has one of its own, and every service account of the namespace
    /// is an agent.
    ServiceAccount,
}

/// Whose jobs pass: GitHub Actions, one workflow of one repository.
/// <https://docs.github.com/en/actions/reference/security/oidc>
///
/// The agent is the job's environment; a job without one is refused. The instance is the run's number.
///
/// # Precondition
/// The pinned workflow names the environment itself. One that takes it from its inputs or from the event lets
/// whoever may start it choose the agent, unless the environments are guarded by rules of their own.
///
/// Owner and repository are pinned by number. Their names, which `sub`, `repository` and `repository_owner`
/// hold, can be given up and taken by somebody else, so no name decides here but the workflow's, together
/// with the numbers. `actor`, `head_ref` and `ref` of a pull request are the contributor's own words.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pin that can be forgotten is not a pin")]
pub struct GithubPins {
    /// `https://token.actions.githubusercontent.com`, or the issuer of an enterprise's own server.
    pub issuer: Issuer,
    /// The audience that the job asks for. Any job of anybody can ask for it, so it proves nothing about who.
    pub audience: Audience,
    /// `repository_owner_id`: the number of the organization or user.
    pub owner_id: u64,
    /// `repository_id`: the number of the repository.
    pub repository_id: u64,
    /// `workflow_ref`: the file and the branch or tag that define the job.
    pub workflow: WorkflowRef,
}

/// Whose jobs pass: GitLab CI/CD, one project, protected branches and tags only.
/// <https://docs.gitlab.com/ci/secrets/id_token_authentication/>
///
/// The agent is the job's environment; the instance is the job's number. Project and namespace are pinned by
/// number, because `project_path` and `namespace_path` (and `sub`, which holds them) can be taken by somebody
/// else after a rename. An environment is named in the pipeline's own file, so whoever may push to a protected
/// branch or tag chooses the agent: that is what `ref_protected` guards.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pin that can be forgotten is not a pin")]
pub struct GitlabPins {
    /// `https://gitlab.com`, or a server of one's own.
    pub issuer: Issuer,
    /// The audience under `id_tokens` of the job; any project can ask for it.
    pub audience: Audience,
    /// `namespace_id`: the number of the group or user.
    pub namespace_id: u64,
    /// `project_id`: the number of the project.
    pub project_id: u64,
}

/// Whose service accounts pass: Google Cloud, one project, one service account an agent.
/// <https://cloud.google.com/compute/docs/instances/verifying-instance-identity>
///
/// The agent is the service account's name in its e-mail address, which Google must call verified. The
/// address can be made anew after it was deleted; its number, `sub`, cannot, so that is the instance: a host
/// that must know the difference keeps the first one it sees (L20).
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pin that can be forgotten is not a pin")]
pub struct GcpPins {
    /// `https://accounts.google.com`.
    pub issuer: Issuer,
    /// The audience that the workload asks for; any Google account can ask for it.
    pub audience: Audience,
    /// The project of the service accounts. Its id is never given to anybody else.
    pub project: GcpProject,
}

impl OidcIssuer {
    /// A cluster.
    ///
    /// # Errors
    /// [`OidcPinsError`]: never for a namespace and a service account that Kubernetes takes.
    pub fn kubernetes(pins: KubernetesPins, keys: OidcKeys) -> Result<Self, OidcPinsError> {
        let KubernetesPins { issuer, audience, namespace, agent } = pins;
        let place = path("/kubernetes.io/namespace")?;
        let required = RequiredClaims::none().and_the("namespace", place, namespace.as_str());
        let (agent, required) = match agent {
            KubernetesAgent::Pod { service_account, suffix } => {
                let subject = format!("system:serviceaccount:{namespace}:{service_account}");
                let name = path("/kubernetes.io/serviceaccount/name")?;
                let required = required.and_the("service account", path("/sub")?, subject);
                let required = required.and_the("service account", name, service_account.as_str());
                (AgentClaim::suffixed(path("/kubernetes.io/pod/name")?, suffix), required)
            }
            KubernetesAgent::ServiceAccount => {
                let template = format!("system:serviceaccount:{namespace}:{{agent}}");
                (AgentClaim::matching(path("/sub")?, Template::parse(&template)?), required)
            }
        };
        let issuer = Self::new(OidcPins { issuer, audience, agent, required }, keys)?;
        Ok(issuer.with_instance(path("/kubernetes.io/pod/uid")?).with_algorithms(OF_CLUSTERS))
    }

    /// A repository of GitHub.
    ///
    /// # Errors
    /// None that the pins could cause.
    pub fn github_actions(pins: GithubPins, keys: OidcKeys) -> Result<Self, OidcPinsError> {
        let GithubPins { issuer, audience, owner_id, repository_id, workflow } = pins;
        let required = RequiredClaims::none()
            .and_the("owner", path("/repository_owner_id")?, owner_id.to_string())
            .and_the("repository", path("/repository_id")?, repository_id.to_string())
            .and_the("workflow", path("/workflow_ref")?, workflow.as_str());
        let agent = AgentClaim::matching(path("/environment")?, Template::parse("{agent}")?);
        let issuer = Self::new(OidcPins { issuer, audience, agent, required }, keys)?;
        Ok(issuer.with_instance(path("/run_id")?).with_algorithms(&[Algorithm::Rs256]))
    }

    /// A project of GitLab.
    ///
    /// # Errors
    /// None that the pins could cause.
    pub fn gitlab(pins: GitlabPins, keys: OidcKeys) -> Result<Self, OidcPinsError> {
        let GitlabPins { issuer, audience, namespace_id, project_id } = pins;
        let required = RequiredClaims::none()
            .and_the("namespace", path("/namespace_id")?, namespace_id.to_string())
            .and_the("project", path("/project_id")?, project_id.to_string())
            // text, not a boolean
            .and_the("ref_protected", path("/ref_protected")?, "true");
        let agent = AgentClaim::matching(path("/environment")?, Template::parse("{agent}")?);
        let issuer = Self::new(OidcPins { issuer, audience, agent, required }, keys)?;
        Ok(issuer.with_instance(path("/job_id")?).with_algorithms(&[Algorithm::Rs256]))
    }

    /// A project of Google Cloud.
    ///
    /// # Errors
    /// None that the pins could cause.
    pub fn gcp(pins: GcpPins, keys: OidcKeys) -> Result<Self, OidcPinsError> {
        let GcpPins { issuer, audience, project } = pins;
        let required = RequiredClaims::none().and_the("email_verified", path("/email_verified")?, true);
        let template = format!("{{agent}}@{project}.iam.gserviceaccount.com");
        let agent = AgentClaim::matching(path("/email")?, Template::parse(&template)?);
        let issuer = Self::new(OidcPins { issuer, audience, agent, required }, keys)?;
        Ok(issuer.with_instance(path("/sub")?).with_algorithms(&[Algorithm::Rs256]))
    }
}

/// A workflow's file on one branch or tag, as `workflow_ref` has it:
/// `octo-org/octo-repo/.github/workflows/agents.yml@refs/heads/main`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkflowRef(String);

impl WorkflowRef {
    /// Reads one.
    ///
    /// # Errors
    /// [`WorkflowRefError`], also for the ref of a pull request.
    pub fn parse(text: &str) -> Result<Self, WorkflowRefError> {
        let (file, reference) = text.split_once('@').ok_or(WorkflowRefError)?;
        let (repository, name) = file.split_once("/.github/workflows/").ok_or(WorkflowRefError)?;
        let branch = reference.strip_prefix("refs/heads/").or(reference.strip_prefix("refs/tags/"));
        let parts: Vec<_> = repository.split('/').collect();
        let whole =
            matches!(parts.as_slice(), [owner, repository] if !owner.is_empty() && !repository.is_empty());
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
        let good = whole && printable && !name.is_empty() && branch.is_some_and(|branch| !branch.is_empty());
        if good && text.len() <= MAX_WORKFLOW { Ok(Self(text.to_owned())) } else { Err(WorkflowRefError) }
    }
}

/// A Google Cloud project's id: 6 to 30 characters of `a-z`, `0-9` and `-`, beginning with a letter and not
/// ending with `-`. <https://cloud.google.com/resource-manager/docs/creating-managing-projects>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GcpProject(String);

impl GcpProject {
    /// Reads one.
    ///
    /// # Errors
    /// [`GcpProjectError`].
    pub fn parse(text: &str) -> Result<Self, GcpProjectError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (6..=30).contains(&text.len())
            && text.bytes().all(allowed)
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-');
        if good { Ok(Self(text.to_owned())) } else { Err(GcpProjectError) }
    }
}

text!(WorkflowRef, WorkflowRefError, 0);
text!(GcpProject, GcpProjectError, 0);

/// Not a workflow on a branch or tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("a workflow is owner/repository/.github/workflows/file@refs/heads/branch, or refs/tags/")]
pub struct WorkflowRefError;

/// Not the id of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("a project's id is 6 to 30 characters of a-z 0-9 -, beginning with a letter")]
pub struct GcpProjectError;

fn path(text: &str) -> Result<ClaimPath, OidcPinsError> {
    Ok(ClaimPath::parse(text)?)
}

/// What the API server signs with.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>
const OF_CLUSTERS: &[Algorithm] = &[Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384];

const MAX_WORKFLOW: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflows_are_files_on_branches_and_tags() {
        for good in
            ["o/r/.github/workflows/a.yml@refs/heads/main", "o/r/.github/workflows/a.yml@refs/tags/v1"]
        {
            assert_eq!(WorkflowRef::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "o/r/.github/workflows/a.yml",
            "o/r/.github/workflows/a.yml@",
            "o/r/.github/workflows/a.yml@main",
            "o/r/.github/workflows/a.yml@refs/heads/",
            "o/r/.github/workflows/a.yml@refs/pull/1/merge",
            "o/r/.github/workflows/@refs/heads/main",
            "o/.github/workflows/a.yml@refs/heads/main",
            "/r/.github/workflows/a.yml@refs/heads/main",
            "o/r/x/.github/workflows/a.yml@refs/heads/main",
            "o/r/.github/workflows/*@refs/heads/main",
            "o/r/.github/workflows/a.yml@refs/heads/*",
            "o/r/.github/workflows/a b.yml@refs/heads/main",
            "o/r/a.yml@refs/heads/main",
            &format!("o/r/.github/workflows/a.yml@refs/heads/{}", "a".repeat(MAX_WORKFLOW)),
        ] {
            assert_eq!(WorkflowRef::parse(bad), Err(WorkflowRefError), "{bad}");
        }
    }

    #[test]
    fn projects_have_googles_form() {
        for good in ["my-project", "abcdef", "p23456789012345678901234567890"] {
            assert_eq!(GcpProject::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "abcde",
            "1bcdef",
            "Abcdef",
            "abcdef-",
            "abc.def",
            "example.com:abcdef",
            "p234567890123456789012345678901",
            "abc}def",
            "{agent}",
        ] {
            assert_eq!(GcpProject::parse(bad), Err(GcpProjectError), "{bad}");
        }
    }
}
