//! Merchants verify with the library they have: here the one that Standard Webhooks publishes for Python.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::contract::sample;
use postrider_tests::receiver::Request;
use postrider_tests::{Daemon, Receiver, Scene, Sent};
use serde_json::{Value, json};

/// The library, fetched by name and pinned.
const LIBRARY: &str = "standardwebhooks==1.1.0";
/// Says `true` or `false` for each pair of a secret and a request.
const VERIFY: &str = "\
import json, sys
from standardwebhooks import Webhook, WebhookVerificationError
def verified(secret, headers, body):
    try:
        Webhook(secret).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False
print(json.dumps([verified(**one) for one in json.load(sys.stdin)]))
";

fn run(program: &Path, args: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be run", program.display()))?;
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{} {args:?}: {}",
        program.display(),
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// A Python that has the library, in a folder of its own beside what is built.
fn python() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(LIBRARY.replace("==", "-"));
    let python = folder.join("bin/python");
    if run(&python, &["-c", "import standardwebhooks"], "").is_err() {
        let path = folder.display().to_string();
        run(Path::new("python3"), &["-m", "venv", "--clear", &path], "")?;
        run(&python, &["-m", "pip", "install", "--quiet", LIBRARY], "")?;
    }
    Ok(python)
}

/// Which secrets verify which requests: a row for each secret.
async fn verdicts(secrets: &[&str], requests: &[Request]) -> Result<Vec<Vec<bool>>> {
    let one = |secret: &str, request: &Request| {
        let headers: Value = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
            .collect();
        json!({ "secret": secret, "headers": headers, "body": String::from_utf8_lossy(&request.body) })
    };
    let all = secrets
        .iter()
        .flat_map(|secret| requests.iter().map(move |request| one(secret, request)));
    let asked = Value::from_iter(all).to_string();
    let verify = move || run(&python()?, &["-c", VERIFY], &asked);
    let answered = tokio::task::spawn_blocking(verify).await??;
    let verdicts: Vec<bool> = serde_json::from_str(&answered)?;
    Ok(verdicts.chunks(requests.len()).map(<[bool]>::to_vec).collect())
}

async fn secret_of(daemon: &Daemon, question: (&str, &str), body: Option<Value>) -> Result<(String, Value)> {
    let (status, answer) = daemon.api(question.0, question.1, body.as_ref()).await?;
    ensure!(status < 300, "{status}: {answer}");
    let secret = answer["signing"]["secret"].as_str().context("it is shown once")?;
    Ok((secret.to_owned(), answer))
}

async fn sent(scene: &Scene, receiver: &Receiver, so_far: usize) -> Result<Vec<Request>> {
    let tracking = scene.topic("tracking");
    tracking
        .produce(vec![Sent::value(sample("tracking_update")); 3])
        .await?;
    Ok(receiver.wait_for("/hook", so_far + 3).await?.split_off(so_far))
}

#[tokio::test]
async fn an_independent_library_verifies_signatures_before_during_and_after_a_rotation() -> Result<()> {
    const OVERLAP: Duration = Duration::from_secs(15);
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("signatures").await?;
    let key = scene.folder().join("key");
    std::fs::write(&key, "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")?;
    scene.config["secrets"]["key_file"] = json!(key);
    scene.config["delivery"]["secret_overlap"] = json!("15s");
    let daemon = scene.start().await?;
    let document =
        json!({ "url": receiver.url("/hook"), "events": ["tracking_update"], "signing": { "generate": true } });
    let (old, added) = secret_of(&daemon, ("POST", "/webhooks"), Some(document)).await?;
    let path = format!("/webhooks/{}/rotate-secret", added["id"].as_str().unwrap_or_default());
    // The first connection has come too.
    let before = sent(&scene, &receiver, 1).await?;
    let (new, _) = secret_of(&daemon, ("POST", &path), None).await?;
    let during = sent(&scene, &receiver, 4).await?;
    let (newest, _) = secret_of(&daemon, ("POST", &path), None).await?;
    let during_both = sent(&scene, &receiver, 7).await?;
    tokio::time::sleep(OVERLAP).await;
    let after = sent(&scene, &receiver, 10).await?;

    let wrong = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let secrets = [&*old, &new, &newest, wrong];
    for (requests, signing) in [
        (before, [true, false, false, false]),
        (during, [true, true, false, false]),
        (during_both, [true, true, true, false]),
        (after, [false, false, true, false]),
    ] {
        let verdicts = verdicts(&secrets, &requests).await?;
        assert_eq!(verdicts, signing.map(|all| vec![all; 3]));
        let mut forged = requests;
        for request in &mut forged {
            request.body = request
                .body
                .iter()
                .map(|byte| if *byte == b'1' { b'2' } else { *byte })
                .collect();
        }
        assert_eq!(self::verdicts(&secrets, &forged).await?, vec![vec![false; 3]; 4]);
    }
    Ok(())
}
