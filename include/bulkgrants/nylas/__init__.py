"""The Nylas API: its calls as values, its answers read and its refusals classed; no sending."""
