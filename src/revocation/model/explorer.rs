//! Breadth-first search through everything that can happen: what is found first is found by the fewest steps.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Something that moves in steps.
pub(super) trait World: Clone + Hash {
    type Step: Copy + Debug;
    type Violation: Copy + Debug;

    /// What can happen next.
    fn steps(&self) -> Vec<Self::Step>;

    fn take(&mut self, step: Self::Step) -> Result<(), Self::Violation>;
}

/// What a search has found.
#[derive(Debug)]
pub(super) struct Explored<W: World> {
    /// The states that were told apart.
    pub(super) states: usize,
    /// The steps to the farthest of them.
    pub(super) depth: usize,
    /// The first violation, and the steps to it.
    pub(super) violation: Option<(W::Violation, Vec<W::Step>)>,
}

/// Goes through every state that can be reached from `start`, or to the first violation. States are the same when 128 bits of hash are.
pub(super) fn explore<W: World>(start: W) -> Explored<W> {
    let mut seen: HashSet<u128, BuildHasherDefault<Fingerprint>> = HashSet::default();
    seen.insert(fingerprint(&start));
    // How each state was reached, in the order of discovery.
    let mut steps: Vec<(usize, Option<W::Step>)> = vec![(0, None)];
    let mut level = vec![(0, start)];
    let mut depth = 0;
    loop {
        let mut next = Vec::new();
        for (number, world) in level {
            for step in world.steps() {
                let mut successor = world.clone();
                if let Err(violation) = successor.take(step) {
                    let trace = trace(&steps, number, step);
                    return Explored { states: seen.len(), depth: trace.len(), violation: Some((violation, trace)) };
                }
                if seen.insert(fingerprint(&successor)) {
                    next.push((steps.len(), successor));
                    steps.push((number, Some(step)));
                }
            }
        }
        if next.is_empty() {
            return Explored { states: seen.len(), depth, violation: None };
        }
        depth += 1;
        level = next;
    }
}

fn trace<S: Copy>(steps: &[(usize, Option<S>)], mut number: usize, last: S) -> Vec<S> {
    let mut trace = vec![last];
    while let (before, Some(step)) = steps[number] {
        trace.push(step);
        number = before;
    }
    trace.reverse();
    trace
}

fn fingerprint(state: &impl Hash) -> u128 {
    let mut fingerprint = Fingerprint::default();
    state.hash(&mut fingerprint);
    u128::from(fingerprint.low) << 64 | u128::from(fingerprint.high)
}

/// Two independent multiplicative hashes, fast without optimization. Nobody chooses the states, so it need not resist attacks.
#[derive(Clone, Copy)]
struct Fingerprint {
    low: u64,
    high: u64,
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self { low: 0x243F_6A88_85A3_08D3, high: 0x1319_8A2E_0370_7344 }
    }
}

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.low ^ self.high
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.low = mix(self.low ^ number, 0x9E37_79B9_7F4A_7C15);
        self.high = mix(self.high.rotate_left(23) ^ number, 0xD6E8_FEB8_6659_FD93);
    }

    fn write_u128(&mut self, number: u128) {
        self.write(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of the product are what is mixed")]
const fn mix(state: u64, factor: u64) -> u64 {
    let product = (state as u128).wrapping_mul(factor as u128);
    ((product >> 64) as u64 ^ product as u64).wrapping_add(factor.rotate_left(31))
}
