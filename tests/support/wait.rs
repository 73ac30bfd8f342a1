//! Waiting for something that happens elsewhere, in another process or on another thread.

use std::time::{Duration, Instant};

/// How often [`eventually`] looks.
const INTERVAL: Duration = Duration::from_millis(5);

/// Calls `look` until it returns a value, and returns that.
///
/// # Panics
/// With `what`, when nothing came within `limit`.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    match poll(limit, look) {
        Some(value) => value,
        None => panic!("{what} did not happen within {limit:?}"),
    }
}

/// Calls `look` until it returns a value or `limit` has passed.
#[allow(
    clippy::disallowed_methods,
    reason = "other processes give no event to wait for; the limit is a deadline"
)]
pub fn poll<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = look() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Lets time pass, where the time itself is what is tried: a crash at a moment that chance chose.
#[allow(clippy::disallowed_methods, reason = "nothing is waited for")]
pub fn let_pass(time: Duration) {
    std::thread::sleep(time);
}
