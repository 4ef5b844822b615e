-- What the questions beside this file ask. Say first where the archive is: CREATE NAMED COLLECTION archive AS
-- url = 'https://s3.example.net/bucket/prefix/', access_key_id = '...', secret_access_key = '...';
-- A question reads all that `results` has: choose days and instances here, by WHERE date >= '2026-11-01'.
CREATE OR REPLACE VIEW results AS
SELECT * FROM s3(archive, filename = 'results/*/*.parquet', format = 'Parquet');

-- An archive without rejected items has no such object: the columns are named, so that none is looked for.
CREATE OR REPLACE VIEW rejected AS
SELECT * FROM s3(archive, filename = 'rejected/*/*.parquet', format = 'Parquet', structure = 'id Int64, instance String,
  batch_id Int64, node String, received_at DateTime64(6, \'UTC\'), item_index Int64, field String, reason String,
  raw String, date Date');

-- Times are nanoseconds since 1970, which DateTime64(9) cannot hold for every year that a node may send.
CREATE OR REPLACE FUNCTION outputd_ns AS (moment, rest) -> toInt128(toUnixTimestamp64Micro(moment)) * 1000 + rest;
CREATE OR REPLACE FUNCTION outputd_time AS (text) -> parseDateTime64BestEffort(text, 6, 'UTC');
CREATE OR REPLACE FUNCTION outputd_floored AS (number, step) -> number - (number % step + step) % step;
CREATE OR REPLACE FUNCTION outputd_printed AS (ns) -> concat(
  replaceOne(substring(toString(fromUnixTimestamp64Micro(
    toInt64(intDiv(outputd_floored(ns, 1000000000), 1000)), 'UTC'
  )), 1, 19), ' ', 'T'),
  replaceRegexpOne(concat('.', leftPad(toString(ns - outputd_floored(ns, 1000000000)), 9, '0')), '[.]?0*$', ''), 'Z'
);
-- A bucket of time that holds a moment; the first one begins with the year 1.
CREATE OR REPLACE FUNCTION outputd_bucket AS (moment, seconds) -> toInt128(greatest(
  outputd_floored(toUnixTimestamp64Micro(moment), toInt64(seconds) * 1000000), -62135596800000000
)) * 1000;
-- When a result was measured; a time that cannot be gives way to its arrival.
CREATE OR REPLACE FUNCTION outputd_believed AS (measured_ns, arrived_ns) ->
  if(measured_ns >= 0 AND measured_ns <= arrived_ns + 86400000000000, measured_ns, arrived_ns);

CREATE OR REPLACE FUNCTION outputd_total AS (number) -> toInt64(least(sum(toInt128(number)), 9223372036854775807));
-- Halves are rounded away from zero, as outputd does; round() makes them even.
CREATE OR REPLACE FUNCTION outputd_rounded AS (number) -> sign(number) * floor(abs(number) + 0.5);
CREATE OR REPLACE FUNCTION outputd_loss AS (lost, sent) ->
  if(sent > 0, outputd_rounded(least(100, 100 * lost / sent) * 1000) / 1000, 100);
CREATE OR REPLACE FUNCTION outputd_is_address AS (text) ->
  text NOT IN ('0.0.0.0', '::') AND (
    match(concat(text, '.'), '^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){4}$')
    OR match(text, '^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$')
    OR (
      match(text, '^([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?::([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?$')
      AND countSubstrings(text, ':') <= 7
    )
  );
-- A result without a traceroute is read like one whose traceroute says nothing: a struct of Parquet is never NULL here.
CREATE OR REPLACE FUNCTION outputd_is_traced AS (traceroute) ->
  traceroute.method IS NOT NULL OR traceroute.completed IS NOT NULL OR traceroute.error IS NOT NULL
  OR notEmpty(traceroute.hops);
CREATE OR REPLACE FUNCTION outputd_traceroute AS (traceroute) -> if(outputd_is_traced(traceroute), CAST((
  traceroute.method, traceroute.completed, traceroute.error,
  arrayMap(hop -> (hop.ttl, hop.ip, hop.rtt_ns, hop.timeout), traceroute.hops)
), 'Nullable(Tuple(method Nullable(String), completed Nullable(Bool), error Nullable(String),
  hops Array(Tuple(ttl UInt8, ip Nullable(String), rtt Nullable(Int64), timeout Bool))))'), NULL);

-- Who replied at each TTL of a traceroute, once for each address. A time of an hour and more would drown all others.
CREATE OR REPLACE VIEW traced AS
WITH arraySort(hop -> (hop.1, hop.2, ifNull(hop.3, 3600000000000)), arrayMap(
  hop -> (hop.ttl, assumeNotNull(hop.ip), if(hop.rtt_ns < 3600000000000, hop.rtt_ns, NULL)),
  arrayFilter(hop -> NOT hop.timeout AND ifNull(outputd_is_address(hop.ip), false), traceroute.hops)
)) AS hops
SELECT instance, id, node, ip AS target, traceroute.hops.ip AS addresses,
  outputd_believed(outputd_ns(timestamp, timestamp_ns), outputd_ns(received_at, 0)) AS seen_at,
  arrayFilter((hop, place) -> place = 1 OR (hop.1, hop.2) != (hops[place - 1].1, hops[place - 1].2),
    hops, arrayEnumerate(hops)) AS replies
FROM results;
