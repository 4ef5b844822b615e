-- The paths to a target, as GET /paths: those that were seen last first, and the newest traceroutes with the place of
-- their path, from 0. $ip in canonical text; NULL is any: $node, $since (measured). $traceroutes: the most to read,
-- the newest.
WITH newest AS (
  SELECT instance, id, node, received_at, believed(ns(timestamp, timestamp_ns), ns(received_at, 0)) AS seen_at,
    traceroute.completed AS completed, traceroute.hops AS hops
  FROM results WHERE ip = $ip AND traceroute IS NOT NULL AND ($since IS NULL OR timestamp >= $since::TIMESTAMPTZ)
  ORDER BY received_at DESC, id DESC, instance LIMIT $traceroutes
), trace AS ( -- who replied at each TTL; of several the smallest text
  SELECT * EXCLUDE (hops), [{
    'ttl': step,
    'ip': list_min([hop.ip FOR hop IN hops IF hop.ttl = step AND NOT hop.timeout AND hop.ip NOT IN ('0.0.0.0', '::')])
  } FOR step IN list_sort(list_distinct([hop.ttl::INTEGER FOR hop IN hops]))] AS replies
  FROM newest WHERE $node IS NULL OR node = $node
), path AS (
  SELECT node, replies, count(*) AS count, min(seen_at) AS first_seen, max(seen_at) AS last_seen,
    bool_or(completed) AS completed, row_number() OVER (ORDER BY max((received_at, id)) DESC) - 1 AS place
  FROM trace GROUP BY node, replies
), told AS ( -- from TTL 1 on, NULL for silence, a long one cut short
  SELECT place, {
    'node': node,
    'hops': flatten(list_transform(replies, lambda reply, place: list_append(
      list_resize([]::VARCHAR[], least(30, greatest(0, reply.ttl - coalesce(replies[place - 1].ttl, 0) - 1))), reply.ip
    ))),
    'count': count, 'first_seen': printed(first_seen), 'last_seen': printed(last_seen), 'completed': completed
  } AS said FROM path
), point AS (
  SELECT received_at, id, {'at': printed(seen_at), 'node': node, 'place': place} AS said
  FROM trace JOIN path USING (node, replies) ORDER BY received_at DESC, id DESC, instance LIMIT 2000
)
SELECT $ip AS ip, coalesce((SELECT list(said ORDER BY place) FROM told), []) AS paths,
  coalesce((SELECT list(said ORDER BY received_at DESC, id DESC) FROM point), []) AS timeline,
  (SELECT count(*) FROM trace) AS traceroutes;
