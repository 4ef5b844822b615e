-- What arrived, a bucket of time after the other, as GET /arrivals: $since, $until (not included), $bucket (seconds,
-- whole minutes), $node (NULL: any). A minute counts whole where its beginning is in the span.
WITH counted AS (
  SELECT bucket_of(received_at, $bucket) AS start, count(*) AS results,
    count(*) FILTER (received = 0) AS failed, total(sent) AS sent, total(received) AS received,
    total(greatest(sent - received, 0)) AS lost
  FROM results
  WHERE date BETWEEN ($since::TIMESTAMPTZ AT TIME ZONE 'UTC')::DATE AND ($until::TIMESTAMPTZ AT TIME ZONE 'UTC')::DATE
    AND bucket_of(received_at, 60) >= ns($since::TIMESTAMPTZ, 0)
    AND bucket_of(received_at, 60) < ns($until::TIMESTAMPTZ, 0)
    AND ($node IS NULL OR node = $node)
  GROUP BY start
)
SELECT printed(start) AS start, results, failed, sent, received, lost, loss_percent(lost, sent) AS loss_percent
FROM counted ORDER BY counted.start;
