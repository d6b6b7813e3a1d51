"""Programs that run on Whipray; each is a package or a file of its own."""
