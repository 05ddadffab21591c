//! Templates that once ended the process, kept.

use std::sync::Arc;

use crate::sprig::{Ambient, Host};
use crate::{Functions, Limits, Set, Value, sprig};

struct Still;

impl Ambient for Still {
    fn now(&mut self) -> i128 {
        0
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

/// What a template gives, or its error.
fn run(text: &str) -> String {
    let mut functions = Functions::builtins();
    sprig::register(&mut functions);
    let mut set = Set::new(Arc::new(functions));
    if let Err(error) = set.add("t", text) {
        return error.to_string();
    }
    let limits = Limits {
        output: 1 << 21,
        steps: 20_000,
        depth: 50,
    };
    let mut host = Host {
        ambient: Box::new(Still),
        state: Box::new(()),
    };
    set.execute("t", &Value::Nil, limits, &mut host)
        .unwrap_or_else(|error| error.to_string())
}

#[test]
fn extreme_numbers_end_with_a_text_or_an_error() {
    for text in [
        "{{ abbrevboth -9223372036854775808 9 \"the quick brown fox\" }}",
        "{{ abbrevboth 9223372036854775807 9 \"the quick brown fox\" }}",
        "{{ seq -9223372036854775808 }}",
        "{{ seq 9223372036854775807 }}",
        "{{ seq 1 9223372036854775807 9223372036854775807 }}",
        "{{ printf \"%*d\" -9223372036854775808 1 }}",
        "{{ printf \"%.*f\" -9223372036854775808 1.5 }}",
    ] {
        run(text);
    }
}

#[test]
fn precisions_beyond_the_standard_librarys_are_met_with_zeros() {
    for (format, length) in [("%.70000f", 70_002), ("%.70000e", 70_006), ("%.70000U", 70_002)] {
        let value = if format.ends_with('U') { "1" } else { "1.5" };
        let got = run(&format!("{{{{ printf \"{format}\" {value} }}}}"));
        assert_eq!(got.len(), length, "{format}");
    }
    assert_eq!(run("{{ printf \"%.70000g\" 1.5 }}"), "1.5");
}

#[test]
fn many_large_lists_use_up_the_steps() {
    let text = "{{ range $i := until 10000 }}{{ $x := until 100000 }}{{ end }}";
    assert!(
        run(text).ends_with("the template runs longer than allowed"),
        "{}",
        run(text)
    );
}
