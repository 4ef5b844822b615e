-- One address as a hop, as GET /hops/IP; no row when it never replied as one. $ip in canonical text; $limit of each
-- list.
WITH here AS (
  SELECT node, target, seen_at, replies, unnest([hop FOR hop IN replies IF hop.ip = $ip]) AS hop
  FROM traced WHERE list_contains(addresses, $ip)
), beside AS (
  SELECT CASE WHEN ttl < hop.ttl THEN 'before' ELSE 'after' END AS relation, ip, count(*) AS count,
    round(sum((rtt - hop.rtt) * (ttl - hop.ttl)) / count(rtt - hop.rtt))::BIGINT AS rtt_difference_ns
  FROM (
    SELECT hop, unnest(
      [other FOR other IN replies IF abs(other.ttl - hop.ttl) = 1 AND other.ip <> hop.ip], recursive := true
    ) FROM here
  ) GROUP BY ALL
), neighbour AS (
  SELECT relation, {'ip': ip, 'count': count, 'rtt_difference_ns': rtt_difference_ns} AS said,
    row_number() OVER (PARTITION BY relation ORDER BY count DESC, ip) AS place
  FROM beside
), behind AS (
  SELECT {'ip': target, 'count': count(*), 'last_seen': printed(max(seen_at))} AS said,
    row_number() OVER (ORDER BY max(seen_at) DESC, target) AS place
  FROM here GROUP BY target
)
SELECT $ip AS ip, count(*) AS seen, printed(min(seen_at)) AS first_seen, printed(max(seen_at)) AS last_seen,
  list(DISTINCT node ORDER BY node) AS nodes,
  coalesce((SELECT list(said ORDER BY place) FROM neighbour WHERE relation = 'before' AND place <= $limit), [])
    AS before,
  coalesce((SELECT list(said ORDER BY place) FROM neighbour WHERE relation = 'after' AND place <= $limit), [])
    AS after,
  (SELECT list(said ORDER BY place) FROM behind WHERE place <= $limit) AS targets,
  (SELECT count(*) FROM behind) AS target_count
FROM here HAVING count(*) > 0;
