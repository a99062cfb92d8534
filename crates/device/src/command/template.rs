//! The arguments of a command of the owner's, filled with what the command brought.
//!
//! Each word of the template stays one word: nothing is split, nothing is expanded, there is no shell.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::config::Parameter;

/// What was brought cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template needs it.
    #[error("the argument {0} is missing")]
    Missing(String),
    /// The device's owner does not allow it.
    #[error("the argument {0} is not one this device allows")]
    NotAllowed(String),
    /// The device's owner has not described it.
    #[error("the argument {0} is unknown")]
    Unknown(String),
}

/// The arguments, ready to be handed to the program.
///
/// # Errors
/// [`TemplateError`]: nothing may be run.
pub(crate) fn fill(
    template: &[String],
    parameters: &BTreeMap<String, Parameter>,
    brought: &Map<String, Value>,
) -> Result<Vec<String>, TemplateError> {
    let short = |name: &str| name.chars().filter(|c| !c.is_control()).take(64).collect::<String>();
    if let Some(name) = brought.keys().find(|name| !parameters.contains_key(*name)) {
        return Err(TemplateError::Unknown(short(name)));
    }
    let mut values = BTreeMap::new();
    for (name, parameter) in parameters {
        let Some(value) = brought.get(name) else { continue };
        let value = parameter.accept(value).ok_or_else(|| TemplateError::NotAllowed(name.clone()))?;
        values.insert(name.as_str(), value);
    }
    template.iter().map(|argument| fill_one(argument, &values)).collect()
}

fn fill_one(argument: &str, values: &BTreeMap<&str, String>) -> Result<String, TemplateError> {
    let mut parts = argument.split('{');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}') {
            Some((name, rest)) => {
                let value = values.get(name).ok_or_else(|| TemplateError::Missing(name.to_owned()))?;
                // What was put in is not looked at again: a value with braces stays what it is.
                filled.push_str(value);
                filled.push_str(rest);
            }
            None => {
                filled.push('{');
                filled.push_str(part);
            }
        }
    }
    Ok(filled)
}

impl Parameter {
    fn accept(&self, value: &Value) -> Option<String> {
        match self {
            Self::Integer((low, high)) => {
                let number = value.as_i64().filter(|number| (low..=high).contains(&number))?;
                Some(number.to_string())
            }
            Self::OneOf(words) => words.iter().find(|word| value.as_str() == Some(word)).cloned(),
            Self::Text(bytes) => {
                let text = value.as_str().filter(|text| text.len() <= *bytes && !text.starts_with('-'))?;
                (!text.chars().any(char::is_control)).then(|| text.to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &[&str], brought: &Value) -> Result<Vec<String>, TemplateError> {
        let parameters = BTreeMap::from([
            ("level".to_owned(), Parameter::Integer((0, 100))),
            ("colour".to_owned(), Parameter::OneOf(vec!["red".into(), "-v".into()])),
            ("label".to_owned(), Parameter::Text(16)),
        ]);
        let template: Vec<_> = template.iter().map(|word| (*word).to_owned()).collect();
        fill(&template, &parameters, brought.as_object().unwrap())
    }

    #[test]
    fn words_stay_words() {
        let brought = json!({"level":7,"label":"a b;{level} $X"});
        let words = filled(&["--level={level}%", "{label}", "plain", "{", "a}b"], &brought);
        assert_eq!(words.unwrap(), ["--level=7%", "a b;{level} $X", "plain", "{", "a}b"]);
        assert_eq!(filled(&["{colour}"], &json!({"colour":"-v"})).unwrap(), ["-v"], "the owner wrote it");
    }

    #[test]
    fn what_is_missing_unknown_or_not_allowed_runs_nothing() {
        assert_eq!(filled(&["{level}"], &json!({})), Err(TemplateError::Missing("level".into())));
        assert_eq!(filled(&[], &json!({"speed":1})), Err(TemplateError::Unknown("speed".into())));
        for brought in [
            json!({"level":101}),
            json!({"level":1.5}),
            json!({"level":"7"}),
            json!({"colour":"blue"}),
            json!({"label":"--help"}),
            json!({"label":"a\nb"}),
            json!({"label":"far too long a word"}),
            json!({"label":null}),
        ] {
            assert!(matches!(filled(&["x"], &brought), Err(TemplateError::NotAllowed(_))), "{brought}");
        }
    }
}
