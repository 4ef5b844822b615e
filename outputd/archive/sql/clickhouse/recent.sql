-- The newest results by arrival, as GET /recent?include=traceroute. NULL is any: instance, ip, node, failed (true or
-- false), since and until (measured), before (an id of the instance). limit: the most to return.
SELECT instance, id, ip, sent, received, packet_loss, avg_rtt_ns AS avg_rtt,
  outputd_printed(outputd_ns(timestamp, timestamp_ns)) AS timestamp, error,
  outputd_traceroute(traceroute) AS traceroute
FROM results
WHERE (instance, id) IN (
  SELECT instance, id FROM results
  WHERE ({instance:Nullable(String)} IS NULL OR instance = {instance:Nullable(String)})
    AND ({ip:Nullable(String)} IS NULL OR ip = {ip:Nullable(String)})
    AND ({node:Nullable(String)} IS NULL OR node = {node:Nullable(String)})
    AND ({failed:Nullable(Bool)} IS NULL OR (received = 0) = {failed:Nullable(Bool)})
    AND ({since:Nullable(String)} IS NULL OR results.timestamp >= outputd_time({since:Nullable(String)}))
    AND ({until:Nullable(String)} IS NULL OR results.timestamp < outputd_time({until:Nullable(String)}))
    AND ({before:Nullable(Int64)} IS NULL OR id < {before:Nullable(Int64)})
  ORDER BY if({instance:Nullable(String)} IS NULL, received_at, NULL) DESC, id DESC, instance LIMIT {limit:UInt64}
)
ORDER BY if({instance:Nullable(String)} IS NULL, received_at, NULL) DESC, id DESC, instance;
