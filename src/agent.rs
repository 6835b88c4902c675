//! Puts the parts together: the only file that knows all of them.
