#!/usr/bin/env python3
"""A small node for outputd: pings and traces targets with the system's tools and posts the results.

    python3 node.py --node graz-1 192.0.2.1 198.51.100.7        # one round
    python3 node.py --node graz-1 --every 60 192.0.2.1          # one round per minute, until Ctrl-C

It needs Python 3.9 or newer without further packages, the program ping, and traceroute for routes
(Debian: iputils-ping, traceroute). A POST that fails is repeated with the same Idempotency-Key, so
outputd stores it once, however often it arrives.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timezone

PACKETS = 4
TRIES = 8
WORTH_A_RETRY = {408, 429, 500, 502, 503, 504}


def main():
    """Measure and post, once or for ever."""
    parser = argparse.ArgumentParser(description="Pings and traces targets and posts the results to outputd.")
    parser.add_argument("targets", nargs="+", metavar="IP")
    parser.add_argument("--url", default=os.environ.get("OUTPUTD_URL", "http://localhost:8081/results"))
    parser.add_argument("--node", default="", help="name of this node")
    parser.add_argument("--token", default=os.environ.get("OUTPUTD_TOKEN", ""), help="default: $OUTPUTD_TOKEN")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="repeat; without it, one round")
    options = parser.parse_args()
    while True:
        answer = post(options, [measure(ip) for ip in options.targets])
        print(json.dumps(answer), flush=True)
        if options.every is None:
            break
        time.sleep(options.every)


def measure(ip):
    """One result. Times are in nanoseconds, the timestamp is RFC 3339 with a zone."""
    result = {"ip": ip, "timestamp": datetime.now(timezone.utc).isoformat(), "sent": PACKETS, "received": 0}
    printed = output("ping", "-n", "-q", "-c", str(PACKETS), "-i", "0.3", "-W", "2", ip)
    counts = re.search(r"(\d+) packets transmitted, (\d+) received", printed)
    times = re.search(r"= ([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+) ms", printed)
    if counts:
        result.update(sent=int(counts[1]), received=int(counts[2]))
    if times:
        names = ("min_rtt", "avg_rtt", "max_rtt", "stddev_rtt")
        result.update({name: nanoseconds(text) for name, text in zip(names, times.groups())})
    else:
        result["error"] = "no reply" if counts else "ping failed"
    hops = trace(ip)
    if hops:
        reached = hops[-1].get("ip") == ip
        result["traceroute"] = {"method": "udp", "completed": reached, "hops": hops}
    return result


def trace(ip):
    """The hops to a target: a reply has ip and rtt, a silent hop only timeout."""
    hops = []
    for line in output("traceroute", "-n", "-q", "1", "-w", "2", "-m", "30", ip).splitlines():
        reply = re.match(r"\s*(\d+)\s+(\S+)\s+([\d.]+) ms", line)
        silence = re.match(r"\s*(\d+)\s+\*", line)
        if reply:
            hops.append({"ttl": int(reply[1]), "ip": reply[2], "rtt": nanoseconds(reply[3])})
        elif silence:
            hops.append({"ttl": int(silence[1]), "timeout": True})
    return hops


def output(program, *arguments):
    """What a program prints in English; nothing when it is not installed."""
    if shutil.which(program) is None:
        return ""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, env=environment, text=True, check=False)
    return done.stdout


def nanoseconds(milliseconds):
    """The unit of all round-trip times in outputd."""
    return round(float(milliseconds) * 1_000_000)


def post(options, results):
    """outputd's answer. Repeats with one key until it is final: 200, or an error that a retry cannot help."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    if options.node:
        headers["X-Ping-Node"] = options.node
    if options.token:
        headers["Authorization"] = f"Bearer {options.token}"
    body = json.dumps(results).encode()
    for attempt in range(TRIES):
        wait = min(60, 2**attempt) * random.uniform(0.5, 1)
        try:
            request = urllib.request.Request(options.url, body, headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            if error.code not in WORTH_A_RETRY:
                sys.exit(f"{error.code}: {text}")
            wait = float(error.headers.get("Retry-After") or wait)
            reason = f"{error.code}: {text}"
        except OSError as error:  # no connection, or it broke off: was it stored? The key makes it safe to ask again
            reason = str(error)
        if attempt + 1 < TRIES:
            print(f"{reason}; next try in {wait:.1f} s", file=sys.stderr)
            time.sleep(wait)
    sys.exit(f"given up after {TRIES} tries")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
