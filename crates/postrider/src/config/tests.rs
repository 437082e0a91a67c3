//! The whole configuration: layers, faults, secrets.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use postrider_types::secret::MASK;
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A directory with a configuration file in it.
struct Case {
    dir: TempDir,
    sources: Sources,
}

impl Case {
    fn new(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("postrider.yaml");
        fs::write(&file, yaml).unwrap();
        let sources = Sources {
            host: "host-0".to_owned(),
            file: Some(file),
            ..Sources::default()
        };
        Self { dir, sources }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, name: &str, value: &str) -> Self {
        self.sources.flags.push((name.to_owned(), value.to_owned()));
        self
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn load(&self) -> Config {
        Config::load(&self.sources).unwrap_or_else(|error| panic!("{:#?}", error.faults))
    }

    /// Every fault as it is printed, with the directory left out.
    fn faults(&self) -> Vec<String> {
        self.shown(&Config::load(&self.sources).unwrap_err())
    }

    /// Every fault of a reading while webhooks of an earlier one are in use.
    fn faults_of_a_reload(&self) -> Vec<String> {
        self.shown(&Config::load_again(&self.sources).unwrap_err())
    }

    /// Those of the files that a run needs among them.
    fn faults_of_a_run(&self) -> Vec<String> {
        self.shown(&Config::load_to_run(&self.sources).unwrap_err())
    }

    fn shown(&self, error: &ConfigError) -> Vec<String> {
        let dir = format!("{}/", self.dir.path().display());
        error
            .faults
            .iter()
            .map(|fault| fault.to_string().replace(&dir, ""))
            .collect()
    }
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(Case::new("").load(), Config::new("host-0"));
}

#[test]
fn no_file_is_the_defaults() {
    let sources = Sources {
        host: "host-0".to_owned(),
        ..Sources::default()
    };
    assert_eq!(Config::load(&sources).unwrap(), Config::new("host-0"));
}

#[test]
fn flags_beat_the_environment_which_beats_the_file_which_beats_the_defaults() {
    let case = Case::new("delivery: {timeout: 11s, connect_timeout: 3s, drain: 4s}\nkafka: {brokers: 'a:1'}\n")
        .variable("POSTRIDER_DELIVERY__TIMEOUT", "12s")
        .variable("POSTRIDER_DELIVERY__CONNECT_TIMEOUT", "2s")
        .variable("POSTRIDER_INSTANCE_ID", "7")
        .flag("delivery.timeout", "13s")
        .flag("kafka.properties.security.protocol", "SSL");
    let mut expected = Config::new("7");
    expected.delivery.timeout = Duration::from_secs(13);
    expected.delivery.connect_timeout = Duration::from_secs(2);
    expected.delivery.drain = Duration::from_secs(4);
    expected.kafka.brokers = "a:1".to_owned();
    let ssl = postrider_kafka::config::Property("SSL".to_owned());
    expected.kafka.properties.insert("security.protocol".to_owned(), ssl);
    assert_eq!(case.load(), expected);
}

#[test]
fn a_bound_is_lowered_alone_and_what_it_bounds_goes_with_it() {
    let yaml = "\
delivery: {timeout: 3s, max_in_flight: 8, retry: {max_interval: 1s}, circuit: {max_open: 1s}}
consumer: {max_held_bytes: 256KiB}
";
    let config = Case::new(yaml).load();
    let shown = config.shown();
    assert_eq!(shown["delivery"]["connect_timeout"], "3s");
    assert_eq!(shown["delivery"]["max_in_flight_per_webhook"], 8);
    assert_eq!(shown["delivery"]["retry"]["initial"], "1s");
    assert_eq!(shown["delivery"]["circuit"]["open"], "1s");
    assert_eq!(config.layout().delays, [Duration::from_secs(1)]);
    assert_eq!(
        Case::new("delivery: {timeout: 0s}\n").faults(),
        [
            "postrider.yaml:1: delivery.timeout: must be 1ms to 5m, or a hanging endpoint holds its requests too long or \
             every attempt fails"
        ]
    );
}

#[test]
fn kafkas_secrets_come_by_references_not_on_the_command_line() {
    let by_reference = Case::new("")
        .variable("PASSWORD", "hunter2")
        .flag("kafka.properties.sasl.password", "${env:PASSWORD}");
    assert_eq!(by_reference.load().kafka.properties["sasl.password"].0, "hunter2");
    let faults = Case::new("").flag("kafka.properties.sasl.password", "hunter2").faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].contains("kafka.properties.sasl.password") && faults[0].contains("${file:"),
        "{faults:?}"
    );
    assert!(!faults[0].contains("hunter2"), "{faults:?}");
}

