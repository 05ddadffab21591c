//! `semver` and `semverCompare`, and the version object that the first one gives.

use std::any::Any;
use std::rc::Rc;

use fluvial_object::semver::{Constraint, Version};
use fluvial_template::{FunctionResult, Functions, Object, Params, Type, UintType, Underlying, Value};

use super::text_at;

const VERSION: &str = "*semver.Version";

pub(super) fn register(functions: &mut Functions) {
    functions.pure("semver", Params::fixed(&[Type::Str]), |v| {
        Ok(object(parse(text_at(v, 0))?))
    });
    functions.pure("semverCompare", Params::fixed(&[Type::Str, Type::Str]), compare);
}

fn parse(text: &str) -> Result<Version, String> {
    Version::parse(text).map_err(|error| error.to_string())
}

fn compare(values: &[Value]) -> FunctionResult {
    let constraint = Constraint::parse(text_at(values, 0)).map_err(|error| error.to_string())?;
    let version = parse(text_at(values, 1))?;
    Ok(constraint.matches(&version).into())
}

fn object(version: Version) -> Value {
    Value::Object(Rc::new(VersionObject(version)))
}

struct VersionObject(Version);

impl VersionObject {
    /// The next version; it keeps a leading `v` of what was read.
    fn next(&self, name: &str) -> Result<Value, String> {
        let v = &self.0;
        let (major, minor, patch) = match name {
            "IncMajor" => (v.major() + 1, 0, 0),
            "IncMinor" => (v.major(), v.minor() + 1, 0),
            _ if v.prerelease().is_empty() => (v.major(), v.minor(), v.patch() + 1),
            _ => (v.major(), v.minor(), v.patch()),
        };
        let prefix = if v.original().starts_with('v') { "v" } else { "" };
        parse(&format!("{prefix}{major}.{minor}.{patch}")).map(object)
    }
}

impl Object for VersionObject {
    fn type_name(&self) -> String {
        VERSION.to_owned()
    }

    fn kind(&self) -> &'static str {
        "ptr"
    }

    fn field(&self, _: &str) -> Option<Value> {
        None
    }

    fn has_unexported(&self, name: &str) -> bool {
        matches!(
            name,
            "major" | "minor" | "patch" | "pre" | "metadata" | "original"
        )
    }

    fn method(&self, name: &str) -> Option<Params> {
        match name {
            "Major" | "Minor" | "Patch" | "Prerelease" | "Metadata" | "Original" | "String" | "IncMajor"
            | "IncMinor" | "IncPatch" => Some(Params::default()),
            "LessThan" | "GreaterThan" | "LessThanEqual" | "GreaterThanEqual" | "Equal" | "Compare" => {
                Some(Params::fixed(&[Type::Object(VERSION)]))
            }
            "SetPrerelease" | "SetMetadata" => Some(Params::fixed(&[Type::Str])),
            _ => None,
        }
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let v = &self.0;
        let number = |number| Value::Uint(number, UintType::Uint64);
        Ok(match name {
            "Major" => number(v.major()),
            "Minor" => number(v.minor()),
            "Patch" => number(v.patch()),
            "Prerelease" => v.prerelease().into(),
            "Metadata" => v.metadata().into(),
            "Original" => v.original().into(),
            "String" => v.to_string().into(),
            "IncMajor" | "IncMinor" | "IncPatch" => return self.next(name),
            "SetPrerelease" | "SetMetadata" => {
                let text = arguments.first().and_then(Value::as_str).unwrap_or_default();
                let (pre, meta) = if name == "SetPrerelease" {
                    (text, v.metadata())
                } else {
                    (v.prerelease(), text)
                };
                let mut next = format!("{}.{}.{}", v.major(), v.minor(), v.patch());
                for (mark, part) in [('-', pre), ('+', meta)] {
                    if !part.is_empty() {
                        next.push(mark);
                        next.push_str(part);
                    }
                }
                return parse(&next).map(object);
            }
            _ => {
                let other = match arguments.first() {
                    Some(Value::Object(other)) => other.as_any().downcast_ref::<VersionObject>(),
                    _ => None,
                };
                let order = v.cmp(&other.ok_or("not a version")?.0);
                match name {
                    "LessThan" => order.is_lt().into(),
                    "GreaterThan" => order.is_gt().into(),
                    "LessThanEqual" => order.is_le().into(),
                    "GreaterThanEqual" => order.is_ge().into(),
                    "Equal" => order.is_eq().into(),
                    _ => Value::int(order as i64),
                }
            }
        })
    }

    fn text(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn underlying(&self) -> Underlying {
        let number = |number| Value::Uint(number, UintType::Uint64);
        Underlying::Struct {
            pointer: true,
            fields: vec![
                ("major", number(self.0.major())),
                ("minor", number(self.0.minor())),
                ("patch", number(self.0.patch())),
                ("pre", self.0.prerelease().into()),
                ("metadata", self.0.metadata().into()),
                ("original", self.0.original().into()),
            ],
        }
    }

    fn to_json(&self) -> serde_json::Value {
        self.0.to_string().into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
