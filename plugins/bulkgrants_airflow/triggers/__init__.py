"""Triggers: what waits in the triggerer while a sensor's task is put aside."""
