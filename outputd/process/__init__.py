"""The process and its reactor: log, time, threads, ports, the order of starting and stopping."""
