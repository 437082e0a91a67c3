-- Questions to the views of outcomes.sql.

-- name: success rate by endpoint and hour
SELECT
    date_trunc('hour', date_start) AS hour,
    endpoint,
    count(*) AS attempts,
    round(100.0 * count(*) FILTER (result = 'success') / count(*), 1) AS success_percent
FROM outcomes
WHERE trigger IN ('event', 'replay') AND date_start IS NOT NULL
GROUP BY ALL
ORDER BY ALL;

-- name: p95 of the time spent, by endpoint
SELECT
    endpoint,
    count(*) AS attempts,
    round(quantile_cont(time_spent_ms, 0.5), 1) AS p50_ms,
    round(quantile_cont(time_spent_ms, 0.95), 1) AS p95_ms
FROM outcomes
WHERE time_spent_ms IS NOT NULL
GROUP BY endpoint
ORDER BY p95_ms DESC, endpoint;

-- name: webhooks that fail most, and with what
SELECT
    account_id,
    webhook_id,
    count(*) AS failures,
    mode(coalesce(error.kind, status_code::VARCHAR)) AS mostly,
    min(date_start) AS first_failure,
    max(date_start) AS last_failure
FROM outcomes
WHERE result IN ('retrying', 'failed') AND trigger IN ('event', 'replay')
GROUP BY account_id, webhook_id
ORDER BY failures DESC, webhook_id
LIMIT 20;

-- name: retries that a success needed
SELECT retry AS retries, count(*) AS deliveries
FROM deliveries
WHERE result = 'success'
GROUP BY retry
ORDER BY retry;

-- name: deliveries to replay, by webhook
SELECT account_id, webhook_id, result, count(*) AS deliveries, min(event_time) AS "from", max(event_time) AS "to"
FROM deliveries AS d
WHERE result IN ('failed', 'skipped')
    -- A replay that succeeded made it good.
    AND NOT EXISTS (
        FROM deliveries AS good WHERE good.delivery_id = d.delivery_id AND good.result = 'success'
    )
GROUP BY ALL
ORDER BY account_id, webhook_id, result;

-- name: deliveries that are still on their way
SELECT webhook_id, count(*) AS deliveries, min(event_time) AS oldest, max(next_attempt_at) AS last_due
FROM deliveries
WHERE result = 'retrying'
GROUP BY webhook_id
ORDER BY oldest, webhook_id;
