"""Microsoft: its directory, its consent screen, and the tokens that follow from a consent."""
