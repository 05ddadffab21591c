//! Prints what a schema refuses, as Helm's validator does.
//!
//! The validator used here leaves out steps that have a single cause; the place in the schema tells
//! where they were, and they are put back.

use boon::{ErrorKind, InstanceToken, ValidationError};
use fluvial_template::sprig::go_regex_error;
use serde_json::Value as Json;

/// The whole report of a failed validation; `schema` is the document that was held against.
pub(crate) fn report(error: &ValidationError<'_, '_>, schema: &Json) -> String {
    let mut report = Report {
        out: String::new(),
        schema,
    };
    report.node(error, None, 0);
    report.out
}

/// Where a node stands: for the nodes below it.
struct Place<'e> {
    base: &'e str,
    tokens: Vec<String>,
    step: &'static str,
}

struct Report<'s> {
    out: String,
    schema: &'s Json,
}

impl Report<'_> {
    fn line(&mut self, indent: usize, text: &str) {
        if indent > 0 {
            self.out.push('\n');
            self.out.push_str(&"  ".repeat(indent - 1));
            self.out.push_str("- ");
        }
        self.out.push_str(text);
    }

    fn at(&mut self, indent: usize, tokens: &[String], what: &str) {
        let path: String = tokens.iter().flat_map(|token| ["/", token.as_str()]).collect();
        self.line(indent, &format!("at {}: {what}", quote(&path)));
    }

    fn node(&mut self, error: &ValidationError<'_, '_>, parent: Option<&Place<'_>>, mut indent: usize) {
        let mut tokens: Vec<String> = error.instance_location.tokens.iter().map(token).collect();
        if let Some(parent) = parent {
            for (token, shown) in tokens.iter_mut().zip(&parent.tokens) {
                token.clone_from(shown);
            }
            if let Some(path) = error.schema_url.strip_prefix(parent.base) {
                indent = self.skipped(path, parent, &mut tokens, indent);
            }
        }
        let place = Place {
            base: match &error.kind {
                ErrorKind::Reference { url, .. } => url,
                _ => error.schema_url,
            },
            tokens: tokens.clone(),
            step: match &error.kind {
                ErrorKind::AllOf => "allOf",
                ErrorKind::AnyOf => "anyOf",
                ErrorKind::OneOf(_) => "oneOf",
                ErrorKind::Contains | ErrorKind::MinContains { .. } => "contains",
                _ => "",
            },
        };
        let merged = if matches!(error.kind, ErrorKind::Reference { .. } | ErrorKind::Schema { .. }) {
            self.merged(error, &place)
        } else {
            None
        };
        let one_cause = error.causes.len() == 1 || merged.is_some();
        let hidden = matches!(error.kind, ErrorKind::Reference { .. }) && one_cause;
        if !hidden {
            match &error.kind {
                ErrorKind::Schema { url } => {
                    let url = with_fragment(url);
                    self.line(
                        indent,
                        &format!("jsonschema validation failed with {}", quote(&url)),
                    );
                }
                ErrorKind::Pattern { got, want } => {
                    // The validator shows the pattern as it takes it, not as it is written.
                    let want = quote(self.pattern(error).unwrap_or(want));
                    let what = format!("{} does not match pattern {want}", quote(got));
                    self.at(indent, &tokens, &what);
                }
                kind => self.at(indent, &tokens, &describe(kind)),
            }
            indent += 1;
        }
        match merged {
            Some((path, mut tokens)) => {
                indent = self.skipped(&path, &place, &mut tokens, indent);
                self.at(indent, &tokens, "validation failed");
                let base = format!("{}{path}", place.base);
                let place = Place {
                    base: &base,
                    tokens,
                    step: "",
                };
                for cause in &error.causes {
                    self.node(cause, Some(&place), indent + 1);
                }
            }
            None => {
                for cause in &error.causes {
                    self.node(cause, Some(&place), indent);
                }
            }
        }
    }

    /// The pattern that a text does not match, as the schema has it.
    fn pattern(&self, error: &ValidationError<'_, '_>) -> Option<&str> {
        let place = self.schema.pointer(&pointer_of(error.schema_url)?)?;
        place.get("pattern").unwrap_or(place).as_str()
    }

    /// Several causes behind one left-out step: the place of the group that they formed there.
    fn merged(&self, error: &ValidationError<'_, '_>, place: &Place<'_>) -> Option<(String, Vec<String>)> {
        let (first, others) = error.causes.split_first()?;
        if others.is_empty() {
            return None;
        }
        let walks: Vec<Vec<Step>> = error
            .causes
            .iter()
            .map(|cause| Some(self.steps(cause.schema_url.strip_prefix(place.base)?, place.base)))
            .collect::<Option<_>>()?;
        let tokens = &first.instance_location.tokens;
        let (mut path, mut depth, mut grouped, mut known) = (String::new(), place.tokens.len(), None, false);
        for (index, step) in walks.first()?.iter().enumerate() {
            let same_step = walks
                .iter()
                .all(|walk| walk.get(index).is_some_and(|other| other.path == step.path));
            let next = depth + usize::from(step.consumes);
            let same_place = others.iter().all(|cause| {
                let other = &cause.instance_location.tokens;
                other.len() >= next
                    && tokens.len() >= next
                    && (0..next).all(|at| token(&other[at]) == token(&tokens[at]))
            });
            if !same_step || !same_place {
                break;
            }
            known |= step.left_out.is_some();
            path.push_str(&step.path);
            depth = next;
            grouped = Some((path.clone(), depth));
        }
        let (path, depth) = grouped.filter(|_| known)?;
        let mut shown: Vec<String> = tokens.iter().take(depth).map(token).collect();
        for (token, known) in shown.iter_mut().zip(&place.tokens) {
            token.clone_from(known);
        }
        Some((path, shown))
    }

    /// The keywords of a place in the schema, seen from another.
    fn steps(&self, path: &str, base: &str) -> Vec<Step> {
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut schema = pointer_of(base).and_then(|pointer| self.schema.pointer(&pointer));
        let mut steps = Vec::new();
        let mut index = 0;
        while let Some(segment) = segments.get(index) {
            let numbered = segments
                .get(index + 1)
                .is_some_and(|next| next.parse::<usize>().is_ok());
            let length_of = |key: &str| {
                let list = schema.and_then(|schema| schema.get(key)).and_then(Json::as_array);
                list.map(Vec::len)
            };
            let (taken, consumes, left_out, shift) = match *segment {
                "properties" | "patternProperties" | "prefixItems" => (2, true, None, 0),
                "additionalProperties" | "unevaluatedProperties" | "unevaluatedItems" => (1, true, None, 0),
                "contains" => (1, true, Some("contains"), 0),
                "items" if numbered && length_of("items").is_some() => (2, true, None, 0),
                "items" => (1, true, None, length_of("prefixItems").unwrap_or(0)),
                "additionalItems" => (1, true, None, length_of("items").unwrap_or(0)),
                "allOf" => (2, false, Some("allOf"), 0),
                "anyOf" => (2, false, Some("anyOf"), 0),
                "oneOf" => (2, false, Some("oneOf"), 0),
                "dependentSchemas" | "dependencies" | "$defs" | "definitions" => (2, false, None, 0),
                _ => (1, false, None, 0),
            };
            let end = (index + taken).min(segments.len());
            let mut path = String::new();
            for segment in &segments[index..end] {
                path.push('/');
                path.push_str(segment);
                schema = schema.and_then(|schema| schema.pointer(&format!("/{}", decode(segment))));
            }
            steps.push(Step {
                path,
                consumes,
                left_out,
                shift,
            });
            index = end;
        }
        steps
    }

    /// Prints the steps between a node and the one above it; mends indexes behind a list's fixed part.
    fn skipped(&mut self, path: &str, parent: &Place<'_>, tokens: &mut [String], mut indent: usize) -> usize {
        let mut depth = parent.tokens.len();
        for (index, step) in self.steps(path, parent.base).into_iter().enumerate() {
            if let Some(name) = step.left_out
                && (index > 0 || parent.step != name)
            {
                let what = match name {
                    "contains" => "no items match contains schema".to_owned(),
                    "oneOf" => "'oneOf' failed, none matched".to_owned(),
                    name => format!("'{name}' failed"),
                };
                self.at(indent, &tokens[..depth.min(tokens.len())], &what);
                indent += 1;
            }
            if step.consumes {
                if step.shift > 0
                    && let Some(token) = tokens.get_mut(depth)
                    && let Ok(number) = token.parse::<usize>()
                {
                    *token = (number + step.shift).to_string();
                }
                depth += 1;
            }
        }
        indent
    }
}

