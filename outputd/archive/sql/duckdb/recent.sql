-- The newest results by arrival, as GET /recent?include=traceroute. NULL is any: $instance, $ip, $node, $failed (true
-- or false), $since and $until (measured), $before (an id of the instance). $limit: the most to return.
WITH chosen AS (
  SELECT instance, id FROM results
  WHERE ($instance IS NULL OR instance = $instance)
    AND ($ip IS NULL OR ip = $ip)
    AND ($node IS NULL OR node = $node)
    AND ($failed IS NULL OR (received = 0) = $failed)
    AND ($since IS NULL OR timestamp >= $since::TIMESTAMPTZ)
    AND ($until IS NULL OR timestamp < $until::TIMESTAMPTZ)
    AND ($before IS NULL OR id < $before)
  ORDER BY CASE WHEN $instance IS NULL THEN received_at END DESC, id DESC, instance LIMIT $limit
)
SELECT instance, id, ip, sent, received, packet_loss, avg_rtt_ns AS avg_rtt,
  printed(ns(timestamp, timestamp_ns)) AS timestamp, error,
  CASE WHEN traceroute IS NOT NULL THEN {
    'method': traceroute.method, 'completed': traceroute.completed, 'error': traceroute.error,
    'hops': [{'ttl': hop.ttl, 'ip': hop.ip, 'rtt': hop.rtt_ns, 'timeout': hop.timeout} FOR hop IN traceroute.hops]
  } END AS traceroute
FROM results SEMI JOIN chosen USING (instance, id)
ORDER BY CASE WHEN $instance IS NULL THEN received_at END DESC, id DESC, instance;
