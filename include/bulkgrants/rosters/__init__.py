"""Reads, normalises and stages rosters and tenants."""
