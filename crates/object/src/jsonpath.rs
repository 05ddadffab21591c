//! kubectl's JSON path templates: `{range .items[*]}{.metadata.name}{"\n"}{end}`.
//!
//! The dialect is client-go's, with its filters, unions, slices and ranges, and with its error texts.

use std::fmt;

use serde_json::Value;

mod eval;
mod parse;
mod print;

use parse::Node;

/// A template that cannot be read, or that does not fit the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPathError(String);

impl fmt::Display for JsonPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JsonPathError {}

fn error<T>(message: impl Into<String>) -> Result<T, JsonPathError> {
    Err(JsonPathError(message.into()))
}

/// How the numbers of the data count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// Whole numbers are integers, as in the objects that kubectl prints.
    #[default]
    Typed,
    /// All numbers are floating, as in data decoded by Go's JSON package: `1e+06`, and never equal to `5`.
    Float,
}

/// How a template is evaluated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A missing field is empty instead of an error.
    pub allow_missing: bool,
    /// How the numbers of the data count.
    pub numbers: Numbers,
}

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template {
    nodes: Vec<Node>,
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        Ok(Template {
            nodes: parse::template(text)?,
        })
    }

    /// Reads an expression as kubectl takes it for custom columns and `--sort-by`: braces and the leading dot may be
    /// left out.
    pub fn parse_relaxed(text: &str) -> Result<Self, JsonPathError> {
        let inner = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
            .unwrap_or(text);
        let inner = inner.strip_prefix('.').unwrap_or(inner);
        if inner.contains(['{', '}']) || inner.is_empty() {
            return error(format!(
                "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{{name1.name2}}' or '{{.name1.name2}}', got '{text}'"
            ));
        }
        Template::parse(&format!("{{.{inner}}}"))
    }

    /// Evaluates and prints, as `kubectl get -o jsonpath=…` does.
    pub fn execute(&self, data: &Value, options: Options) -> Result<String, JsonPathError> {
        let mut text = String::new();
        for results in eval::find(&self.nodes, data, options)? {
            print::results(&mut text, &results, options.numbers);
        }
        Ok(text)
    }

    /// The values found, one list a part of the template.
    pub fn find(&self, data: &Value, options: Options) -> Result<Vec<Vec<Value>>, JsonPathError> {
        let found = eval::find(&self.nodes, data, options)?;
        Ok(found
            .into_iter()
            .map(|results| results.into_iter().map(eval::Item::into_value).collect())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(template: &str, data: &Value) -> Result<String, String> {
        Template::parse(template)
            .and_then(|template| template.execute(data, Options::default()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn ranges_nest_and_end() {
        let data = json!({"a": [{"n": 1, "b": [1, 2]}, {"n": 2, "b": []}], "z": "!"});
        let got = run("{range .a[*]}{.n}:{range .b[*]}<{@}>{end};{end}{.z}", &data);
        assert_eq!(got.as_deref(), Ok("1:<1><2>;2:;!"));
        let empty = json!({"a": []});
        assert_eq!(run("{range .a[*]}{@}{end}.", &empty).as_deref(), Ok("."));
        // Without missing fields allowed, the reference asks for them even where there is nothing to go through.
        assert!(run("{range .a[*]}{.n}{end}.", &empty).is_err());
    }

    #[test]
    fn typed_numbers_compare_with_integers() {
        let data = json!({"a": [{"n": 1000000}, {"n": 5}]});
        assert_eq!(run("{.a[?(@.n>5)].n}", &data).as_deref(), Ok("1000000"));
    }

    #[test]
    fn relaxed_expressions_need_no_braces() {
        let data = json!({"a": {"b": 1}});
        for text in ["a.b", ".a.b", "{a.b}", "{.a.b}"] {
            let template = Template::parse_relaxed(text).expect("valid");
            assert_eq!(template.execute(&data, Options::default()).as_deref(), Ok("1"));
        }
        assert!(Template::parse_relaxed("{.a}{.b}").is_err());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!("{{{}", "[?(".repeat(200));
        assert!(run(&deep, &Value::Null).is_err());
    }
}
