-- The paths to a target, as GET /paths: the most usual first, and the newest traceroutes with the place of their path,
-- from 0. ip in canonical text; NULL is any: node, since and until (measured). traceroutes: the most to read,
-- the newest.
WITH newest AS (
  SELECT instance, id, node, received_at, traceroute.completed AS completed, traceroute.hops AS hops,
    outputd_believed(outputd_ns(timestamp, timestamp_ns), outputd_ns(received_at, 0)) AS seen_at
  FROM results
  WHERE ip = {ip:String} AND outputd_is_traced(traceroute)
    AND ({since:Nullable(String)} IS NULL OR timestamp >= outputd_time({since:Nullable(String)}))
    AND ({until:Nullable(String)} IS NULL OR timestamp < outputd_time({until:Nullable(String)}))
  ORDER BY received_at DESC, id DESC, instance LIMIT {traceroutes:UInt64}
), trace AS ( -- who replied at each TTL; of several the smallest text
  SELECT * EXCEPT hops, arraySort(arrayMap(hop -> (hop.ttl, assumeNotNull(hop.ip)), arrayFilter(
    hop -> NOT hop.timeout AND ifNull(hop.ip NOT IN ('0.0.0.0', '::'), false), hops
  ))) AS replied, arrayFilter(
    (reply, place) -> place = 1 OR reply.1 != replied[place - 1].1, replied, arrayEnumerate(replied)
  ) AS replies
  FROM newest WHERE {node:Nullable(String)} IS NULL OR node = {node:Nullable(String)}
), path AS (
  SELECT node, replies, count() AS times, min(seen_at) AS first_seen, max(seen_at) AS last_seen,
    max(completed) AS reached, row_number() OVER (ORDER BY count() DESC, max((received_at, id)) DESC) - 1 AS place
  FROM trace GROUP BY node, replies
), told AS ( -- from TTL 1 to the last that replied, NULL for silence, a long one cut short
  SELECT place, node, times, outputd_printed(path.first_seen) AS first_seen,
    outputd_printed(path.last_seen) AS last_seen, reached, arrayFlatten(arrayMap((reply, before) -> arrayPushBack(
      arrayMap(ttl -> (toUInt8(ttl), NULL), range(before + 1, least(before + 31, reply.1))),
      CAST(reply, 'Tuple(UInt8, Nullable(String))')
    ), replies, arrayPopBack(arrayPushFront(replies.1, 0)))) AS steps,
    substring(lower(hex(SHA256(concat(node, '\n', arrayStringConcat(arrayMap(
      reply -> concat(toString(reply.1), ' ', toString(length(reply.2)), ' ', reply.2, '\n'), replies
    )))))), 1, 12) AS route
  FROM path
), point AS (
  SELECT received_at, id, outputd_printed(seen_at) AS seen, node, place
  FROM trace JOIN path USING (node, replies) ORDER BY received_at DESC, id DESC, instance LIMIT 2000
)
SELECT {ip:String} AS ip,
  (SELECT CAST(arrayMap(row -> (row.2, row.3.2, row.4, row.5, row.6, row.7, row.8, row.3.1),
    arraySort(row -> row.1, groupArray((place, node, steps, times, first_seen, last_seen, reached, route)))),
    'Array(Tuple(node String, hops Array(Nullable(String)), count UInt64, first_seen String, last_seen String,
      completed Nullable(Bool), route String, ttls Array(UInt8)))')
    FROM told) AS paths,
  (SELECT CAST(arrayMap(row -> (row.3, row.4, row.5),
    arrayReverseSort(row -> (row.1, row.2), groupArray((received_at, id, seen, node, place)))),
    'Array(Tuple(at String, node String, place UInt64))')
    FROM point) AS timeline,
  (SELECT count() FROM trace) AS traceroutes;
