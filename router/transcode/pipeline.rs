#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Frames over the cores: made in any order, handed on in theirs.
//!
//! Whoever wants frames made submits them one after another and takes them in order. A frame is in flight from its
//! submission until it was taken, and only so many frames are: that is all the memory there is, however long the loop.
//! Several who want frames share what may be in flight, and each has at least one, so that a stream which nobody takes
//! from does not keep the others waiting.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::{collections::BTreeMap, io, sync::Arc};

use super::TranscodeError;

/// The threads that make frames, started when the first is wanted.
#[derive(Debug)]
pub(crate) struct Pipeline {
    workers: usize,
    in_flight: usize,
    threads: Mutex<Option<Arc<rayon::ThreadPool>>>,
    /// Those who want frames now.
    active: AtomicUsize,
}

impl Pipeline {
    /// So many threads, and so many frames in flight; at least one of each.
    pub(crate) fn new(workers: usize, in_flight: usize) -> Self {
        let (workers, in_flight) = (workers.max(1), in_flight.max(1));
        Self { workers, in_flight, threads: Mutex::new(None), active: AtomicUsize::new(0) }
    }

    /// Makes frames 0 to `count` and hands them to `take`, in order and on the calling thread.
    ///
    /// # Errors
    /// The first error in the order of frames, from `make` or from `take`. A panic in `make` is an error as well.
    pub(crate) fn run<T: Send>(
        &self,
        count: u32,
        make: impl Fn(u32) -> Result<T, TranscodeError> + Sync,
        mut take: impl FnMut(u32, T) -> Result<(), TranscodeError>,
    ) -> Result<(), TranscodeError> {
        self.run_until(count, make, |n, made| take(n, made).map(|()| ControlFlow::Continue(())))
    }

    /// The same, until `take` has enough.
    ///
    /// # Errors
    /// As [`Pipeline::run`].
    pub(crate) fn run_until<T: Send>(
        &self,
        count: u32,
        make: impl Fn(u32) -> Result<T, TranscodeError> + Sync,
        mut take: impl FnMut(u32, T) -> Result<ControlFlow<()>, TranscodeError>,
    ) -> Result<(), TranscodeError> {
        let threads = self.threads()?;
        let _active = Active::new(&self.active);
        let (sender, made) = channel();
        let make = &make;
        threads.in_place_scope(|scope| {
            let submit = |frame: u32| {
                let sender: Sender<(u32, Result<T, TranscodeError>)> = sender.clone();
                scope.spawn(move |_| {
                    let result = guarded(|| make(frame));
                    // Nobody listens any more when an earlier frame has failed.
                    let _ = sender.send((frame, result));
                });
            };
            let mut early = BTreeMap::new();
            let (mut submitted, mut taken) = (0, 0);
            while taken < count {
                while submitted < count && ((submitted - taken) as usize) < self.share() {
                    submit(submitted);
                    submitted += 1;
                }
                let result = match early.remove(&taken) {
                    Some(result) => result,
                    None => {
                        let (frame, result) = made.recv().map_err(|_| TranscodeError::Panicked)?;
                        if frame != taken {
                            early.insert(frame, result);
                            continue;
                        }
                        result
                    }
                };
                if take(taken, result?)?.is_break() {
                    break;
                }
                taken += 1;
            }
            Ok(())
        })
    }

    /// Frames that each of those who want some may have in flight.
    fn share(&self) -> usize {
        (self.in_flight / self.active.load(Ordering::Relaxed).max(1)).max(1)
    }

    fn threads(&self) -> Result<Arc<rayon::ThreadPool>, TranscodeError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(threads) = &*threads {
            return Ok(threads.clone());
        }
        let builder = rayon::ThreadPoolBuilder::new().num_threads(self.workers);
        let built = builder.thread_name(|n| format!("transcode-{n}")).build();
        let built = Arc::new(built.map_err(|e| TranscodeError::Cache(Arc::new(io::Error::other(e))))?);
        Ok(threads.insert(built).clone())
    }
}

/// Does a job, and survives its panic.
pub(crate) fn guarded<T>(job: impl FnOnce() -> Result<T, TranscodeError>) -> Result<T, TranscodeError> {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or(Err(TranscodeError::Panicked))
}

/// One of those who want frames.
struct Active<'a>(&'a AtomicUsize);

impl<'a> Active<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(why: &str) -> TranscodeError {
        TranscodeError::Pixels(why.into())
    }

    #[test]
    fn frames_come_in_order_however_many_threads_make_them() {
        for (workers, in_flight) in [(1, 1), (2, 3), (4, 16)] {
            let pipeline = Pipeline::new(workers, in_flight);
            let mut seen = Vec::new();
            let make = |n: u32| {
                // Earlier frames take longer.
                let work: u64 = (0..u64::from(200 - n) * 1000).fold(0, |sum, n| sum ^ n.wrapping_mul(31));
                Ok((n, work))
            };
            let took = pipeline.run(200, make, |n, (made, _)| {
                assert_eq!(n, made);
                seen.push(made);
                Ok(())
            });
            took.unwrap();
            assert_eq!(seen, (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn never_more_frames_than_allowed_are_in_flight() {
        let pipeline = Pipeline::new(4, 3);
        let (flying, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let make = |_| {
            most.fetch_max(flying.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Ok(())
        };
        let take = |_, ()| {
            flying.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        pipeline.run(500, make, take).unwrap();
        assert!(most.load(Ordering::SeqCst) <= 3, "{most:?}");
    }

    #[test]
    fn the_first_error_in_the_order_of_frames_is_the_one_that_is_told() {
        let pipeline = Pipeline::new(4, 8);
        let make = |n| if n >= 5 { Err(pixels(&format!("frame {n}"))) } else { Ok(()) };
        let error = pipeline.run(100, make, |_, ()| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "frame 5");
    }

    #[test]
    fn a_panic_in_a_codec_is_an_error_and_the_threads_live_on() {
        let pipeline = Pipeline::new(2, 4);
        let make = |n| if n == 3 { panic!("a codec's mistake") } else { Ok(n) };
        assert!(matches!(pipeline.run(10, make, |_, _| Ok(())), Err(TranscodeError::Panicked)));
        pipeline.run(10, Ok, |_, _| Ok(())).unwrap();
    }

    #[test]
    fn when_nobody_takes_any_more_nothing_more_is_made() {
        let pipeline = Pipeline::new(2, 4);
        let made = AtomicUsize::new(0);
        let make = |_| {
            made.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let error = pipeline.run(1000, make, |_, ()| Err(pixels("enough"))).unwrap_err();
        assert_eq!(error.to_string(), "enough");
        assert!(made.load(Ordering::SeqCst) <= 4);
    }

    #[test]
    fn somebody_who_does_not_take_leaves_the_others_a_frame_at_least() {
        let pipeline = Pipeline::new(1, 2);
        let mut inner = 0;
        let outer = pipeline.run(3, Ok, |_, _| {
            // In the middle of taking: both frames in flight may be ours.
            pipeline.run(20, Ok, |_, _| {
                inner += 1;
                Ok(())
            })
        });
        outer.unwrap();
        assert_eq!(inner, 60);
    }
}
