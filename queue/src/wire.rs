//! The few encodings that envelope, journal and index rows share: little-endian integers and short strings.

/// Longest string that is written, in bytes: keys, names and reasons are all far shorter.
pub(crate) const MAX_TEXT: usize = 1024;

/// Appends values to a byte vector.
#[derive(Default)]
pub(crate) struct Encoder(pub(crate) Vec<u8>);

impl Encoder {
    pub(crate) fn u8(&mut self, v: u8) {
        self.0.push(v);
    }
    pub(crate) fn u16(&mut self, v: u16) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    pub(crate) fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    pub(crate) fn u64(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    pub(crate) fn u128(&mut self, v: u128) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    pub(crate) fn raw(&mut self, v: &[u8]) {
        self.0.extend_from_slice(v);
    }
    /// A string of at most [`MAX_TEXT`] bytes; a longer one is cut at a character.
    pub(crate) fn text(&mut self, v: &str) {
        let v = clip(v);
        self.u16(v.len() as u16);
        self.raw(v.as_bytes());
    }
    pub(crate) fn bytes(&mut self, v: &[u8]) {
        self.u32(v.len() as u32);
        self.raw(v);
    }
}

/// The longest prefix that fits [`MAX_TEXT`].
pub(crate) fn clip(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The bytes are not what they should be: too short, or a code that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed")]
pub(crate) struct Malformed;

/// Takes values from the front of a slice, checking each length.
pub(crate) struct Decoder<'a>(pub(crate) &'a [u8]);

impl<'a> Decoder<'a> {
    pub(crate) fn raw(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.raw(N)?.try_into().map_err(|_| Malformed)
    }
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    pub(crate) fn u128(&mut self) -> Result<u128, Malformed> {
        Ok(u128::from_le_bytes(self.array()?))
    }
    /// A text where it stands, without copying it.
    pub(crate) fn str(&mut self) -> Result<&'a str, Malformed> {
        let len = self.u16()?;
        std::str::from_utf8(self.raw(usize::from(len))?).map_err(|_| Malformed)
    }
    /// Bytes where they stand.
    pub(crate) fn slice(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()?;
        self.raw(len as usize)
    }
    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        self.str().map(str::to_owned)
    }
    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, Malformed> {
        self.slice().map(<[u8]>::to_vec)
    }
}
