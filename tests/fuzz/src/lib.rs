//! What the fuzz targets have in common. README.md says what they are and how they are run.

pub mod conversation;
pub mod heap;
pub mod peer;
pub mod pieces;
pub mod steps;
pub mod watch;

use std::cell::RefCell;
use std::future::Future;

use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// Runs a future on a clock that stands still while there is something to do, and then goes to the next timer at once.
pub fn on_held_clock<T>(run: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow_mut(|runtime| {
        let runtime = runtime.get_or_insert_with(|| {
            Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
        });
        runtime.block_on(run)
    })
}
