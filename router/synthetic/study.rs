//! One study of a test patient.

use std::sync::Arc;

use chrysalis_sizing::StudyKind;

use super::factory::Films;
use super::header::Place;
use super::identity::Key;
use super::instance::TestInstance;
use crate::dicom::Uid;

/// A study of a patient who does not exist.
#[derive(Clone)]
pub struct TestStudy {
    /// Its number, from which with the seed everything follows.
    pub number: u64,
    /// What it contains.
    pub kind: &'static StudyKind,
    /// Study Instance UID (0020,000D).
    pub study_instance_uid: Uid,
    /// Patient ID (0010,0020); each study has a patient of its own.
    pub patient_id: String,
    pub(super) key: Key,
    films: Arc<Films>,
}

impl TestStudy {
    pub(super) fn new(films: Arc<Films>, number: u64, kind: &'static StudyKind) -> Self {
        let StudyKind { name, stills, loops, frames_per_loop, .. } = kind;
        let contents = format!("{number}\0{name}\0{stills}\0{loops}\0{frames_per_loop}");
        let key = films.key.inside(&contents);
        let patient_id = format!("TEST-{}-{number:06}", key.short());
        Self { number, kind, study_instance_uid: key.inside("study").uid(), patient_id, key, films }
    }

    /// Its instances in the order in which a cart sends them: stills first, then loops. They are made one by one.
    pub fn instances(&self) -> impl ExactSizeIterator<Item = TestInstance> + '_ {
        (0..self.kind.instances()).map(|number| self.instance(number))
    }

    /// Instance `number`, counted from 0.
    fn instance(&self, number: u32) -> TestInstance {
        let is_still = number < self.kind.stills;
        let (films, at) = match is_still {
            true => (&self.films.stills, number),
            false => (&self.films.clips, number - self.kind.stills),
        };
        // Each study begins with another picture.
        let at = (u64::from(at).wrapping_add(self.number)) % films.len().max(1) as u64;
        let film = Arc::clone(&films[at as usize]);
        let place = Place { study: self, cart: self.films.cart, number, is_still, film: &film };
        let frames = if is_still { 1 } else { self.kind.frames_per_loop.max(1) };
        let header = place.header(frames);
        TestInstance::new(place.sop_instance(), header, Arc::clone(&film), frames, is_still)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Factory, Recipe};
    use chrysalis_sizing::{Encoding, Mix};
    use std::collections::HashSet;

    static MIX: Mix = Mix {
        kinds: &[
            StudyKind { name: "a", share: 40, stills: 3, loops: 1, frames_per_loop: 30 },
            StudyKind { name: "b", share: 20, stills: 0, loops: 2, frames_per_loop: 5 },
            StudyKind { name: "c", share: 40, stills: 1, loops: 0, frames_per_loop: 1 },
        ],
        native_frame: 64 * 85 * 3,
        jpeg_frame: 2_000,
        lossless_frame: 6_000,
    };

    fn factory(seed: u64) -> Factory {
        Factory::new(Recipe { seed, mix: &MIX, encoding: Encoding::NativeStills }).unwrap()
    }

    #[test]
    fn the_same_seed_and_number_give_the_same_bytes_in_another_factory() {
        for number in 0..5 {
            let digests = |study: TestStudy| study.instances().map(|i| i.digest()).collect::<Vec<_>>();
            assert_eq!(digests(factory(7).study(number)), digests(factory(7).study(number)));
        }
    }

    #[test]
    fn no_two_seeds_numbers_encodings_or_kinds_share_a_uid_or_a_patient() {
        let mut seen = HashSet::new();
        let mut all_new = |study: TestStudy| {
            assert!(seen.insert(study.study_instance_uid.clone()));
            assert!(seen.insert(Uid::new(&study.patient_id)));
            assert!(study.instances().all(|instance| seen.insert(instance.sop_instance)));
        };
        let other = Factory::new(Recipe { seed: 1, mix: &MIX, encoding: Encoding::AllJpeg }).unwrap();
        for number in 0..30 {
            all_new(factory(1).study(number));
            all_new(factory(2).study(number));
            all_new(other.study(number));
        }
        let of_a_kind = factory(1);
        let usual = of_a_kind.study(0).kind;
        let another = MIX.kinds.iter().find(|kind| *kind != usual).unwrap();
        all_new(of_a_kind.study_of(0, another).unwrap());
    }

    #[test]
    fn a_hundred_consecutive_studies_have_the_shares_of_the_mix_and_ten_nearly() {
        let factory = factory(3);
        let count = |range: std::ops::Range<u64>, name| {
            range.filter(|&number| factory.study(number).kind.name == name).count()
        };
        assert_eq!([count(0..100, "a"), count(0..100, "b"), count(0..100, "c")], [40, 20, 40]);
        assert_eq!([count(57..157, "a"), count(57..157, "b"), count(57..157, "c")], [40, 20, 40]);
        assert!((3..=5).contains(&count(0..10, "a")) && (1..=3).contains(&count(0..10, "b")));
    }

    #[test]
    fn stills_come_first_and_loops_have_their_frames() {
        let factory = factory(3);
        let study = factory.study_of(9, &MIX.kinds[0]).unwrap();
        let instances: Vec<_> = study.instances().map(|i| (i.is_still, i.frames)).collect();
        assert_eq!(instances, [(true, 1), (true, 1), (true, 1), (false, 30)]);
        assert_eq!(study.instances().len(), 4);
    }
}
