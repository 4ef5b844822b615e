-- Addresses that replied at consecutive TTLs, the most frequent first, as GET /links. NULL is any: ip (either end),
-- node (only what it measured), since (chooses links that were seen then or later). min_count; limit: the most to
-- return.
WITH pair AS (
  SELECT node, seen_at, arrayJoin(arrayFlatten(arrayMap(
    near -> arrayMap(
      far -> (near.2, far.2, far.3 - near.3),
      arrayFilter(far -> far.1 = near.1 + 1 AND far.2 != near.2, replies)
    ), replies
  ))) AS link
  FROM traced
  WHERE ({ip:Nullable(String)} IS NULL OR has(addresses, {ip:Nullable(String)}))
    AND ({node:Nullable(String)} IS NULL OR node = {node:Nullable(String)})
), found AS (
  SELECT link.1 AS near, link.2 AS far, count() AS count, sum(link.3) AS difference, count(link.3) AS differences,
    min(seen_at) AS first_seen, max(seen_at) AS last_seen, arraySort(groupUniqArray(node)) AS nodes
  FROM pair
  WHERE {ip:Nullable(String)} IS NULL OR link.1 = {ip:Nullable(String)} OR link.2 = {ip:Nullable(String)}
  GROUP BY near, far
  HAVING count >= {min_count:UInt64}
    AND ({since:Nullable(String)} IS NULL OR last_seen >= outputd_ns(outputd_time({since:Nullable(String)}), 0))
)
SELECT near AS "from", far AS "to", count,
  if(differences > 0, toInt64(outputd_rounded(difference / differences)), NULL) AS rtt_difference_ns,
  outputd_printed(found.first_seen) AS first_seen, outputd_printed(found.last_seen) AS last_seen, nodes
FROM found ORDER BY count DESC, near, far LIMIT {limit:UInt64};
