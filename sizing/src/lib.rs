//! Workload arithmetic and synthetic ultrasound.
