//! Time, given from outside so that tests can hold it still.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Two clocks: one that people read and that may jump, one that only goes forward.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock in milliseconds since 1970. It is shown and compared with retention times, never used for order.
    fn wall_ms(&self) -> u64;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Starts the monotonic clock at zero.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}
