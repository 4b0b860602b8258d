//! What the pages for readers name is there: files, tests, metrics.

use std::fs;
use std::path::{Path, PathBuf};

use vectide::testkit::metrics;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<(PathBuf, String)> {
    let files = |folder| fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let docs = ["docs", "docs/indexes"].into_iter().flat_map(files).filter(|path| path.is_file());
    let pages = docs.chain(["README.md", "assets/README.md", "deploy/README.md"].map(|page| root().join(page)));
    pages.map(|page| (page.clone(), fs::read_to_string(page).unwrap())).collect()
}

/// What stands between backticks, outside of code blocks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

/// What a link calls the headings of a page.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('#'));
    let names = lines.map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"));
    names.map(|name| name.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect())
}

#[test]
fn the_files_that_are_named_exist() {
    for (page, text) in pages() {
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            assert!(file.exists(), "{}: {link}", page.display());
            let is_there =
                heading.is_empty() || headings(&fs::read_to_string(file).unwrap()).any(|there| there == heading);
            assert!(is_there, "{}: {link}", page.display());
        }
        for name in quoted(&text).map(|name| name.split(": ").next().unwrap_or(name)) {
            let is_file = ["src/", "tests/", "benches/", "assets/"].iter().any(|folder| name.starts_with(folder));
            if is_file && !name.contains(['<', '*']) {
                assert!(root().join(name).exists(), "{}: {name}", page.display());
            }
        }
    }
}

/// `file: test`, then further tests of the same file.
#[test]
fn the_tests_that_are_said_to_show_a_guarantee_exist() {
    let page = fs::read_to_string(root().join("docs/tests.md")).unwrap();
    let (mut file, mut shown) = (String::new(), 0);
    for name in quoted(&page) {
        let test = match name.split_once(".rs: ") {
            Some((path, test)) => {
                file = fs::read_to_string(root().join(format!("{path}.rs"))).unwrap();
                test
            }
            // The name of a test is a sentence; nothing else on the page looks like one.
            None if name.matches('_').count() >= 3
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') =>
            {
                name
            }
            None => continue,
        };
        let defined = file.split(&format!("fn {test}(")).count() - 1;
        assert_eq!(defined, 1, "{test}");
        shown += 1;
    }
    assert!(shown > 40, "only {shown} tests were read from the page");
}

/// What stands in the first column of the tables.
fn first_cells(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    rows.map(|(first, _)| first).collect()
}

#[test]
fn every_failure_has_its_tests_and_no_other_has() {
    let [failures, tests] =
        ["docs/failures.md", "docs/tests.md"].map(|page| fs::read_to_string(root().join(page)).unwrap());
    let (_, tests) = tests.split_once("\n## Failures\n").unwrap();
    let (failures, tested) = (first_cells(&failures), first_cells(tests));
    assert!(failures.len() > 40, "only {} failures were read from the page", failures.len());
    for failure in &failures {
        assert!(tested.contains(failure), "docs/tests.md has no row for: {failure}");
    }
    for failure in &tested {
        assert!(failures.contains(failure), "docs/failures.md has no row for: {failure}");
    }
}

#[test]
fn the_tests_named_in_the_readme_exist() {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with('|') && line.contains("` in `")).collect();
    assert!(rows.len() >= 5, "the guarantees are a table with a test in each row");
    for row in rows {
        let names: Vec<&str> = quoted(row).collect();
        let [.., test, file] = names[..] else { panic!("{row}") };
        let source = fs::read_to_string(root().join(file)).unwrap();
        assert!(source.contains(&format!("fn {test}(")), "{row}");
    }
}

#[test]
fn every_metric_is_explained_and_no_other() {
    let rendered = metrics::shown();
    let families = rendered.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let ours: Vec<&str> = families.filter(|name| !name.starts_with("process_")).collect();
    let page = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("Metrics")).unwrap();
    for name in &ours {
        assert!(section.contains(&format!("`{name}`")), "{name} is not explained");
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for name in quoted(section).chain(quoted(&readme)) {
        let is_metric = name.starts_with("vectide_") || name.starts_with("embedding_");
        assert!(!is_metric || ours.contains(&name.split('{').next().unwrap_or(name)), "there is no metric {name}");
    }
}
