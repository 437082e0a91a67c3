-- The outcomes of a file in DuckDB, one JSON document a line:
--   kafka-console-consumer.sh --topic postrider.results --from-beginning --isolation-level read_committed … > outcomes.jsonl
--   duckdb -cmd "SET VARIABLE outcomes = 'outcomes.jsonl'" -init outcomes.sql
-- and then the queries of queries.sql.

-- Each (delivery, replay, attempt) once, also from a broker without transactions. Fields of later releases are ignored.
CREATE OR REPLACE VIEW outcomes AS
SELECT *
FROM read_json(getvariable('outcomes'), format = 'auto', columns = {
    schema: 'VARCHAR', delivery_id: 'VARCHAR', event_id: 'VARCHAR', webhook_id: 'VARCHAR', account_id: 'VARCHAR',
    event: 'VARCHAR', trigger: 'VARCHAR', endpoint: 'VARCHAR', order_id: 'VARCHAR', transaction_id: 'VARCHAR',
    tracking: 'VARCHAR', carrier: 'VARCHAR', replay: 'VARCHAR', result: 'VARCHAR', attempt: 'UTINYINT',
    retry: 'UTINYINT', max_retries: 'UTINYINT', status_code: 'USMALLINT', status_text: 'VARCHAR',
    error: 'STRUCT(kind VARCHAR, message VARCHAR)', date_start: 'TIMESTAMP', date_end: 'TIMESTAMP',
    time_spent_ms: 'DOUBLE', next_attempt_at: 'TIMESTAMP', event_time: 'TIMESTAMP',
    source: 'STRUCT(topic VARCHAR, partition INTEGER, "offset" BIGINT)', trace_id: 'VARCHAR', instance: 'VARCHAR'
})
WHERE schema = 'postrider.outcome.v1'
QUALIFY row_number() OVER (PARTITION BY delivery_id, replay, attempt ORDER BY date_start) = 1;

-- What became of each delivery, by its last attempt; Tests and first connections are none.
CREATE OR REPLACE VIEW deliveries AS
SELECT *
FROM outcomes
WHERE trigger IN ('event', 'replay')
QUALIFY row_number() OVER (PARTITION BY delivery_id, replay ORDER BY attempt DESC) = 1;
