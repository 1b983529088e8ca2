//! The list of cases and the tests agree, and `tests/COVERAGE.md` says how.
//!
//! A case of `tests/cases.toml` has an id of capital letters and a number, such as `T9`. A test shows a case by naming it: each part
//! of the test's name, between underscores, that is an id in lower case is one, wherever it stands. `k6_to_k8` names three.
//! A part that looks like an id counts as one: a word such as `u64` has no place in the name of a test.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

/// What makes the rendered list anew.
const COMMAND: &str = "UPDATE=1 cargo test --locked --test it coverage";

/// Letters and a number, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Id(String, u32);

#[derive(Deserialize)]
struct Cases {
    section: Vec<Section>,
}

#[derive(Deserialize)]
struct Section {
    title: String,
    /// Title, and the reason if no test names it.
    cases: BTreeMap<Id, Vec<String>>,
}

/// How a case stands.
enum Standing {
    Tested(Vec<String>),
    SameAs(Vec<Id>),
    Later(String),
    NotApplicable(String),
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let letters = text.trim_end_matches(|c: char| c.is_ascii_digit());
        let good = (1..=2).contains(&letters.len()) && letters.bytes().all(|byte| byte.is_ascii_uppercase());
        match text[letters.len()..].parse() {
            Ok(number) if good && !text[letters.len()..].starts_with('0') => Ok(Self(letters.into(), number)),
            _ => Err(format!("{text} is no id of a case")),
        }
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0, self.1)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read_cases() -> Vec<Section> {
    let text = std::fs::read_to_string(root().join("tests/cases.toml")).unwrap();
    toml::from_str::<Cases>(&text).unwrap().section
}

/// Every test, as module and name: those of the behaviours and those beside the code.
fn tests() -> Vec<String> {
    let mut tests = Vec::new();
    for (directory, prefix) in [("tests/it", "it::"), ("src", "")] {
        let directory = root().join(directory);
        let mut files = Vec::new();
        collect_files(&directory, &mut files);
        files.sort();
        for file in files {
            let path = file.strip_prefix(&directory).unwrap().with_extension("");
            let module = path.to_str().unwrap().replace('/', "::");
            let text = std::fs::read_to_string(file).unwrap();
            tests.extend(test_names(&text).into_iter().map(|name| format!("{prefix}{module}::{name}")));
        }
    }
    tests
}

fn collect_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The functions under a test attribute.
fn test_names(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(name) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ") {
            if is_test {
                names.push(name.split('(').next().unwrap());
            }
            is_test = false;
        }
    }
    names
}

/// The ids that a test's name has in it. `is_known` says which letters ids begin with.
fn ids_of(name: &str, is_known: impl Fn(&str) -> bool) -> Vec<Id> {
    let parts: Vec<&str> = name.split('_').collect();
    let id_at = |at: usize| {
        let part = parts.get(at).filter(|part| !part.contains(|c: char| c.is_ascii_uppercase()))?;
        part.to_uppercase().parse().ok().filter(|Id(letters, _)| is_known(letters))
    };
    let mut ids = Vec::new();
    for at in 0..parts.len() {
        let Some(id) = id_at(at) else { continue };
        if at >= 2
            && parts[at - 1] == "to"
            && let Some(first) = id_at(at - 2).filter(|first| first.0 == id.0)
        {
            ids.extend((first.1 + 1..id.1).map(|number| Id(id.0.clone(), number)));
        }
        ids.push(id);
    }
    ids
}

/// What a reason says, or that it says nothing.
fn parse_reason(reason: &str) -> Result<Standing, String> {
    let (kind, text) = reason.split_once(": ").ok_or_else(|| format!("{reason:?} is no reason"))?;
    match kind {
        "later" => Ok(Standing::Later(text.into())),
        "not applicable" => Ok(Standing::NotApplicable(text.into())),
        "same as" => Ok(Standing::SameAs(text.split(' ').map(str::parse).collect::<Result<_, _>>()?)),
        _ => Err(format!("{reason:?} begins with no kind of reason")),
    }
}

/// How every case stands, and everything that is wrong with the list.
fn compare(sections: &[Section], tests: &[String]) -> (BTreeMap<Id, Standing>, Vec<String>) {
    let mut wrong = Vec::new();
    let cases: BTreeMap<&Id, &Vec<String>> = sections.iter().flat_map(|section| &section.cases).collect();
    let mut named: BTreeMap<Id, Vec<String>> = BTreeMap::new();
    for test in tests {
        let name = test.rsplit("::").next().unwrap();
        for id in ids_of(name, |letters| cases.keys().any(|id| id.0 == letters)) {
            if !cases.contains_key(&id) {
                wrong.push(format!("{test} names {id}, which is no case"));
            }
            named.entry(id).or_default().push(test.clone());
        }
    }
    let mut standings = BTreeMap::new();
    for (id, case) in cases {
        let standing = match (case.as_slice(), named.get(id)) {
            ([_], Some(tests)) => Standing::Tested(tests.clone()),
            ([_, reason], None) => match parse_reason(reason) {
                Ok(standing) => standing,
                Err(why) => {
                    wrong.push(format!("{id}: {why}"));
                    continue;
                }
            },
            ([_], None) => {
                wrong.push(format!("{id} has neither a test nor a reason"));
                continue;
            }
            ([_, reason], Some(tests)) => {
                wrong.push(format!("{id} has the reason {reason:?}, but {} names it", tests.join(" and ")));
                continue;
            }
            _ => {
                wrong.push(format!("{id} is not a title, or a title and a reason"));
                continue;
            }
        };
        standings.insert(id.clone(), standing);
    }
    for (id, standing) in &standings {
        let Standing::SameAs(others) = standing else { continue };
        for other in others.iter().filter(|other| !matches!(standings.get(other), Some(Standing::Tested(_)))) {
            wrong.push(format!("{id} is the same as {other}, which no test names"));
        }
    }
    (standings, wrong)
}

