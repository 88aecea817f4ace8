use agentkeys_federation::{DataClass, RoleSession, SessionTags, Stack};
use agentkeys_local_aws::Tags;
use aws_sdk_s3::Client as S3;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sts::config::http::HttpResponse;

use crate::agent::{client, s3};
use crate::demo::{CLASSES, Demo, next};
use crate::report::Cell;
use crate::{Agent, Failure, Report, RunningStack};

/// Each agent, three roles, four places, three actions; then a session without tags; then one of the test
/// stack; then a witness for each object that was denied.
pub(crate) async fn fill_matrix(demo: &Demo, agents: &[Agent], report: &mut Report) -> Result<(), Failure> {
    let [first, ..] = agents else { return Err("no agent was started".into()) };
    let mut objects = Vec::new();
    for class in CLASSES {
        let own = agents.iter().map(|agent| agent.prefix(class));
        let stack = &demo.production;
        objects.extend(own.chain([String::new()]).map(|prefix| Place { stack, class, prefix }));
        objects.push(Place { stack: &demo.test, class, prefix: first.prefix(class) });
    }
    for object in &objects {
        demo.aws.put_object(&object.bucket().parse()?, &object.key(), ORIGINAL)?;
    }

    // each looks over the fence of the next
    for (agent, other) in agents.iter().zip(agents.iter().cycle().skip(1)) {
        for credentials in agent.credentials() {
            let class = credentials.class;
            let stack = &demo.production;
            let own = |class| Place { stack, class, prefix: agent.prefix(class) };
            let targets = [
                ("own prefix", own(class), "allowed"),
                ("other agent's prefix", Place { stack, class, prefix: other.prefix(class) }, "denied"),
                ("other class's bucket", own(next(class)), "denied"),
                ("no prefix", Place { stack, class, prefix: String::new() }, "denied"),
            ];
            for (target, place, expected) in targets {
                try_all(demo, &credentials.s3, agent.name(), class, target, &place, expected, report).await?;
            }
        }
    }

    // what tags are for: a session of the same role without them. Pod Identity's way in asks no trust policy.
    for class in CLASSES {
        let role = demo.production.role(class).name().parse()?;
        let hour = std::time::Duration::from_secs(900);
        let session = demo.aws.workload_session(&role, &"untagged".parse()?, Tags::default(), hour)?;
        let client = s3(&demo.sdk(&session));
        let place = Place { stack: &demo.production, class, prefix: first.prefix(class) };
        try_all(demo, &client, "no tags", class, "an agent's prefix", &place, "denied", report).await?;
    }

    // the test stack's own issuer opens its own roles and buckets, and none of production's
    for class in CLASSES {
        let session = RoleSession::new(demo.test.role(class).clone());
        let session = session.with_tags(SessionTags::of(first.identity()));
        let client = client(demo, &demo.test, first.identity(), session);
        for (target, stack, expected) in
            [("own prefix", &demo.test, "allowed"), ("production's bucket", &demo.production, "denied")]
        {
            let place = Place { stack, class, prefix: first.prefix(class) };
            try_all(demo, &client, &in_test(first), class, target, &place, expected, report).await?;
        }
    }

    // a denial is not a missing key: each object is there, and no intruder's words are in it
    for object in &objects {
        let content = demo.aws.object(&object.bucket().parse()?, &object.key());
        let content = content.as_deref().map(String::from_utf8_lossy);
        let owner = agents.iter().find(|agent| agent.prefix(object.class) == object.prefix);
        let name = |owner: &Agent| if object.is_test() { in_test(owner) } else { owner.name().to_owned() };
        let expected = owner.map_or_else(|| ORIGINAL.to_owned(), |owner| words(&name(owner), object.class));
        report.check(content.as_deref() == Some(expected.as_str()));
    }
    let saw = format!("{} objects are there and hold only what their owner wrote", objects.len());
    report.step("", "witness", saw, std::time::Duration::ZERO);
    Ok(())
}

#[derive(Debug)]
struct Place<'a> {
    stack: &'a RunningStack,
    class: DataClass,
    prefix: String,
}

impl Place<'_> {
    fn bucket(&self) -> &str {
        self.stack.bucket(self.class)
    }

    fn is_test(&self) -> bool {
        self.stack.deployment().names().stack() == Stack::Test
    }

    fn key(&self) -> String {
        format!("{}note.txt", self.prefix)
    }
}

#[expect(clippy::too_many_arguments, reason = "a row of the matrix is its eight columns")]
async fn try_all(
    demo: &Demo,
    s3: &S3,
    agent: &str,
    role: DataClass,
    target: &'static str,
    place: &Place<'_>,
    expected: &'static str,
    report: &mut Report,
) -> Result<(), Failure> {
    let (bucket, key) = (place.bucket(), place.key());
    let prefix = Some(place.prefix.clone()).filter(|prefix| !prefix.is_empty());
    let list = s3.list_objects_v2().bucket(bucket).set_prefix(prefix).send().await;
    let listed = match list {
        // an empty listing of a place that holds an object is no success
        Ok(found) => if found.key_count() == Some(1) { "allowed" } else { "wrong listing" }.to_owned(),
        Err(error) => outcome(Err::<(), _>(error)),
    };
    let got = match s3.get_object().bucket(bucket).key(&key).send().await {
        Ok(found) => {
            let bytes = found.body.collect().await?.into_bytes();
            let there = demo.aws.object(&bucket.parse()?, &key);
            if there.as_ref() == Some(&bytes) { "allowed" } else { "wrong content" }.to_owned()
        }
        Err(error) => outcome(Err::<(), _>(error)),
    };
    let body = ByteStream::from(words(agent, role).into_bytes());
    let put = outcome(s3.put_object().bucket(bucket).key(&key).body(body).send().await);
    for (action, got) in [("List", listed), ("Get", got), ("Put", put)] {
        let role = role.as_str();
        report.cell(Cell { agent: agent.to_owned(), role, target, action, expected, got });
    }
    Ok(())
}

/// What an agent with credentials of the test stack is called here.
fn in_test(agent: &Agent) -> String {
    format!("{}-test", agent.name())
}

fn words(agent: &str, role: DataClass) -> String {
    format!("written by {agent} with the {} role", role.as_str())
}

/// `allowed`, `denied`, or what else went wrong: only S3's own AccessDenied is a denial (R70).
pub(crate) fn outcome<T, E: ProvideErrorMetadata>(result: Result<T, SdkError<E, HttpResponse>>) -> String {
    match result {
        Ok(_) => "allowed".to_owned(),
        Err(SdkError::ServiceError(error))
            if error.err().code() == Some("AccessDenied") && error.raw().status().as_u16() == 403 =>
        {
            "denied".to_owned()
        }
        Err(error) => error.code().unwrap_or("no answer").to_owned(),
    }
}

const ORIGINAL: &str = "as it was";
