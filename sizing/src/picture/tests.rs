use super::{Picture, RegionKind, View};
use std::collections::HashSet;

fn picture(view: View) -> Picture {
    Picture { seed: 11, rows: 480, columns: 640, period: 24, view }
}

fn chroma(pixel: &[u8]) -> u8 {
    pixel.iter().max().unwrap() - pixel.iter().min().unwrap()
}

#[test]
fn frames_have_the_length_that_was_promised_at_any_size() {
    for view in View::ALL {
        for (rows, columns) in [(64, 64), (64, 300), (300, 64), (65, 85), (1, 1), (9, 31)] {
            let picture = Picture { rows, columns, ..picture(view) };
            assert_eq!(picture.painter().frame(1).len(), picture.frame_len());
        }
    }
}

#[test]
fn equal_pictures_give_equal_pixels_and_another_seed_others() {
    for view in View::ALL {
        let first = picture(view).painter().frame(3);
        assert_eq!(first, picture(view).painter().frame(3));
        assert_ne!(first, Picture { seed: 12, ..picture(view) }.painter().frame(3));
    }
}

#[test]
fn the_pixels_of_a_seed_never_change_between_releases() {
    let sums = View::ALL.map(|view| {
        let small = Picture { seed: 1, rows: 96, columns: 128, period: 4, view };
        let frame = small.painter().frame(1);
        frame.iter().fold(0_u32, |sum, value| sum.wrapping_mul(31).wrapping_add(u32::from(*value)))
    });
    let expected = [
        1_890_762_081,
        4_007_983_738,
        3_746_868_472,
        1_833_347_351,
        2_860_584_703,
        3_517_120_541,
        543_435_714,
        3_897_679_102,
    ];
    assert_eq!(sums, expected);
}

#[test]
fn a_loop_is_one_heartbeat_of_different_frames_and_then_begins_again() {
    for view in [View::Liver, View::Kidney, View::Vessel, View::VesselFlow, View::Heart, View::HeartFlow] {
        let painter = picture(view).painter();
        let frames: HashSet<_> = (0..24).map(|n| painter.frame(n)).collect();
        assert_eq!(frames.len(), 24, "{view:?}");
        assert_eq!(painter.frame(5), painter.frame(29));
    }
}

#[test]
fn only_views_with_flow_have_more_colour_than_the_texts() {
    for view in View::ALL {
        // Just after the beginning of a beat blood flows everywhere.
        let frame = picture(view).painter().frame(3);
        let coloured =
            frame.chunks_exact(3).filter(|pixel| chroma(pixel) > 64).count() as f64 / (640.0 * 480.0);
        let expected = if view.shows_flow() { 0.012..0.18 } else { 0.0005..0.012 };
        assert!(expected.contains(&coloured), "{view:?}: {coloured}");
    }
}

#[test]
fn regions_lie_on_the_screen_and_are_calibrated() {
    for view in View::ALL {
        let regions = picture(view).regions();
        assert_eq!(regions.len(), if matches!(view, View::MMode | View::Spectral) { 2 } else { 1 });
        for region in &regions {
            assert!(region.columns.0 < region.columns.1 && region.columns.1 < 640, "{view:?}: {region:?}");
            assert!(region.rows.0 < region.rows.1 && region.rows.1 < 480, "{view:?}: {region:?}");
            assert!(region.delta.0 > 0.0 && region.delta.1 > 0.0);
        }
        assert_eq!(regions[0].kind == RegionKind::ColourFlow, view.shows_flow());
    }
}

#[test]
fn a_fan_is_black_outside_and_speckled_inside() {
    let frame = picture(View::Liver).painter().frame(0);
    let at = |y: usize, x: usize| u32::from(frame[(y * 640 + x) * 3]);
    assert!((200..250).all(|y| (40..60).all(|x| at(y, x) == 0)), "left of the fan is nothing");
    let tissue: Vec<_> =
        (150..180).flat_map(|y| (300..340).map(move |x| (y, x))).map(|(y, x)| at(y, x)).collect();
    let mean = tissue.iter().sum::<u32>() / tissue.len() as u32;
    assert!((50..160).contains(&mean), "{mean}");
    let different: HashSet<_> = tissue.iter().collect();
    assert!(different.len() > 30, "speckle has many levels");
}
