"""The queries of deploy/analytics, run by DuckDB over rows whose answers are known, and over the contract's examples."""
import datetime
import json
import pathlib
import re
import tempfile
import unittest

import duckdb

ROOT = pathlib.Path(__file__).resolve().parents[2]
ANALYTICS = ROOT / "deploy/analytics"
EXAMPLES = ROOT / "schemas/examples/valid/outcome.v1"


def example(name):
    return json.loads((EXAMPLES / f"{name}.json").read_text())


def outcome(delivery, webhook, attempt, result, status, at, **more):
    """A row like the contract's example, of another delivery. `at` is minutes after ten."""
    start = f"2026-11-22T{10 + at // 60:02}:{at % 60:02}:00.000Z"
    row = example("success-on-the-second-attempt") | {
        "delivery_id": f"{delivery}.{webhook}", "webhook_id": webhook, "attempt": attempt, "retry": attempt - 1,
        "endpoint": f"https://{webhook}.example/hooks", "result": result, "status_code": status,
        "date_start": start, "date_end": start, "time_spent_ms": 100.0,
        "next_attempt_at": "2026-11-22T12:00:00.000Z" if result == "retrying" else None}
    if result == "skipped":
        row |= {"status_code": None, "date_start": None, "date_end": None, "time_spent_ms": None}
    return row | more


ROWS = [
    outcome("a", "good", 1, "success", 200, 0, time_spent_ms=50.0),
    outcome("b", "good", 1, "retrying", 503, 1, time_spent_ms=150.0),
    outcome("b", "good", 2, "success", 200, 70),
    # Published twice: a broker without transactions.
    outcome("b", "good", 2, "success", 200, 70),
    outcome("a", "dead", 1, "retrying", 599, 0, error={"kind": "connect_refused", "message": "refused"}),
    outcome("a", "dead", 2, "failed", 599, 1, error={"kind": "connect_refused", "message": "refused"}),
    outcome("b", "dead", 1, "retrying", 599, 2, error={"kind": "connect_refused", "message": "refused"}),
    outcome("c", "off", 1, "skipped", None, 0),
    outcome("d", "off", 1, "skipped", None, 0),
    outcome("d", "off", 1, "success", 200, 61, trigger="replay", replay="rp_1"),
    outcome("t", "good", 1, "failed", 500, 3, trigger="test", source=None),
]


def queries():
    parts = re.split(r"(?m)^-- name: (.+)$", (ANALYTICS / "queries.sql").read_text())
    return dict(zip(parts[1::2], parts[2::2]))


class Analytics(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def ask(self, rows):
        """All answers, by the question's name."""
        file = pathlib.Path(self.folder.name) / "outcomes.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with duckdb.connect() as db:
            db.execute(f"SET VARIABLE outcomes = '{file}'")
            db.execute((ANALYTICS / "outcomes.sql").read_text())
            return {name: db.execute(sql).fetchall() for name, sql in queries().items()}

    def test_every_question_has_the_right_answer(self):
        def hour(h):
            return datetime.datetime(2026, 11, 22, h)

        def minute(m):
            return datetime.datetime(2026, 11, 22, 10, m)

        event = datetime.datetime(2026, 11, 22, 9, 59, 59, 950000)
        self.assertEqual(self.ask(ROWS), {
            "success rate by endpoint and hour": [
                (hour(10), "https://dead.example/hooks", 3, 0.0),
                (hour(10), "https://good.example/hooks", 2, 50.0),
                (hour(11), "https://good.example/hooks", 1, 100.0),
                (hour(11), "https://off.example/hooks", 1, 100.0),
            ],
            "p95 of the time spent, by endpoint": [
                ("https://good.example/hooks", 4, 100.0, 142.5),
                ("https://dead.example/hooks", 3, 100.0, 100.0),
                ("https://off.example/hooks", 1, 100.0, 100.0),
            ],
            "webhooks that fail most, and with what": [
                ("default", "dead", 3, "connect_refused", minute(0), minute(2)),
                ("default", "good", 1, "503", minute(1), minute(1)),
            ],
            "retries that a success needed": [(0, 2), (1, 1)],
            "deliveries to replay, by webhook": [
                ("default", "dead", "failed", 1, event, event),
                ("default", "off", "skipped", 1, event, event),
            ],
            "deliveries that are still on their way": [("dead", 1, event, hour(12))],
        })

    def test_the_contract_s_examples_can_be_read(self):
        rows = [json.loads(path.read_text()) for path in sorted(EXAMPLES.glob("*.json"))]
        self.assertTrue(rows)
        answers = self.ask(rows)
        self.assertTrue(all(answers[name] is not None for name in answers))
        self.assertTrue(answers["success rate by endpoint and hour"])

    def test_clickhouse_takes_fields_that_an_outcome_has(self):
        fields = set(json.loads((ROOT / "schemas/outcome.v1.json").read_text())["properties"])
        ddl = (ANALYTICS / "clickhouse.sql").read_text()
        taken = set(re.findall(r"JSONExtract\w*\(raw, '(\w+)'", ddl))
        self.assertLessEqual(taken, fields)
        columns = re.search(r"postrider\.outcomes\n\((.*?)\n\)", ddl, re.S)[1]
        kept = set(re.findall(r"(?m)^    (\w+) ", columns))
        view = ddl[ddl.index("MATERIALIZED VIEW"):].split(";")[0]
        made = set(re.findall(r" AS (\w+)[,\n]", view)) | {"raw"}
        self.assertEqual(kept, made)


if __name__ == "__main__":
    unittest.main()