#[test]
fn an_instance_has_no_name_that_another_ones_second_member_has() {
    let faults = Case::new("instance_id: host-0.retries\n").faults();
    assert!(
        faults[0].starts_with("postrider.yaml:1: instance_id: must not end in .retries"),
        "{faults:?}"
    );
}

#[test]
fn every_section_can_be_set_from_the_file() {
    let yaml = r#"
instance_id: pr-1
kafka: {brokers: "k:9092", properties: {session.timeout.ms: 45000, enable.ssl.certificate.verification: true}}
consumer: {group_id: g, sources: [{topic: s, event: order_error}], start: latest, guarantee: at_least_once, max_event_bytes: 1KiB}
routing: {webhooks: [{id: wh_1, url: "https://m.example/h", events: [order_shipped], filter: {code: {gte: 5}}}]}
delivery: {retry: {initial: 500ms, multiplier: 2, jitter: 0, permanent_statuses: [404]}, circuit: {failures: 3}}
topics: {replication: 3}
results: {topic: r}
egress: {allow: ["10.0.0.0/8"], dns: ["10.0.0.53:53"]}
admin: {listen: "127.0.0.1:9", logs: {path: /var/lib/x, max_age: 1d}}
secrets: {key_file: /run/key}
telemetry: {log: "info,postrider=debug", log_format: text}
"#;
    let config = Case::new(yaml).load();
    assert_eq!(config.instance_id, "pr-1");
    assert_eq!(config.kafka.properties["session.timeout.ms"].0, "45000");
    assert_eq!(config.consumer.sources[0].topic, "s");
    assert_eq!(config.consumer.start, postrider_consumer::config::Start::Latest);
    assert_eq!(config.consumer.max_event_bytes.0, 1024);
    assert_eq!(config.routing.webhooks[0].filter, Some(json!({"code": {"gte": 5}})));
    assert_eq!(config.delivery.retry.initial, Duration::from_millis(500));
    assert_eq!(config.delivery.retry.permanent_statuses, [404]);
    assert_eq!(config.topics.replication, Some(3));
    assert_eq!(config.results.topic, "r");
    assert_eq!(config.egress.allow, ["10.0.0.0/8"]);
    assert_eq!(config.admin.logs.path, Some(PathBuf::from("/var/lib/x")));
    assert_eq!(config.secrets.key_file, Some(PathBuf::from("/run/key")));
    assert_eq!(config.telemetry.log_format, LogFormat::Text);
}

