//! What to do: how many studies, how fast, what of, and what goes wrong meanwhile. Pure; nothing here has a clock.
//!
//! There are two times. *Modelled* time is that of the site: studies per hour, `--for`, outages, the uplink. *Real* time is that
//! of the run: an hour of modelled time takes an hour through the compression.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrysalis_sizing::{Encoding, Mix, REFERENCE, StudyKind};

use super::outage::Downtime;

/// How the PACS wants what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Byte for byte.
    AsReceived,
    /// Stills as JPEG Lossless, loops as received.
    LosslessStills,
    /// Everything as JPEG Lossless, but for what came compressed with loss.
    Lossless,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AsReceived, Self::LosslessStills, Self::Lossless];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::AsReceived => "as-received",
            Self::LosslessStills => "jpeg-lossless-stills",
            Self::Lossless => "jpeg-lossless",
        }
    }

    /// As the report has it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::LosslessStills => "jpeg-lossless stills",
            Self::AsReceived | Self::Lossless => self.name(),
        }
    }

    /// Whether copies are made of native stills, and of native loops.
    pub fn transcodes(self, is_still: bool) -> bool {
        match self {
            Self::AsReceived => false,
            Self::LosslessStills => is_still,
            Self::Lossless => true,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no such route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not as-received, jpeg-lossless-stills or jpeg-lossless; what is compressed with loss cannot be compared with what was sent"
)]
pub struct RouteError(String);

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        Self::ALL.into_iter().find(|route| route.name() == text).ok_or_else(|| RouteError(text.to_owned()))
    }
}

/// When it is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// After so many studies.
    Studies(u64),
    /// After so much modelled time.
    Time(Duration),
}

/// What was asked for, as it was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Modelled rate.
    pub studies_per_hour: f64,
    /// How frames are encoded that carts send.
    pub encoding: Encoding,
    /// Only studies of this kind.
    pub kind: Option<&'static StudyKind>,
    /// How the PACS wants them.
    pub route: Route,
    /// Carts that send at the same time, at most.
    pub carts: u32,
    /// How much faster than modelled time; nothing chooses what this machine can make.
    pub compression: Option<f64>,
    /// When it is enough.
    pub extent: Extent,
    /// When the PACS is down, in modelled time.
    pub outages: Vec<Downtime>,
    /// What the PACS can take at most, in bytes per second of modelled time.
    pub uplink: Option<f64>,
    /// Whether all studies come at once.
    pub burst: bool,
    /// Whether the highest rate is searched for.
    pub find_max: bool,
    /// Of arrivals and pictures.
    pub seed: u64,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What was asked for; it makes sense.
    pub asked: Asked,
    /// How much faster than modelled time it goes.
    pub compression: f64,
}

