use proptest::prelude::*;

use super::*;
use crate::{Conversion, Encoding, REFERENCE, Target};

const ALL: [Resource; 4] = [Resource::Cores, Resource::Memory, Resource::Disk, Resource::Uplink];
const COSTS: &Measured = &Measured::BENCHES;

fn site(studies_per_hour: f64, outage_hours: f64, encoding: Encoding, target: Target) -> Site<'static> {
    Site {
        work: Work { mix: &REFERENCE, encoding, conversion: Conversion { image: target, cine: target } },
        studies_per_hour,
        outage_hours,
        uplink: None,
        associations: 16,
        keeping: Keeping::DEFAULT,
    }
}

fn hospital() -> Site<'static> {
    site(40.0, 24.0, Encoding::NativeStills, Target::AsReceived)
}

fn near(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() <= wanted * 0.01
}

#[test]
fn forty_studies_an_hour_need_little_but_disk() {
    let hospital = hospital();
    assert!(near(hospital.work.cpu_seconds(COSTS), 0.281), "{}", hospital.work.cpu_seconds(COSTS));
    assert!(near(hospital.leaving(), 1.089e6), "{}", hospital.leaving());
    assert!(hospital.cores(COSTS) < 0.02, "{}", hospital.cores(COSTS));
    assert!(hospital.memory(COSTS) < 512e6, "{}", hospital.memory(COSTS));
    // 960 studies of 98 MB and a little for chance, and 1.9 GB of journals.
    assert!((110e9..125e9).contains(&hospital.disk()), "{}", hospital.disk());
    assert_eq!(hospital.profile_for(Resource::Cores, COSTS).map(|profile| profile.name), Some("link-only"));
    assert_eq!(hospital.profile_for(Resource::Disk, COSTS).map(|profile| profile.name), Some("medium"));
}

#[test]
fn an_uplink_of_20_mbit_drains_a_day_of_outage_in_about_as_long() {
    let uplink = Some(20e6 / 8.0);
    let hours = Site { uplink, ..hospital() }.drain_hours(2.0, COSTS).expect("it drains");
    assert!((18.0..24.0).contains(&hours), "{hours}");
}

#[test]
fn an_uplink_that_is_slower_than_the_carts_never_drains_and_one_of_twice_the_need_does_so_in_time() {
    let hospital = hospital();
    let needed = hospital.uplink_needed(COSTS);
    let with = |uplink| Site { uplink: Some(uplink), ..hospital };
    assert!(matches!(with(needed).drain_hours(2.0, COSTS), Err(CapacityError::NeverDrains { .. })));
    assert!(matches!(with(needed / 2.0).drain_hours(2.0, COSTS), Err(CapacityError::NeverDrains { .. })));
    let hours = with(needed * 2.0).drain_hours(2.0, COSTS).expect("it drains");
    assert!(near(hours, hospital.backlog() / 40.0), "{hours}");
    assert!(hospital.drain_hours(0.0, COSTS).is_err(), "without a core nothing leaves");
}

#[test]
fn figures_that_make_no_sense_are_refused() {
    assert_eq!(hospital().check(), Ok(()));
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 100_001.0] {
        assert!(hospital().at(rate).check().is_err(), "{rate}");
    }
    for outage_hours in [-1.0, f64::NAN, 1e9] {
        assert!(Site { outage_hours, ..hospital() }.check().is_err(), "{outage_hours}");
    }
    for uplink in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Site { uplink: Some(uplink), ..hospital() }.check().is_err(), "{uplink}");
    }
}

#[test]
fn a_host_that_is_full_before_the_first_study_is_refused() {
    let none = Host { cores: 0.0, memory: 0, disk: 0 };
    for resource in Resource::OF_HOST {
        let refused = hospital().most_studies(resource, &none, COSTS);
        assert!(matches!(refused, Err(CapacityError::TooSmall { .. })), "{resource}: {refused:?}");
    }
    assert!(hospital().most_outage_hours(&none).is_err());
}

