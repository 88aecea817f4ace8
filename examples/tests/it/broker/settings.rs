//! Settings from a file and from variables, and what is said of those that are wrong.

use std::collections::BTreeMap;
use std::path::Path;

use agentkeys_examples::broker::{Command, Config};

use super::support::Folder;

const SAMPLE: &str = include_str!("../../../broker.toml");

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let variables: BTreeMap<_, _> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::parse(text, Path::new("/etc/broker"), &variables)
        .map_err(|findings| findings.iter().map(ToString::to_string).collect())
}

const ENVIRONMENT: [(&str, &str); 13] = [
    ("BROKER_OIDC_ISSUER", "https://broker.example.org"),
    ("BROKER_AWS_REGION", "us-east-1"),
    ("BROKER_OIDC_KEYPAIR_PATH", "oidc-keypair.json"),
    ("BROKER_SESSION_KEYPAIR_PATH", "session-keypair.json"),
    ("BROKER_AUDIT_DB_PATH", "audit.db"),
    ("ATTESTOR", "aws-stsweb"),
    ("STSWEB_ISSUER", "https://0a1b2c3d-0000-4000-8000-000000000000.tokens.sts.global.api.aws"),
    ("STSWEB_AUDIENCE", "agentkeys"),
    ("STSWEB_ACCOUNT", "123456789012"),
    ("STSWEB_ROLE_ARN", "arn:aws:iam::123456789012:role/agents"),
    ("STSWEB_CLUSTER_ARN", "arn:aws:eks:us-east-1:123456789012:cluster/prod"),
    ("STSWEB_NAMESPACE", "agents"),
    ("STSWEB_SERVICE_ACCOUNT", "agent"),
];

const DATA_ROLE: (&str, &str) =
    ("BROKER_DATA_ROLE_ARN", "arn:aws:iam::123456789012:role/agentkeys-data-role");

fn of_environment(more: &[(&str, &str)]) -> Result<String, Vec<String>> {
    let all: Vec<_> = ENVIRONMENT.iter().chain(more).copied().collect();
    parse("", &all).map(|config| format!("{config:?}"))
}

#[test]
fn r80_the_sample_and_the_environment_alone_are_each_a_broker() {
    let of_file = format!("{:?}", parse(SAMPLE, &[]).unwrap());
    let of_variables = of_environment(&[DATA_ROLE]).unwrap();
    for both in ["https://broker.example.org", "role/agentkeys-data-role", "us-east-1", "cluster/prod"] {
        assert!(of_file.contains(both) && of_variables.contains(both), "{both}");
    }
    assert!(of_file.contains("/etc/broker/audit.db") && of_variables.contains("\"audit.db\""));
    // what a variable says goes before the file
    let both = parse(
        SAMPLE,
        &[("BROKER_OIDC_ISSUER", "https://other.example.org"), ("BROKER_SESSION_DURATION_SECONDS", "900")],
    );
    let both = format!("{:?}", both.unwrap());
    assert!(both.contains("https://other.example.org") && both.contains("SessionDuration(900)"));
}

#[test]
fn r81_the_older_names_are_taken_and_must_agree_with_the_newer() {
    let old = ("BROKER_AGENT_ROLE_ARN", DATA_ROLE.1);
    assert_eq!(of_environment(&[old]).unwrap(), of_environment(&[DATA_ROLE]).unwrap());
    assert_eq!(of_environment(&[DATA_ROLE, old]).unwrap(), of_environment(&[DATA_ROLE]).unwrap());
    assert_eq!(
        of_environment(&[("ACCOUNT_ID", "123456789012")]).unwrap(),
        of_environment(&[DATA_ROLE]).unwrap()
    );
    let other = ("BROKER_AGENT_ROLE_ARN", "arn:aws:iam::123456789012:role/other");
    assert_eq!(
        of_environment(&[DATA_ROLE, other]).unwrap_err(),
        ["BROKER_AGENT_ROLE_ARN: it says another thing than BROKER_DATA_ROLE_ARN"]
    );
    // a name that others use as well is asked last
    let mut old_region = ENVIRONMENT.to_vec();
    old_region.extend([DATA_ROLE, ("REGION", "eu-west-1")]);
    assert!(format!("{:?}", parse("", &old_region).unwrap()).contains("us-east-1"));
    old_region.retain(|(name, _)| *name != "BROKER_AWS_REGION");
    assert!(format!("{:?}", parse("", &old_region).unwrap()).contains("eu-west-1"));
}

