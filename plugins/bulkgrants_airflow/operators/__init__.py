"""Operators: they translate between Airflow and the work, and decide nothing themselves."""
