-- One address as a hop, as GET /hops/IP; no row when it never replied as one. ip in canonical text; limit of each list.
WITH here AS (
  SELECT node, target, seen_at, replies, arrayJoin(arrayFilter(hop -> hop.2 = {ip:String}, replies)) AS hop
  FROM traced WHERE has(addresses, {ip:String})
), beside AS (
  SELECT arrayJoin(arrayMap(
    other -> (if(other.1 < hop.1, 'before', 'after'), other.2, (other.3 - hop.3) * (toInt16(other.1) - hop.1)),
    arrayFilter(other -> abs(toInt16(other.1) - hop.1) = 1 AND other.2 != hop.2, replies)
  )) AS other
  FROM here
), neighbour AS (
  SELECT other.1 AS relation, other.2 AS address, count() AS times,
    if(count(other.3) > 0, toInt64(outputd_rounded(sum(other.3) / count(other.3))), NULL) AS difference,
    row_number() OVER (PARTITION BY relation ORDER BY times DESC, address) AS place
  FROM beside GROUP BY relation, address
), behind AS (
  SELECT target AS address, count() AS times, max(seen_at) AS latest,
    row_number() OVER (ORDER BY latest DESC, address) AS place
  FROM here GROUP BY target
)
SELECT {ip:String} AS ip, count() AS seen, outputd_printed(min(seen_at)) AS first_seen,
  outputd_printed(max(seen_at)) AS last_seen, arraySort(groupUniqArray(node)) AS nodes,
  (SELECT CAST(arrayMap(row -> (row.2, row.3, row.4), arraySort(groupArray((place, address, times, difference)))),
    'Array(Tuple(ip String, count UInt64, rtt_difference_ns Nullable(Int64)))')
    FROM neighbour WHERE relation = 'before' AND place <= {limit:UInt64}) AS before,
  (SELECT CAST(arrayMap(row -> (row.2, row.3, row.4), arraySort(groupArray((place, address, times, difference)))),
    'Array(Tuple(ip String, count UInt64, rtt_difference_ns Nullable(Int64)))')
    FROM neighbour WHERE relation = 'after' AND place <= {limit:UInt64}) AS after,
  (SELECT CAST(arrayMap(row -> (row.2, row.3, outputd_printed(row.4)),
    arraySort(groupArray((place, address, times, latest)))),
    'Array(Tuple(ip String, count UInt64, last_seen String))')
    FROM behind WHERE place <= {limit:UInt64}) AS targets,
  (SELECT count() FROM behind) AS target_count
FROM here HAVING count() > 0;
