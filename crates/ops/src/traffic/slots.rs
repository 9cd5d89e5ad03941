//! The slots of a split: who falls into which, and how they are dealt so that a change moves as few as can be.
//!
//! Splits of routes and layers of experiments share them.

use super::WHOLE;
use serde::{Deserialize, Serialize};

/// Slots that lie side by side: the first, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run(pub(crate) u32, pub(crate) u32);

/// What stands: the name of each share, its slots by number, and which they are in the order in which it got them.
pub(crate) type Stands<'a> = [(&'a str, u32, &'a [Run])];

/// The key of hashes: another for every purpose, salt and name.
pub(crate) fn key(purpose: &str, salt: &str, name: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    hasher.update(&(salt.len() as u64).to_le_bytes());
    hasher.update(salt.as_bytes());
    hasher.update(name.as_bytes());
    *hasher.finalize().as_bytes()
}

/// The slot of a subject (`kind` tells users from requests); `aside` has slots of its own.
pub(crate) fn slot(key: &[u8; 32], kind: u8, subject: &str, aside: Option<&str>) -> u32 {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&[kind]);
    hasher.update(&(subject.len() as u64).to_le_bytes());
    hasher.update(subject.as_bytes());
    if let Some(aside) = aside {
        hasher.update(aside.as_bytes());
    }
    let mut first = [0_u8; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    ((u128::from(u64::from_le_bytes(first)) * u128::from(WHOLE)) >> 64) as u32
}

/// For each slot the place of the share that it belongs to.
pub(crate) fn table(slots: &[Vec<Run>]) -> Vec<u8> {
    let mut table = vec![0_u8; WHOLE as usize];
    for (place, runs) in slots.iter().enumerate() {
        for &Run(first, count) in runs {
            table[first as usize..(first + count) as usize].fill(place as u8);
        }
    }
    table
}

/// Whether every slot belongs to one share.
pub(crate) fn is_dealt(slots: &[Vec<Run>]) -> bool {
    let mut seen = vec![false; WHOLE as usize];
    let once = slots.iter().flatten().all(|&Run(first, count)| {
        let end = first.checked_add(count).filter(|&end| end <= WHOLE);
        end.is_some_and(|end| (first..end).all(|slot| !std::mem::replace(&mut seen[slot as usize], true)))
    });
    once && seen.iter().all(|&s| s)
}

/// Deals the slots to names and weights that sum to [`WHOLE`], after what stands.
pub(crate) fn deal(before: Option<&Stands<'_>>, now: &[(&str, u32)]) -> Vec<Vec<Run>> {
    let mut free: Vec<Run> = Vec::new();
    let mut slots: Vec<Vec<Run>> = vec![Vec::new(); now.len()];
    match before {
        None => free.push(Run(0, WHOLE)),
        Some(before) => {
            for (name, weight, runs) in before {
                let mut runs = runs.to_vec();
                let place = now.iter().position(|(n, _)| n == name);
                let keeps = place.map_or(0, |place| now[place].1.min(*weight));
                take_last(&mut runs, weight - keeps, &mut free);
                if let Some(place) = place {
                    slots[place] = runs;
                }
            }
        }
    }
    // What was given up first is taken first; the first split of a route deals from slot 0 on.
    free.reverse();
    for ((_, weight), runs) in now.iter().zip(&mut slots) {
        let mut wanted = weight - runs.iter().map(|run| run.1).sum::<u32>();
        while wanted > 0 {
            let Some(run) = free.pop() else { break };
            let count = run.1.min(wanted);
            add(runs, Run(run.0, count));
            if count < run.1 {
                free.push(Run(run.0 + count, run.1 - count));
            }
            wanted -= count;
        }
    }
    slots
}

/// Takes the `count` slots that came last.
fn take_last(runs: &mut Vec<Run>, mut count: u32, out: &mut Vec<Run>) {
    while count > 0 {
        let Some(Run(first, len)) = runs.pop() else { return };
        let taken = len.min(count);
        if taken < len {
            runs.push(Run(first, len - taken));
        }
        out.push(Run(first + len - taken, taken));
        count -= taken;
    }
}

fn add(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.0 + last.1 == run.0 => last.1 += run.1,
        _ => runs.push(run),
    }
}
