-- Targets, the busiest first, as GET /targets. NULL is any: ip, node (counts what it measured), since (chooses
-- targets that were measured then or later; their counts are whole). limit: the most to return.
WITH found AS (
  SELECT ip, count() AS results, countIf(received = 0) AS failed, outputd_total(sent) AS all_sent,
    outputd_total(received) AS all_received, outputd_total(greatest(sent - received, 0)) AS lost,
    argMaxIf(avg_rtt_ns, (received_at, id), received > 0 AND avg_rtt_ns IS NOT NULL) AS last_rtt_ns,
    min(outputd_believed(outputd_ns(timestamp, timestamp_ns), outputd_ns(received_at, 0))) AS first_seen,
    max(outputd_believed(outputd_ns(timestamp, timestamp_ns), outputd_ns(received_at, 0))) AS last_seen
  FROM results
  WHERE ({ip:Nullable(String)} IS NULL OR ip = {ip:Nullable(String)})
    AND ({node:Nullable(String)} IS NULL OR node = {node:Nullable(String)})
  GROUP BY ip
  HAVING {since:Nullable(String)} IS NULL OR last_seen >= outputd_ns(outputd_time({since:Nullable(String)}), 0)
  ORDER BY results DESC, ip LIMIT {limit:UInt64}
), known AS (
  SELECT ip, arraySort(groupUniqArray(node)) AS nodes FROM results WHERE ip IN (SELECT ip FROM found) GROUP BY ip
)
SELECT ip, results, failed, all_sent AS sent, all_received AS received, lost,
  outputd_loss(lost, all_sent) AS loss_percent, last_rtt_ns, outputd_printed(found.first_seen) AS first_seen,
  outputd_printed(found.last_seen) AS last_seen, nodes
FROM found JOIN known USING (ip) ORDER BY results DESC, ip;
