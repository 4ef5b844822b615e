-- A target over time, a bucket a node, as GET /series: $ip in canonical text, $since, $until (not included), $bucket
-- (seconds), $node (NULL: any). A quantile is a value that was measured (nearest rank).
WITH sample AS (
  SELECT *, bucket_of(timestamp, $bucket) AS start, CASE WHEN received > 0 THEN avg_rtt_ns END AS rtt
  FROM results
  WHERE ip = $ip AND timestamp >= $since::TIMESTAMPTZ AND timestamp < $until::TIMESTAMPTZ
    AND ($node IS NULL OR node = $node)
), counted AS (
  SELECT start, node, count(*) AS count, count(*) FILTER (received = 0) AS failed, total(sent) AS sent,
    total(received) AS received, total(greatest(sent - received, 0)) AS lost,
    min(coalesce(min_rtt_ns, avg_rtt_ns)) FILTER (received > 0) AS rtt_min_ns,
    max(coalesce(max_rtt_ns, avg_rtt_ns)) FILTER (received > 0) AS rtt_max_ns,
    coalesce(list(rtt ORDER BY rtt) FILTER (rtt IS NOT NULL), []) AS rtts
  FROM sample GROUP BY start, node
)
SELECT printed(start) AS start, node, count, failed, sent, received, lost, loss_percent(lost, sent) AS loss_percent,
  rtt_min_ns, rtts[(len(rtts) * 10 + 99) // 100] AS rtt_p10_ns, rtts[(len(rtts) * 25 + 99) // 100] AS rtt_p25_ns,
  rtts[(len(rtts) * 50 + 99) // 100] AS rtt_p50_ns, rtts[(len(rtts) * 75 + 99) // 100] AS rtt_p75_ns,
  rtts[(len(rtts) * 90 + 99) // 100] AS rtt_p90_ns, rtt_max_ns
FROM counted ORDER BY counted.start, node;
