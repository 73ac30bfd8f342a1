//! Measuring on a machine that is never quiet: everybody takes a turn in every round, and ratios are taken within rounds.

use std::time::Instant;

/// Something that is measured: its name, and what does it once.
pub type Party<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// What was measured of one party.
pub struct Measured {
    /// Its name.
    pub name: &'static str,
    /// MB/s in the median round.
    pub rate: f64,
    /// Its rate in relation to the first party's: the median of the rounds' ratios.
    pub ratio: f64,
}

/// Lets all parties process `bytes` bytes in each of `rounds` rounds, after one to warm up.
pub fn take_turns(bytes: usize, rounds: usize, parties: &mut [Party<'_>]) -> Vec<Measured> {
    let mut seconds = vec![Vec::new(); parties.len()];
    for round in 0..=rounds {
        for ((_, party), seconds) in parties.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            party();
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let measured = parties.iter().zip(&seconds).map(|((name, _), own)| {
        let rate = bytes as f64 / 1e6 / median(own.clone());
        let ratio = median(seconds[0].iter().zip(own).map(|(first, own)| first / own).collect());
        Measured { name, rate, ratio }
    });
    measured.collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
