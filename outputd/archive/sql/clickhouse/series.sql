-- A target over time, a bucket a node, as GET /series: ip in canonical text, since, until (not included), bucket
-- (seconds), node (NULL: any). A quantile is a value that was measured (nearest rank).
WITH counted AS (
  SELECT outputd_bucket(timestamp, {bucket:Int64}) AS bucket, node, count() AS results, countIf(received = 0) AS failed,
    outputd_total(sent) AS all_sent, outputd_total(received) AS all_received,
    outputd_total(greatest(sent - received, 0)) AS lost,
    minIf(coalesce(min_rtt_ns, avg_rtt_ns), received > 0) AS rtt_min_ns,
    maxIf(coalesce(max_rtt_ns, avg_rtt_ns), received > 0) AS rtt_max_ns,
    arraySort(groupArrayIf(avg_rtt_ns, received > 0)) AS rtts
  FROM results
  WHERE ip = {ip:String} AND timestamp >= outputd_time({since:String}) AND timestamp < outputd_time({until:String})
    AND ({node:Nullable(String)} IS NULL OR node = {node:Nullable(String)})
  GROUP BY bucket, node
)
SELECT outputd_printed(bucket) AS start, node, results AS count, failed, all_sent AS sent, all_received AS received,
  lost, outputd_loss(lost, all_sent) AS loss_percent, rtt_min_ns,
  if(empty(rtts), NULL, rtts[intDiv(length(rtts) * 10 + 99, 100)]) AS rtt_p10_ns,
  if(empty(rtts), NULL, rtts[intDiv(length(rtts) * 25 + 99, 100)]) AS rtt_p25_ns,
  if(empty(rtts), NULL, rtts[intDiv(length(rtts) * 50 + 99, 100)]) AS rtt_p50_ns,
  if(empty(rtts), NULL, rtts[intDiv(length(rtts) * 75 + 99, 100)]) AS rtt_p75_ns,
  if(empty(rtts), NULL, rtts[intDiv(length(rtts) * 90 + 99, 100)]) AS rtt_p90_ns, rtt_max_ns
FROM counted ORDER BY bucket, node;
