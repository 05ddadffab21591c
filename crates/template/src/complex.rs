//! Imaginary literals: all that a template can do with one is to print it and to ask for its type.

use std::any::Any;
use std::rc::Rc;

use crate::print::go_value;
use crate::value::{Object, Underlying, Value};

/// A `complex128`.
struct Complex {
    real: f64,
    imaginary: f64,
}

impl Object for Complex {
    fn type_name(&self) -> String {
        "complex128".to_owned()
    }

    fn kind(&self) -> &'static str {
        "complex128"
    }

    fn field(&self, _: &str) -> Option<Value> {
        None
    }

    fn text(&self) -> Option<String> {
        let imaginary = go_value(&Value::Float(self.imaginary));
        let sign = if imaginary.starts_with(['+', '-']) {
            ""
        } else {
            "+"
        };
        Some(format!(
            "({}{sign}{imaginary}i)",
            go_value(&Value::Float(self.real))
        ))
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct {
            pointer: false,
            fields: Vec::new(),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The value of a literal with these parts.
pub(crate) fn complex((real, imaginary): (f64, f64)) -> Value {
    Value::Object(Rc::new(Complex { real, imaginary }))
}

/// The parts of a literal that ends with `i`: `2i`, `1+2i`.
pub(crate) fn parts(text: &str) -> Option<(f64, f64)> {
    let body = text.strip_suffix('i')?;
    if let Some(imaginary) = crate::number::parse_float(body) {
        return Some((0.0, imaginary));
    }
    // The sign between the parts is no exponent's.
    let sign = body.rmatch_indices(['+', '-']).map(|(at, _)| at);
    sign.filter(|at| *at > 0).find_map(|at| {
        let (real, imaginary) = body.split_at(at);
        Some((
            crate::number::parse_float(real)?,
            crate::number::parse_float(imaginary)?,
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_print_as_in_go() {
        for (text, printed) in [
            ("1i", "(0+1i)"),
            ("0i", "(0+0i)"),
            ("-2.5i", "(0-2.5i)"),
            ("1+2i", "(1+2i)"),
            ("1e+3-1e-7i", "(1000-1e-07i)"),
        ] {
            let value = complex(parts(text).unwrap());
            assert_eq!(go_value(&value), printed, "{text}");
        }
        assert_eq!(parts("1+i"), None);
        assert_eq!(parts("1"), None);
    }
}