#[test]
fn every_fault_of_every_layer_is_named_at_once() {
    let yaml = "\
delivery:
  timeout: 15
  max_in_flite: 3
  retry:
    max_retries: 11
kafka:
  brokers: 9092
  properties: {group.id: x}
consumer:
  start: now
routing:
  webhooks:
    - {id: a, url: 'https://m.example', events: [order_shiped]}
admin:
  listen: 0.0.0.0:8080
secret: {}
";
    let case = Case::new(yaml)
        .variable("POSTRIDER_TELEMETRY__LOG", "info,=x=y")
        .variable("POSTRIDER_EGRESS__ALOW", "[]")
        .flag("topics.replication", "many");
    let mut faults = case.faults();
    faults.sort();
    assert_eq!(
        faults,
        [
            "--set: topics.replication: found the text `many`; expected a whole number or null",
            "POSTRIDER_EGRESS__ALOW: egress.alow: is not a setting; did you mean `allow`?",
            "POSTRIDER_TELEMETRY__LOG: telemetry.log: is no filter; write a level (error, warn, info, debug, trace) or pairs like info,postrider_delivery=debug",
            "postrider.yaml:10: consumer.start: found the text `now`; expected earliest or latest",
            "postrider.yaml:13: routing.webhooks[0].events[0]: found the text `order_shiped`; expected order_shipped, order_error or tracking_update",
            "postrider.yaml:15: admin.listen: `0.0.0.0:8080` can be reached from other machines and admin.tokens is empty, so anyone could change webhooks; add a token or listen on 127.0.0.1",
            "postrider.yaml:16: secret: is not a setting; did you mean `secrets`?",
            "postrider.yaml:2: delivery.timeout: found the number `15`; expected a duration such as 15s, 100ms or 5d",
            "postrider.yaml:3: delivery.max_in_flite: is not a setting; did you mean `max_in_flight`?",
            "postrider.yaml:5: delivery.retry.max_retries: must be 0 to 10, the most a webhook may ask for",
            "postrider.yaml:7: kafka.brokers: found the number; expected text; write it in quotes",
        ]
    );
}

#[test]
fn a_section_judges_itself_once_it_fits() {
    let case = Case::new("delivery:\n  retry:\n    max_retries: 11\nkafka:\n  properties:\n    group.id: x\n");
    assert_eq!(
        case.faults(),
        [
            "postrider.yaml:6: kafka.properties.group.id: is postrider's own to set; set consumer.group_id instead",
            "postrider.yaml:3: delivery.retry.max_retries: must be 0 to 10, the most a webhook may ask for",
        ]
    );
}

#[test]
fn each_webhook_and_each_of_its_fields_is_judged_by_itself() {
    let yaml = "\
log: x
routing:
  max_webhooks_per_account: many
  webhooks:
    - {id: a, url: 'ftp://m.example', events: [foo], timeout_ms: 0}
    - {id: b b, url: 'ftp://m.example', events: [order_error]}
    - {id: c c, events: []}
    - {id: d, url: 'https://m.example', events: [order_error], filter: {code: {gte: x}}}
    - {id: d, url: 'https://m.example', events: [order_error]}
";
    let mut faults = Case::new(yaml).faults();
    faults.sort();
    for (fault, start) in faults.iter().zip([
        "postrider.yaml:1: log: is not a setting",
        "postrider.yaml:3: routing.max_webhooks_per_account: found the text `many`",
        "postrider.yaml:5: routing.webhooks[0].events[0]: found the text `foo`",
        "postrider.yaml:5: routing.webhooks[0].timeout_ms: ",
        "postrider.yaml:5: routing.webhooks[0].url: ",
        "postrider.yaml:6: routing.webhooks[1].id: a webhook id is 1 to 64",
        "postrider.yaml:6: routing.webhooks[1].url: ",
        "postrider.yaml:7: routing.webhooks[2].events: is empty",
        "postrider.yaml:7: routing.webhooks[2].id: a webhook id is 1 to 64",
        "postrider.yaml:7: routing.webhooks[2].url: is missing",
        "postrider.yaml:8: routing.webhooks[3].filter.code.gte: ",
        "postrider.yaml:9: routing.webhooks[4].id: `d` is the id of an earlier webhook",
    ]) {
        assert!(fault.starts_with(start), "{start}: {faults:#?}");
    }
    assert_eq!(faults.len(), 12, "{faults:#?}");
}

