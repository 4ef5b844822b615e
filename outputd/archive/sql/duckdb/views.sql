-- What the questions beside this file ask. Say first where the archive is: SET VARIABLE archive = 's3://bucket/prefix';
-- A question reads all that `results` has: choose days and instances here, by WHERE date >= '2026-11-01'.
CREATE OR REPLACE TEMP VIEW results AS
FROM read_parquet(getvariable('archive') || '/results/*/*.parquet', hive_partitioning = true);

-- An archive without rejected items has no such object, which read_parquet would take for an error.
SET VARIABLE has_rejected = (SELECT count(*) > 0 FROM glob(getvariable('archive') || '/rejected/*/*.parquet'));
CREATE OR REPLACE TEMP VIEW rejected AS
FROM query(CASE WHEN getvariable('has_rejected')
  THEN 'FROM read_parquet(getvariable(''archive'') || ''/rejected/*/*.parquet'', hive_partitioning = true)'
  ELSE 'SELECT instance, batch_id, node, received_at FROM results LIMIT 0'
END);

-- Times are nanoseconds since 1970, which TIMESTAMP_NS cannot hold for every year that a node may send.
CREATE OR REPLACE TEMP MACRO ns(moment, rest) AS epoch_us(moment)::HUGEINT * 1000 + rest;
CREATE OR REPLACE TEMP MACRO floored(number, step) AS number - (number % step + step) % step;
CREATE OR REPLACE TEMP MACRO printed(ns) AS
  strftime(make_timestamp((floored(ns, 1000000000) // 1000)::BIGINT), '%Y-%m-%dT%H:%M:%S')
  || rtrim(rtrim(printf('.%09d', (ns - floored(ns, 1000000000))::BIGINT), '0'), '.') || 'Z';
-- A bucket of time that holds a moment; the first one begins with the year 1.
CREATE OR REPLACE TEMP MACRO bucket_of(moment, seconds) AS
  greatest(floored(epoch_us(moment), seconds::BIGINT * 1000000), -62135596800000000)::HUGEINT * 1000;
-- When a result was measured; a time that cannot be gives way to its arrival.
CREATE OR REPLACE TEMP MACRO believed(measured_ns, arrived_ns) AS
  CASE WHEN measured_ns BETWEEN 0 AND arrived_ns + 86400000000000 THEN measured_ns ELSE arrived_ns END;

CREATE OR REPLACE TEMP MACRO total(numbers) AS least(coalesce(sum(numbers), 0), 9223372036854775807)::BIGINT;
CREATE OR REPLACE TEMP MACRO loss_percent(lost, sent) AS
  CASE WHEN sent > 0 THEN round(least(100.0::DOUBLE, 100.0::DOUBLE * lost / sent), 3) ELSE 100.0::DOUBLE END;
CREATE OR REPLACE TEMP MACRO is_address(text) AS
  text NOT IN ('0.0.0.0', '::') AND (
    regexp_full_match(text || '.', '((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){4}')
    OR regexp_full_match(text, '([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}')
    OR (
      regexp_full_match(text, '([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?::([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?')
      AND length(text) - length(replace(text, ':', '')) <= 7
    )
  );

-- Who replied at each TTL of a traceroute, once for each address, by TTL. A time of an hour and more would drown all
-- others.
CREATE OR REPLACE TEMP VIEW traced AS
SELECT instance, id, node, target, seen_at, addresses, list_filter(hops, lambda hop, place: place = 1
  OR hop.ttl <> hops[place - 1].ttl OR hop.ip <> hops[place - 1].ip) AS replies
FROM (
  SELECT instance, id, node, ip AS target, believed(ns(timestamp, timestamp_ns), ns(received_at, 0)) AS seen_at,
    [hop.ip FOR hop IN traceroute.hops] AS addresses, list_sort([
      {'ttl': hop.ttl::INTEGER, 'ip': hop.ip, 'rtt': CASE WHEN hop.rtt_ns < 3600000000000 THEN hop.rtt_ns END}
      FOR hop IN traceroute.hops IF NOT hop.timeout AND is_address(hop.ip)
    ], 'ASC', 'NULLS LAST') AS hops
  FROM results
);