#[test]
fn r82_variables_of_the_operators_workstation_decide_nothing() {
    let operators = [
        ("VAULT_ROLE_ARN", "arn:aws:iam::123456789012:role/vault"),
        ("MEMORY_ROLE_ARN", "arn:aws:iam::123456789012:role/memory"),
        ("AWS_REGION", "eu-west-3"),
        ("AWS_ACCESS_KEY_ID", "AKIAPOISON"),
        ("OIDC_ISSUER_HOST", "evil.example"),
    ];
    let without = of_environment(&[DATA_ROLE]).unwrap();
    assert_eq!(of_environment(&[&[DATA_ROLE], &operators[..]].concat()).unwrap(), without);
    // and what older brokers read for other purposes is told of
    let variables: Vec<_> =
        ENVIRONMENT.iter().copied().chain([DATA_ROLE, ("BROKER_AUTH_METHODS", "wallet")]).collect();
    assert_eq!(
        parse("", &variables).unwrap().notes(),
        ["BROKER_AUTH_METHODS decides nothing here: agents are attested, nobody logs in"]
    );
}

#[test]
fn r83_every_wrong_line_is_named_at_once_and_no_value_is_shown() {
    let wrong = format!("misspelled = 1\n{SAMPLE}")
        .replace("issuer = \"https://broker.example.org\"", "issuer = \"http://MARKED.example.org\"")
        .replace("region = \"us-east-1\"", "region = \"MARKED\"")
        .replace("listen = \"127.0.0.1:8440\"", "listen = \"MARKED\"")
        .replace("# log = \"info\"", "log = \"MARKED\"")
        .replace("# requests_at_once = 256", "requests_at_once = 0")
        .replace("# key_tables = \"off\"", "key_tables = \"MARKED\"")
        .replace("# tags = \"nested\"", "tags = \"MARKED\"")
        .replace("STSWEB_ACCOUNT = \"123456789012\"", "STSWEB_ACCOUNT = \"MARKED\"")
        .replace("vault = \"arn", "other = \"arn")
        .replace("# [tenants.wallets] ", "[tenants.wallets] ")
        .replace("# blue = \"0x", "blue = \"0xMARKED");
    let findings = parse(&wrong, &[]).unwrap_err();
    let line = |of: &str| wrong.lines().position(|line| line.starts_with(of)).unwrap() + 1;
    for (setting, of) in [
        ("misspelled", "misspelled = "),
        ("issuer", "issuer = "),
        ("region", "region = "),
        ("listen", "listen = "),
        ("log", "log = "),
        ("requests_at_once", "requests_at_once = "),
        ("key_tables", "key_tables = "),
        ("tags", "tags = "),
        ("attestor", "[attestor]"),
        ("other", "other = "),
        ("blue", "blue = "),
    ] {
        let place = format!("line {} ({setting}): ", line(of));
        assert_eq!(
            findings.iter().filter(|finding| finding.starts_with(&place)).count(),
            1,
            "{place} {findings:#?}"
        );
    }
    assert!(!findings.iter().any(|finding| finding.contains("MARKED")), "{findings:#?}");
}

#[test]
fn r83_what_is_missing_is_named() {
    for (name, _) in ENVIRONMENT {
        let left: Vec<_> =
            ENVIRONMENT.iter().copied().filter(|(other, _)| *other != name).chain([DATA_ROLE]).collect();
        let findings = parse("", &left).unwrap_err();
        assert!(findings.iter().any(|finding| finding.contains(name)), "{name}: {findings:?}");
    }
    let nobody = parse("", &ENVIRONMENT).unwrap_err();
    assert_eq!(nobody, ["the file: there are no tenants, so nobody would get anything"]);
}