/// Why it makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// No number of studies, or more than any site has.
    #[error("{0} studies per hour make no sense; 0.01 to {MOST_STUDIES_PER_HOUR} do")]
    Rate(f64),
    /// Time is not compressed by less than nothing.
    #[error("time cannot be compressed {0} times; 1 to {MOST_COMPRESSION} times can be")]
    Compression(f64),
    /// No cart, or more than a listener takes.
    #[error("{0} carts make no sense; 1 to {MOST_CARTS} do")]
    Carts(u32),
    /// Nothing would be sent.
    #[error("nothing would be sent: that is no study at {0} studies per hour")]
    Nothing(f64),
    /// It would not end.
    #[error("that takes {} of real time; a run takes a week at most", humantime::format_duration(*.0))]
    TooLong(Duration),
    /// More than is accounted for.
    #[error("that is about {0} studies; a run accounts for {MOST_STUDIES} at most")]
    TooMany(u64),
    /// More bytes than this program makes.
    #[error(
        "{:.0} MB/s of real time is more than one machine makes and takes, which is {:.0}: {}",
        .bytes_per_second / 1e6, MOST_BYTES_PER_SECOND / 1e6, slower(*.most)
    )]
    TooFast {
        /// The rate.
        bytes_per_second: f64,
        /// The compression that would do; less than 1 where none does.
        most: f64,
    },
    /// Outages that stand on one another, or begin when nothing comes any more.
    #[error("the outage {0} {1}")]
    Outage(Downtime, &'static str),
    /// No uplink at all.
    #[error("an uplink of {0} bytes per second carries nothing")]
    Uplink(f64),
    /// Two things that do not go together.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// More than any site.
pub const MOST_STUDIES_PER_HOUR: f64 = 100_000.0;
/// An hour in a second.
pub const MOST_COMPRESSION: f64 = 3600.0;
/// As many as a listener admits from one address, with room for those that reconnect.
pub const MOST_CARTS: u32 = 64;
/// Each takes some hundred bytes for each of its instances.
const MOST_STUDIES: u64 = 100_000;
/// What the carts and the PACS of one machine make and take, with room to spare.
const MOST_BYTES_PER_SECOND: f64 = 1e9;
/// What compression is chosen for where none is asked for.
const EASY_BYTES_PER_SECOND: f64 = 100e6;
/// And at most so much.
const EASY_COMPRESSION: f64 = 60.0;
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

impl Plan {
    /// The plan for what was asked for.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn new(asked: Asked) -> Result<Self, PlanError> {
        let rate = asked.studies_per_hour;
        if !(0.01..=MOST_STUDIES_PER_HOUR).contains(&rate) {
            return Err(PlanError::Rate(rate));
        }
        if !(1..=MOST_CARTS).contains(&asked.carts) {
            return Err(PlanError::Carts(asked.carts));
        }
        if let Some(wrong) = asked.uplink.filter(|rate| !rate.is_finite() || *rate < 1.0) {
            return Err(PlanError::Uplink(wrong));
        }
        if let Some(wrong) =
            asked.compression.filter(|compression| !(1.0..=MOST_COMPRESSION).contains(compression))
        {
            return Err(PlanError::Compression(wrong));
        }
        let compression = match asked.compression {
            // A search tries real rates.
            _ if asked.find_max => 1.0,
            Some(compression) => compression,
            None => easy_compression(modelled_bytes_per_second(&asked)),
        };
        let plan = Self { asked, compression };
        plan.check_together()?;
        plan.check_extent()?;
        plan.check_outages()?;
        Ok(plan)
    }

    fn check_together(&self) -> Result<(), PlanError> {
        let Asked { find_max, burst, outages, uplink, compression, .. } = &self.asked;
        if *find_max && (*burst || !outages.is_empty() || uplink.is_some() || compression.is_some()) {
            return Err(PlanError::Contradiction(
                "--find-max searches in real time and on an open way: without --burst, --outage, --uplink and --compress-time",
            ));
        }
        if *burst && !outages.is_empty() {
            return Err(PlanError::Contradiction("a burst has no hours, so no outage has a place in it"));
        }
        Ok(())
    }

    fn check_extent(&self) -> Result<(), PlanError> {
        if self.asked.find_max {
            return Ok(());
        }
        let rate = self.asked.studies_per_hour;
        let studies = self.studies();
        if studies < 1.0 {
            return Err(PlanError::Nothing(rate));
        }
        if studies > MOST_STUDIES as f64 {
            return Err(PlanError::TooMany(studies as u64));
        }
        let real = Duration::from_secs_f64(self.modelled_seconds() / self.compression);
        if real > LONGEST {
            return Err(PlanError::TooLong(Duration::from_secs(real.as_secs())));
        }
        let modelled = modelled_bytes_per_second(&self.asked);
        let bytes_per_second = modelled * self.compression;
        if bytes_per_second > MOST_BYTES_PER_SECOND && !self.asked.burst {
            let most = (MOST_BYTES_PER_SECOND / modelled).floor();
            return Err(PlanError::TooFast { bytes_per_second, most });
        }
        Ok(())
    }

    fn check_outages(&self) -> Result<(), PlanError> {
        let mut before: Option<&Downtime> = None;
        for outage in &self.asked.outages {
            if before.is_some_and(|before| outage.start <= before.end()) {
                return Err(PlanError::Outage(*outage, "begins before the one before it has ended"));
            }
            if outage.start.as_secs_f64() >= self.modelled_seconds() {
                return Err(PlanError::Outage(*outage, "begins when no study comes any more"));
            }
            before = Some(outage);
        }
        Ok(())
    }

    /// Studies that are expected.
    pub fn studies(&self) -> f64 {
        match self.asked.extent {
            Extent::Studies(studies) => studies as f64,
            Extent::Time(time) => self.asked.studies_per_hour * time.as_secs_f64() / 3600.0,
        }
    }

    /// Modelled seconds from the first study to the last, about.
    pub fn modelled_seconds(&self) -> f64 {
        match self.asked.extent {
            Extent::Studies(studies) => studies as f64 * 3600.0 / self.asked.studies_per_hour,
            Extent::Time(time) => time.as_secs_f64(),
        }
    }

    /// Studies in an hour of real time.
    pub fn real_studies_per_hour(&self) -> f64 {
        self.asked.studies_per_hour * self.compression
    }

    /// Mean bytes of a study.
    pub fn mean_bytes(&self) -> f64 {
        mean_bytes(&self.asked)
    }

    /// Bytes a second of modelled time.
    pub fn modelled_bytes_per_second(&self) -> f64 {
        modelled_bytes_per_second(&self.asked)
    }

    /// What a run as modelled here may have in the spool at once, in bytes.
    ///
    /// What comes while the PACS is away, or what an uplink does not carry of it, with a third more, because chance has its
    /// hours too; four studies that are on their way; at most all of it.
    pub fn backlog_bytes(&self) -> u64 {
        let (rate, seconds) = (self.modelled_bytes_per_second(), self.modelled_seconds());
        let all = self.studies() * self.mean_bytes();
        let away: f64 = self.asked.outages.iter().map(|outage| outage.length.as_secs_f64()).sum();
        let excess = self.asked.uplink.map_or(0.0, |uplink| (rate - uplink).max(0.0)) * seconds;
        let burst = if self.asked.burst { all } else { 0.0 };
        let waits = (away.min(seconds) * rate + excess).max(burst) * 4.0 / 3.0;
        // A search goes on until something piles up.
        let floor = if self.asked.find_max { 10.0 } else { 4.0 } * self.mean_bytes();
        let most = if self.asked.find_max { f64::INFINITY } else { all.max(self.mean_bytes()) };
        (waits + floor).min(most * 4.0 / 3.0 + self.mean_bytes()) as u64
    }
}