#[test]
fn a_field_that_cannot_be_read_hides_no_other() {
    let yaml = "telemetry: {log_format: xml, log: 'info,=x=y', max_webhook_series: 10001}\negress: {ports: [70000], deny: [x]}\n";
    let faults = Case::new(yaml).faults();
    for path in [
        "telemetry.log_format",
        "telemetry.log",
        "telemetry.max_webhook_series",
        "egress.ports[0]",
        "egress.deny[0]",
    ] {
        let named = faults.iter().filter(|fault| fault.contains(&format!(": {path}: ")));
        assert_eq!(named.count(), 1, "{path}: {faults:#?}");
    }
    assert_eq!(faults.len(), 5, "{faults:#?}");
}

#[test]
fn nothing_is_held_against_what_stands_in_for_a_faulty_field() {
    let yaml = "admin: {listen: '0.0.0.0:80', tokens: 5}\negress: {ports: [80]}\nrouting: {webhooks: [{id: a, events: [order_error]}]}\n";
    assert_eq!(Case::new(yaml).faults().len(), 2, "{:?}", Case::new(yaml).faults());
}

#[test]
fn a_variable_is_named_for_what_lies_below_its_section_too() {
    let case = Case::new("delivery: {timeout: 3s}\n")
        .variable("POSTRIDER_FOO__BAR", "1")
        .variable("POSTRIDER_DELIVERY__TIMEOUT__X", "1");
    let faults = case.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    for start in [
        "POSTRIDER_FOO__BAR: foo: is not a setting",
        "POSTRIDER_DELIVERY__TIMEOUT__X: delivery.timeout: found a mapping",
    ] {
        assert!(faults.iter().any(|fault| fault.starts_with(start)), "{faults:?}");
    }
}

#[test]
fn the_files_of_a_run_are_looked_into_before_it() {
    let case = Case::new("egress:\n  ca_file: /no/ca\nsecrets:\n  key_file: /no/key\ndelivery: {drain: 1}\n");
    let faults = case.faults_of_a_run();
    for start in [
        "postrider.yaml:2: egress.ca_file: cannot read certificates from /no/ca: ",
        "postrider.yaml:4: secrets.key_file: `/no/key` cannot be read: No such file",
        "postrider.yaml:5: delivery.drain: ",
    ] {
        assert!(faults.iter().any(|fault| fault.starts_with(start)), "{faults:#?}");
    }
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert_eq!(case.faults().len(), 1, "a look at the text needs no files");
}

#[test]
fn files_without_what_they_are_for_are_refused() {
    let case = Case::new("");
    let empty = case.file("empty", "\n");
    let text = format!(
        "egress: {{ca_file: {0}}}\nsecrets: {{key_file: {0}}}\n",
        empty.display()
    );
    fs::write(case.sources.file.as_ref().unwrap(), text).unwrap();
    let faults = case.faults_of_a_run();
    assert_eq!(
        faults,
        [
            "postrider.yaml:1: egress.ca_file: empty holds no certificate",
            "postrider.yaml:2: secrets.key_file: `empty` holds no key; make one with `openssl rand -base64 32`",
        ]
    );
    let variable = Case::new("").variable("POSTRIDER_SECRETS_KEY", "hunter2");
    assert_eq!(
        variable.faults_of_a_run(),
        ["POSTRIDER_SECRETS_KEY: is not base64 of 32 bytes; make one with `openssl rand -base64 32`"]
    );
}

#[test]
fn topics_that_would_feed_on_themselves_are_refused() {
    let yaml = "consumer:\n  sources:\n    - {topic: postrider.results, event: order_error}\n    - {topic: postrider.retry.5s, event: order_error}\nrouting: {webhooks_topic: postrider.pending}\n";
    assert_eq!(
        Case::new(yaml).faults(),
        [
            "postrider.yaml:3: consumer.sources[0].topic: is also what results.topic names, so postrider would read what it writes",
            "postrider.yaml:4: consumer.sources[1].topic: is also what results.retry_prefix names, so postrider would read what it writes",
            "postrider.yaml:5: routing.webhooks_topic: is the same topic as results.pending",
        ]
    );
}

