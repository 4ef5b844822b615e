-- Addresses that replied at consecutive TTLs, the most frequent first, as GET /links. NULL is any: $ip (either end),
-- $node (only what it measured), $since (chooses links that were seen then or later). $min_count; $limit: the most to
-- return.
WITH pair AS (
  SELECT node, seen_at, unnest(flatten([
    [
      {'near': near.ip, 'far': far.ip, 'difference': far.rtt - near.rtt}
      FOR far IN replies IF far.ttl = near.ttl + 1 AND far.ip <> near.ip
    ] FOR near IN replies
  ]), recursive := true)
  FROM traced
  WHERE ($ip IS NULL OR list_contains(addresses, $ip)) AND ($node IS NULL OR node = $node)
), found AS (
  SELECT near, far, count(*) AS count, sum(difference) AS difference, count(difference) AS differences,
    min(seen_at) AS first_seen, max(seen_at) AS last_seen, list(DISTINCT node ORDER BY node) AS nodes
  FROM pair WHERE $ip IS NULL OR near = $ip OR far = $ip
  GROUP BY near, far
  HAVING count(*) >= $min_count AND ($since IS NULL OR max(seen_at) >= ns($since::TIMESTAMPTZ, 0))
)
SELECT near AS "from", far AS "to", count, round(difference / differences)::BIGINT AS rtt_difference_ns,
  printed(first_seen) AS first_seen, printed(last_seen) AS last_seen, nodes
FROM found ORDER BY count DESC, near, far LIMIT $limit;
