"""Measurements that are not an experiment with two heads: freezing, overhead, thresholds, and the head that ships.

Each is started by name, see :mod:`companion.measure`.
"""
