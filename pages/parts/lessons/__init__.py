"""The sections of the Learn page, one file each, and what they draw with."""
