//! Runs every target on its corpus and on mutations of it: a regression test for the findings of coverage-guided
//! fuzzing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use fuzz::{Target, named};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

/// How long a test, and a soak, mutates each target, unless [`SECONDS`] overrides it.
const SHORT: Duration = Duration::from_secs(2);
const SECONDS: &str = "KEELSON_FUZZ_SECONDS";
const LONG: Duration = Duration::from_secs(180);
const CASES: u32 = 200;
/// Limit per input.
const HANG: Duration = Duration::from_secs(30);
/// Maximal length of a mutated input.
const LONGEST: usize = 1 << 16;

/// A change of an input. Offsets are taken modulo its length.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(usize, u8),
    Set(usize, u8),
    /// Overwrites bytes with a boundary value.
    Number(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    /// Copies a part of it elsewhere.
    Repeat(usize, usize, usize),
    /// Appends the end of another input.
    Splice(usize, usize, usize),
    Cut(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let offset = any::<u16>().prop_map(usize::from);
    let length = prop_oneof![4 => 1_usize..9, 1 => 1_usize..600];
    let number = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(vec![0, 1, 0x7fff_ffff, 0x8000_0000, u64::from(u32::MAX), 1 << 63, u64::MAX])
            .prop_flat_map(|number| prop_oneof![
                Just((number as u32).to_be_bytes().to_vec()),
                Just((number as u16).to_le_bytes().to_vec()),
                Just(number.to_le_bytes().to_vec()),
                Just(number.to_be_bytes().to_vec()),
            ]),
    ];
    prop_oneof![
        3 => (offset.clone(), 0_u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        3 => (offset.clone(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        3 => (offset.clone(), number).prop_map(|(at, number)| Mutation::Number(at, number)),
        2 => (offset.clone(), vec(any::<u8>(), 1..12)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => (offset.clone(), length.clone()).prop_map(|(at, count)| Mutation::Remove(at, count)),
        2 => (offset.clone(), offset.clone(), length).prop_map(|(from, to, count)| Mutation::Repeat(from, to, count)),
        1 => (offset.clone(), offset.clone(), offset.clone())
            .prop_map(|(other, from, to)| Mutation::Splice(other, from, to)),
        1 => offset.prop_map(Mutation::Cut),
    ]
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>, all: &[Vec<u8>]) {
        let within = |at: usize, length: usize| at % (length + 1);
        let length = bytes.len();
        match self {
            Mutation::Flip(at, bit) if length > 0 => bytes[at % length] ^= 1 << bit,
            Mutation::Set(at, byte) if length > 0 => bytes[at % length] = *byte,
            Mutation::Number(at, number) if length >= number.len() => {
                let at = within(*at, length - number.len());
                bytes[at..at + number.len()].copy_from_slice(number);
            }
            Mutation::Insert(at, more) => {
                drop(bytes.splice(within(*at, length)..within(*at, length), more.iter().copied()))
            }
            Mutation::Remove(at, count) => {
                let at = within(*at, length);
                bytes.drain(at..(at + count).min(length));
            }
            Mutation::Repeat(from, to, count) => {
                let from = within(*from, length);
                let part = bytes[from..(from + count).min(length)].to_vec();
                let to = within(*to, length);
                drop(bytes.splice(to..to, part));
            }
            Mutation::Splice(other, from, to) => {
                let other = &all[other % all.len()];
                bytes.truncate(within(*to, length));
                bytes.extend_from_slice(&other[within(*from, other.len())..]);
            }
            Mutation::Cut(at) => bytes.truncate(within(*at, length)),
            Mutation::Flip(..) | Mutation::Set(..) | Mutation::Number(..) => {}
        }
        bytes.truncate(LONGEST);
    }
}

/// Runs one input; returns why it failed.
fn run_one(target: &Target, bytes: &[u8]) -> Result<(), String> {
    let began = Instant::now();
    catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).map_err(|why| {
        let text = why.downcast_ref::<String>().map(String::as_str);
        text.or(why.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })?;
    if began.elapsed() > HANG { Err(format!("it took {:?}", began.elapsed())) } else { Ok(()) }
}

/// The configured time, or `usual`.
fn time(usual: Duration) -> Duration {
    let configured = std::env::var(SECONDS).ok();
    configured
        .map_or(usual, |text| Duration::from_secs(text.parse().expect("KEELSON_FUZZ_SECONDS is a number")))
}

/// With a seed, the mutations are the same each time, up to the time limit.
fn check(name: &str, time: Duration, seed: Option<u64>) {
    let target = named(name).unwrap();
    let inputs = target.inputs().unwrap();
    assert!(!inputs.is_empty(), "{name} has nothing to begin with");
    for (input, bytes) in &inputs {
        run_one(target, bytes).unwrap_or_else(|why| panic!("{name}, {input}: {why}"));
    }
    let all: Vec<Vec<u8>> = inputs.into_iter().map(|(_, bytes)| bytes).collect();
    let mutated = |(first, mutations): &(usize, Vec<Mutation>)| {
        let mut bytes = all[first % all.len()].clone();
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes, &all));
        bytes
    };
    let (began, tried) = (Instant::now(), Cell::new(0));
    for round in 0.. {
        // A slow machine runs fewer; it does not fail.
        let over = || began.elapsed() > time;
        if over() {
            break;
        }
        let rng_seed = seed.map_or(RngSeed::Random, |seed| RngSeed::Fixed(seed + round));
        let config = Config { cases: CASES, failure_persistence: None, rng_seed, ..Config::default() };
        let done = TestRunner::new(config).run(&(any::<usize>(), vec(mutation(), 1..12)), |case| {
            if over() {
                return Ok(());
            }
            tried.set(tried.get() + 1);
            run_one(target, &mutated(&case)).map_err(TestCaseError::fail)
        });
        if let Err(TestError::Fail(why, case)) = done {
            let bytes = mutated(&case);
            let path = std::env::temp_dir().join(format!("{name}-{:08x}", crc32fast::hash(&bytes)));
            std::fs::write(&path, &bytes).unwrap();
            panic!("{name}: {why}\n{:?}\nkept at {}", String::from_utf8_lossy(&bytes), path.display());
        }
    }
    println!("{name}: {} kept inputs and seeds, {} mutations of them", all.len(), tried.get());
    assert!(tried.get() > 0, "{name}: no mutation was tried within {time:?}");
}

macro_rules! targets {
    ($($name:ident $soak:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name), time(SHORT), Some(1));
            }

            #[test]
            #[ignore = "minutes: cargo verify --all soaks"]
            fn $soak() {
                check(stringify!($name), time(LONG), None);
            }
        )*

        #[test]
        fn every_target_is_tried() {
            let tried = [$(stringify!($name)),*];
            let all: Vec<_> = fuzz::ALL.iter().map(|target| target.name).collect();
            assert_eq!(all, tried);
        }
    };
}

targets! {
    checkpoint soak_checkpoint
    client soak_client
    commands soak_commands
    config soak_config
    customization soak_customization
    dhcp soak_dhcp
    discovery soak_discovery
    guest_rpc soak_guest_rpc
    http soak_http
    lock soak_lock
    log soak_log
    metadata soak_metadata
    mime soak_mime
    network soak_network
    omaha soak_omaha
    payload soak_payload
    payload_index soak_payload_index
    peer soak_peer
    provider soak_provider
    release soak_release
    roots soak_roots
    security_tracker soak_security_tracker
    slots soak_slots
    tftp soak_tftp
    tuf_metadata soak_tuf_metadata
    user_data soak_user_data
    worker soak_worker
    yaml soak_yaml
}
