-- The results topic in ClickHouse: a Kafka table reads it, a view hands each outcome on, a table keeps them.
-- Change the brokers and run it once: clickhouse-client --multiquery < clickhouse.sql
-- The user needs READ on postrider.results and on the group postrider-analytics.

CREATE DATABASE IF NOT EXISTS postrider;

-- The value as it came: a field that a later release adds is kept, and can be taken out later.
CREATE TABLE IF NOT EXISTS postrider.results_topic (raw String)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = 'kafka:9092',
    kafka_topic_list = 'postrider.results',
    kafka_group_name = 'postrider-analytics',
    kafka_format = 'RawBLOB',
    kafka_num_consumers = 1,
    kafka_handle_error_mode = 'stream';

-- ClickHouse reads at least once: the same outcome may come again, and is one row after a merge. Ask with FINAL.
CREATE TABLE IF NOT EXISTS postrider.outcomes
(
    delivery_id String,
    replay String,
    attempt UInt8,
    event_id String,
    webhook_id LowCardinality(String),
    account_id LowCardinality(String),
    event LowCardinality(String),
    trigger LowCardinality(String),
    endpoint String,
    order_id Nullable(String),
    transaction_id Nullable(String),
    tracking Nullable(String),
    carrier LowCardinality(Nullable(String)),
    result LowCardinality(String),
    max_retries UInt8,
    status_code Nullable(UInt16),
    error_kind LowCardinality(Nullable(String)),
    date_start Nullable(DateTime64(3, 'UTC')),
    time_spent_ms Nullable(Float64),
    event_time DateTime64(3, 'UTC'),
    instance LowCardinality(String),
    trace_id String,
    raw String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (account_id, webhook_id, event_time, delivery_id, replay, attempt)
TTL toDateTime(event_time) + INTERVAL 400 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS postrider.outcomes_from_topic TO postrider.outcomes AS
SELECT
    JSONExtractString(raw, 'delivery_id') AS delivery_id,
    JSONExtractString(raw, 'replay') AS replay,
    JSONExtractUInt(raw, 'attempt') AS attempt,
    JSONExtractString(raw, 'event_id') AS event_id,
    JSONExtractString(raw, 'webhook_id') AS webhook_id,
    JSONExtractString(raw, 'account_id') AS account_id,
    JSONExtractString(raw, 'event') AS event,
    JSONExtractString(raw, 'trigger') AS trigger,
    JSONExtractString(raw, 'endpoint') AS endpoint,
    JSONExtract(raw, 'order_id', 'Nullable(String)') AS order_id,
    JSONExtract(raw, 'transaction_id', 'Nullable(String)') AS transaction_id,
    JSONExtract(raw, 'tracking', 'Nullable(String)') AS tracking,
    JSONExtract(raw, 'carrier', 'Nullable(String)') AS carrier,
    JSONExtractString(raw, 'result') AS result,
    JSONExtractUInt(raw, 'max_retries') AS max_retries,
    JSONExtract(raw, 'status_code', 'Nullable(UInt16)') AS status_code,
    JSONExtract(raw, 'error', 'kind', 'Nullable(String)') AS error_kind,
    parseDateTime64BestEffortOrNull(JSONExtractString(raw, 'date_start'), 3, 'UTC') AS date_start,
    JSONExtract(raw, 'time_spent_ms', 'Nullable(Float64)') AS time_spent_ms,
    parseDateTime64BestEffort(JSONExtractString(raw, 'event_time'), 3, 'UTC') AS event_time,
    JSONExtractString(raw, 'instance') AS instance,
    JSONExtractString(raw, 'trace_id') AS trace_id,
    raw
FROM postrider.results_topic
WHERE length(_error) = 0 AND JSONExtractString(raw, 'schema') = 'postrider.outcome.v1';

-- An example: success rate by endpoint and hour. duckdb.sql has more, and they read the same here.
--   SELECT toStartOfHour(date_start) AS hour, endpoint,
--          count() AS attempts, round(100 * countIf(result = 'success') / count(), 2) AS success_percent
--   FROM postrider.outcomes FINAL WHERE date_start IS NOT NULL GROUP BY hour, endpoint ORDER BY hour, endpoint;
