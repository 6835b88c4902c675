//! The pool on real sockets.
