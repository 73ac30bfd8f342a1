//! Every JPEG Lossless file of the real data.
