//! The orders and tables that the standard gives.

/// Where the coefficients of a block lie, in the order in which they are coded (ISO 10918-1 figure A.6).
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The place of the coefficient that is coded as number `index`.
#[inline(always)]
pub(super) fn natural(index: usize) -> usize {
    usize::from(ZIGZAG.get(index & 63).copied().unwrap_or(0))
}
