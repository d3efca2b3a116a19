//! `docs/endpoints.md` holds the tables of parameters as the schemas say them; FLOWHOOK_BLESS=1 writes
//! them again.

use serde_json::Value;

use super::*;

fn page_path() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/endpoints.md")
}

/// The types that a schema takes, and its default.
fn takes(schema: &Value) -> String {
    let mut words = Vec::new();
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().map(takes).find(|text| text != "null").unwrap_or_default();
    }
    let choices = schema["enum"].as_array().or(schema["oneOf"].as_array());
    if let Some(choices) = choices {
        let of = |choice: &Value| choice.get("const").unwrap_or(choice).to_string();
        words.push(choices.iter().map(of).collect::<Vec<_>>().join(", "));
    } else if let (Some(min), Some(max)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        words.push(format!("{min} to {max}"));
    } else {
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).filter(|k| *k != "null").collect(),
            kind => vec![kind.as_str().unwrap_or("")],
        };
        let word = |kind: &&str| match *kind {
            "array" => "list",
            "object" => "table",
            "string" if schema["writeOnly"] == true => "secret",
            "string" => "text",
            "boolean" => "true, false",
            "integer" => "number",
            "null" => "null",
            other => panic!("{other} in {schema}"),
        };
        words.push(kinds.iter().map(word).collect::<Vec<_>>().join(" or "));
    }
    words.join("; ")
}

fn table_of(kind: &dyn Kind) -> String {
    let schema = kind.schema();
    let mut rows = Vec::new();
    for part in ["endpoint", "recipient"] {
        let about = &schema["properties"][part];
        let required: Vec<_> = about["required"].as_array().into_iter().flatten().collect();
        for (name, property) in about["properties"].as_object().into_iter().flatten() {
            let needed = required.iter().any(|required| *required == name);
            let default = match (needed, &property["default"]) {
                (true, _) => "required".to_owned(),
                (false, Value::Null | Value::Object(_) | Value::Array(_)) => String::new(),
                (false, Value::String(text)) if text.is_empty() => String::new(),
                (false, default) => default.to_string(),
            };
            let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
            rows.push(format!("| {part} | `{name}` | {} | {default} | {meaning} |", takes(property)));
        }
    }
    format!(
        "| of the | parameter | takes | default | meaning |\n|---|---|---|---|---|\n{}\n",
        rows.join("\n")
    )
}

#[test]
fn the_page_of_endpoints_has_the_parameters_of_every_kind() {
    let mut page = std::fs::read_to_string(page_path()).unwrap();
    for kind in KINDS.iter().filter(|kind| !kind.is_builtin()) {
        let name = kind.name();
        assert!(page.contains(&format!("\n## {name}\n")), "there is no section {name}");
        let start = format!("<!-- parameters {name} -->\n");
        let (before, rest) = page.split_once(&start).unwrap_or_else(|| panic!("no table for {name}"));
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        page = format!("{before}{start}{}<!-- end -->{after}", table_of(*kind));
    }
    for (field, _) in crate::format::template::FIELDS {
        assert!(page.contains(&format!("`{field}`")), "field {field} of templates is not on the page");
    }
    if std::env::var_os("FLOWHOOK_BLESS").is_some() {
        std::fs::write(page_path(), &page).unwrap();
    }
    let written = std::fs::read_to_string(page_path()).unwrap();
    assert!(written == page, "docs/endpoints.md is not what the schemas say: FLOWHOOK_BLESS=1 writes it");
}
