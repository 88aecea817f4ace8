//! The sidecar's own binary before the example broker, and an unmodified SDK beside it: evidence to objects, over
//! real sockets all the way.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use agentkeys_core::{HttpSettings, Issuer, ReqwestClient, TrustStore};
use agentkeys_examples::broker::BrokerDemo;
use agentkeys_examples::own_prefix;
use agentkeys_examples::sidecar::{BrokerClient, BrokerError, Keeper, Prover};
use agentkeys_federation::DataClass;
use aws_config::BehaviorVersion;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use tokio::process::Command;

struct Scene {
    demo: BrokerDemo,
    folder: PathBuf,
}

impl Scene {
    async fn start(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sidecar-broker-{name}"));
        let _none = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let demo = BrokerDemo::start(&folder.join("broker")).await.unwrap();
        Self { demo, folder }
    }

    fn broker(&self) -> String {
        format!("http://{}", self.demo.running().public())
    }

    fn client(&self) -> BrokerClient {
        let http = ReqwestClient::new(HttpSettings::new(TrustStore::nobody())).unwrap();
        BrokerClient::new(&Issuer::loopback_http_for_tests(&self.broker()).unwrap(), Arc::new(http))
    }

    /// The sidecar of an agent, with credentials of a class.
    fn sidecar(&self, agent: &str, class: DataClass) -> Command {
        let deps = std::env::current_exe().unwrap();
        let path = deps.parent().unwrap().parent().unwrap().join("examples").join("sidecar");
        assert!(path.exists(), "not built: run `cargo test -p agentkeys-examples` without choosing targets");
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("TMPDIR", &self.folder)
            .env("AGENTKEYS_BROKER", self.broker())
            .env("AGENTKEYS_CLASS", class.as_str())
            .env("ATTESTOR", "aws-stsweb")
            .env("AGENTKEYS_EVIDENCE_FILE", self.demo.evidence_file(agent))
            .env("AWS_ENDPOINT_URL", self.demo.aws().endpoint())
            .env("AWS_REGION", "us-east-1");
        command
    }

    /// What an agent with credentials of a class sees below a prefix of a bucket.
    async fn sees(&self, agent: &str, class: DataClass, bucket: DataClass, whose: &str) -> String {
        let identity = self.demo.identity(whose).await.unwrap();
        let own = std::env::current_exe().unwrap();
        let mut command = self.sidecar(agent, class);
        command.args(["exec", "--"]).arg(own);
        command.args(["--exact", "--ignored", "--nocapture", "sidecar_broker::an_agent_before_s3"]);
        command
            .env("TEST_BUCKET", self.demo.bucket(bucket))
            .env("TEST_PREFIX", own_prefix(&identity, bucket));
        let output = command.output().await.unwrap();
        let (status, stdout, stderr) = said(&output);
        assert_eq!((status, stderr.contains("panicked")), (Some(0), false), "{stdout} {stderr}");
        let line =
            stdout.lines().find_map(|line| line.split_once("agent: ")).map(|(_, line)| line.to_owned());
        line.unwrap_or_else(|| panic!("{stdout} {stderr}"))
    }
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r53_r58_r70_an_unmodified_sdk_beside_the_sidecar_finds_its_own_objects_and_is_denied_all_others() {
    let scene = Scene::start("isolation").await;
    let (memory, vault) = (DataClass::Memory, DataClass::Vault);
    for (agent, other) in [("blue", "red"), ("red", "blue")] {
        let own = scene.sees(agent, memory, memory, agent).await;
        assert_eq!(own, format!("list 1, get {agent}'s, put ok"));
        let denied = "list AccessDenied, get AccessDenied, put AccessDenied";
        assert_eq!(scene.sees(agent, memory, memory, other).await, denied);
        assert_eq!(scene.sees(agent, memory, vault, agent).await, denied);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_refuses_evidence_that_is_forged_or_of_another_kind_and_the_command_is_not_run() {
    let scene = Scene::start("refused").await;
    let evidence = fs::read_to_string(scene.demo.evidence_file("blue")).unwrap();
    let (head, signature) = evidence.rsplit_once('.').unwrap();
    let forged = scene.folder.join("forged");
    fs::write(&forged, format!("{head}.{}", signature.chars().rev().collect::<String>())).unwrap();
    for (attestor, file) in [("aws-stsweb", &forged), ("oidc", &scene.demo.evidence_file("blue"))] {
        let mut command = scene.sidecar("blue", DataClass::Memory);
        command.args(["exec", "--", "echo", "it ran"]);
        command.env("ATTESTOR", attestor).env("AGENTKEYS_EVIDENCE_FILE", file);
        let (status, stdout, stderr) = said(&command.output().await.unwrap());
        assert_eq!((status, stdout.as_str()), (Some(1), ""));
        assert!(stderr.starts_with("sidecar: the broker refused with status 40"), "{stderr}");
        assert!(!stderr.contains(&evidence[..20]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_answers_the_brokers_challenge_and_gets_credentials() {
    let scene = Scene::start("challenge").await;
    let prover = Prover::Challenged(scene.demo.green().unwrap());
    let keeper = Keeper::new(scene.client(), prover, DataClass::Data, |_| ());
    let credentials = keeper.obtain_once().await.unwrap();
    assert!(credentials.access_key_id().starts_with("ASIA"));
    // the same evidence without a challenge is let in nowhere
    let source = Prover::Source(Arc::new(scene.demo.green().unwrap()));
    let refused =
        Keeper::new(scene.client(), source, DataClass::Data, |_| ()).obtain_once().await.unwrap_err();
    assert_eq!(refused.code(), "broker_refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_opens_the_classes_that_its_tenant_has_and_no_other() {
    let scene = Scene::start("classes").await;
    let session = scene.client().attest(&scene.demo.evidence("blue").await.unwrap()).await.unwrap();
    assert!(scene.client().credentials(&session, DataClass::Vault).await.is_ok());
    let refused = scene.client().credentials(&session, DataClass::Config).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Refused { status: 403, .. }), "{refused}");
}

/// Run by the tests above beside the sidecar: an agent's own code, which knows of nothing but its SDK.
#[tokio::test]
#[ignore = "another test runs it as an agent's process"]
async fn an_agent_before_s3() {
    let (bucket, prefix) = (std::env::var("TEST_BUCKET").unwrap(), std::env::var("TEST_PREFIX").unwrap());
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let s3 =
        aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&sdk).force_path_style(true).build());
    let code = |code: Option<&str>| code.unwrap_or("no answer").to_owned();
    let list = match s3.list_objects_v2().bucket(&bucket).prefix(&prefix).send().await {
        Ok(found) => found.key_count().unwrap_or_default().to_string(),
        Err(error) => code(error.code()),
    };
    let get = match s3.get_object().bucket(&bucket).key(format!("{prefix}note.txt")).send().await {
        Ok(found) => String::from_utf8(found.body.collect().await.unwrap().to_vec()).unwrap(),
        Err(error) => code(error.code()),
    };
    let put = s3
        .put_object()
        .bucket(&bucket)
        .key(format!("{prefix}note.txt"))
        .body(get.clone().into_bytes().into());
    let put = match put.send().await {
        Ok(_) => "ok".to_owned(),
        Err(error) => code(error.code()),
    };
    writeln!(std::io::stdout(), "agent: list {list}, get {get}, put {put}").unwrap();
}