fn slower(most: f64) -> String {
    if most < 1.0 { "fewer studies per hour".to_owned() } else { format!("--compress-time {most} at most") }
}

fn easy_compression(modelled_bytes_per_second: f64) -> f64 {
    (EASY_BYTES_PER_SECOND / modelled_bytes_per_second).floor().clamp(1.0, EASY_COMPRESSION)
}

fn modelled_bytes_per_second(asked: &Asked) -> f64 {
    mean_bytes(asked) * asked.studies_per_hour / 3600.0
}

fn mean_bytes(asked: &Asked) -> f64 {
    let Some(kind) = asked.kind else { return REFERENCE.mean_bytes(asked.encoding) };
    let alone = StudyKind { share: 100, ..*kind };
    // A mix borrows its kinds; what they weigh is the same for one.
    let weigh = |encoding| {
        let (still, frame) = frame_bytes(&REFERENCE, encoding);
        f64::from(alone.stills) * still + f64::from(alone.loop_frames()) * frame
    };
    weigh(asked.encoding)
}

/// Bytes of a still and of a loop's frame.
fn frame_bytes(mix: &Mix, encoding: Encoding) -> (f64, f64) {
    let [native, jpeg, lossless] = [mix.native_frame, mix.jpeg_frame, mix.lossless_frame].map(f64::from);
    match encoding {
        Encoding::AllJpeg => (jpeg, jpeg),
        Encoding::NativeStills => (native, jpeg),
        Encoding::AllLossless => (lossless, lossless),
        Encoding::AllNative => (native, native),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn asked() -> Asked {
        Asked {
            studies_per_hour: 40.0,
            encoding: Encoding::NativeStills,
            kind: None,
            route: Route::AsReceived,
            carts: 8,
            compression: None,
            extent: Extent::Time(HOUR),
            outages: Vec::new(),
            uplink: None,
            burst: false,
            find_max: false,
            seed: 1,
        }
    }

    #[test]
    fn an_hour_of_forty_studies_takes_a_minute() {
        let plan = Plan::new(asked()).unwrap();
        assert_eq!((plan.studies(), plan.compression, plan.modelled_seconds()), (40.0, 60.0, 3600.0));
        assert_eq!(plan.real_studies_per_hour(), 2400.0);
    }

    #[test]
    fn heavy_studies_are_compressed_less_in_time() {
        let plan = Plan::new(Asked { encoding: Encoding::AllNative, ..asked() }).unwrap();
        assert_eq!(plan.compression, 4.0);
    }

    #[test]
    fn rates_and_numbers_that_make_no_sense_are_refused() {
        let refused = |asked: Asked| Plan::new(asked).unwrap_err();
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(matches!(refused(Asked { studies_per_hour: rate, ..asked() }), PlanError::Rate(_)));
        }
        assert_eq!(refused(Asked { carts: 0, ..asked() }), PlanError::Carts(0));
        assert_eq!(refused(Asked { carts: 65, ..asked() }), PlanError::Carts(65));
        assert_eq!(refused(Asked { compression: Some(0.5), ..asked() }), PlanError::Compression(0.5));
        assert_eq!(refused(Asked { uplink: Some(0.0), ..asked() }), PlanError::Uplink(0.0));
        assert_eq!(refused(Asked { extent: Extent::Studies(0), ..asked() }), PlanError::Nothing(40.0));
        let soon = Extent::Time(Duration::from_secs(1));
        assert_eq!(refused(Asked { extent: soon, ..asked() }), PlanError::Nothing(40.0));
    }

    #[test]
    fn a_run_that_would_not_end_is_refused() {
        let year = Extent::Time(HOUR * 24 * 365);
        let slow = Asked { extent: year, compression: Some(1.0), studies_per_hour: 1.0, ..asked() };
        assert!(matches!(Plan::new(slow), Err(PlanError::TooLong(_))));
        let many = Asked { extent: Extent::Studies(1_000_000), ..asked() };
        assert_eq!(Plan::new(many), Err(PlanError::TooMany(1_000_000)));
    }

    #[test]
    fn more_bytes_than_a_machine_makes_are_refused_with_what_would_do() {
        let fast = Asked { encoding: Encoding::AllNative, compression: Some(60.0), ..asked() };
        let Err(PlanError::TooFast { most, .. }) = Plan::new(fast.clone()) else { panic!("it was taken") };
        assert!(Plan::new(Asked { compression: Some(most), ..fast }).is_ok());
    }

    #[test]
    fn outages_stand_in_order_and_inside_the_run() {
        let with = |texts: &[&str]| {
            let outages = texts.iter().map(|text| text.parse().unwrap()).collect();
            Plan::new(Asked { outages, ..asked() })
        };
        assert!(with(&["10m+10m", "30m+4h"]).is_ok());
        assert!(matches!(with(&["10m+10m", "15m+1m"]), Err(PlanError::Outage(..))));
        assert!(matches!(with(&["1h+4h"]), Err(PlanError::Outage(..))));
    }

    #[test]
    fn a_search_has_no_outage_burst_or_uplink() {
        let search = Asked { find_max: true, ..asked() };
        assert!(Plan::new(search.clone()).is_ok());
        for contradiction in [
            Asked { burst: true, ..search.clone() },
            Asked { uplink: Some(1e6), ..search.clone() },
            Asked { outages: vec!["1m+1m".parse().unwrap()], ..search.clone() },
        ] {
            assert!(matches!(Plan::new(contradiction), Err(PlanError::Contradiction(_))));
        }
    }

    #[test]
    fn the_room_that_is_needed_grows_with_the_outage() {
        let with = |extent: Duration, outage: &str| {
            let outages = vec![outage.parse().unwrap()];
            Plan::new(Asked { outages, extent: Extent::Time(extent), ..asked() }).unwrap().backlog_bytes()
        };
        let (one, four) = (with(HOUR * 6, "1h+1h"), with(HOUR * 6, "1h+4h"));
        assert!((4.0e9..7.0e9).contains(&(one as f64)), "{one}");
        assert!((20.0e9..23.0e9).contains(&(four as f64)), "{four}");
        let quiet = Plan::new(asked()).unwrap().backlog_bytes();
        assert!(quiet < 500_000_000, "{quiet}");
    }

    #[test]
    fn a_route_is_written_as_it_is_read_and_a_lossy_one_is_none() {
        for route in Route::ALL {
            assert_eq!(route.name().parse(), Ok(route));
        }
        assert!("jpeg-lossy".parse::<Route>().is_err());
    }
}
