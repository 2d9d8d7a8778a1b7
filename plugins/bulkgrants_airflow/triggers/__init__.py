"""Triggers: they wait in the triggerer while the task of a sensor is deferred."""