#[test]
fn bad_syntax_names_line_and_column() {
    let faults = Case::new("kafka:\n  brokers: [a\ndelivery: {}\n").faults();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("postrider.yaml:3:"), "{faults:?}");
    assert!(faults[0].contains(": is not YAML: "), "{faults:?}");
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let mut case = Case::new("");
    case.sources.file = Some(case.dir.path().join("missing.yaml"));
    let faults = case.faults();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].starts_with("missing.yaml: cannot be read: No such file"),
        "{faults:?}"
    );
    assert_eq!(
        Case::new("- a\n").faults(),
        ["postrider.yaml: must be a mapping of sections, such as `kafka:`"]
    );
}

#[test]
fn references_are_followed_in_files_and_variables() {
    let case = Case::new("");
    let password = case.file("password", "hunter2\n");
    let yaml = format!(
        "kafka:\n  properties:\n    sasl.password: ${{file:{}}}\n    sasl.username: svc-${{env:WHO}}\ndelivery: {{max_in_flight: \"${{env:MANY}}\"}}\n",
        password.display()
    );
    fs::write(case.sources.file.as_ref().unwrap(), yaml).unwrap();
    let case = case
        .variable("WHO", "7")
        .variable("MANY", "77")
        .variable("POSTRIDER_TELEMETRY__LOG", "${env:LEVEL}")
        .variable("LEVEL", "warn");
    let config = case.load();
    assert_eq!(config.kafka.properties["sasl.password"].0, "hunter2");
    assert_eq!(config.kafka.properties["sasl.username"].0, "svc-7");
    assert_eq!(config.delivery.max_in_flight, 77);
    assert_eq!(config.telemetry.log, "warn");
}

#[test]
fn a_broken_reference_names_its_field_and_nothing_else() {
    let case = Case::new("delivery:\n  timeout: ${env:NOT_SET}\n  drain: ${file:/no/such}\n");
    let faults = case.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(
        faults[1],
        "postrider.yaml:2: delivery.timeout: names the variable NOT_SET, which is not set"
    );
    assert!(
        faults[0].starts_with("postrider.yaml:3: delivery.drain: names the file /no/such, which cannot be read: "),
        "{faults:?}"
    );
}

#[test]
fn values_no_type_takes_are_named_by_their_field() {
    let case = |yaml: &str| Case::new(yaml).faults().join("\n");
    for (yaml, start) in [
        (
            "admin:\n  listen: localhost:8080\n",
            "postrider.yaml:2: admin.listen: `localhost:8080` is no address with a port",
        ),
        (
            "egress:\n  ports: [443, 70000]\n",
            "postrider.yaml:2: egress.ports[1]: ",
        ),
        (
            "egress: {source_address: x}\n",
            "postrider.yaml:1: egress.source_address: ",
        ),
        (
            "delivery: {timeout: 15 parsecs}\n",
            "postrider.yaml:1: delivery.timeout: found the text `15 parsecs`; expected a duration",
        ),
        (
            "delivery: {max_in_flight: -1}\n",
            "postrider.yaml:1: delivery.max_in_flight: must be at least 0",
        ),
        (
            "consumer: {max_held_bytes: 1.5MiB}\n",
            "postrider.yaml:1: consumer.max_held_bytes: found the text `1.5MiB`; expected a size such as 256KiB or 64MiB",
        ),
        (
            "routing:\n  webhooks:\n    - {id: a b, url: 'https://m.example', events: [order_error]}\n",
            "postrider.yaml:3: routing.webhooks[0].id: a webhook id is 1 to 64",
        ),
        (
            "routing:\n  webhooks:\n    - {id: a, events: [order_error]}\n",
            "postrider.yaml:3: routing.webhooks[0].url: is missing",
        ),
        ("kafka:\n", "postrider.yaml:1: kafka: found null; expected a mapping"),
    ] {
        let faults = case(yaml);
        assert!(faults.starts_with(start), "{faults}");
        assert_eq!(faults.lines().count(), 1, "{faults}");
    }
}

