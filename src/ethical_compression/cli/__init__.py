"""The command line, a file a command: `add` tells the parser of it, and the rest does it."""