fn render(sections: &[Section], standings: &BTreeMap<Id, Standing>) -> String {
    let mut totals = String::new();
    let mut tables = String::new();
    let mut sum = [0; 5];
    for section in sections {
        let mut counts = [0; 5];
        let _ = write!(tables, "\n## {}\n\n| id | case | shown by |\n|---|---|---|\n", section.title);
        for (id, case) in &section.cases {
            let (kind, shown_by) = match &standings[id] {
                Standing::Tested(tests) => {
                    (1, tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join("<br>"))
                }
                Standing::SameAs(ids) => {
                    (2, format!("see {}", ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
                }
                Standing::Later(what) => (3, format!("**later**: {what}")),
                Standing::NotApplicable(why) => (4, format!("not applicable: {why}")),
            };
            counts[0] += 1;
            counts[kind] += 1;
            let _ = writeln!(tables, "| {id} | {} | {shown_by} |", case[0]);
        }
        let _ = writeln!(totals, "| {} | {} |", section.title, counts.map(|count| count.to_string()).join(" | "));
        sum = std::array::from_fn(|kind| sum[kind] + counts[kind]);
    }
    format!(
        "# Which test shows which case\n\nMade from `tests/cases.toml` and the names of the tests: `{COMMAND}`.\n\n\
         | section | cases | tests name it | tests of another case | later | not applicable |\n|---|---:|---:|---:|---:|---:|\n\
         {totals}| **all** | {} |\n{tables}",
        sum.map(|count| format!("**{count}**")).join(" | ")
    )
}

#[expect(clippy::disallowed_methods, reason = "this is how the one who runs it asks for a new list")]
fn is_update() -> bool {
    std::env::var("UPDATE").is_ok()
}

#[test]
fn every_case_has_a_test_or_a_reason_and_the_coverage_says_so() {
    let sections = read_cases();
    let (standings, wrong) = compare(&sections, &tests());
    assert!(wrong.is_empty(), "tests/cases.toml and the tests disagree:\n{}", wrong.join("\n"));
    let (path, rendered) = (root().join("tests/COVERAGE.md"), render(&sections, &standings));
    if is_update() {
        std::fs::write(&path, &rendered).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == rendered,
        "tests/COVERAGE.md is out of date; run: {COMMAND}"
    );
}

#[test]
fn a_case_is_named_alone_in_a_row_or_as_a_range() {
    for (name, expected) in [
        ("a_code_expires", ""),
        ("t9_failed", "T9"),
        ("a23_unknown_parameters_and_a24_a_form", "A23 A24"),
        ("k6_to_k8_k10_a_wrong_proof", "K6 K7 K8 K10"),
        ("k6_to_t8_another_letter", "K6 T8"),
        ("rg56_the_last_header", "RG56"),
        ("the_http2_limits_of_rfc6749_and_v4", ""),
    ] {
        let ids = ids_of(name, |letters| ["A", "K", "T", "RG"].contains(&letters));
        assert_eq!(ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), expected, "{name}");
    }
}

#[test]
fn a_list_that_says_too_much_or_too_little_is_refused() {
    let sections =
        |cases: &str| toml::from_str::<Cases>(&format!("[[section]]\ntitle = 'x'\n[section.cases]\n{cases}"));
    let tests = ["it::token::k1_a_code".to_owned()];
    for (cases, says) in [
        ("K1 = ['x']", ""),
        ("K1 = ['x']\nK2 = ['x', 'later: y']\nK3 = ['x', 'not applicable: y']\nK4 = ['x', 'same as: K1']", ""),
        ("K1 = ['x']\nK2 = ['x']", "K2 has neither"),
        ("K1 = ['x', 'later: y']", "K1 has the reason"),
        ("K2 = ['x', 'later: y']", "names K1, which is no case"),
        ("K1 = ['x']\nK2 = ['x', 'perhaps: y']", "no kind of reason"),
        ("K1 = ['x']\nK2 = ['x', 'later: y']\nK3 = ['x', 'same as: K2']", "which no test names"),
        ("K1 = ['x']\nK2 = []", "K2 is not a title"),
    ] {
        let (_, wrong) = compare(&sections(cases).unwrap().section, &tests);
        assert!(wrong.join(" ").contains(says) && wrong.is_empty() == says.is_empty(), "{cases}: {wrong:?}");
    }
    assert!(sections("K01 = ['x']").is_err() && sections("ABC1 = ['x']").is_err());
}
