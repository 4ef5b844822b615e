-- The tables and indexes of the specification: what outputd's files have of it, too.
CREATE TABLE ping_results (
  id INTEGER PRIMARY KEY, ip TEXT NOT NULL, sent INTEGER, received INTEGER, packet_loss REAL,
  avg_rtt INTEGER, timestamp DATETIME, error TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP);
CREATE INDEX ping_results_ip ON ping_results(ip);
CREATE INDEX ping_results_timestamp ON ping_results(timestamp);
CREATE TABLE traceroute_results (
  id INTEGER PRIMARY KEY, ping_result_id INTEGER REFERENCES ping_results(id), method TEXT,
  completed BOOLEAN, error TEXT);
CREATE TABLE traceroute_hops (
  id INTEGER PRIMARY KEY, traceroute_id INTEGER REFERENCES traceroute_results(id), ttl INTEGER,
  ip TEXT, rtt INTEGER, timeout BOOLEAN);
CREATE INDEX traceroute_hops_ip ON traceroute_hops(ip);
