"""Crash checks: the operations of a traced run, tried on every disk they may leave."""
