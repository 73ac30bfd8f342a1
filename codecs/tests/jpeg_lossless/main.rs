//! JPEG Lossless: frames come back as they were, foreign streams are read, and broken ones are refused.

mod foreign;
mod frames;
mod hostile;
mod plain_encoder;
mod real;
mod round_trip;
