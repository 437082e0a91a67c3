//! The binary as a shell sees it: what it prints, where, and with which exit code it ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

fn postrider() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn ran(arguments: &[&str]) -> Output {
    postrider().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A file that is gone with its directory.
fn file(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (dir, path)
}

#[test]
fn help_and_version_end_well() {
    let help = ran(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in [
        "run",
        "check-config",
        "topics",
        "webhooks",
        "secrets",
        "route",
        "schema",
        "receive",
        "completions",
        "Exit codes",
        "Try it",
    ] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    let version = ran(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(
        text(&version.stdout),
        format!("postrider {}\n", env!("CARGO_PKG_VERSION"))
    );
    for command in [
        "run",
        "check-config",
        "topics",
        "webhooks",
        "secrets",
        "route",
        "schema",
        "receive",
        "completions",
    ] {
        assert_eq!(ran(&[command, "--help"]).status.code(), Some(0), "{command}");
    }
}

#[test]
fn bad_usage_is_64() {
    for arguments in [
        &[][..],
        &["fly"],
        &["run", "--no-such-flag"],
        &["receive"],
        &["receive", "--port", "0", "--status", "99"],
        &["receive", "--port", "0", "--secret", "hunter2"],
        &["receive", "--port", "0", "--secret", "whsec_hunter2"],
        &["check-config", "--set", "hunter2"],
        &["check-config", "--set", ".admin=hunter2"],
        &["completions", "cmd.exe"],
        &["schema", "nothing"],
    ] {
        let output = ran(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
        assert!(!text(&output.stderr).contains("hunter2"), "{arguments:?}");
    }
}

#[test]
fn an_argument_that_may_be_secret_is_named_without_its_text() {
    let told = |arguments: &[&str]| text(&ran(arguments).stderr).to_owned();
    let secret = told(&["receive", "--port", "0", "--secret", "whsec_hunter2"]);
    assert!(
        secret.starts_with("error: invalid value for '--secret <whsec_…>': "),
        "{secret}"
    );
    let set = told(&["check-config", "--set", "hunter2"]);
    assert!(
        set.starts_with("error: invalid value for '--set <FIELD=VALUE>': has no `=`; write it like"),
        "{set}"
    );
}

#[test]
fn bad_configuration_is_78_and_names_every_fault_by_line() {
    let (_dir, path) = file("postrider.yaml", "delivery:\n  timeout: 15\nkafka:\n  broker: x\n");
    for command in ["check-config", "run"] {
        let output = postrider().args([command, "--config"]).arg(&path).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{command}");
        assert!(output.stdout.is_empty(), "{command}");
        let errors = text(&output.stderr);
        let file = path.display();
        let unknown = format!("{file}:4: kafka.broker: is not a setting; did you mean `brokers`?\n");
        let wrong = format!(
            "{file}:2: delivery.timeout: found the number `15`; expected a duration such as 15s, 100ms or 5d\n"
        );
        assert!(errors.contains(&unknown) && errors.contains(&wrong), "{errors}");
        assert!(errors.ends_with("error: the configuration has 2 faults\n"), "{errors}");
    }
    let missing = ran(&["check-config", "--config", "/no/such/file.yaml"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(text(&missing.stderr).starts_with("/no/such/file.yaml: cannot be read: "));
}

#[test]
fn files_that_a_run_needs_are_bad_configuration_before_kafka_is_asked() {
    for command in ["check-config", "run"] {
        for (setting, start) in [
            (
                "secrets.key_file=/no/key",
                "--set: secrets.key_file: `/no/key` cannot be read: ",
            ),
            (
                "egress.ca_file=/no/ca",
                "--set: egress.ca_file: cannot read certificates from /no/ca: ",
            ),
        ] {
            let output = ran(&[command, "--set", "kafka.brokers=127.0.0.1:1", "--set", setting]);
            assert_eq!(output.status.code(), Some(78), "{command}");
            assert!(text(&output.stderr).starts_with(start), "{}", text(&output.stderr));
        }
        let output = postrider()
            .arg(command)
            .env("POSTRIDER_SECRETS_KEY", "hunter2")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78), "{command}");
        let errors = text(&output.stderr);
        assert!(
            errors.starts_with("POSTRIDER_SECRETS_KEY: is not base64 of 32 bytes") && !errors.contains("hunter2"),
            "{errors}"
        );
    }
}

#[test]
fn the_effective_configuration_is_printed_without_secrets() {
    let (_dir, path) = file("postrider.yaml", "kafka: {properties: {sasl.password: hunter2}}\n");
    let checked = |format: &str| {
        let mut command = postrider();
        command
            .env("POSTRIDER_CONFIG", &path)
            .env("POSTRIDER_DELIVERY__TIMEOUT", "12s");
        let output = command
            .args(["check-config", "--format", format, "--set", "delivery.drain=3s"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(!text(&output.stdout).contains("hunter2"));
        text(&output.stdout).to_owned()
    };
    let json: serde_json::Value = serde_json::from_str(&checked("json")).unwrap();
    assert_eq!(json["delivery"]["timeout"], "12s");
    assert_eq!(json["delivery"]["drain"], "3s");
    assert_eq!(json["kafka"]["properties"]["sasl.password"], "********");
    assert!(checked("yaml").contains("\n  timeout: 12s\n"));
}

const WEBHOOKS: &str = "
routing:
  webhooks:
    - {id: wants, url: 'https://m.example/h', events: [tracking_update], filter: {code: {gte: 5}}}
    - {id: other, url: 'https://m.example/h', events: [order_error]}
    - {id: picky, url: 'https://m.example/h', events: [tracking_update], filter: {carrier: FedEx}}
";

#[test]
fn route_says_who_gets_an_event_and_who_does_not() {
    let (_dir, path) = file("postrider.yaml", WEBHOOKS);
    let (_events, event) = file("event.json", r#"{"code": 6, "carrier": "UPS"}"#);
    let route = |arguments: &[&str]| {
        let mut command = postrider();
        command
            .args(["route", "--config"])
            .arg(&path)
            .arg("--event")
            .arg(&event)
            .args(arguments);
        command.output().unwrap()
    };
    let output = route(&["--type", "tracking_update"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(lines[0], "tracking_update of account default");
    assert!(lines.iter().any(|line| line.starts_with("  yes wants: ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("  no  other: ")), "{lines:?}");
    let picky = lines.iter().find(|line| line.starts_with("  no  picky: ")).unwrap();
    assert!(
        picky.ends_with(r#"carrier must be "FedEx", but is "UPS""#),
        "quotes stay as they are: {picky}"
    );
    let json = route(&["--type", "order_error", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let matching: Vec<&str> = json
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["matches"] == true)
        .map(|one| one["webhook"].as_str().unwrap())
        .collect();
    assert_eq!(matching, ["other"]);
    let untyped = route(&[]);
    assert_eq!(untyped.status.code(), Some(1));
    assert!(text(&untyped.stderr).contains("say it with --type"));
    fs::write(&event, "[1]").unwrap();
    let bad = route(&["--type", "order_error"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(
        text(&bad.stderr).contains("is no event, it would go to the dead letters: "),
        "{}",
        text(&bad.stderr)
    );
}

#[test]
fn schemas_are_listed_and_printed() {
    let names = ran(&["schema"]);
    for name in text(&names.stdout).lines() {
        let schema = ran(&["schema", name]);
        assert_eq!(schema.status.code(), Some(0), "{name}");
        if name == "asyncapi" {
            assert!(
                text(&schema.stdout).contains("asyncapi: 3."),
                "{}",
                text(&schema.stdout)
            );
        } else {
            serde_json::from_slice::<serde_json::Value>(&schema.stdout).unwrap();
        }
    }
    assert!(text(&names.stdout).contains("outcome.v1\n"));
}

#[test]
fn completions_know_the_commands() {
    let output = ran(&["completions", "bash"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("check-config"));
}

#[test]
fn kafka_out_of_reach_is_69() {
    let output = ran(&["topics", "check", "--set", "kafka.brokers=127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(69), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("Kafka cannot be reached at 127.0.0.1:1"),
        "{}",
        text(&output.stderr)
    );
}

/// A process that is killed when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_receiver_prints_what_comes_and_stops_when_asked() {
    let child = postrider()
        .args([
            "receive",
            "--port",
            "0",
            "--status",
            "503",
            "--secret",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ])
        .stdout(Stdio::piped())
        .spawn();
    let mut running = Running(child.unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let address = first.strip_prefix("listening on http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"POST /h HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Basic dTpw\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let printed: Vec<String> = lines
        .by_ref()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    assert_eq!(printed[0], "#1 POST /h");
    assert!(
        printed.contains(&"  authorization: Basic ********".to_owned()),
        "{printed:?}"
    );
    assert!(
        printed.contains(&"  signature: WRONG or missing".to_owned()),
        "{printed:?}"
    );
    assert_eq!(printed.last().map(String::as_str), Some("  {}"));
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

fn asked(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_daemon_without_kafka_says_so_and_stops_when_asked() {
    let child = postrider()
        .args([
            "run",
            "--set",
            "kafka.brokers=127.0.0.1:1",
            "--set",
            "admin.listen=127.0.0.1:0",
        ])
        .stderr(Stdio::piped())
        .spawn();
    let mut running = Running(child.unwrap());
    let mut lines = BufReader::new(running.0.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let address = lines
        .by_ref()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap())
        .find_map(|line| line["address"].as_str().map(str::to_owned))
        .unwrap();
    let ready = asked(&address, "/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 503 ") && ready.contains("\"kafka\":"),
        "{ready}"
    );
    assert!(asked(&address, "/healthz").starts_with("HTTP/1.1 200 "));
    let metrics = asked(&address, "/metrics");
    assert!(metrics.contains("\npostrider_build_info{rustc=\""), "{metrics}");
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert!(lines.any(|line| line.contains("Stopped")));
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = ran(&["receive", "--port", &port]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(
        errors.starts_with(&format!("error: cannot listen on 127.0.0.1:{port}: ")),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1, "{errors}");
}