#[test]
fn r83_what_contradicts_or_is_not_known_is_refused() {
    let sample =
        |from: &str, to: &str| parse(&SAMPLE.replace(from, to), &[]).err().unwrap_or_default().join("\n");
    for (from, to, said) in [
        ("# certificate =", "certificate =", "certificate and private_key go together"),
        ("# session_duration_seconds = 3600", "session_duration_seconds = 899", "900 to 43200"),
        ("# oidc_jwt_ttl_seconds = 300", "oidc_jwt_ttl_seconds = 59", "60 to 3600"),
        ("# request_body_limit_bytes = 65536", "request_body_limit_bytes = 65537", "1024 to 65536"),
        ("# sts_endpoint = \"https", "sts_endpoint = \"http", "http:// on loopback"),
        ("# attribution = \"source_identity\"", "attribution = \"yes\"", "source_identity"),
        ("[tenants.roles]\n", "[tenants.rules]\n", "there are no roles"),
        ("ATTESTOR = \"aws-stsweb\"", "ATTESTOR = \"none\"", "ATTESTOR"),
        ("STSWEB_NAMESPACE", "STSWEB_NAMESPACES", "STSWEB_NAMESPACES"),
        ("issuer = ", "issuer = \"https://twice.example.org\"\nissuer = ", "twice"),
    ] {
        let findings = sample(from, to);
        assert!(findings.contains(said), "{from}: {findings}");
    }
    for (variable, value, said) in [
        ("ATTESTOR", "oidc", "one of the two goes"),
        ("BROKER_DEV_MODE", "1", "there is no such variable"),
        ("BROKER_DATA_ROLE_ARNS", "x", "there is no such variable"),
        ("BROKER_DATA_ROLE_ARN", DATA_ROLE.1, "the file names tenants"),
        ("BROKER_AUDIT_ANCHORS", "sqlite,evm", "it is sqlite"),
        ("BROKER_AUDIT_POLICY", "dual_strict", "it is sqlite_primary"),
    ] {
        let findings = parse(SAMPLE, &[(variable, value)]).unwrap_err();
        assert!(findings.iter().any(|finding| finding.contains(said)), "{variable}: {findings:?}");
    }
    assert!(
        parse(SAMPLE, &[("BROKER_AUDIT_ANCHORS", "sqlite"), ("BROKER_AUDIT_POLICY", "sqlite_primary")])
            .is_ok()
    );
}

#[test]
fn l8_w8_redis_and_the_challenges_key_are_the_same_for_all_replicas_or_there_is_neither() {
    let redis = ("BROKER_REDIS_URL_FILE", "redis.url");
    let key = ("BROKER_CHALLENGE_KEY_FILE", "challenge.key");
    let both = format!("{:?}", parse(SAMPLE, &[redis, key]).unwrap());
    assert!(both.contains("\"redis.url\"") && both.contains("\"challenge.key\""));
    for one in [redis, key] {
        let findings = parse(SAMPLE, &[one]).unwrap_err();
        assert!(findings.iter().any(|finding| finding.contains("go together")), "{findings:?}");
    }
    let alone = format!("redis_certificate_authorities = \"ca.pem\"\n{SAMPLE}");
    assert!(parse(&alone, &[]).unwrap_err()[0].contains("goes with redis_url_file"));
    assert!(parse(&alone, &[redis, key]).is_ok());
}

#[test]
fn r87_a_replica_has_one_audit_log_and_in_a_database_a_chain_of_its_own() {
    let url = ("BROKER_POSTGRES_URL_FILE", "postgres.url");
    let chain = ("BROKER_AUDIT_CHAIN", "replica-1");
    let bare = SAMPLE.replace("audit_database = \"audit.db\"", "");
    let both = format!("{:?}", parse(&bare, &[url, chain]).unwrap());
    assert!(both.contains("\"postgres.url\"") && both.contains("replica-1"));
    let authorities = format!("postgres_certificate_authorities = \"ca.pem\"\n{bare}");
    assert!(parse(&authorities, &[url, chain]).is_ok());
    for (text, variables, said) in [
        (&*bare, &[][..], "audit_database is missing"),
        (&bare, &[url], "audit_chain is missing"),
        (&bare, &[url, ("BROKER_AUDIT_CHAIN", "Not A Name")], "BROKER_AUDIT_CHAIN"),
        (&bare, &[chain], "a chain is of postgres_url_file"),
        (SAMPLE, &[url, chain], "two audit logs"),
        (SAMPLE, &[chain], "a chain is of postgres_url_file"),
        (&authorities, &[], "goes with postgres_url_file"),
    ] {
        let findings = parse(text, variables).unwrap_err();
        assert!(findings.iter().any(|finding| finding.contains(said)), "{said}: {findings:?}");
    }
}

#[test]
fn r80_one_module_lists_every_variable() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/broker");
    let list = std::fs::read_to_string(folder.join("variables.rs")).unwrap();
    let readers = ["config.rs", "config/replicas.rs", "config/tenants.rs"]
        .map(|file| std::fs::read_to_string(folder.join(file)).unwrap());
    for line in list.lines().filter(|line| line.starts_with("pub(crate) const") && line.contains(": &str = "))
    {
        let name = line.split(' ').nth(2).unwrap().trim_end_matches(':');
        if name != "ATTESTOR" {
            assert!(
                readers.iter().any(|reader| reader.contains(&format!("names::{name}"))),
                "nobody reads {name}"
            );
        }
    }
    // and nobody reads one past the list
    let beyond = |reader: &String| {
        let reader = reader.replace("starts_with(\"BROKER_\")", "");
        reader.contains("\"BROKER_") || reader.contains("env::var")
    };
    assert!(!readers.iter().any(beyond));
    // what says where a setting is from is in the documentation of the file
    for variable in [
        "OIDC_ISSUER",
        "AWS_REGION",
        "OIDC_KEYPAIR_PATH",
        "SESSION_KEYPAIR_PATH",
        "AUDIT_DB_PATH",
        "AUDIT_CHAIN",
        "CHALLENGE_KEY_FILE",
        "POSTGRES_URL_FILE",
        "REDIS_URL_FILE",
    ] {
        assert!(SAMPLE.contains(&format!("BROKER_{variable}")), "{variable}");
    }
}

