#!/usr/bin/env python3
"""Checks what is in deploy/ with the tools that will read it. `make check-deploy` runs it with everything it needs.

Every check is a function `check_…`; a name on the command line runs those that contain it. What could not be checked
is said loudly, and what is wrong comes last.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.parse
import urllib.request

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/postrider"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
EVERYTHING = ROOT / "tests/deploy/values-everything.yaml"
PLAIN = DEPLOY / "kubernetes/postrider.yaml"
PLAIN_HEAD = "# What `helm template` makes of the chart's defaults: make kubernetes. Change the chart, not this file.\n"
KUBE_VERSION = "1.33.0"
# Tenths of systemd's exposure level: 1.4 is what the unit has.
MOST_EXPOSURE = 15
UNITS = {"short", "s", "ops", "bytes", "percentunit", "dateTimeFromNow"}

not_checked = []


class Wrong(Exception):
    """What a check found."""


def ensure(fine, words):
    if not fine:
        raise Wrong(words)


def tool(name, why="", needed=True):
    path = shutil.which(name)
    if path is None:
        ensure(not needed, f"{name} is not installed")
        not_checked.append(f"{why}: {name} is not installed (make helm-tools)")
    return path


def run(*command, **more):
    """What a command prints; it has to succeed."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, cwd=more.pop("cwd", ROOT), timeout=240, **more)
    ensure(done.returncode == 0, f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def load(path):
    return yaml.safe_load(path.read_text())


def rules(name):
    return [rule for group in load(PROMETHEUS / name)["groups"] for rule in group["rules"]]


# Prometheus


def check_rules():
    run(tool("promtool"), "check", "rules", PROMETHEUS / "rules.yaml", PROMETHEUS / "alerts.yaml")
    run(tool("promtool"), "check", "config", PROMETHEUS / "prometheus.yaml")


def check_rules_tests():
    run(tool("promtool"), "test", "rules", *sorted(PROMETHEUS.glob("*.test.yaml")))


def check_alerts_say_what_is_asked():
    anchors = {anchor(line) for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("#")}
    for alert in rules("alerts.yaml"):
        name, notes = alert["alert"], alert["annotations"]
        ensure(alert["labels"]["severity"] in ("critical", "warning", "info"), f"{name}: another severity")
        for question in ("Merchants: ", "Since: ", "Lost: "):
            ensure(question in notes["description"], f"{name}: the description does not answer `{question}`")
        ensure(len(notes["summary"]) < 120, f"{name}: a summary is one line")
        page, _, place = notes["runbook_url"].partition("#")
        ensure(page == "README.md" and place in anchors, f"{name}: {notes['runbook_url']} leads nowhere")


def anchor(heading):
    """As the forges make it."""
    text = heading.lstrip("#").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def check_every_alert_is_tested_firing_and_silent():
    fires, silent = set(), set()
    names = {alert["alert"] for alert in rules("alerts.yaml")}
    for path in PROMETHEUS.glob("*.test.yaml"):
        for test in load(path)["tests"]:
            for one in test.get("promql_expr_test", []):
                if "ALERTS" in one["expr"]:
                    asked, told = named_in(names, one["expr"]), json.dumps(one.get("exp_samples") or [])
                    fired = asked if one.get("exp_samples") and asked else named_in(names, told.replace('\\"', '"'))
                    fires |= fired
                    silent |= (asked or names) - fired
            for one in test.get("alert_rule_test", []):
                (fires if one.get("exp_alerts") else silent).add(one["alertname"])
    ensure(names <= fires, f"never seen firing: {sorted(names - fires)}")
    ensure(names <= silent, f"never seen silent: {sorted(names - silent)}")


def named_in(names, text):
    """The alerts that a query asks for, or that an answer has; not those that it leaves out."""
    return {name for name in names if re.search(rf'[^!]="{name}"', text)}


# Dashboards


def panels():
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            yield path.stem, panel


def queries():
    for name, panel in panels():
        for target in panel["targets"]:
            yield f"{name}, {panel['title']}", target["expr"]


def plain(expr):
    """A panel's query without the dashboard's variables."""
    for name, value in {"$__rate_interval": "1m", "$__range": "5m"}.items():
        expr = expr.replace(name, value)
    return re.sub(r"\$(namespace|job|webhook)\b", ".*", expr)


def check_dashboards_are_what_their_script_writes():
    run(sys.executable, DEPLOY / "grafana/dashboards.py", "--check")


def check_dashboards():
    ensure(len(DASHBOARDS) >= 3, "there are three dashboards")
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        ensure(board["uid"] and board["title"] and board["description"], f"{path.name}: uid, title or description")
        ensure(any(one["type"] == "datasource" for one in board["templating"]["list"]), f"{path.name}: no datasource")
        ids = [panel["id"] for panel in board["panels"]]
        ensure(len(set(ids)) == len(ids), f"{path.name}: an id twice")
    for name, panel in panels():
        where = f"{name}, {panel.get('title')}"
        ensure(panel.get("title") and panel.get("description"), f"{where}: a title and a description")
        ensure(panel["fieldConfig"]["defaults"].get("unit") in UNITS, f"{where}: no known unit")
        for one in [panel, *panel["targets"]]:
            ensure(one["datasource"]["uid"] == "${datasource}", f"{where}: a fixed datasource")
        spot = panel["gridPos"]
        ensure(spot["x"] + spot["w"] <= 24, f"{where}: too wide")


def check_dashboards_queries_are_promql():
    made = [{"record": f"panel:{at}", "expr": plain(expr)} for at, (_, expr) in enumerate(queries())]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "panels.yaml"
        path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
        run(tool("promtool"), "check", "rules", path)


def check_grafana_provisioning():
    sources = load(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    ensure(sources[0]["url"] == "http://prometheus:9090", "the datasource is another")
    provider = load(DEPLOY / "grafana/provisioning/dashboards/postrider.yaml")["providers"][0]
    mounts = load(DEPLOY / "compose.yaml")["services"]["grafana"]["volumes"]
    ensure(f"./grafana:{provider['options']['path']}:ro" in mounts, "the dashboards are mounted elsewhere")


# A real Prometheus on a running postrider


def ask(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def environment():
    """Without settings of somebody else's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("POSTRIDER_")}


def port():
    import socket
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(seconds, what, probe):
    end = time.monotonic() + seconds
    while True:
        try:
            found = probe()
            if found:
                return found
        except OSError:
            pass
        ensure(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(0.3)


def metrics_address(log):
    found = re.search(r"http://(\S+)/metrics", log.read_text())
    return found and found[1]


def check_queries_of_a_real_prometheus():
    """Every name that rules, alerts and panels use is exported, and every panel's query returns data.

    Beside the demo it scrapes an instance without Kafka: the alert for that fires, and no other.
    """
    binary = os.environ.get("POSTRIDER_BIN")
    if not binary:
        not_checked.append("the panels' queries and the alerts on a running postrider: POSTRIDER_BIN names no binary")
        return
    with tempfile.TemporaryDirectory() as folder:
        folder, running = pathlib.Path(folder), []
        try:
            scrape_and_ask(binary, folder, running)
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def scrape_and_ask(binary, folder, running):
    log = folder / "demo.txt"
    running.append(subprocess.Popen([binary, "demo", "--count", "200"], stdout=log.open("w"), stderr=subprocess.STDOUT))
    address = until(30, "the demo's address", lambda: metrics_address(log))
    alone = f"127.0.0.1:{port()}"
    running.append(subprocess.Popen(
        [binary, "run", "--set", "kafka.brokers=127.0.0.1:1", "--set", f"admin.listen={alone}"], env=environment(),
        stdout=(folder / "alone.txt").open("w"), stderr=subprocess.STDOUT))
    for name in ("rules.yaml", "alerts.yaml"):
        shutil.copy(PROMETHEUS / name, folder)
    config = load(PROMETHEUS / "prometheus.yaml")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [address, alone]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    listen = f"127.0.0.1:{port()}"
    running.append(subprocess.Popen(
        [tool("prometheus"), f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address={listen}"], stdout=(folder / "prometheus.txt").open("w"), stderr=subprocess.STDOUT))

    def query(expr):
        url = f"http://{listen}/api/v1/query?" + urllib.parse.urlencode({"query": expr})
        return json.loads(ask(url))["data"]["result"]

    until(60, "deliveries in Prometheus", lambda: query("sum(postrider_deliveries_total) > 40"))
    exported = set(re.findall(r"(?m)^# TYPE (\S+)", ask(f"http://{address}/metrics")))
    check_names(exported)
    time.sleep(3)
    waiting = dict(queries())
    until(60, "data of every panel", lambda: not drop_answered(waiting, query) or say(waiting))
    firing = until(60, "the alert of the instance without Kafka", lambda: query('ALERTS{alertstate="firing"}'))
    told = {(one["metric"]["alertname"], one["metric"].get("instance")) for one in firing}
    ensure(told == {("PostriderKafkaDown", alone)}, f"these alerts fire: {told}")


def drop_answered(waiting, query):
    for name, expr in list(waiting.items()):
        if query(plain(expr)):
            del waiting[name]
    return waiting


def say(waiting):
    print("   no data yet:", ", ".join(waiting), flush=True)


def check_names(exported):
    recorded = {rule["record"] for rule in rules("rules.yaml")}
    texts = [rule["expr"] for name in ("rules.yaml", "alerts.yaml") for rule in rules(name)]
    texts += [expr for _, expr in queries()]
    for text in texts:
        for name in re.findall(r"\b((?:postrider|process)_[a-z_]+|postrider:[a-z_:0-9]+)\b", text):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            known = name in recorded or name in exported or base in exported
            ensure(known, f"{name} is no metric and no rule: {text}")


# Image, compose, systemd, Debian


def check_dockerfile():
    run(tool("hadolint"), DEPLOY / "Dockerfile")
    text = (DEPLOY / "Dockerfile").read_text()
    wanted = load_toml(ROOT / "Cargo.toml")["workspace"]["package"]["rust-version"]
    pinned = re.search(r"(?m)^ARG RUST=([\d.]+)$", text)[1]
    ensure(tuple(map(int, pinned.split("."))) >= tuple(map(int, wanted.split("."))), f"Rust {pinned} is older than {wanted}")
    for source in re.findall(r"(?m)install .*?(deploy/\S+) ", text):
        ensure((ROOT / source).exists(), f"{source} is not there")


# What the final image's base has: glibc, libgcc, libstdc++.
OF_THE_BASE = re.compile(r"linux-vdso|ld-linux|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+)[.]so")


def check_image_has_every_library():
    """Each library of the binary is one that the Dockerfile takes along, or the base image's."""
    binary = os.environ.get("POSTRIDER_BIN")
    if not binary:
        not_checked.append("the image's libraries: POSTRIDER_BIN names no binary")
        return
    taken = re.compile(re.search(r"\$3 ~ /(.+?)/ ", (DEPLOY / "Dockerfile").read_text())[1])
    needed = [line.strip() for line in run(tool("ldd"), binary).splitlines()]
    ensure(any(taken.search(line) for line in needed), "nothing is taken along")
    for line in needed:
        ensure(taken.search(line) or OF_THE_BASE.search(line), f"the image lacks {line}")


def check_compose():
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    for service in load(DEPLOY / "compose.yaml")["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            ensure(not source.startswith("./") or (DEPLOY / source).exists(), f"{source} is not there")
        ensure(re.search(r":[\w.-]+$", service["image"]), f"{service['image']} is not pinned")
    check_config((DEPLOY / "compose/postrider.yaml").read_text())


def check_config(text):
    """postrider itself judges a configuration. Files of secrets are stood in for."""
    binary = os.environ.get("POSTRIDER_BIN")
    if not binary:
        not_checked.append("configurations of deploy/: POSTRIDER_BIN names no binary")
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for at, path in enumerate(sorted(set(re.findall(r"/run/secrets/[\w./-]+", text)))):
            (folder / f"{at}").write_text("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=" if path.endswith("key")
                                          else f"a-secret-of-the-check-{at}-and-long")
            text = text.replace(path, str(folder / f"{at}"))
        (folder / "postrider.yaml").write_text(text)
        run(binary, "check-config", "--config", folder / "postrider.yaml", env=environment())


def check_systemd():
    with tempfile.TemporaryDirectory() as folder:
        unit = pathlib.Path(folder) / "postrider.service"
        # The program has to be there.
        unit.write_text((DEPLOY / "systemd/postrider.service").read_text().replace("/usr/bin/postrider", "/bin/true"))
        said = run(tool("systemd-analyze"), "verify", "--man=no", unit)
        ensure(not said.strip(), f"systemd-analyze verify: {said}")
        said = run(tool("systemd-analyze"), "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", unit)
        print("  ", said.strip().splitlines()[-1])


def load_toml(path):
    return tomllib.loads(path.read_text())


def check_debian_package():
    crate = ROOT / "crates/postrider"
    deb = load_toml(crate / "Cargo.toml")["package"]["metadata"]["deb"]
    for source, _, mode in deb["assets"]:
        ensure(source.startswith("target/release/") or (crate / source).exists(), f"{source} is not there")
        ensure(re.fullmatch("[0-7]{3}", mode), f"{source}: mode {mode}")
    ensure((crate / deb["license-file"][0]).exists(), "the licence is not there")
    units = deb["systemd-units"]
    ensure((crate / units["unit-scripts"] / f"{units['unit-name']}.service").exists(), "the unit is not there")
    ensure((crate / deb["maintainer-scripts"]).is_dir(), "maintainer-scripts has to be a folder")
    installed = {"/" + target for _, target, _ in deb["assets"]}
    ensure(set(deb["conf-files"]) <= installed, "a conf-file is not installed")


# Kubernetes


def check_plain_manifests():
    run(tool("kubernetes-validate"), "--strict", PLAIN)
    check_pods([one for one in yaml.safe_load_all(PLAIN.read_text()) if one])


def check_chart_version():
    chart = load(CHART / "Chart.yaml")
    version = load_toml(ROOT / "Cargo.toml")["workspace"]["package"]["version"]
    ensure(str(chart["appVersion"]) == version, f"the chart is of {chart['appVersion']}, the crates are {version}")
    jsonschema.Draft7Validator.check_schema(json.loads((CHART / "values.schema.json").read_text()))
    jsonschema.validate(load(CHART / "values.yaml"), json.loads((CHART / "values.schema.json").read_text()))


def rendered(helm, *more):
    return run(helm, "template", "postrider", CHART, "--namespace", "postrider", "--kube-version", KUBE_VERSION, *more)


def check_helm():
    helm = tool("helm", "the chart: helm lint, helm template, and that the plain manifests are what it renders", False)
    if not helm:
        return
    run(helm, "lint", "--strict", CHART)
    run(helm, "lint", "--strict", CHART, "--values", EVERYTHING)
    ensure(PLAIN.read_text() == PLAIN_HEAD + rendered(helm), f"{PLAIN.name} is not what helm renders: make kubernetes")
    for wrong in ("replicas=0", "kafka.brokers=nowhere", "config.admin.listen=x", "nonsense=1", "tokens=null"):
        done = subprocess.run([helm, "template", CHART, "--kube-version", KUBE_VERSION, "--set", wrong], capture_output=True)
        ensure(done.returncode != 0, f"the chart takes {wrong}")
    text = rendered(helm, "--values", EVERYTHING)
    objects = [one for one in yaml.safe_load_all(text) if one]
    check_pods(objects)
    check_extensions(objects)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "everything.yaml"
        own = [one for one in objects if "." not in one["apiVersion"].split("/")[0] or ".k8s.io" in one["apiVersion"]]
        path.write_text(yaml.safe_dump_all(own))
        run(tool("kubernetes-validate"), "--strict", path)


def check_pods(objects):
    """The restricted Pod Security Standard, and what the chart promises."""
    by_kind = {one["kind"]: one for one in objects}
    pod = by_kind["StatefulSet"]["spec"]["template"]["spec"]
    ensure(pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault",
           "not restricted")
    for container in pod["containers"]:
        own = container["securityContext"]
        ensure(own["allowPrivilegeEscalation"] is False and own["capabilities"]["drop"] == ["ALL"]
               and own["readOnlyRootFilesystem"], "not restricted")
    text = by_kind["ConfigMap"]["data"]["postrider.yaml"]
    drain = int(yaml.safe_load(text)["delivery"]["drain"].removesuffix("s"))
    ensure(pod["terminationGracePeriodSeconds"] > drain + 20, "the pod is killed before it has drained")
    names = {one["name"] for one in pod["containers"][0]["env"]}
    ensure("POSTRIDER_INSTANCE_ID" in names, "the instance has no stable id")
    volumes = {one["name"] for one in pod["volumes"]}
    volumes |= {one["metadata"]["name"] for one in by_kind["StatefulSet"]["spec"].get("volumeClaimTemplates", [])}
    mounts = {one["name"] for one in pod["containers"][0]["volumeMounts"]}
    ensure(mounts == volumes, f"mounts {mounts}, volumes {volumes}")
    check_config(text)


# What these kinds must have; their whole schemas come with their operators.
SCALED = {
    "type": "object", "additionalProperties": False, "required": ["scaleTargetRef", "triggers"],
    "properties": {
        "scaleTargetRef": {"type": "object", "required": ["kind", "name"]},
        "minReplicaCount": {"type": "integer", "minimum": 1}, "maxReplicaCount": {"type": "integer"},
        "pollingInterval": {"type": "integer"}, "cooldownPeriod": {"type": "integer"}, "advanced": {"type": "object"},
        "triggers": {"type": "array", "minItems": 1, "items": {
            "type": "object", "additionalProperties": False, "required": ["type", "metadata"],
            "properties": {"type": {"const": "kafka"}, "authenticationRef": {"type": "object", "required": ["name"]},
                           "metadata": {"type": "object", "required": ["bootstrapServers", "consumerGroup", "topic"],
                                        "additionalProperties": {"type": "string"}}}}}}}
MONITOR = {
    "type": "object", "additionalProperties": False, "required": ["selector", "endpoints"],
    "properties": {"jobLabel": {"type": "string"}, "selector": {"type": "object", "required": ["matchLabels"]},
                   "endpoints": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["port", "path"]}}}}


def check_extensions(objects):
    by_kind = {one["kind"]: one for one in objects}
    jsonschema.validate(by_kind["ScaledObject"]["spec"], SCALED)
    jsonschema.validate(by_kind["ServiceMonitor"]["spec"], MONITOR)
    ensure("replicas" not in by_kind["StatefulSet"]["spec"], "the chart and KEDA both set the replicas")
    topics = [one["metadata"]["topic"] for one in by_kind["ScaledObject"]["spec"]["triggers"]]
    ensure(topics == ["shipments", "returns"], f"KEDA looks at {topics}")
    wanted = by_kind["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items()
    found = [one for one in objects if one["kind"] == "Service" and wanted <= one["metadata"]["labels"].items()]
    ensure(len(found) == 1, "the ServiceMonitor selects not exactly one service")


def check_kubeconform():
    if tool("kubeconform", "the plain manifests with kubeconform (kubernetes-validate has read them)", False):
        with tempfile.TemporaryDirectory() as folder:
            schemas(pathlib.Path(folder))
            place = folder + "/{{.ResourceKind}}{{.KindSuffix}}.json"
            said = run("kubeconform", "-strict", "-summary", "-kubernetes-version", KUBE_VERSION, "-schema-location", place, PLAIN)
            ensure("Skipped: 0" in said and "Invalid: 0" in said, said)


def schemas(folder):
    """kubeconform reads the schemas that kubernetes-validate brings, once their references are its own."""
    import kubernetes_validate
    source = pathlib.Path(kubernetes_validate.__file__).parent / f"kubernetes-json-schema/v{KUBE_VERSION}-local-strict"
    for path in source.glob("*.json"):
        schema = json.loads(path.read_text().replace('"/api/_definitions.json', '"_definitions.json'))
        schema.pop("$schema", None), schema.pop("$id", None)
        (folder / path.name).write_text(json.dumps(schema))


# The topics


def check_asyncapi():
    """AsyncAPI's own parser takes the document, and none that is broken."""
    script, text = ROOT / "tests/deploy/asyncapi.cjs", (ROOT / "schemas/asyncapi.yaml").read_text()
    run(tool("node"), script, ROOT / "schemas/asyncapi.yaml")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for path in (ROOT / "schemas").glob("*.json"):
            shutil.copy(path, folder)
        for right, wrong in {"action: send": "action: push", "#/channels/results": "#/channels/nowhere",
                             "./outcome.v1.json": "./outcome.v0.json", "host: 127": "hosts: 127"}.items():
            ensure(right in text, f"{right} is not in the document")
            (folder / "asyncapi.yaml").write_text(text.replace(right, wrong))
            done = subprocess.run([tool("node"), script, folder / "asyncapi.yaml"], capture_output=True, timeout=60)
            ensure(done.returncode != 0, f"the parser takes `{wrong}`")


def check_analytics():
    run(sys.executable, ROOT / "tests/deploy/analytics.py")


def main():
    checks = {name: check for name, check in globals().items()
              if name.startswith("check_") and check.__code__.co_argcount == 0}
    wanted = {name: check for name, check in checks.items() if all(word in name for word in sys.argv[1:])}
    failed = []
    for name, check in wanted.items():
        words, began = name.removeprefix("check_").replace("_", " "), time.monotonic()
        gaps = len(not_checked)
        try:
            check()
            verdict = "ok" if len(not_checked) == gaps else "ok, but NOT ALL CHECKED, see below"
            print(f"deploy: {words} ... {verdict} ({time.monotonic() - began:.1f} s)", flush=True)
        except (Wrong, KeyError, OSError, subprocess.TimeoutExpired, jsonschema.ValidationError) as wrong:
            print(f"deploy: {words} ... FAILED", flush=True)
            failed.append(f"{words}: {wrong!r}" if isinstance(wrong, KeyError) else f"{words}: {wrong}")
    for words in sorted(set(not_checked)):
        print(f"deploy: NOT CHECKED: {words}")
    for words in failed:
        print(f"deploy: {words}", file=sys.stderr)
    print(f"deploy: {len(wanted) - len(failed)} checks passed, {len(failed)} failed, {len(set(not_checked))} things not checked")
    sys.exit(bool(failed) or not wanted)


if __name__ == "__main__":
    main()
