//! Pixel codecs for DICOM frames.
