"""The Nylas API: its calls as values, what its answers mean, and the pace of sending."""
