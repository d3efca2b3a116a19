//! `docs/contract.md` lists what a system of hooks in the manner of ntopng has to keep to, line by line, and
//! which tests show it. Here the page is held to the tests that there are.

use std::path::Path;

#[test]
fn every_line_of_the_contract_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/contract.md")).unwrap();
    let mut lines = 0;
    for row in page.lines().filter(|row| row.starts_with("| ") && !row.starts_with("| line")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [number, _, tests] = cells[..] else { panic!("{row}") };
        lines += 1;
        assert_eq!(number.trim().parse(), Ok(lines), "{row}");
        // `path::to/file.rs name`, one after the other.
        let named: Vec<(&str, &str)> =
            tests.split('`').skip(1).step_by(2).map(|test| test.split_once(' ').unwrap()).collect();
        assert!(!named.is_empty(), "{row}");
        for (file, name) in named {
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(text.contains(&format!("fn {name}(")), "docs/contract.md: {file} has no test {name}");
        }
    }
    assert_eq!(lines, 20);
}
