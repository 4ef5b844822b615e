-- Nodes by name, as GET /nodes. $now: the end of the five minutes of results_per_s; $limit: the most to return.
WITH post AS (
  SELECT instance, batch_id, node, received_at, count(*) AS results, 0 AS rejected,
    max(ns(timestamp, timestamp_ns)) AS latest
  FROM results GROUP BY instance, batch_id, node, received_at
  UNION ALL
  SELECT instance, batch_id, node, received_at, 0, count(*), NULL
  FROM rejected GROUP BY instance, batch_id, node, received_at
), span AS (
  SELECT epoch_us($now::TIMESTAMPTZ) AS until, floored(epoch_us($now::TIMESTAMPTZ) - 300000000, 60000000) AS since
)
SELECT node, count(DISTINCT (instance, batch_id)) AS batches, total(results) AS results, total(rejected) AS rejected,
  printed(ns(min(received_at), 0)) AS first_heard, printed(ns(max(received_at), 0)) AS last_heard,
  round(total(CASE WHEN epoch_us(received_at) BETWEEN since AND until THEN results END)
    / (any_value(until - since) / 1000000), 3) AS results_per_s,
  round(arg_max(latest - ns(received_at, 0), (received_at, batch_id)) / 1000000) / 1000 AS clock_offset_s
FROM post, span GROUP BY node ORDER BY node LIMIT $limit;