#[test]
fn a_host_is_limited_by_what_it_has_least_of() {
    let small = Host { cores: 2.0, memory: 4_000_000_000, disk: 100_000_000_000 };
    let limit = |resource| hospital().most_studies(resource, &small, COSTS).expect("a rate");
    let disk = limit(Resource::Disk);
    assert!((30.0..40.0).contains(&disk), "{disk}");
    assert!(limit(Resource::Cores) > 4000.0 && limit(Resource::Uplink) > 4000.0);
    assert_eq!(hospital().lacks(&small, COSTS), [Resource::Disk]);
}

fn encodings() -> impl Strategy<Value = Encoding> {
    prop::sample::select(Encoding::ALL.to_vec())
}

fn targets() -> impl Strategy<Value = Target> {
    prop::sample::select(Target::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_higher_rate_or_a_longer_outage_never_needs_less(
        rates in (0.01_f64..50_000.0, 1.0_f64..3.0),
        hours in (0.0_f64..500.0, 0.0_f64..500.0),
        encoding in encodings(),
        target in targets(),
    ) {
        let less = site(rates.0, hours.0, encoding, target);
        let (busier, longer) = (less.at(rates.0 * rates.1), Site { outage_hours: hours.0 + hours.1, ..less });
        for resource in ALL {
            let need = less.need(resource, COSTS) * (1.0 - 1e-9);
            prop_assert!(busier.need(resource, COSTS) >= need, "{resource}");
            prop_assert!(longer.need(resource, COSTS) >= need, "{resource}");
        }
    }

    #[test]
    fn what_a_host_can_do_fits_the_host_and_ten_percent_more_does_not(
        cores in 0.1_f64..128.0,
        memory in 1_000_000_000_u64..1_000_000_000_000,
        disk in 10_000_000_000_u64..100_000_000_000_000,
        uplink in prop::option::of(1e4_f64..1e9),
        hours in 0.0_f64..500.0,
        encoding in encodings(),
        target in targets(),
    ) {
        let host = Host { cores, memory, disk };
        let site = Site { uplink, ..site(1.0, hours, encoding, target) };
        let limits: Vec<_> = ALL.iter().map(|resource| site.most_studies(*resource, &host, COSTS)).collect();
        let limits: Vec<_> = limits.into_iter().collect::<Result<_, _>>().expect("room for a node");
        let most = limits.iter().copied().fold(f64::INFINITY, f64::min);
        prop_assert!(site.at(most).lacks(&host, COSTS).is_empty());
        if most < MOST_STUDIES_PER_HOUR {
            prop_assert!(!site.at(most * 1.1).lacks(&host, COSTS).is_empty());
        }
    }

    #[test]
    fn the_hours_of_outage_of_a_host_fit_its_disk(
        disk in 100_000_000_000_u64..100_000_000_000_000,
        rate in 0.1_f64..100.0,
        encoding in encodings(),
    ) {
        let host = Host { cores: 2.0, memory: 4_000_000_000, disk };
        let site = site(rate, 0.0, encoding, Target::AsReceived);
        let outage_hours = site.most_outage_hours(&host).expect("room for a node");
        let fits = Site { outage_hours, ..site };
        prop_assert!(fits.disk() <= disk as f64);
        if outage_hours < MOST_OUTAGE_HOURS {
            let longer = Site { outage_hours: outage_hours * 1.2 + 1.0, ..site };
            prop_assert!(longer.disk() > disk as f64);
        }
    }

    #[test]
    fn a_faster_uplink_never_drains_later(rate in 0.1_f64..100.0, uplink in 1e4_f64..1e9, more in 1.0_f64..10.0) {
        let with = |uplink| Site { uplink: Some(uplink), ..hospital().at(rate) }.drain_hours(4.0, COSTS);
        if let Ok(hours) = with(uplink) {
            prop_assert!(with(uplink * more).expect("it drains") <= hours * (1.0 + 1e-9));
        }
    }
}
