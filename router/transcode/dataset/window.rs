//! Small reads at neighbouring offsets, served from one buffer.

use std::io;

use crate::transcode::Source;

/// Bytes read at a time: the header of an ultrasound image is hardly ever longer.
const SIZE: usize = 16 << 10;

/// A buffer over a source; holds the bytes from `start` on.
pub(super) struct Window<'a> {
    source: &'a dyn Source,
    buffer: Vec<u8>,
    start: u64,
}

impl<'a> Window<'a> {
    /// An empty window: nothing is read before it is asked for.
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self { source, buffer: Vec::new(), start: 0 }
    }

    /// The bytes from `at` on.
    ///
    /// # Errors
    /// What the source says; [`io::ErrorKind::UnexpectedEof`] when there are fewer than `N`.
    pub(super) fn bytes<const N: usize>(&mut self, at: u64) -> io::Result<[u8; N]> {
        if let Some(bytes) = self.held(at) {
            return Ok(bytes);
        }
        self.fill(at, N)?;
        self.held(at).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn held<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.buffer.get(from..)?.first_chunk().copied()
    }

    /// Reads from `at` on until at least `needed` bytes are there or the source ends.
    fn fill(&mut self, at: u64, needed: usize) -> io::Result<()> {
        self.start = at;
        self.buffer.resize(SIZE, 0);
        let mut have = 0;
        while have < needed {
            let room = self.buffer.get_mut(have..).unwrap_or_default();
            let count = self.source.read_at(room, at + have as u64);
            match count {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(error) => {
                    self.buffer.clear();
                    return Err(error);
                }
            }
        }
        self.buffer.truncate(have);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use crate::transcode::Source;
    use std::io;

    /// Gives three bytes at a time.
    struct Slow(Vec<u8>);

    impl Source for Slow {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let room = buffer.len().min(3);
            self.0.read_at(&mut buffer[..room], offset)
        }
    }

    #[test]
    fn bytes_are_found_wherever_they_are_and_missed_where_the_source_ends() {
        let bytes: Vec<u8> = (0..=255).cycle().take(40_000).collect();
        for source in [&bytes as &dyn Source, &Slow(bytes.clone())] {
            let mut window = Window::new(source);
            for at in [0, 4, 16_380, 16_384, 39_992, 8, 39_988] {
                let expected = &bytes[at as usize..at as usize + 8];
                assert_eq!(window.bytes::<8>(at).unwrap(), expected, "{at}");
            }
            let error = window.bytes::<8>(39_993).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
