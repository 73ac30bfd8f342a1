//! What Prometheus sees of copies that are made for destinations.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Registry};

use super::{Maker, MetricsError};
use crate::config::{Config, Destination};

/// Bounds of the histogram of making copies, in seconds: from one still to a loop on a slow machine.
const COPY_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// How the making of a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// There is one.
    Made,
    /// The pixels cannot be decoded, or not be encoded as they are wanted.
    Pixels,
    /// It would be larger than DICOM or the limits allow.
    TooLarge,
    /// A codec failed unexpectedly.
    Panicked,
    /// The stored instance cannot be read.
    Source,
    /// The cache cannot be written or read.
    Cache,
}

impl Made {
    const ALL: [Self; 6] =
        [Self::Made, Self::Pixels, Self::TooLarge, Self::Panicked, Self::Source, Self::Cache];

    fn label(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Pixels => "pixels",
            Self::TooLarge => "too_large",
            Self::Panicked => "panicked",
            Self::Source => "source",
            Self::Cache => "cache",
        }
    }
}

/// What became of the wish for grey, for one image in colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monochrome {
    /// Every pixel of every frame was grey.
    Converted,
    /// One at least was not.
    Colour,
    /// A region of it has a colour mode.
    RegionVeto,
    /// Its Image Type names a colour mode.
    ImageTypeVeto,
}

impl Monochrome {
    const ALL: [Self; 4] = [Self::Converted, Self::Colour, Self::RegionVeto, Self::ImageTypeVeto];

    fn label(self) -> &'static str {
        match self {
            Self::Converted => "converted",
            Self::Colour => "colour",
            Self::RegionVeto => "region_veto",
            Self::ImageTypeVeto => "image_type_veto",
        }
    }
}

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Families {
    copies: IntCounterVec,
    source_bytes: IntCounterVec,
    copy_bytes: IntCounterVec,
    seconds: HistogramVec,
    monochrome: IntCounterVec,
    fallbacks: IntCounterVec,
    pub(super) cache_bytes: IntGauge,
}

impl Families {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let make = Maker(registry);
        let histogram = HistogramOpts::new(
            "chrysalis_transcode_seconds",
            "Time until a copy was there, whether it was made then or shared.",
        );
        let seconds = HistogramVec::new(histogram.buckets(COPY_SECONDS.to_vec()), &["destination"])?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self {
            copies: make.counters(
                "chrysalis_transcodes_total",
                "Copies wanted in place of what is stored, by how making them ended.",
                &["destination", "result"],
            )?,
            source_bytes: make.counters(
                "chrysalis_transcode_source_bytes_total",
                "Data set bytes of what copies were made of.",
                &["destination"],
            )?,
            copy_bytes: make.counters(
                "chrysalis_transcode_copy_bytes_total",
                "Data set bytes of the copies.",
                &["destination"],
            )?,
            seconds,
            monochrome: make.counters(
                "chrysalis_monochrome_decisions_total",
                "Images in colour of which grey ones were wanted, by what was decided.",
                &["destination", "decision"],
            )?,
            fallbacks: make.counters(
                "chrysalis_transcode_fallbacks_total",
                "Originals sent because no copy could be made.",
                &["destination"],
            )?,
            cache_bytes: make
                .gauge("chrysalis_transcode_cache_bytes", "Bytes of copies in the cache on disk.")?,
        })
    }

    pub(super) fn begin_at_zero(&self, config: &Config) {
        for destination in &config.destinations {
            let name = destination.name.as_str();
            for counters in [&self.source_bytes, &self.copy_bytes, &self.fallbacks] {
                counters.with_label_values(&[name]);
            }
            for made in Made::ALL {
                self.copies.with_label_values(&[name, made.label()]);
            }
            for decision in Monochrome::ALL {
                self.monochrome.with_label_values(&[name, decision.label()]);
            }
        }
    }

    pub(super) fn of(&self, destination: &Destination) -> TranscodeMetrics {
        TranscodeMetrics { families: self.clone(), destination: destination.name.as_str().to_owned() }
    }
}

/// Those of one destination.
#[derive(Debug, Clone)]
pub struct TranscodeMetrics {
    families: Families,
    destination: String,
}

impl TranscodeMetrics {
    /// Whose they are.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The making of a copy has ended.
    pub fn made(&self, made: Made) {
        self.families.copies.with_label_values(&[self.destination.as_str(), made.label()]).inc();
    }

    /// A copy of so many bytes is there, of so many, after so long.
    pub fn copied(&self, source: u64, copy: u64, took: Duration) {
        let name = &[self.destination.as_str()];
        self.families.source_bytes.with_label_values(name).inc_by(source);
        self.families.copy_bytes.with_label_values(name).inc_by(copy);
        self.families.seconds.with_label_values(name).observe(took.as_secs_f64());
    }

    /// Something was decided about the wish for grey.
    pub fn greyed(&self, decision: Monochrome) {
        self.families.monochrome.with_label_values(&[self.destination.as_str(), decision.label()]).inc();
    }

    /// The original is sent, because no copy could be made.
    pub fn fell_back(&self) {
        self.families.fallbacks.with_label_values(&[&self.destination]).inc();
    }
}
