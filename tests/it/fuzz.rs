//! The fuzz targets as ordinary tests: any bytes, and good inputs that were changed, for a second each.

mod targets;

use std::cell::Cell;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config as Runs, TestRunner};

use self::targets::{TARGETS, Target, redirect_uri};

/// How long each target runs, at least.
const TIME: Duration = Duration::from_secs(1);

/// A change of some bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Remove(Index, Index),
    Insert(Index, Vec<u8>),
    Double(Index, Index),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let between = |one: &Index, other: &Index| {
            let (one, other) = (one.index(bytes.len() + 1), other.index(bytes.len() + 1));
            one.min(other)..one.max(other)
        };
        match self {
            Self::Flip(at, bits) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Self::Flip(..) => {}
            Self::Remove(from, to) => drop(bytes.drain(between(from, to))),
            Self::Insert(at, more) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Double(from, to) => {
                let part = bytes[between(from, to)].to_vec();
                bytes.extend(part);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    // What separates and escapes somewhere.
    let pieces = ["%", "&", "=", "+", "\0", "\r\n", "//", "@", ":", "#", "\\", " ", "\n", "[::1]", "é", "\u{202e}"];
    let piece = proptest::sample::select(pieces.map(|piece| piece.as_bytes().to_vec()).to_vec());
    prop_oneof![
        (any::<Index>(), 1..=u8::MAX).prop_map(|(at, bits)| Change::Flip(at, bits)),
        any::<(Index, Index)>().prop_map(|(from, to)| Change::Remove(from, to)),
        (any::<Index>(), prop_oneof![piece, proptest::collection::vec(any::<u8>(), 1..8)])
            .prop_map(|(at, more)| Change::Insert(at, more)),
        any::<(Index, Index)>().prop_map(|(from, to)| Change::Double(from, to)),
    ]
}

/// Any bytes, or a good input with some changes.
fn input(target: &Target) -> impl Strategy<Value = Vec<u8>> + use<> {
    let changed = (proptest::sample::select(target.seeds), proptest::collection::vec(change(), 0..5)).prop_map(
        |(seed, changes)| {
            let mut bytes = seed.to_vec();
            for change in &changes {
                change.apply(&mut bytes);
            }
            bytes
        },
    );
    prop_oneof![1 => proptest::collection::vec(any::<u8>(), 0..300), 4 => changed]
}

#[test]
fn rg9_rg70_no_input_makes_a_reader_fail_or_lie() {
    for target in &TARGETS {
        let (began, cases) = (Instant::now(), Cell::new(0));
        while began.elapsed() < TIME {
            // A runner counts over all its runs, so each has one of its own.
            let mut runner = TestRunner::new(Runs { cases: 200, failure_persistence: None, ..Runs::default() });
            let outcome = runner.run(&input(target), |bytes| {
                (target.run)(&bytes);
                cases.set(cases.get() + 1);
                Ok(())
            });
            assert!(outcome.is_ok(), "{}: {}", target.name, outcome.unwrap_err());
        }
        let cases = cases.get();
        assert!(cases >= 200, "{}: {cases}", target.name);
        println!("{}: {cases} inputs", target.name);
    }
}

#[test]
fn rg51_no_redirect_uri_keeps_the_parser_busy() {
    let longest = |beginning: &str, piece: &str| {
        let mut uri = beginning.to_owned();
        while uri.len() + piece.len() <= 2_048 {
            uri.push_str(piece);
        }
        uri
    };
    let began = Instant::now();
    for beginning in ["http://[", "http://[::1]:", "https://", "https://c/", "http://127.0.0.1:", "a.b:", ""] {
        for piece in [":", "::", "0:", "1", "a.", "xn--", "../", "%2e/", "[", "@", "//", "ffff:", "."] {
            let uri = longest(beginning, piece);
            redirect_uri(format!("{uri}\0{uri}/").as_bytes());
        }
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
