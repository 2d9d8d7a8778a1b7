"""What the stand-in remembers, and the settings that steer it."""
