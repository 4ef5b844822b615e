-- One result whole, as GET /results/ID: $id of $instance. Rejected items that outputd only counted are not in an
-- archive.
SELECT id, ip, sent, received, packet_loss, avg_rtt_ns AS avg_rtt, printed(ns(timestamp, timestamp_ns)) AS timestamp,
  error, min_rtt_ns AS min_rtt, max_rtt_ns AS max_rtt, stddev_rtt_ns AS stddev_rtt, node,
  printed(ns(received_at, 0)) AS received_at,
  CASE WHEN traceroute IS NOT NULL THEN {
    'method': traceroute.method, 'completed': traceroute.completed, 'error': traceroute.error,
    'hops': [{'ttl': hop.ttl, 'ip': hop.ip, 'rtt': hop.rtt_ns, 'timeout': hop.timeout} FOR hop IN traceroute.hops]
  } END AS traceroute,
  {
    'id': batch_id,
    'accepted': (SELECT count(*) FROM results o WHERE o.instance = r.instance AND o.batch_id = r.batch_id),
    'rejected': (SELECT count(*) FROM rejected o WHERE o.instance = r.instance AND o.batch_id = r.batch_id)
  } AS batch
FROM results r
WHERE instance = $instance AND id = $id;
