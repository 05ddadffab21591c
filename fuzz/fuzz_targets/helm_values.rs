//! Any text as a file of values, and as what the options that set values take.

#![no_main]

use fluvial_helm::Values;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (file, set) = text.split_once('\0').unwrap_or((text, text));
    let mut values = Values::from_yaml(file).unwrap_or_default();
    let _ = values.set(set);
    let _ = values.set_string(set);
    let _ = values.set_json(set);
    let _ = values.set_literal(set);
    let _ = values.set_file(set, &|name| Ok(name.to_owned()));
    let _ = Values::from_json(&values.as_json());
});
