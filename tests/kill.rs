//! `kill -9` at random times under load: nothing acknowledged is lost, and little is repeated.
//!
//! Ten kills every day; `CHRYSALIS_KILLS=100` for more, `CHRYSALIS_SEED` to have the same times again. The proof
//! (`tests/proof`) makes many more of them.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]
#![allow(dead_code, reason = "what it shares with the proof is more than it needs")]
#![allow(unreachable_pub, reason = "modules of a test binary, with no public interface to narrow")]

#[path = "proof/chance.rs"]
mod chance;
#[path = "proof/kill.rs"]
mod kill;
#[path = "proof/load.rs"]
mod load;
#[path = "proof/part.rs"]
mod part;
mod support;

use part::{Round, Seen};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn kills_at_random_times_under_load_lose_nothing() {
    let kills = setting("CHRYSALIS_KILLS").unwrap_or(10);
    let first = setting("CHRYSALIS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let mut total = Seen::default();
    for seed in first.. {
        let folder = tempfile::tempdir().unwrap();
        let (wanted, folder) = (kills - total.attacks, folder.path().to_owned());
        match kill::round(&Round { seed, wanted, folder }) {
            Ok(seen) => total.add(&seen),
            Err(broken) => panic!("seed {seed}: {}; {:?}", broken.why, broken.seen),
        }
        if total.attacks >= kills {
            break;
        }
    }
    eprintln!("seed {first}: {total:?}");
}
