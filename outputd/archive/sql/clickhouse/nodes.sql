-- Nodes by name, as GET /nodes. now: the end of the five minutes of results_per_s; limit: the most to return.
WITH toUnixTimestamp64Micro(outputd_time({now:String})) AS until,
  outputd_floored(until - 300000000, 60000000) AS since,
  post AS (
    SELECT instance, batch_id, node, received_at, count() AS stored, 0 AS refused,
      max(outputd_ns(timestamp, timestamp_ns)) AS latest
    FROM results GROUP BY instance, batch_id, node, received_at
    UNION ALL
    SELECT instance, batch_id, node, received_at, 0, count(), NULL
    FROM rejected GROUP BY instance, batch_id, node, received_at
  )
SELECT node, uniqExact(instance, batch_id) AS batches, sum(stored) AS results, sum(refused) AS rejected,
  outputd_printed(outputd_ns(min(received_at), 0)) AS first_heard,
  outputd_printed(outputd_ns(max(received_at), 0)) AS last_heard,
  outputd_rounded(sumIf(stored, toUnixTimestamp64Micro(received_at) BETWEEN since AND until)
    / ((until - since) / 1000000) * 1000) / 1000 AS results_per_s,
  outputd_rounded(argMaxIf(latest - outputd_ns(received_at, 0), (received_at, batch_id), latest IS NOT NULL) / 1000000)
    / 1000 AS clock_offset_s
FROM post GROUP BY node ORDER BY node LIMIT {limit:UInt64};
