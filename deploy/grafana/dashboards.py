#!/usr/bin/env python3
"""Writes the dashboards: python3 deploy/grafana/dashboards.py. With --check it compares them instead.

One panel is one line here, so that units, titles and descriptions stay of one kind.
"""
import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
OURS = 'namespace=~"$namespace",job=~"$job"'
RETRY = ".*retry[.][0-9]+m?s"
SOURCES = f'{OURS},topic!~"{RETRY}"'


def target(expr, legend, ref):
    return {"datasource": DATASOURCE, "expr": expr, "legendFormat": legend, "refId": ref, "range": True}


def panel(kind, title, description, unit, targets, width=8, height=8, **defaults):
    """`targets` maps legends to expressions."""
    made = [target(expr, legend, chr(ord("A") + at)) for at, (legend, expr) in enumerate(targets.items())]
    options = {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"displayMode": "list", "placement": "bottom"}}
    if kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    if kind == "table":
        options = {"showHeader": True}
        for one in made:
            one.update(instant=True, range=False, format="table")
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": made,
        "fieldConfig": {"defaults": {"unit": unit, **defaults}, "overrides": []},
        "options": options,
        "gridPos": {"w": width, "h": height},
    }


def graph(*words, **more):
    return panel("timeseries", *words, **more)


def stat(title, description, unit, expr, bad=None, good_is_high=False):
    """Red from `bad` on; below it, where high is good."""
    steps = [{"color": "green", "value": None}]
    if bad is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": bad}] if good_is_high else [
            {"color": "green", "value": None}, {"color": "red", "value": bad}]
    more = {"thresholds": {"mode": "absolute", "steps": steps}}
    return panel("stat", title, description, unit, {"": expr}, width=4, height=4, **more)


def placed(panels):
    """From left to right, a new line where the width ends."""
    x = y = line = 0
    for number, one in enumerate(panels, 1):
        spot = one["gridPos"]
        if x + spot["w"] > 24:
            x, y, line = 0, y + line, 0
        spot.update(x=x, y=y)
        x, line = x + spot["w"], max(line, spot["h"])
        one["id"] = number
    return panels


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "refresh": 2, "sort": 1,
            "query": {"query": query, "refId": name}, "definition": query,
            "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}


def dashboard(uid, title, description, panels, *variables):
    own = [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}},
        variable("namespace", "Namespace", "label_values(postrider_build_info, namespace)"),
        variable("job", "Deployment", 'label_values(postrider_build_info{namespace=~"$namespace"}, job)'),
    ]
    others = [{"title": "postrider", "type": "dashboards", "tags": ["postrider"], "asDropdown": False,
               "keepTime": True, "includeVars": True}]
    return {"uid": uid, "title": title, "description": description, "tags": ["postrider"], "editable": False,
            "schemaVersion": 39, "refresh": "30s", "time": {"from": "now-3h", "to": "now"}, "timezone": "browser",
            "templating": {"list": own + list(variables)}, "links": others, "panels": placed(panels)}


def quantile(q, metric, by, more=""):
    labels = OURS + more
    group = ", ".join(["le", *by])
    return f"histogram_quantile({q}, sum by ({group}) (rate({metric}_bucket{{{labels}}}[$__rate_interval])))"


def rate(metric, by, more=""):
    return f"sum by ({by}) (rate({metric}{{{OURS}{more}}}[$__rate_interval]))"


