//! What a script's configuration may be, as JSON Schema (draft 2020-12).

use std::cell::OnceCell;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// Says what a configuration may be.
#[derive(Debug)]
pub struct Schema {
    text: Value,
    /// Made when it is first needed: most scripts are never configured. `None` when the text is none.
    validator: OnceCell<Option<Validator>>,
}

impl Schema {
    /// A script's own schema.
    ///
    /// # Errors
    /// Says why it is none.
    pub fn new(text: Value) -> Result<Self, String> {
        let validator = jsonschema::validator_for(&text).map_err(|e| e.to_string())?;
        Ok(Self { text, validator: OnceCell::from(Some(validator)) })
    }

    /// The schema of a script that has none: every value that its default has is of the same type, and
    /// there may be others.
    pub fn of_default(default: &Value) -> Self {
        Self { text: like(default), validator: OnceCell::new() }
    }

    /// The schema as JSON.
    pub fn text(&self) -> &Value {
        &self.text
    }

    /// What is wrong with a configuration.
    ///
    /// # Errors
    /// Names the key and what is wrong with its value.
    pub fn check(&self, config: &Value) -> Result<(), String> {
        let made = self.validator.get_or_init(|| jsonschema::validator_for(&self.text).ok());
        let wrong: Vec<String> = made
            .iter()
            .flat_map(|validator| validator.iter_errors(config))
            .map(|error| match error.instance_path().to_string() {
                path if path.is_empty() => error.to_string(),
                path => format!("{}: {error}", path.trim_start_matches('/').replace('/', ".")),
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }
}

fn like(default: &Value) -> Value {
    let kind = match default {
        // Whatever the script makes of it.
        Value::Null => return json!({}),
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(map) => {
            let properties: Map<String, Value> =
                map.iter().map(|(key, value)| (key.clone(), like(value))).collect();
            return json!({ "type": "object", "properties": properties });
        }
    };
    json!({ "type": kind, "default": default })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_tells_the_types_of_its_values() {
        let schema = Schema::of_default(&json!({ "threshold": 10, "names": ["a"], "deep": { "on": true } }));
        assert_eq!(schema.check(&json!({ "threshold": 1.5, "more": "is allowed" })), Ok(()));
        let wrong = schema.check(&json!({ "threshold": "many", "deep": { "on": 1 } })).unwrap_err();
        assert!(wrong.contains("threshold: ") && wrong.contains("deep.on: "), "{wrong}");
        assert!(schema.check(&json!(7)).is_err());
    }

    #[test]
    fn a_script_may_say_more() {
        let schema = json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer", "minimum": 1 } },
                             "additionalProperties": false });
        let schema = Schema::new(schema).unwrap();
        assert_eq!(schema.check(&json!({ "n": 1 })), Ok(()));
        for wrong in [json!({}), json!({ "n": 0 }), json!({ "n": 1, "m": 2 })] {
            assert!(schema.check(&wrong).is_err(), "{wrong}");
        }
        assert!(Schema::new(json!({ "type": "hat" })).is_err());
    }
}
