//! Configuration: a file of any text, with a secret in the environment.

use std::path::Path;

use vectide::settings::{load_text, print};
use vectide::testkit::hostile::attack;

const SECRET: &str = "hunter2-7f3a";

/// What is wrong with a file as a whole has no key to name.
const OF_THE_FILE: [&str; 5] = [
    "the YAML is broken",
    "it needs keys at the top level",
    "a YAML merge",
    "the environment variable",
    "a key is not text",
];

#[test]
fn any_text_is_a_configuration_or_problems_with_their_keys_and_without_secrets() {
    let secret = || Some(SECRET.to_owned());
    let environment = [("KEY".to_owned(), secret()), ("VECTIDE__EMBEDDING__API_KEY".to_owned(), secret())].into();
    attack("configuration", |input| {
        let text = String::from_utf8_lossy(input);
        match load_text(Path::new("config.yaml"), &text, &environment, &[]) {
            Ok(settings) => {
                let api_key = |text: &str| text.lines().any(|line| line.contains("api_key") && line.contains(SECRET));
                assert!(!api_key(&print(&settings)), "the key is printed");
            }
            Err(problems) => {
                let told = problems.to_string();
                assert!(!told.contains(SECRET), "a secret is told: {told}");
                assert!(!problems.list.is_empty() && told.starts_with("config.yaml has "));
                for problem in &problems.list {
                    let of_the_file = OF_THE_FILE.iter().any(|known| problem.text.starts_with(known));
                    assert!(!problem.text.is_empty());
                    assert!(of_the_file || !problem.path.steps().is_empty(), "no key is named: {problem}");
                }
            }
        }
    });
}