#[tokio::test]
async fn r44_keys_are_made_by_a_command_and_never_over_others() {
    let folder = Folder::new();
    let file = folder.0.join("keys.json");
    let name = file.to_str().unwrap().to_owned();
    let run = async |arguments: &[&str]| Command::parse(arguments).unwrap().run(|_| {}).await;
    assert!(run(&["keygen", "oidc", &name]).await.unwrap());
    let made = std::fs::read(&file).unwrap();
    assert!(run(&["keygen", "oidc", &name]).await.is_err());
    assert!(run(&["rotate", "stage", "session", &name]).await.is_err());
    assert_eq!(std::fs::read(&file).unwrap(), made);
    assert!(run(&["rotate", "stage", "oidc", &name]).await.unwrap());
    // published for too short a time
    assert!(run(&["rotate", "promote", "oidc", &name]).await.is_err());
    for bad in [
        &["keygen", "oidc"][..],
        &["keygen", "other", &name],
        &["serve", "x"],
        &["rotate", "x", "oidc", &name],
    ] {
        assert!(Command::parse(bad).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn r83_check_also_looks_at_the_files() {
    let folder = Folder::new();
    let file = folder.0.join("broker.toml");
    std::fs::write(&file, SAMPLE.replace("# operator_token_file", "operator_token_file")).unwrap();
    let said = std::sync::Mutex::new(Vec::new());
    let run = async |arguments: &[&str]| {
        said.lock().unwrap().clear();
        Command::parse(arguments)
            .unwrap()
            .run(|line| said.lock().unwrap().push(line.to_owned()))
            .await
            .unwrap()
    };
    let path = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let check = ["check", "--config", file.to_str().unwrap()];
    assert!(!run(&check).await);
    assert!(said.lock().unwrap().iter().any(|line| line.contains("audit.db: there is no audit log")));
    assert!(said.lock().unwrap().iter().any(|line| line.contains("oidc-keypair.json")));
    assert!(run(&["keygen", "oidc", &path("oidc-keypair.json")]).await);
    assert!(run(&["keygen", "session", &path("session-keypair.json")]).await);
    assert!(run(&["audit", &path("audit.db")]).await);
    std::fs::write(path("operator.token"), "0123456789abcdef0123456789abcdef\n").unwrap();
    // others may read the token
    assert!(!run(&check).await);
    assert!(said.lock().unwrap().iter().any(|line| line.contains("operator.token")), "{said:?}");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path("operator.token"), std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(run(&check).await, "{said:?}");
    std::fs::write(path("operator.token"), "short").unwrap();
    assert!(!run(&check).await);
}

#[tokio::test]
async fn r36_the_deployments_issuer_is_the_brokers_byte_for_byte() {
    let folder = Folder::new();
    let file = folder.0.join("broker.toml");
    std::fs::write(&file, SAMPLE.replace("# deployment", "deployment")).unwrap();
    let deployment = include_str!("../../../deployment.toml");
    let policies = async || {
        let said = std::sync::Mutex::new(String::new());
        let command = Command::parse(&["policies", "--config", file.to_str().unwrap()]).unwrap();
        let done = command.run(|line| said.lock().unwrap().push_str(line)).await;
        done.map(|_| said.into_inner().unwrap()).map_err(|error| error.to_string())
    };
    std::fs::write(folder.0.join("deployment.toml"), deployment).unwrap();
    let documents: serde_json::Value = serde_json::from_str(&policies().await.unwrap()).unwrap();
    assert!(documents["roles"]["agentkeys-memory-role"]["trust_policy"].is_object());
    let slash = deployment.replace("https://broker.example.org\"", "https://broker.example.org/\"");
    std::fs::write(folder.0.join("deployment.toml"), slash).unwrap();
    assert!(policies().await.unwrap_err().contains("byte for byte"));
}
