//! libjpeg-turbo through its own interface, with one handle for all frames and buffers that are used again.

use std::ffi::{CStr, c_int};
use turbojpeg_sys as sys;

/// A compressor or a decompressor.
pub struct Turbo {
    handle: sys::tjhandle,
    buffer: Vec<u8>,
}

impl Turbo {
    /// Compresses losslessly, Selection Value 1. Huffman tables are always the best for each frame.
    pub fn lossless() -> Self {
        let turbo = Self::new(sys::TJINIT_TJINIT_COMPRESS);
        turbo.set(sys::TJPARAM_TJPARAM_NOREALLOC, 1);
        turbo.set(sys::TJPARAM_TJPARAM_LOSSLESS, 1);
        turbo.set(sys::TJPARAM_TJPARAM_LOSSLESSPSV, 1);
        turbo.set(sys::TJPARAM_TJPARAM_LOSSLESSPT, 0);
        turbo
    }

    /// Decompresses anything.
    pub fn decompressor() -> Self {
        Self::new(sys::TJINIT_TJINIT_DECOMPRESS)
    }

    fn new(kind: sys::TJINIT) -> Self {
        // SAFETY: the handle is checked, and destroyed by `drop` alone.
        let handle = unsafe { sys::tj3Init(kind as c_int) };
        assert!(!handle.is_null(), "libjpeg-turbo gives a handle");
        Self { handle, buffer: Vec::new() }
    }

    /// Sets a parameter.
    pub fn set(&self, parameter: sys::TJPARAM, value: i32) {
        // SAFETY: the handle is valid as long as `self` is.
        let result = unsafe { sys::tj3Set(self.handle, parameter as c_int, value) };
        self.check(result);
    }

    /// Compresses a frame into a buffer that is used again.
    pub fn compress(&mut self, pixels: &[u8], columns: u16, rows: u16, samples: usize) -> &[u8] {
        assert_eq!(pixels.len(), usize::from(columns) * usize::from(rows) * samples);
        // More than noise needs.
        self.buffer.resize(2 * pixels.len() + 4096, 0);
        let (mut buffer, mut size) = (self.buffer.as_mut_ptr(), self.buffer.len() as _);
        // SAFETY: the pixels are as long as the dimensions say, and the buffer, which the library may not replace, as `size`.
        let result = unsafe {
            let (width, height) = (c_int::from(columns), c_int::from(rows));
            let from = pixels.as_ptr();
            sys::tj3Compress8(self.handle, from, width, 0, height, format(samples), &mut buffer, &mut size)
        };
        self.check(result);
        &self.buffer[..size as usize]
    }

    /// Decompresses a frame.
    pub fn decompress(&mut self, stream: &[u8], samples: usize, pixels: &mut [u8]) {
        let get = |parameter: sys::TJPARAM| {
            // SAFETY: the handle is valid as long as `self` is.
            unsafe { sys::tj3Get(self.handle, parameter as c_int) as usize }
        };
        // SAFETY: the stream is as long as it says, and the pixels as long as the header asks for, which is checked.
        let result = unsafe {
            let (bytes, length) = (stream.as_ptr(), stream.len());
            self.check(sys::tj3DecompressHeader(self.handle, bytes, length as _));
            let needed = get(sys::TJPARAM_TJPARAM_JPEGWIDTH) * get(sys::TJPARAM_TJPARAM_JPEGHEIGHT) * samples;
            assert_eq!(pixels.len(), needed);
            sys::tj3Decompress8(self.handle, bytes, length as _, pixels.as_mut_ptr(), 0, format(samples))
        };
        self.check(result);
    }

    fn check(&self, result: c_int) {
        if result != 0 {
            // SAFETY: the library returns a string of its own that ends with a zero.
            let message = unsafe { CStr::from_ptr(sys::tj3GetErrorStr(self.handle)) };
            panic!("libjpeg-turbo: {}", message.to_string_lossy());
        }
    }
}

impl Drop for Turbo {
    fn drop(&mut self) {
        // SAFETY: it came from the library, and nobody has it any more.
        unsafe { sys::tj3Destroy(self.handle) }
    }
}

fn format(samples: usize) -> c_int {
    (if samples == 1 { sys::TJPF_TJPF_GRAY } else { sys::TJPF_TJPF_RGB }) as c_int
}
