-- Targets, the busiest first, as GET /targets. NULL is any: $ip, $node (counts what it measured), $since (chooses
-- targets that were measured then or later; their counts are whole). $limit: the most to return.
WITH measured AS (
  SELECT *, believed(ns(timestamp, timestamp_ns), ns(received_at, 0)) AS seen_at,
    CASE WHEN received > 0 THEN avg_rtt_ns END AS rtt
  FROM results
  WHERE ($ip IS NULL OR ip = $ip) AND ($node IS NULL OR node = $node)
), found AS (
  SELECT ip, count(*) AS results, count(*) FILTER (received = 0) AS failed, total(sent) AS sent,
    total(received) AS received, total(greatest(sent - received, 0)) AS lost,
    arg_max(rtt, (received_at, id)) AS last_rtt_ns, min(seen_at) AS first_seen, max(seen_at) AS last_seen
  FROM measured GROUP BY ip HAVING $since IS NULL OR max(seen_at) >= ns($since::TIMESTAMPTZ, 0)
  ORDER BY results DESC, ip LIMIT $limit
), known AS (
  SELECT ip, list(DISTINCT node ORDER BY node) AS nodes FROM results SEMI JOIN found USING (ip) GROUP BY ip
)
SELECT ip, results, failed, sent, received, lost, loss_percent(lost, sent) AS loss_percent, last_rtt_ns,
  printed(first_seen) AS first_seen, printed(last_seen) AS last_seen, nodes
FROM found JOIN known USING (ip) ORDER BY results DESC, ip;