/// One keyword on the way to a place in the schema.
struct Step {
    path: String,
    /// Whether it leads into the value.
    consumes: bool,
    /// The keyword whose node the validator leaves out if it has a single cause.
    left_out: Option<&'static str>,
    /// Items before those that it counts.
    shift: usize,
}

fn pointer_of(url: &str) -> Option<String> {
    url.split_once('#').map(|(_, pointer)| decode(pointer))
}

/// Undoes the percent signs of a URL's fragment.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn token(token: &InstanceToken<'_>) -> String {
    match token {
        InstanceToken::Prop(name) => name.replace('~', "~0").replace('/', "~1"),
        InstanceToken::Item(index) => index.to_string(),
    }
}

fn with_fragment(url: &str) -> String {
    if url.contains('#') {
        url.to_owned()
    } else {
        format!("{url}#")
    }
}

fn describe(kind: &ErrorKind<'_, '_>) -> String {
    match kind {
        ErrorKind::Group => "validation failed".to_owned(),
        ErrorKind::Schema { url } => format!("validation failed with {}", quote(url)),
        ErrorKind::Reference { .. } => "validation failed".to_owned(),
        ErrorKind::ContentSchema => "'contentSchema' failed".to_owned(),
        ErrorKind::PropertyName { prop } => format!("invalid propertyName {}", quote(prop)),
        ErrorKind::RefCycle {
            url,
            kw_loc1,
            kw_loc2,
        } => format!(
            "both {} and {} resolve to {url:?} causing reference cycle",
            quote(kw_loc1),
            quote(kw_loc2)
        ),
        ErrorKind::FalseSchema => "false schema".to_owned(),
        ErrorKind::Type { got, want } => {
            let want: Vec<String> = want.iter().map(|kind| kind.to_string()).collect();
            format!("got {got}, want {}", want.join(" or "))
        }
        ErrorKind::Enum { want } if want.iter().all(is_primitive) => match want.as_slice() {
            [want] => format!("value must be {}", shown(want)),
            want => {
                let want: Vec<String> = want.iter().map(shown).collect();
                format!("value must be one of {}", want.join(", "))
            }
        },
        ErrorKind::Enum { .. } => "'enum' failed".to_owned(),
        ErrorKind::Const { want } if is_primitive(want) => format!("value must be {}", shown(want)),
        ErrorKind::Const { .. } => "'const' failed".to_owned(),
        ErrorKind::Format { got, want, err } => {
            let problem = match (*want, got.as_str()) {
                ("regex", Some(pattern)) => go_regex_error(pattern),
                _ => None,
            };
            let problem = problem.unwrap_or_else(|| err.to_string());
            format!("{} is not valid {want}: {problem}", shown(got))
        }
        ErrorKind::Required { want } => match want.as_slice() {
            [want] => format!("missing property {}", quote(want)),
            want => format!("missing properties {}", names(want)),
        },
        ErrorKind::Dependency { prop, missing } | ErrorKind::DependentRequired { prop, missing } => {
            format!(
                "properties {} required, if {} exists",
                names(missing),
                quote(prop)
            )
        }
        ErrorKind::AdditionalProperties { got } => {
            format!("additional properties {} not allowed", names(got))
        }
        other => describe_limits(other),
    }
}