#[test]
fn webhooks_that_cannot_be_called_are_refused() {
    let yaml = "\
routing:
  webhooks:
    - {id: a, url: 'http://169.254.169.254/latest', events: [order_error]}
    - {id: b, url: 'https://m.example', events: [order_error], signing: {secret: hunter2}}
    - {id: c, url: 'http://m.example', events: [order_error], tls: {certificate: hunter2, key: hunter2}}
";
    let faults = Case::new(yaml).faults();
    assert_eq!(faults.len(), 5, "{faults:?}");
    assert!(
        faults[0].starts_with("postrider.yaml:3: routing.webhooks[0].url: "),
        "{faults:?}"
    );
    assert!(
        faults[1].starts_with("postrider.yaml:4: routing.webhooks[1].signing.secret: "),
        "{faults:?}"
    );
    for (fault, path) in faults[2..]
        .iter()
        .zip(["tls: is for https:// only", "tls.certificate: ", "tls.key: "])
    {
        let expected = format!("postrider.yaml:5: routing.webhooks[2].{path}");
        assert!(fault.starts_with(&expected), "{faults:?}");
    }
    assert!(!faults.join("\n").contains("hunter2"), "{faults:?}");
}

#[test]
fn a_client_certificate_and_its_key_come_from_files_and_the_key_is_not_shown() {
    let made = rcgen::generate_simple_self_signed(["postrider.example".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let case = Case::new("");
    let yaml = format!(
        "routing: {{webhooks: [{{id: a, url: 'https://m.example', events: [order_error], \
         tls: {{certificate: '${{file:{}}}', key: '${{file:{}}}'}}}}]}}\n",
        case.file("client.pem", &certificate).display(),
        case.file("client.key", &key).display()
    );
    fs::write(case.sources.file.as_ref().unwrap(), yaml).unwrap();
    let config = case.load();
    let tls = config.routing.webhooks[0].tls.as_ref().unwrap();
    assert_eq!(
        (tls.certificate.trim(), tls.key.expose().trim()),
        (certificate.trim(), key.trim())
    );
    let shown = &config.shown()["routing"]["webhooks"][0]["tls"];
    assert_eq!(
        (&shown["certificate"], &shown["key"]),
        (&json!(tls.certificate), &json!(MASK))
    );
}

const SECRETS: &str = "
kafka:
  properties: {sasl.password: canary-1, ssl.key.password: canary-2, ssl.keystore.password: canary-3, sasl.username: shown-1}
routing:
  webhooks:
    - id: a
      url: https://m.example/h?token=canary-4
      events: [order_error]
      auth: {username: shown-2, password: canary-5}
      header: {name: X-Key, value: canary-6}
      signing: {secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}
egress: {proxy: 'http://u:canary-7@proxy.example:3128'}
admin: {tokens: [{name: shown-3, token: canary-8-canary-8-canary-8}]}
";

#[test]
fn what_is_read_is_the_secret_and_what_is_shown_is_its_mask() {
    let config = Case::new(SECRETS).load();
    assert_eq!(config.kafka.properties["sasl.password"].0, "canary-1");
    assert_eq!(
        config.routing.webhooks[0].auth.as_ref().unwrap().password.expose(),
        "canary-5"
    );
    assert_eq!(config.admin.tokens[0].token.expose(), "canary-8-canary-8-canary-8");
    let shown = serde_json::to_string(&config.shown()).unwrap();
    for text in [shown.clone(), format!("{config:?}")] {
        let text = text.replace("token=canary-4", "");
        assert!(!text.contains("canary") && !text.contains("whsec_"), "{text}");
    }
    assert!(!shown.contains("canary"), "{shown}");
    for number in 1..=3 {
        assert!(shown.contains(&format!("shown-{number}")), "{shown}");
    }
    assert_eq!(config.shown()["kafka"]["properties"]["sasl.password"], MASK);
}

#[test]
fn defaults_hold_no_secret_that_serialising_would_replace_by_its_mask() {
    let written = serde_json::to_string(&Config::new("host-0")).unwrap();
    assert!(!written.contains(MASK), "{written}");
}

#[test]
fn faults_show_no_secrets() {
    let yaml = SECRETS
        .replace("egress:", "egres:")
        .replace("password: canary-5", "password: [canary-5]")
        .replace("value: canary-6", "valu: canary-6");
    let case = Case::new(&yaml).variable("POSTRIDER_KAFKA__PROPERTIES__SASL_PASSWORD", "[\"canary-9\"]");
    let faults = case.faults().join("\n");
    assert!(!faults.contains("canary") && !faults.contains("whsec"), "{faults}");
    let unparsable = Case::new("kafka:\n  password: canary-1\n bad: canary-2\n")
        .faults()
        .join("\n");
    assert!(!unparsable.contains("canary"), "{unparsable}");
}

#[test]
fn text_in_place_of_lists_and_mappings_is_not_shown() {
    let tokens = "[{name: a, token: hunter2}]";
    for case in [
        Case::new("admin: {tokens: hunter2}\n"),
        Case::new("").variable("POSTRIDER_ADMIN__TOKENS", tokens),
        Case::new("").variable("POSTRIDER_ROUTING__WEBHOOKS", "[{auth: {password: hunter2}}]"),
        Case::new("").flag("admin.tokens", tokens),
        Case::new("").flag("kafka.properties", "{sasl.password: hunter2}"),
        Case::new("").flag("admin.tokens", r#"["hunter2"]"#),
    ] {
        let faults = case.faults().join("\n");
        assert!(
            faults.contains(": found the text; expected ") && !faults.contains("hunter2"),
            "{faults}"
        );
    }
}

#[test]
fn the_effective_configuration_reads_back() {
    let config = Case::new("delivery: {timeout: 90s, max_lane_wait: 250ms}\negress: {allow: ['10.0.0.0/8']}\n").load();
    let yaml = serde_saphyr::to_string(&config.shown()).unwrap();
    assert_eq!(Case::new(&yaml).load(), config);
}

#[test]
fn the_documented_file_is_the_defaults() {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/postrider.yaml"));
    let sources = Sources {
        host: "host-0".to_owned(),
        file: Some(file),
        ..Sources::default()
    };
    let config = Config::load(&sources).unwrap_or_else(|error| panic!("{:#?}", error.faults));
    assert_eq!(config, Config::new(config.instance_id.clone()));
}

#[test]
fn the_file_is_found_by_flag_then_variable_then_standard_place() {
    let dir = tempfile::tempdir().unwrap();
    let standard = dir.path().join("postrider.yaml");
    let found = |flag: Option<&str>, variable| discover(flag.map(PathBuf::from), variable, &standard);
    assert_eq!(found(None, None), None);
    assert_eq!(found(None, Some("")), None);
    fs::write(&standard, "").unwrap();
    assert_eq!(found(None, None), Some(standard.clone()));
    assert_eq!(found(None, Some("/v")), Some(PathBuf::from("/v")));
    assert_eq!(found(Some("/f"), Some("/v")), Some(PathBuf::from("/f")));
}

#[test]
fn a_file_that_was_emptied_takes_no_webhooks_away() {
    for emptied in ["", "\n", "# soon\n", "{}"] {
        let case = Case::new(emptied);
        assert_eq!(
            case.load(),
            Config::new("host-0"),
            "{emptied:?}: at a start it means the defaults"
        );
        let faults = case.faults_of_a_reload();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("holds nothing"), "{faults:?}");
    }
    let case = Case::new("routing: { webhooks: [] }");
    assert!(Config::load_again(&case.sources).unwrap().routing.webhooks.is_empty());
    let without_file = Sources {
        host: "host-0".to_owned(),
        ..Sources::default()
    };
    assert!(Config::load_again(&without_file).is_ok());
}