def overview():
    slo = "postrider:delivery_slo_errors:ratio_rate{}{{" + OURS + "}}"
    return dashboard("postrider-overview", "postrider / Overview",
                     "Is it well, what is delivered, and is anything lost.", [
        stat("Instances", "Instances that Prometheus reaches.", "short",
             f"count(postrider_build_info{{{OURS}}})", 1, True),
        stat("Kafka", "The share of instances that reach a broker.", "percentunit",
             f"avg(postrider_kafka_up{{{OURS}}})", 1, True),
        stat("Events lost", "Offsets that retention removed before they were read, in the range shown. Only upstream can "
             "send them again.", "short",
             f"sum(increase(postrider_source_events_lost_total{{{OURS}}}[$__range])) or vector(0)", 1),
        stat("Given up", "Deliveries that became dead letters in the range shown. They can be replayed.", "short",
             f"sum(increase(postrider_deliveries_total{{{OURS},result=\"failed\"}}[$__range]))", 1),
        stat("Waiting in the sources", "Events that upstream produced and that are not settled.", "short",
             f"sum(postrider_consumer_lag{{{SOURCES}}})", 10000),
        stat("Circuits open", "Webhooks that are left alone because they failed time after time.", "short",
             f"sum(postrider_circuits_open{{{OURS}}})", 1),
        graph("Deliveries", "How deliveries ended.", "ops",
              {"{{result}}": rate("postrider_deliveries_total", "result")}, width=12),
        graph("Late or failed", "The part of the deliveries that failed or came later than 60 s after the event; the SLO "
              "allows 1 %.", "percentunit",
              {"5 minutes": slo.format("5m"), "1 hour": slo.format("1h"), "6 hours": slo.format("6h")}, width=12, min=0),
        graph("Events", "Events read from the source topics.", "ops",
              {"{{topic}} {{event}}": rate("postrider_events_consumed_total", "topic, event")}),
        graph("From event to delivery", "From the record's timestamp to the 2xx, retries included.", "s",
              {f"p{int(q * 100)}": quantile(q, "postrider_event_to_delivery_seconds", []) for q in (0.5, 0.95, 0.99)}),
        graph("Attempts", "Requests by what they met.", "ops",
              {"{{outcome}}": rate("postrider_attempts_total", "outcome") + " > 0"}),
        graph("Parked", "Deliveries put into retry topics, by cause.", "ops",
              {"{{cause}}": rate("postrider_parked_total", "cause")}),
        graph("Dead letters", "Records that are no events, and deliveries given up, by reason.", "ops",
              {"{{reason}}": rate("postrider_dead_letters_total", "reason")}),
        graph("Unmatched", "Events that nobody wants.", "ops",
              {"{{event}}": rate("postrider_events_unmatched_total", "event")}),
        graph("Processor", "Cores in use.", "short",
              {"{{instance}}": f"rate(process_cpu_seconds_total{{{OURS}}}[$__rate_interval])"}),
        graph("Memory", "Resident memory; bounded by consumer.max_held_bytes and what requests in flight need.", "bytes",
              {"{{instance}}": f"process_resident_memory_bytes{{{OURS}}}"}),
        graph("Versions", "Which version each instance runs.", "short",
              {"{{version}}": f"count by (version) (postrider_build_info{{{OURS}}})"}),
    ])


def endpoints():
    chosen = ',webhook=~"$webhook"'
    webhook = variable("webhook", "Webhook",
                       'label_values(postrider_webhook_attempts_total{namespace=~"$namespace",job=~"$job"}, webhook)')
    attempts = f"sum by (webhook) (increase(postrider_webhook_attempts_total{{{OURS}{chosen}}}[$__range]))"
    failures = (f"sum by (webhook) (increase(postrider_webhook_attempts_total{{{OURS}{chosen},outcome!=\"2xx\"}}"
                "[$__range]))")
    return dashboard("postrider-endpoints", "postrider / Endpoints", "Which merchant, since when.", [
        stat("Active", "Webhooks that get events.", "short", f'max(postrider_webhooks{{{OURS},status="active"}})'),
        stat("Disabled", "By their owners, by 410, or by days of failures.", "short",
             f'max(postrider_webhooks{{{OURS},status="disabled"}})'),
        stat("Circuits open", "Webhooks that are left alone for a while.", "short",
             f"sum(postrider_circuits_open{{{OURS}}})", 1),
        stat("Parked", "Deliveries that wait in retry topics.", "short",
             f"sum(max by (webhook) (postrider_webhook_pending{{{OURS}}})) or vector(0)"),
        stat("In flight", "Requests under way.", "short", f"sum(postrider_in_flight{{{OURS}}})"),
        stat("Refused addresses", "Requests that the egress guard refused, in the range shown.", "short",
             f"sum(increase(postrider_blocked_total{{{OURS}}}[$__range]))", 1),
        panel("table", "Who fails most", "Failed attempts by webhook in the range shown.", "short",
              {"": f"topk(20, {failures} > 0)"}, width=12),
        panel("table", "Last success", "When each webhook last answered with a 2xx; a webhook without a line has not "
              "since Prometheus watches.", "dateTimeFromNow",
              {"": f"max by (webhook) (postrider:webhook_last_success:time{{{OURS}{chosen}}}) * 1000"}, width=12),
        graph("Failed attempts", "The part of each webhook's attempts that failed.", "percentunit",
              {"{{webhook}}": f"({failures} or {attempts} * 0) / ({attempts} > 0)".replace("$__range", "$__rate_interval")},
              width=12, min=0, max=1),
        graph("Attempts by webhook", "Requests of each webhook; beyond telemetry.max_webhook_series they are `other`.", "ops",
              {"{{webhook}}": f"topk(20, {rate('postrider_webhook_attempts_total', 'webhook', chosen)})"}, width=12),
        graph("What they met", "The chosen webhooks' attempts by outcome.", "ops",
              {"{{outcome}}": rate("postrider_webhook_attempts_total", "outcome", chosen)}),
        graph("Parked by webhook", "Deliveries that wait in retry topics; exact, and the same from each instance.", "short",
              {"{{webhook}}": f"topk(20, max by (webhook) (postrider_webhook_pending{{{OURS}{chosen}}}))"}),
        graph("Oldest undelivered", "Age of the oldest event that waits, is under way or is parked for a webhook; replays "
              "are left out.", "s",
              {"{{webhook}}": "topk(20, max by (webhook) "
                              f"(postrider_webhook_oldest_undelivered_seconds{{{OURS}{chosen}}}))"}),
        graph("Time of a request", "Wall time, by event.", "s",
              {"p50 {{event}}": quantile(0.5, "postrider_attempt_duration_seconds", ["event"]),
               "p99 {{event}}": quantile(0.99, "postrider_attempt_duration_seconds", ["event"])}),
        graph("Requests under way", "By instance; delivery.max_in_flight bounds it.", "short",
              {"{{instance}}": f"postrider_in_flight{{{OURS}}}"}),
        graph("Refused by the egress guard", "Addresses and names that must not be called, by reason.", "ops",
              {"{{reason}}": rate("postrider_blocked_total", "reason")}),
        graph("Webhooks", "By status.", "short",
              {"{{status}}": f"max by (status) (postrider_webhooks{{{OURS}}})"}),
    ], webhook)


