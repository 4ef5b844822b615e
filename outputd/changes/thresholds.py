"""What counts as a change: every threshold, with its source. Where none is named, it is this house's choice."""

from __future__ import annotations

# -- a target, as one node measures it ---------------------------------------------------------------

LEARN_RESULTS = 8
"""Before so many results nothing of a pair of node and target is usual, so nothing of it has changed."""

# -- loss: raised and cleared by results in a row, as SmokePing's matcher ConsecutiveLoss has it ------

LOSSY_SHARE = 0.2
"""A result that lost more is lossy, as in the pattern `>20%,>20%,>20%` of SmokePing's alerts."""
LOSSY_RESULTS = 3
"""So many in a row raise it, and so many that are not clear it: as there."""
LOST_SHARE = 0.5
"""And together they have lost so much: of four packets each, one lost three times is chance where 2 % are lost."""
TIMES_USUAL = 4.0
"""And so many times what the pair usually loses."""
USUAL_RESULTS = 64
"""Over about so many results the usual loss is taken."""
CHANCE_RESULTS = 8
"""A row of lossy results that is as long, and lost too little for a change, is usual."""

# -- round-trip time: Internet Health Report (raclette) ----------------------------------------------

DEVIATIONS = 5.0
"""Median absolute deviations, scaled, by which a bucket's median must leave the usual one."""
NORMAL = 1.4826
"""Scales a median absolute deviation to the standard deviation of a normal distribution (Rousseeuw and Croux 1993)."""
LEAST_SHARE, LEAST_US = 0.01, 1000
"""A smaller shift is none: 1 %, 1 ms."""
BUCKETS_IN_A_ROW = 3
BUCKET = len("2026-01-07 22:3")
"""Of a stored time: buckets of ten minutes."""
BUCKETS_A_DAY = 144
FEW_BUCKETS, BUCKETS_APART, MOST_BUCKETS = 24, 5, 60
"""Beyond a few, buckets are remembered that are so far apart, and so many at most: they stand for the day."""
LEAST_VALUES, MOST_VALUES = 3, 15
"""A bucket lasts until it has so many round-trip times; of more the first ones stand for all."""
LEARN_BUCKETS = 12
"""So many are needed before one can leave them."""
RECKON_BUCKETS = 4
"""After so many the usual median is worked out anew."""
PART_INSIDE = 4
"""With its median all but a quarter of a bucket's values must have left: the median of three is noisy."""
AGREE_SHARE = 0.5
"""The medians of a shift differ by less than this part of it from their own; in noise they do not."""

# -- routes ------------------------------------------------------------------------------------------

WINDOW_TRACES = 24
"""A route is known for so many traceroutes after it was seen, to twice as many."""
NEW_TRACES = 3
"""So many traceroutes must have the same new hop, with none between them that is explained by the known routes."""
CHANCE_TRACES = 8
"""A row of strange traceroutes that is as long without such a hop comes of many equal paths."""
WIDE = 5
"""Where so many addresses answer at one TTL, one more is no news: a load balancer."""
MOST_TTL = 64
"""Beyond it no path leads; RIPE Atlas writes 255 for something else."""
MOST_ROUTE = 1000
"""Characters of a traceroute's hops, and of the known ones; longer ones are not watched."""

# -- nodes -------------------------------------------------------------------------------------------

SILENT_GAPS = 3.0
"""Times the longest gap of about the last day for which a node must have sent nothing: silent."""
GAP_HALVES_S = 86_400.0
"""The longest gap counts half after this time."""
SILENT_LEAST_S = 300.0
LEARN_POSTS, LEARN_S = 8, 3600.0
"""So often, and over such a time, a node was heard before its silence means anything."""
LOOK_EVERY_S = 30.0
PAUSE_LEAST_S = 60.0
PAUSE_GAPS = 2.0
"""A longer pause of all nodes at once than this many mean gaps says nothing of any: the service was away, or the clock
was set."""
MEAN_GAPS = 64

# -- how much is remembered --------------------------------------------------------------------------

MOST_PAIRS = 4000
"""Pairs of node and target, usually of 1.5 KiB in memory; of 3 where a hostile node chooses its hops."""
MOST_WATCHED_NODES = 1000
"""Nodes that have pairs."""
KEPT_PAIR_S = 6 * 3600.0
"""Where others have no room, a pair that was not seen for this time is forgotten."""
SWEEP_EVERY_S = 600.0
"""So often that is looked for."""
MOST_SENDERS = 10_000
"""Nodes."""
KEPT_S = 3600.0
"""A node that was seen within this time gives its place to no other."""
