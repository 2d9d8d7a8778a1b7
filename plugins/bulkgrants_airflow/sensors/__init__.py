"""Sensors: they wait, at no worker's cost."""