fn describe_limits(kind: &ErrorKind<'_, '_>) -> String {
    let limit =
        |name: &str, got: usize, want: usize| format!("{name}: got {}, want {}", count(got), count(want));
    let bound = |name: &str, got: &serde_json::Number, want: &serde_json::Number| {
        format!("{name}: got {}, want {}", decimal(got), decimal(want))
    };
    match kind {
        ErrorKind::MinProperties { got, want } => limit("minProperties", *got, *want),
        ErrorKind::MaxProperties { got, want } => limit("maxProperties", *got, *want),
        ErrorKind::MinItems { got, want } => limit("minItems", *got, *want),
        ErrorKind::MaxItems { got, want } => limit("maxItems", *got, *want),
        ErrorKind::MinLength { got, want } => limit("minLength", *got, *want),
        ErrorKind::MaxLength { got, want } => limit("maxLength", *got, *want),
        ErrorKind::Minimum { got, want } => bound("minimum", got, want),
        ErrorKind::Maximum { got, want } => bound("maximum", got, want),
        ErrorKind::ExclusiveMinimum { got, want } => bound("exclusiveMinimum", got, want),
        ErrorKind::ExclusiveMaximum { got, want } => bound("exclusiveMaximum", got, want),
        ErrorKind::MultipleOf { got, want } => bound("multipleOf", got, want),
        ErrorKind::Contains => "no items match contains schema".to_owned(),
        ErrorKind::MinContains { got, want } if got.is_empty() => {
            format!("min {want} items required to match contains schema, but none matched")
        }
        ErrorKind::MinContains { got, want } => format!(
            "min {want} items required to match contains schema, but matched {} items at {}",
            got.len(),
            places(got)
        ),
        ErrorKind::MaxContains { got, want } => format!(
            "max {want} items required to match contains schema, but matched {} items at {}",
            got.len(),
            places(got)
        ),
        ErrorKind::UniqueItems { got: [first, second] } => format!("items at {first} and {second} are equal"),
        ErrorKind::AdditionalItems { got } => format!("last {got} additionalItem(s) not allowed"),
        ErrorKind::Pattern { got, want } => format!("{} does not match pattern {}", quote(got), quote(want)),
        ErrorKind::ContentEncoding { want, err } => format!("value is not {} encoded: {err}", quote(want)),
        ErrorKind::ContentMediaType { want, err, .. } => {
            format!("value if not of mediatype {}: {err}", quote(want))
        }
        ErrorKind::Not => "'not' failed".to_owned(),
        ErrorKind::AllOf => "'allOf' failed".to_owned(),
        ErrorKind::AnyOf => "'anyOf' failed".to_owned(),
        ErrorKind::OneOf(None) => "'oneOf' failed, none matched".to_owned(),
        ErrorKind::OneOf(Some((first, second))) => {
            format!("'oneOf' failed, subschemas {first}, {second} matched")
        }
        other => other.to_string(),
    }
}

