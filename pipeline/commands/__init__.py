"""Options of the command line, and the commands of a robot."""