def kafka():
    return dashboard("postrider-kafka", "postrider / Kafka and commits",
                     "Is it read, is it committed, do retries come in time.", [
        graph("Source lag", "Offsets from the watermark to each partition's end.", "short",
              {"{{topic}}/{{partition}}": f"postrider_consumer_lag{{{SOURCES}}}"}, width=12),
        graph("Retry lag", "What is parked waits here by design.", "short",
              {"{{topic}}": f'sum by (topic) (postrider_consumer_lag{{{OURS},topic=~"{RETRY}"}})'}, width=12),
        graph("Kafka reached", "1 while a broker can be reached.", "short",
              {"{{instance}}": f"postrider_kafka_up{{{OURS}}}"}, min=0, max=1),
        graph("Transactions", "By how they ended; an aborted one is tried again.", "ops",
              {"{{result}}": rate("postrider_transactions_total", "result")}),
        graph("Time of a transaction", "From begin to end.", "s",
              {f"p{int(q * 100)}": quantile(q, "postrider_transaction_duration_seconds", []) for q in (0.5, 0.99)}),
        graph("Events held", "Records read and not settled.", "short",
              {"{{instance}}": f"postrider_held_events{{{OURS}}}"}),
        graph("Bytes held", "Above consumer.max_held_bytes partitions pause.", "bytes",
              {"{{instance}}": f"postrider_held_bytes{{{OURS}}}"}),
        graph("Partitions paused", "Sources that wait for room, and retry partitions whose head is not due.", "short",
              {"{{instance}}": f"postrider_partitions_paused{{{OURS}}}"}),
        graph("Retries late", "How late the oldest due parked delivery of each delay is.", "s",
              {"{{delay}}": f"max by (delay) (postrider_parked_lag_seconds{{{OURS}}})"}),
        graph("Retry precision", "From a retry's due time to its request; 250 ms is promised at p99.", "s",
              {f"p{int(q * 100)}": quantile(q, "postrider_retry_skew_seconds", []) for q in (0.5, 0.99)}),
        graph("Events lost", "Offsets that retention removed before they were read.", "short",
              {"{{topic}}": f"sum by (topic) (postrider_source_events_lost_total{{{OURS}}}) or vector(0)"}),
        graph("Faults", "Tasks that ended by a fault in postrider itself.", "short",
              {"{{instance}}": f"postrider_panics_total{{{OURS}}}"}),
        graph("Tasks", "Tasks of the runtime that are alive.", "short",
              {"{{instance}}": f"postrider_tasks{{{OURS}}}"}),
        graph("File descriptors", "In use, of those that may be.", "percentunit",
              {"{{instance}}": f"process_open_fds{{{OURS}}} / process_max_fds{{{OURS}}}"}),
    ])


def main():
    stale = []
    for name, made in {"overview": overview(), "endpoints": endpoints(), "kafka": kafka()}.items():
        path, text = FOLDER / f"{name}.json", json.dumps(made, indent=2) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"{', '.join(stale)}: not what dashboards.py writes; run it again")


if __name__ == "__main__":
    main()