fn places(indexes: &[usize]) -> String {
    let indexes: Vec<String> = indexes.iter().map(usize::to_string).collect();
    format!("[{}]", indexes.join(" "))
}

fn names<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(|name| quote(name.as_ref())).collect();
    names.join(", ")
}

fn is_primitive(value: &Json) -> bool {
    !value.is_array() && !value.is_object()
}

fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => quote(text),
        Json::Array(_) | Json::Object(_) => "value".to_owned(),
        Json::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

/// A single-quoted text.
fn quote(text: &str) -> String {
    let quoted = fluvial_template::quote(text);
    let inner = quoted[1..quoted.len() - 1]
        .replace("\\\"", "\"")
        .replace('\'', "\\'");
    format!("'{inner}'")
}

fn count(number: usize) -> String {
    grouped(&number.to_string())
}

/// A number as texts for people have it: from a million on, and below a ten thousandth, with a power of ten.
fn decimal(number: &serde_json::Number) -> String {
    let float = number.as_f64().unwrap_or(f64::NAN);
    let scientific = fluvial_template::number::format_float(float, 'e', None);
    let parts = scientific
        .split_once('e')
        .and_then(|(digits, power)| Some((digits, power.parse::<i32>().ok()?)));
    match parts {
        Some((digits, power)) if !(-4..6).contains(&power) => format!("{digits}×10{}", raised(power)),
        _ => grouped(&fluvial_template::number::format_float(float, 'f', None)),
    }
}

/// An exponent of two digits or more, above the line.
fn raised(power: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let sign = if power < 0 { "⁻" } else { "" };
    let digits = format!("{:02}", power.unsigned_abs());
    let above = |c: char| c.to_digit(10).and_then(|digit| DIGITS.get(digit as usize));
    format!("{sign}{}", digits.chars().filter_map(above).collect::<String>())
}

/// Thousands are set apart by commas.
fn grouped(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (digits, String::new()),
    };
    let mut out = String::new();
    for (index, c) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    format!("{sign}{out}{fraction}")
}
