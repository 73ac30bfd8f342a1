//! Chrysalis: a store-and-forward DICOM router for ultrasound.
