"""The statements of one step of the summary: from a result file, by scratch tables, into its own."""

from __future__ import annotations

from outputd.store.fragments import LOST, believable, believed, first_above, is_address
from outputd.store.times import is_set, seconds_between
from outputd.summary.bounds import MOST_NODES

_RESULTS_A_STEP = 5000
_HOPS_A_STEP = 65_536  # but one POST is never taken in part; the scratch tables are in memory
SCRATCH_TABLES = ("batch", "origin", "result", "reply", "found_link", "found_passage")
SCRATCH = """
CREATE TEMP TABLE batch (
  id INTEGER PRIMARY KEY, node TEXT, received_at TEXT, first_id INTEGER, last_id INTEGER,
  accepted INTEGER, rejected INTEGER
);
CREATE TEMP TABLE origin (batch INTEGER PRIMARY KEY, sender INTEGER);
CREATE TEMP TABLE result (
  id INTEGER PRIMARY KEY, ip TEXT, node TEXT, sender INTEGER, batch INTEGER, sent INTEGER, received INTEGER,
  rtt INTEGER, at TEXT, timestamp TEXT, arrived TEXT
);
CREATE TEMP TABLE reply (
  trace INTEGER, ttl INTEGER, ip TEXT, rtt INTEGER, PRIMARY KEY (trace, ttl, ip)
) WITHOUT ROWID;
CREATE TEMP TABLE found_link (near, far, node, sender, count, difference_ns, differences, first_seen, last_seen);
CREATE TEMP TABLE found_passage (hop, target, node, sender, count, first_seen, last_seen);
"""
BATCHES = """
INSERT INTO temp.batch
SELECT id, node, received_at, first_id, last_id, accepted, rejected
FROM f.batches WHERE id > :from AND id <= :to
"""
NODES = "SELECT json_group_array(json_array(id, node)) FROM temp.batch"
ORIGINS = "INSERT INTO temp.origin SELECT value ->> 0, value ->> 1 FROM json_each(:origins)"
RESULTS = f"""
INSERT INTO temp.result
SELECT p.id, p.ip, b.node, o.sender, b.id, p.sent, p.received, iif(p.received > 0, p.avg_rtt, NULL),
  {believed("p", "b")}, p.timestamp, b.received_at
FROM temp.batch b CROSS JOIN temp.origin o CROSS JOIN f.ping_results p
WHERE o.batch = b.id AND p.id BETWEEN b.first_id AND b.last_id
"""
UPTO = f"""
SELECT max(id), max(last_id), max(received_at) FROM (
  SELECT *, sum({is_set("before", "received_at")}) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS sets FROM (
    SELECT id, last_id, received_at, sum(accepted) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS total,
      row_number() OVER (ORDER BY id) AS place,
      max(received_at) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM (SELECT * FROM f.batches WHERE id > :from AND id <= :upto ORDER BY id LIMIT {_RESULTS_A_STEP})
  )
) WHERE (total <= {_RESULTS_A_STEP} OR place = 1) AND NOT sets
"""
WITHIN_HOPS = f"""
SELECT coalesce(max(iif(last_id < trace, id, NULL)), min(iif(last_id >= trace, id, NULL))) FROM (
  SELECT traceroute_id AS trace FROM f.traceroute_hops
  WHERE id > max(:hop, (SELECT min(id) FROM f.traceroute_hops) - 1) + {_HOPS_A_STEP} ORDER BY id LIMIT 1
) CROSS JOIN (SELECT * FROM f.batches WHERE id > :from ORDER BY id LIMIT {_RESULTS_A_STEP})
"""
"""The last batch whose hops are not too many for a step, at least the first with any; NULL when no batch is."""
FIRST_ARRIVAL = "SELECT received_at FROM temp.batch ORDER BY id LIMIT 1"
STRETCH = f"SELECT number, {is_set('latest', ':first')} FROM stretch ORDER BY number DESC LIMIT 1"
_COUNTED = """
  results = results + excluded.results, failed = failed + excluded.failed,
  sent = CAST(0.0 + sent + excluded.sent AS INTEGER), received = CAST(0.0 + received + excluded.received AS INTEGER),
  lost = CAST(0.0 + lost + excluded.lost AS INTEGER)
"""
_COUNTS = f"""
count(*), count(iif(received > 0, NULL, 1)), CAST(total(sent) AS INTEGER), CAST(total(received) AS INTEGER), {LOST}
"""
_SEEN = "first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)"
HOP_AFTER = first_above(":last", "f.traceroute_hops", "traceroute_id", ":low")
INTO = (
    "INSERT OR IGNORE INTO name (node) SELECT node FROM temp.batch",
    f"""
INSERT INTO target
SELECT *, (SELECT rtt FROM temp.result r WHERE r.id = last_id) FROM (
  SELECT :file, ip, node, {_COUNTS}, min(at), max(at), max(iif(rtt IS NULL, NULL, id)) AS last_id
  FROM temp.result GROUP BY ip, node
) WHERE true
ON CONFLICT DO UPDATE SET {_COUNTED}, {_SEEN},
  last_rtt_ns = iif(excluded.last_id IS NULL, last_rtt_ns, excluded.last_rtt_ns),
  last_id = coalesce(excluded.last_id, last_id)
""",
    """
INSERT INTO node
SELECT :file, b.node, :stretch, count(*), sum(accepted), sum(rejected), min(received_at), max(received_at),
  max(iif(accepted, id, NULL)), NULL
FROM temp.batch b WHERE true GROUP BY b.node
ON CONFLICT DO UPDATE SET batches = batches + excluded.batches, results = results + excluded.results,
  rejected = rejected + excluded.rejected, first_heard = min(first_heard, excluded.first_heard),
  last_heard = max(last_heard, excluded.last_heard), clock_id = coalesce(excluded.clock_id, clock_id)
""",
    f"""
UPDATE node SET clock_offset_s = (
  SELECT {seconds_between("max(arrived)", "max(timestamp)")}
  FROM temp.result r, temp.batch b WHERE b.id = clock_id AND r.id BETWEEN b.first_id AND b.last_id
) WHERE file = :file AND clock_id IN (SELECT id FROM temp.batch)
""",
    f"""
INSERT INTO minute
SELECT :file, node, substr(arrived, 1, 16), :stretch, {_COUNTS} FROM temp.result WHERE true GROUP BY 3, 2
ON CONFLICT DO UPDATE SET {_COUNTED}
""",
)
REPLIES = f"""
INSERT INTO temp.reply
SELECT h.traceroute_id, h.ttl, h.ip, min({believable("h.rtt")}) FROM f.traceroute_hops h
WHERE h.id > :hop_from AND h.id < :hop_to AND NOT h.timeout AND h.ip IS NOT NULL
GROUP BY 1, 2, 3
"""
STRANGERS = f"""
WITH said(ip) AS MATERIALIZED (SELECT DISTINCT ip FROM temp.reply)
DELETE FROM temp.reply WHERE ip IN (SELECT ip FROM said WHERE NOT {is_address("ip")})
"""
"""Takes out replies that bear no address; each text is judged once."""
_NODE = "(SELECT ',' || id || ',' FROM name n WHERE n.node = found.node)"
_NODES = (
    f"nodes = nodes || iif(instr(nodes, excluded.nodes) OR length(nodes) > {MOST_NODES}, '', substr(excluded.nodes, 2))"
)
LINKS = """
INSERT INTO temp.found_link
SELECT a.ip AS near, b.ip AS far, r.node, min(r.sender), count(*), total(b.rtt - a.rtt), count(b.rtt - a.rtt),
  min(r.at), max(r.at)
FROM temp.reply a CROSS JOIN temp.reply b CROSS JOIN temp.result r
WHERE b.trace = a.trace AND b.ttl = a.ttl + 1 AND b.ip <> a.ip AND r.id = a.trace GROUP BY 1, 2, 3
"""
LINKS_INTO = f"""
INSERT INTO link
SELECT :file, near, far, {_NODE}, sender, count, difference_ns, differences, first_seen, last_seen
FROM temp.found_link found WHERE true
ON CONFLICT DO UPDATE SET {_NODES}, count = count + excluded.count,
  difference_ns = difference_ns + excluded.difference_ns, differences = differences + excluded.differences, {_SEEN}
"""
PASSAGES = """
INSERT INTO temp.found_passage
SELECT a.ip AS hop, r.ip AS target, r.node, min(r.sender), count(*), min(r.at), max(r.at)
FROM temp.reply a CROSS JOIN temp.result r WHERE r.id = a.trace GROUP BY 1, 2, 3
"""
PASSAGES_INTO = f"""
INSERT INTO passage
SELECT :file, hop, target, {_NODE}, sender, count, first_seen, last_seen FROM temp.found_passage found WHERE true
ON CONFLICT DO UPDATE SET {_NODES}, count = count + excluded.count, {_SEEN}
"""
