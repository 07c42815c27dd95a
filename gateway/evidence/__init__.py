"""The evidence pack: one file from which anybody can see, without us, who was told what and when."""
