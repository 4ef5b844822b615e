-- What arrived, a bucket of time after the other, as GET /arrivals: since, until (not included), bucket (seconds, whole
-- minutes), node (NULL: any). A minute counts whole where its beginning is in the span.
WITH counted AS (
  SELECT outputd_bucket(received_at, {bucket:Int64}) AS bucket, count() AS results, countIf(received = 0) AS failed,
    outputd_total(sent) AS all_sent, outputd_total(received) AS all_received,
    outputd_total(greatest(sent - received, 0)) AS lost
  FROM results
  WHERE date BETWEEN toDate(outputd_time({since:String})) AND toDate(outputd_time({until:String}))
    AND outputd_bucket(received_at, 60) >= outputd_ns(outputd_time({since:String}), 0)
    AND outputd_bucket(received_at, 60) < outputd_ns(outputd_time({until:String}), 0)
    AND ({node:Nullable(String)} IS NULL OR node = {node:Nullable(String)})
  GROUP BY bucket
)
SELECT outputd_printed(bucket) AS start, results, failed, all_sent AS sent, all_received AS received, lost,
  outputd_loss(lost, all_sent) AS loss_percent
FROM counted ORDER BY bucket;
