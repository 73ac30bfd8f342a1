//! Memory with a limit: a target that takes more than it may ends as a crash, whatever it is run under.

use std::alloc::System;
use std::sync::Once;

use cap::Cap;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Runs with at most so many bytes more than are taken now. What goes beyond is an allocation that fails, which aborts.
pub fn within<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    static UNBOUNDED_PANICS: Once = Once::new();
    // What is said of a panic takes memory as well.
    UNBOUNDED_PANICS.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let _ = HEAP.set_limit(usize::MAX);
            tell(panic);
        }));
    });
    HEAP.set_limit(HEAP.allocated().saturating_add(bytes)).expect("a limit above what is taken");
    let outcome = run();
    HEAP.set_limit(usize::MAX).expect("no limit");
    outcome
}
