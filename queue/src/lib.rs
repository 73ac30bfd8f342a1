//! A crash-safe disk queue.
