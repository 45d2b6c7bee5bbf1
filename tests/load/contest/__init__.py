"""A contest of proxies in front of one upstream, on this machine: what `make bench` runs.

In comes what was chosen on the command line, out goes a table of ratios, and JSON. `bench.py` and `flame_graph.py`
call it. Rules of every file here: all is on loopback and in one temporary directory; a program that we started ends
with us, by its pid, and no other does; each wait has an end. A contestant that claims to check tokens is measured only
after it refused a wrong one. Figures are compared inside a round, never between runs.
"""
