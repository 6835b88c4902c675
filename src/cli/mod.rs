//! The command line: `kontor agent` runs one, everything else speaks HTTP to one.
