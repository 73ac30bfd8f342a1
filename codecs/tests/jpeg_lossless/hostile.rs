//! Broken streams: nothing panics, nothing large is allocated.
