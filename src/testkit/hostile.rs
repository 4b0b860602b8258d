//! Hostile input: whatever somebody may send, made from seeds by the same steps on every machine.
//!
//! A target is a folder of `tests/hostile/corpus` and a check. [`attack`] gives the check every file of the folder as it is, then as
//! many mutations of them as there are cases: a few thousand bytes each, broken as producers, networks and attackers break them. A case
//! is a number, and the same number always makes the same input.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use fastrand::Rng;

/// Says how many cases each target has; [`CASES`] unless it is set.
const CASES_VARIABLE: &str = "VECTIDE_HOSTILE_CASES";
/// Names the one case to run.
const CASE_VARIABLE: &str = "VECTIDE_HOSTILE_CASE";
/// Cases of a target in an ordinary run of the tests: seconds in all.
const CASES: u64 = 400;
/// The largest input that a mutation makes, in bytes.
const MOST: usize = 64 << 10;
/// How deep a mutation nests at most: beyond every limit there is.
const DEEPEST: usize = 600;

/// Bits of text that parsers stumble over, wherever they are put.
const TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\\",
    b"'",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\\u0000",
    b"\\ud800",
    b"\\ud83d\\ude00",
    b"{}",
    b"[]",
    b"\"\"",
    b"null",
    b"true",
    b"NaN",
    b"-Infinity",
    b"{\"\":0}",
    b"\"id\":",
    b"~1",
    b"/",
    b"- ",
    b"# ",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!x ",
    b"? ",
    b"--- ",
    b"|\n",
    b"${",
    b"${KEY}",
    b"{{ ",
    b" }}",
    b"{% for a in b %}",
    b"::",
    b"=",
];

/// What stands in for a number.
const NUMBERS: &[&[u8]] = &[
    b"0",
    b"-0",
    b"-0.0",
    b"1",
    b"-1",
    b"0.1",
    b"127",
    b"2147483648",
    b"9007199254740993",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"340282366920938463463374607431768211456",
    b"1e308",
    b"-1e308",
    b"1e309",
    b"5e-324",
    b"1e-400",
    b"1E+2147483648",
    b"01",
    b"1.",
    b".5",
    b"+1",
    b"0x10",
    b"1_000",
];

/// Gives a target's check everything there is to try.
///
/// # Panics
/// When the check does. Before that it is told how to run the case alone, and where its input lies.
pub fn attack(target: &str, check: impl Fn(&[u8])) {
    let seeds = seeds(target);
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number of cases"));
    let cases = match number(CASE_VARIABLE) {
        Some(case) => case..case + 1,
        None => 0..number(CASES_VARIABLE).unwrap_or(CASES),
    };
    for (name, seed) in &seeds {
        run(target, &format!("file {name}"), seed, &check);
    }
    for case in cases {
        let input = input(&seeds, case);
        run(target, &format!("case {case}, alone by {CASE_VARIABLE}={case}"), &input, &check);
    }
}

fn run(target: &str, which: &str, input: &[u8], check: &impl Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
        let file = kept_of(target);
        let kept = match fs::write(&file, input) {
            Ok(()) => format!("its input is {}: add it to tests/hostile/corpus/{target}", file.display()),
            Err(error) => format!("its input could not be kept: {error}"),
        };
        eprintln!("target {target}, {which}; {kept}");
        resume_unwind(panic);
    }
}

/// Where the input is kept that this process failed with. Others of the same tests may run beside it.
fn kept_of(target: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vectide-hostile-{target}-{}", std::process::id()))
}

/// The files of a target by name, in the order of their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file of the corpus").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no file to begin with", folder.display());
    let seed = |path: PathBuf| {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        (name, fs::read(&path).expect("a file of the corpus"))
    };
    paths.into_iter().map(seed).collect()
}

/// The input of a case.
fn input(seeds: &[(String, Vec<u8>)], case: u64) -> Vec<u8> {
    let mut random = Rng::with_seed(case);
    let pick = |random: &mut Rng| seeds[random.usize(..seeds.len())].1.as_slice();
    let mut input = pick(&mut random).to_vec();
    for _ in 0..random.usize(1..=4) {
        let other = pick(&mut random);
        mutate(&mut input, other, &mut random);
        input.truncate(MOST);
    }
    input
}

fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    let part = part(input.len(), random);
    match random.u8(..11) {
        0 => {
            if let Some(byte) = random.choice(input.iter_mut()) {
                *byte ^= 1 << random.u8(..8);
            }
        }
        1 => {
            if let Some(byte) = random.choice(input.iter_mut()) {
                *byte = random.u8(..);
            }
        }
        2 => drop(input.drain(part)),
        3 => input.truncate(part.start),
        4 => {
            let again = input[part.clone()].to_vec();
            insert(input, part.end, &again);
        }
        5 => {
            let most = 1 << random.usize(1..16);
            let times = random.usize(1..=most);
            let again = input[part.clone()].repeat(times.min(MOST / part.len().max(1)));
            insert(input, part.end, &again);
        }
        6 => {
            let from = random.usize(..=other.len());
            input.truncate(part.start);
            input.extend_from_slice(&other[from..]);
        }
        7 => {
            let piece = other[self::part(other.len(), random)].to_vec();
            insert(input, part.start, &piece);
        }
        8 => insert(input, part.start, TOKENS[random.usize(..TOKENS.len())]),
        9 => replace_number(input, part.start, random),
        _ => nest(input, part, random),
    }
}

fn part(length: usize, random: &mut Rng) -> std::ops::Range<usize> {
    let start = random.usize(..=length);
    // Short parts more often than long ones.
    let most = (length - start).min(1 << random.usize(..17));
    start..start + random.usize(..=most)
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

/// Replaces the first number behind a place, digits or a million of them.
fn replace_number(input: &mut Vec<u8>, from: usize, random: &mut Rng) {
    let Some(start) = input[from..].iter().position(u8::is_ascii_digit).map(|found| from + found) else { return };
    let end = input[start..].iter().position(|byte| !b"0123456789.eE+-".contains(byte));
    let end = end.map_or(input.len(), |found| start + found);
    let number = match random.u8(..8) {
        0 => b"7".repeat(random.usize(1..MOST)),
        1 => [&b"0."[..], &b"3".repeat(random.usize(1..MOST))].concat(),
        _ => NUMBERS[random.usize(..NUMBERS.len())].to_vec(),
    };
    input.splice(start..end, number);
}

/// Puts a part into lists, objects or what only opens.
fn nest(input: &mut Vec<u8>, part: std::ops::Range<usize>, random: &mut Rng) {
    let levels = random.usize(1..=DEEPEST);
    let (open, close): (&[u8], &[u8]) = match random.u8(..5) {
        0 => (b"[", b"]"),
        1 => (b"{\"a\":", b"}"),
        2 => (b"{\"not\":", b"}"),
        3 => (b"[", b""),
        _ => (b"{\"and\":[", b"]}"),
    };
    insert(input, part.end, &close.repeat(levels));
    insert(input, part.start, &open.repeat(levels));
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

    fn all(target: &str) -> Vec<Vec<u8>> {
        let inputs = RefCell::new(Vec::new());
        attack(target, |input| inputs.borrow_mut().push(input.to_vec()));
        inputs.into_inner()
    }

    #[test]
    fn a_case_is_the_same_input_every_time_and_cases_differ() {
        let inputs = all("record");
        assert_eq!(inputs, all("record"));
        let different = inputs.iter().collect::<BTreeSet<_>>().len();
        assert!(different * 10 > inputs.len() * 9, "{different} of {}", inputs.len());
    }

    #[test]
    fn what_a_check_finds_is_kept_and_the_check_fails() {
        let failed = catch_unwind(|| attack("record", |input| assert!(input.len() < 10_000)));
        assert!(failed.is_err());
        let kept = fs::read(kept_of("record")).unwrap();
        assert!(kept.len() >= 10_000);
        fs::remove_file(kept_of("record")).unwrap();
    }
}
