//! How lanes treat the kinds, as people are told.

use super::*;

/// The table of `docs/recipients.md`: what is told together, and what becomes of a repetition.
#[test]
fn manners_are_those_that_the_page_of_recipients_tells() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recipients.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("<!-- manners -->").unwrap();
    let rows: Vec<Vec<&str>> = table
        .split("<!-- end -->")
        .next()
        .unwrap()
        .lines()
        .skip(3)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(names, configurable_kinds());
    let joining: GateConfig = toml::from_str("digest_above = 5").unwrap();
    for row in rows {
        let kind = super::kind(row[0]).unwrap();
        let built = kind.build(&sample(kind, "endpoint"), &sample(kind, "recipient"), &deps()).unwrap();
        let manners = built.manners();
        let repetition = match row[2] {
            "is told twice" => Repetition::Told,
            text if text.starts_with("is known") => Repetition::Known,
            text if text.starts_with("is a second line") => Repetition::Harmless,
            other => panic!("{other}"),
        };
        assert_eq!((manners.has_text, manners.repetition), (row[1] == "yes", repetition), "{}", row[0]);
        let refused = manners.takes(&joining, row[0]).err();
        assert_eq!(refused.is_some(), row[1] == "no", "{}", row[0]);
        assert!(refused.is_none_or(|cause| cause.contains(row[0]) && cause.contains("gate.digest_above")));
    }
}
