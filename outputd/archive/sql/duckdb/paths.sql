-- The paths to a target, as GET /paths: the most usual first, and the newest traceroutes with the place of their path,
-- from 0. $ip in canonical text; NULL is any: $node, $since and $until (measured). $traceroutes: the most to
-- read, the newest.
WITH newest AS (
  SELECT instance, id, node, received_at, believed(ns(timestamp, timestamp_ns), ns(received_at, 0)) AS seen_at,
    traceroute.completed AS completed, traceroute.hops AS hops
  FROM results WHERE ip = $ip AND traceroute IS NOT NULL AND ($since IS NULL OR timestamp >= $since::TIMESTAMPTZ)
    AND ($until IS NULL OR timestamp < $until::TIMESTAMPTZ)
  ORDER BY received_at DESC, id DESC, instance LIMIT $traceroutes
), trace AS ( -- who replied at each TTL; of several the smallest text
  SELECT * EXCLUDE (hops), [{
    'ttl': step, 'ip': list_min([hop.ip FOR hop IN replied IF hop.ttl = step])
  } FOR step IN list_sort(list_distinct([hop.ttl::INTEGER FOR hop IN replied]))] AS replies
  FROM (
    SELECT *, [hop FOR hop IN hops IF NOT hop.timeout AND hop.ip NOT IN ('0.0.0.0', '::')] AS replied FROM newest
  ) WHERE $node IS NULL OR node = $node
), path AS (
  SELECT node, replies, count(*) AS count, min(seen_at) AS first_seen, max(seen_at) AS last_seen,
    bool_or(completed) AS completed, row_number() OVER (ORDER BY count(*) DESC, max((received_at, id)) DESC) - 1 AS place
  FROM trace GROUP BY node, replies
), told AS ( -- from TTL 1 to the last that replied, NULL for silence, a long one cut short
  SELECT place, {
    'node': node, 'hops': [step.ip FOR step IN steps],
    'count': count, 'first_seen': printed(first_seen), 'last_seen': printed(last_seen), 'completed': completed,
    'route': left(sha256(node || chr(10) || array_to_string(
      [concat(reply.ttl, ' ', strlen(reply.ip), ' ', reply.ip, chr(10)) FOR reply IN replies], ''
    )), 12),
    'ttls': [step.ttl FOR step IN steps]
  } AS said FROM (
    SELECT *, flatten(list_transform(replies, lambda reply, place: list_append(
      [{'ttl': ttl, 'ip': NULL} FOR ttl IN range(
        coalesce(replies[place - 1].ttl, 0) + 1, least(coalesce(replies[place - 1].ttl, 0) + 31, reply.ttl)
      )],
      reply
    ))) AS steps FROM path
  )
), point AS (
  SELECT received_at, id, {'at': printed(seen_at), 'node': node, 'place': place} AS said
  FROM trace JOIN path USING (node, replies) ORDER BY received_at DESC, id DESC, instance LIMIT 2000
)
SELECT $ip AS ip, coalesce((SELECT list(said ORDER BY place) FROM told), []) AS paths,
  coalesce((SELECT list(said ORDER BY received_at DESC, id DESC) FROM point), []) AS timeline,
  (SELECT count(*) FROM trace) AS traceroutes;
